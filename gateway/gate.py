"""The gate: who is let in at this moment, and from which pages."""

import asyncio
import hmac
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from functools import lru_cache, partial
from ipaddress import ip_address
from math import ceil
from urllib.parse import urlsplit

import orjson
from aiohttp import hdrs, web
from multidict import istr

from adapters.errors import SourceError
from gateway.settings import REPORTS, Settings
from gateway.strain import WHILE, Strain
from resolvers.caller import Caller, Kind
from resolvers.sending.limits import Limits, open_limits

Leave = Callable[[], None]

BURST = 2.0
"""Seconds' worth of requests that a caller may make at once."""
FEW = 16
"""Where the processor is what all wait for, more requests at once would make all of them late: so the others
wait for their turn."""
PATIENCE = 1.0
"""Seconds that they may."""
AGAIN = 1
"""Seconds until it may be worth to come again."""
REMEMBERED = 600
"""Seconds for which a browser need not ask whether it may."""

FULL = "There is more to do than can be done at once: come again in a moment."
OPEN = ("/health/",)
"""Always let in, for they say how we are."""
_EXPOSED = ", ".join(("X-Request-Id", hdrs.RETRY_AFTER))
SAFE = (
    (hdrs.CACHE_CONTROL, "no-store"),
    (istr("Content-Security-Policy"), "default-src 'none'; frame-ancestors 'none'"),
    (istr("Referrer-Policy"), "no-referrer"),
    (istr("X-Content-Type-Options"), "nosniff"),
    (istr("X-Frame-Options"), "DENY"),
)


