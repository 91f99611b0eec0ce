"""Credentials: what somebody shows who asks, and whom we take them for."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache, partial
from time import monotonic, time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
from aiohttp import hdrs, web

from adapters.errors import SourceError
from adapters.flights import Flights
from adapters.storage.api_keys import ROUGHLY, ApiKey, ApiKeys
from adapters.together import Together
from gateway.remembered import Remembered
from gateway.settings import Settings, UseAuth, is_loopback, variable_name
from resolvers.caller import ANYBODY, Caller, Kind

if TYPE_CHECKING:
    from gateway.tokens import Tokens

HEADER = "X-Api-Key"
REMEMBERED = 3.0
"""Seconds for which a key is not looked up again."""
LOOKED_AFTER = 2.0
"""Seconds after which a connection that stays is looked at again: so a revoked key is out within 5."""
TRUSTED = 300.0
"""Seconds for which a key that was good is good while the database does not answer."""
MOST = 1024
APART = 0.1
"""Seconds between two times that unknown keys are looked up, all that came meanwhile together.

Else whoever makes keys up would have the database asked for each.
"""

SILENT = "The database that knows the API keys does not answer: try again later."

_KEY = re.compile("sb_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class Refused(Exception):
    """Nobody is let in with this: one sentence, which repeats nothing of what was shown."""

    status = 401
    code = "UNAUTHENTICATED"

    @property
    def headers(self) -> dict[str, str]:
        return {hdrs.WWW_AUTHENTICATE: 'Bearer realm="switchboard", error="invalid_token"'}


class Missing(Refused):
    def __init__(self) -> None:
        super().__init__(
            "Say who asks: send an API key or a token as `Authorization: Bearer ...`, "
            f"or a key as `{HEADER}`."
        )

    @property
    def headers(self) -> dict[str, str]:
        return {hdrs.WWW_AUTHENTICATE: 'Bearer realm="switchboard"'}


class Misdirected(Refused):
    """A page whose own name leads here could ask in the name of whoever reads it."""

    status = 421
    code = "FORBIDDEN"

    def __init__(self) -> None:
        super().__init__(
            "This gateway is open to this machine alone, by the name localhost. For others set "
            f"{variable_name('public_url')}, or have them say who they are: "
            f"{variable_name('auth')}=required."
        )

    @property
    def headers(self) -> dict[str, str]:
        return {}


class NotNow(Refused):
    status = 503
    code = "SOURCE_UNAVAILABLE"

    @property
    def headers(self) -> dict[str, str]:
        return {hdrs.RETRY_AFTER: "2"}


def new_key() -> tuple[str, str, str]:
    """Its id, its secret, and the key itself, which holds both."""
    id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    return id, secret, f"sb_{id}_{secret}"


class Credentials:
    def __init__(self, settings: Settings, keys: ApiKeys, tokens: "Tokens | None") -> None:
        self._auth = settings.auth
        self._is_local = settings.is_local
        self._has_names = settings.unix is None
        self._public_name = _name(urlsplit(settings.public_url or "").netloc)
        self._keys = keys
        self._has_keys: bool | None = None
        self._looked_at = 0.0
        self._known = Remembered[str, ApiKey](REMEMBERED, MOST)
        self._known_before = Remembered[str, ApiKey](TRUSTED, MOST)
        self._unknown = Remembered[str, bool](REMEMBERED, MOST)  # apart: of these anybody can make any number
        self._used = Remembered[str, bool](ROUGHLY.total_seconds(), MOST)
        self._flights = Flights()
        self._strangers = Together[str, ApiKey | None](self._find_strangers)
        self._not_before = 0.0
        self._background = set[asyncio.Task[Any]]()
        self._tokens = tokens

    async def close(self) -> None:
        await asyncio.gather(*self._background)

    async def of(self, request: web.Request) -> Caller:
        caller = await self.shown_by(request)
        return caller or await self.anybody(request)

    async def shown_by(self, request: web.Request) -> Caller | None:
        """None where nothing is shown; what is no good is refused, and never taken for nothing."""
        authorization = request.headers.getall(hdrs.AUTHORIZATION, [])
        keys = request.headers.getall(HEADER, [])
        if len(authorization) + len(keys) > 1:
            raise Refused("Send one credential, and not several.")
        if keys:
            return await self._of_key(keys[0])
        if not authorization:
            return None
        scheme, _, text = authorization[0].partition(" ")
        if scheme.lower() != "bearer":
            raise Refused("Send the credential as `Authorization: Bearer ...`.")
        return await self._of(text.strip())

    async def shown_in(self, payload: Mapping[str, object]) -> Caller | None:
        """The same of a WebSocket, which says it in its first message."""
        said = [payload[name] for name in ("authorization", "Authorization", "apiKey") if name in payload]
        if not said:
            return None
        if len(said) > 1 or not isinstance(said[0], str):
            raise Refused("Send one credential, and not several.")
        scheme, _, text = said[0].partition(" ")
        return await self._of(text.strip() if scheme.lower() == "bearer" else said[0])

    async def anybody(self, request: web.Request) -> Caller:
        """Who shows nothing."""
        if not await self.is_open():
            raise Missing
        if self._is_local and self._has_names:
            name = _name(request.host)
            if not is_loopback(name) and name != self._public_name:
                raise Misdirected
        return ANYBODY

    async def is_open(self) -> bool:
        if self._auth is not UseAuth.AUTO:
            return self._auth is UseAuth.OPEN
        if self._tokens or not self._is_local:
            return False
        if self._has_keys is None:
            await self._look_for_keys()
        elif not self._has_keys and monotonic() - self._looked_at > REMEMBERED:
            self._looked_at = monotonic()  # so of several who come, one waits for the answer
            await self._look_for_keys()
        return not self._has_keys

    async def until_it_ends(self, caller: Caller) -> None:
        """Waits until whom we took them for is no longer let in."""
        while await self._holds(caller):
            left = LOOKED_AFTER if caller.until is None else caller.until - time()
            await asyncio.sleep(max(min(left, LOOKED_AFTER), 0.01))

    async def _holds(self, caller: Caller) -> bool:
        if caller.until is not None and caller.until <= time():
            return False
        with suppress(NotNow):
            if caller.kind is Kind.ANYBODY:
                return await self.is_open()
            if caller.kind is Kind.KEY:
                key = await self._look_up(caller.id)
                return key is not None and key.is_good
        return True

    async def _of(self, text: str) -> Caller:
        if text.startswith("sb_"):
            return await self._of_key(text)
        if self._tokens is None:
            raise Refused("This is no API key of this gateway, and it takes no tokens.")
        from gateway.tokens import BadToken, NoKeys

        try:
            return await self._tokens.caller(text)
        except BadToken as error:
            raise Refused(str(error)) from None
        except NoKeys as error:
            raise NotNow(str(error)) from None

    async def _of_key(self, text: str) -> Caller:
        parts = _KEY.fullmatch(text)
        key = await self._look_up(parts[1]) if parts else None
        if not (parts and key and key.is_opened_by(parts[2])):
            raise Refused("This API key is not known here.")
        if not key.is_good:
            raise Refused("This API key has expired, or was revoked.")
        if key.use_is_news and not self._used.get(key.id):
            self._used.put(key.id, True)
            self._meanwhile(self._keys.was_used(key.id))
        until = key.expires_at.timestamp() if key.expires_at else None
        return Caller(Kind.KEY, key.id, key.scopes, until)

    async def _look_up(self, id: str) -> ApiKey | None:
        if self._unknown.get(id):
            return None
        return self._known.get(id) or await self._flights.board(id, partial(self._ask, id))

    async def _ask(self, id: str) -> ApiKey | None:
        known = self._known_before.get(id)
        try:
            key = (await self._keys.find([id])).get(id) if known else await self._strangers(id)
        except SourceError:
            if known is None:
                raise NotNow(SILENT) from None
            key = known
        else:
            if key is None:
                self._unknown.put(id, True)
                return None
            self._known_before.put(id, key)
        self._known.put(id, key)
        return key

    async def _find_strangers(self, ids: Sequence[str]) -> list[ApiKey | None]:
        await asyncio.sleep(max(self._not_before - monotonic(), 0))
        self._not_before = monotonic() + APART
        found = await self._keys.find(ids)
        return [found.get(id) for id in ids]

    async def _look_for_keys(self) -> None:
        try:
            self._has_keys = await self._flights.board("", self._keys.any)
            self._looked_at = monotonic()
        except SourceError:
            if self._has_keys is None:
                raise NotNow(SILENT) from None

    def _meanwhile(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            with suppress(SourceError):
                await work

        task = asyncio.create_task(run())
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _tokens(jwt_keys: str, settings: Settings) -> "Tokens":
    # Late: who takes no tokens starts without what it takes to check them.
    from gateway.tokens import Tokens

    return Tokens(jwt_keys, settings)


@asynccontextmanager
async def open_credentials(settings: Settings, keys: ApiKeys) -> AsyncIterator[Credentials]:
    tokens = _tokens(settings.jwt_keys, settings) if settings.jwt_keys else None
    credentials = Credentials(settings, keys, tokens)
    with suppress(NotNow):  # then who asks first finds out
        await credentials.is_open()
    if tokens:
        tokens.fetch()
    try:
        yield credentials
    finally:
        await credentials.close()
        if tokens:
            await tokens.close()


def refusal(refused: Refused) -> web.Response:
    fault = {"message": str(refused), "extensions": {"code": refused.code}}
    return web.Response(
        status=refused.status,
        body=orjson.dumps({"errors": [fault]}),
        content_type="application/json",
        headers={**refused.headers, hdrs.CACHE_CONTROL: "no-store"},
    )


@lru_cache(64)
def _name(host: str) -> str:
    """Of a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