class Gate:
    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(settings.origins)
        self._most = settings.requests
        self._most_sockets = settings.sockets
        self._most_sockets_each = settings.sockets_each
        self._rate = settings.rate or None
        self._credential_rate = settings.credential_rate or None
        self._proxies = settings.proxies
        secret = settings.reports_secret
        self._reports = f"{REPORTS}/{secret.get_secret_value()}".encode() if secret else b""
        self._under_way = 0
        self._waiting = deque[asyncio.Future[None]]()
        self._looking: asyncio.TimerHandle | None = None
        self._strain = Strain()
        self._sockets = Counter[str]()
        self._limits = Limits()
        self._redis, self._environment = settings.redis, settings.environment

    async def opened(self, _: web.Application) -> AsyncIterator[None]:
        async with open_limits(self._redis, self._environment) as self._limits:
            yield

    async def admit(self, request: web.Request) -> Leave:
        """Answers how they leave; raises the answer for whom there is no room now, or who may not come in."""
        if request.path.startswith(OPEN):
            return _nothing
        self._refuse_foreign_page(request)
        caller = self._caller(request)
        leave = await self._take_place(request, caller)
        try:
            if not self._is_report(request):
                await self._refuse_flood_from(caller)
        except BaseException:
            leave()
            raise
        return leave

    async def operation(self, request: web.Request, caller: Caller) -> None:
        """Over a WebSocket; refused as if it were a request."""
        await self._refuse_flood_from(self._caller(request))
        await self.shown(caller)

    async def shown(self, caller: Caller) -> None:
        """Refused where one credential asks too often, from however many addresses."""
        if caller.kind is not Kind.ANYBODY:
            name = f"credential:{caller.name}"
            await self._refuse_flood(name, self._credential_rate, " with one credential")

    def _refuse_foreign_page(self, request: web.Request) -> None:
        """A page of another site makes its readers' browsers ask: for a simple request without asking us."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            # Such a page may lead here, but not fetch from here: as an image, a script, a style.
            is_fetched = request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate"
            if is_fetched and request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
                raise refusal(403, "FORBIDDEN", "Pages of other sites may not ask this gateway.")
        elif origin not in self._origins and not _is_same(origin, request.host):
            raise refusal(
                403,
                "FORBIDDEN",
                "Pages of this origin may not ask this gateway: SWITCHBOARD_ORIGINS says which may.",
            )

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser that asks whether a page may ask."""
        wanted = request.headers.get("Access-Control-Request-Method")
        if request.method != hdrs.METH_OPTIONS or wanted is None:
            return None
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": "GET, POST",
                "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", ""),
                "Access-Control-Max-Age": str(REMEMBERED),
            },
        )

    async def mark(self, request: web.Request, response: web.StreamResponse) -> None:
        """The headers by which browsers do with an answer what we mean them to."""
        headers = response.headers
        for name, value in SAFE:
            if name not in headers:
                headers[name] = value
        if self._origins:
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)
            if (origin := request.headers.get(hdrs.ORIGIN)) in self._origins:
                response.headers["Access-Control-Allow-Origin"] = origin
                response.headers["Access-Control-Expose-Headers"] = _EXPOSED

    async def _take_place(self, request: web.Request, caller: str) -> Leave:
        if not _stays(request):
            await self._take()
            return self._leave
        if self._sockets.total() >= self._most_sockets:
            raise busy("Too many sockets are open: come again in a moment.")
        if self._sockets[caller] >= self._most_sockets_each and not is_here(caller):
            raise busy("You have too many sockets open: close one, or use one for several operations.")
        self._sockets[caller] += 1
        return partial(self._leave_socket, caller)

    def _leave_socket(self, caller: str) -> None:
        self._sockets[caller] -= 1
        if not self._sockets[caller]:
            del self._sockets[caller]

    @property
    def is_strained(self) -> bool:
        """Is the processor what all wait for?"""
        return self._strain.is_too_much

    @property
    def is_full(self) -> bool:
        """Are even those who wait for their turn as many as may be?"""
        return self._under_way + len(self._waiting) >= self._most

    @property
    def _room(self) -> int:
        return min(FEW, self._most) if self.is_strained else self._most

    async def _take(self) -> None:
        """A place; refused where even those who wait are too many, or one would wait for too long."""
        if self._under_way < self._room and not self._waiting:
            self._under_way += 1
            return
        if self.is_full:
            raise busy(FULL)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._look_again_later()
        try:
            async with asyncio.timeout(PATIENCE):
                await place
        except BaseException as error:
            if not place.cancelled():  # it was given one at the last moment
                self._leave()
            elif place in self._waiting:
                self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                raise busy(FULL) from None
            raise

    def _leave(self) -> None:
        self._under_way -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._under_way < self._room:
            place = self._waiting.popleft()
            if not place.done():  # whoever waited for it may have left
                self._under_way += 1
                place.set_result(None)

    def _look_again_later(self) -> None:
        """Those who have a place may be waiting for something else by then."""
        if self._looking is None and self._waiting:
            self._looking = asyncio.get_running_loop().call_later(WHILE, self._look_again)

    def _look_again(self) -> None:
        self._looking = None
        self._let_in()
        self._look_again_later()

    def _is_report(self, request: web.Request) -> bool:
        """Hyber's, which come as fast as a broadcast goes."""
        return bool(self._reports) and hmac.compare_digest(
            request.path.encode(errors="surrogatepass"), self._reports
        )

    async def _refuse_flood_from(self, address: str) -> None:
        if not is_here(address):
            await self._refuse_flood(f"caller:{address}", self._rate)

    async def _refuse_flood(self, name: str, rate: float | None, of: str = "") -> None:
        if rate is None:
            return
        try:
            turn = await self._limits.turn(name, rate=rate, patience=BURST, alone=True)
        except SourceError:  # Redis: it is no reason to keep anybody out
            return
        if not turn.granted:
            after = max(ceil(turn.wait), 1)
            sentence = f"At most {rate:g} requests a second{of}: come again in {after} s."
            raise refusal(429, "RATE_LIMITED", sentence, after=after)

    def _caller(self, request: web.Request) -> str:
        """Their address, as the proxies in front of us that we trust have it."""
        if self._proxies:
            passed = [each.strip() for each in request.headers.get("X-Forwarded-For", "").split(",")]
            if len(passed) >= self._proxies and passed[-self._proxies]:
                return passed[-self._proxies][:64]
        return request.remote or ""


def busy(sentence: str) -> web.HTTPException:
    return refusal(503, "RATE_LIMITED", sentence, after=AGAIN)


def refusal(status: int, code: str, sentence: str, *, after: int | None = None) -> web.HTTPException:
    """As an answer of the graph that is an error, whatever was asked for."""
    extensions = {"code": code} | ({} if after is None else {"retryAfter": after})
    headers = {} if after is None else {hdrs.RETRY_AFTER: str(after)}
    kinds = {403: web.HTTPForbidden, 429: web.HTTPTooManyRequests, 503: web.HTTPServiceUnavailable}
    text = orjson.dumps({"errors": [{"message": sentence, "extensions": extensions}]}).decode()
    return kinds[status](text=text, content_type="application/json", headers=headers)


def _stays(request: web.Request) -> bool:
    """A socket, or a stream of events."""
    is_socket = request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
    return is_socket or "text/event-stream" in request.headers.get(hdrs.ACCEPT, "")


def _is_same(origin: str, host: str) -> bool:
    try:
        there = urlsplit(origin)
    except ValueError:
        return False
    return there.scheme in ("http", "https") and there.netloc.lower() == host.lower()


@lru_cache(1024)
def is_here(address: str) -> bool:
    """On this machine; of whom a proxy on it speaks for, SWITCHBOARD_PROXIES has us look."""
    try:
        return not address or ip_address(address).is_loopback
    except ValueError:
        return False


def _nothing() -> None: ...
