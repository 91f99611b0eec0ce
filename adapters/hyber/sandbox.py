"""HyberSandbox: the single messages, batches and reports of Hyber's API, emulated, with people who answer.

A message that was accepted is delivered on its first channel after a moment. By its last four digits a number
may be another kind of person:

    0036   every channel fails                                36xxx
    0035   every channel expires, each after its ttl          35015
    0026   push, Viber and WhatsApp expire; an SMS arrives    23011
    0024   as everybody, and a moment later it is seen        24xxx, on Viber and WhatsApp
    0011   nothing is ever heard of it                        -1
    6024   the number is refused                              36024

The final status and that it was seen are pushed to the callback, a channel's failure is not. What only public
material tells, or nothing tells, is marked "inferred" where it is decided.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import Any, ClassVar
from uuid import uuid4

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, encode_basic_auth, web

from adapters.sandbox import Sandbox, answer

FAILS = "0036"
EXPIRES = "0035"
ONLY_SMS = "0026"
SEES = "0024"
SILENT = "0011"
REFUSED = "6024"

ALPHA_NAME = "GMSU"

TTLS: Mapping[str, tuple[int, int]] = {
    "push": (30, 86_400),
    "viber": (40, 86_400),
    "sms": (300, 259_200),
    "whatsapp": (604_800, 604_800),
}
MANDATORY: Mapping[str, tuple[str, ...]] = {
    "push": ("text", "title"),
    "viber": (),
    "sms": ("text", "alpha_name"),
    "whatsapp": (),
}
SAYS_SOMETHING = ("text", "img", "file_name", "doc", "audio", "video", "latitude")

# Their codes of delivery: of SMS and Viber from their examples, the others inferred.
DELIVERED: Mapping[str, int] = {"push": 23021, "viber": 23033, "sms": 23011, "whatsapp": 23053}
SEEN: Mapping[str, int] = {"viber": 24033, "whatsapp": 24053}
EXPIRED = 35015
FAILED = 36021

PHONE_INCORRECT = 36024
# Inferred: everything but the one above.
ERRORS: Mapping[int, str] = {
    PHONE_INCORRECT: "Phone number incorrect",
    36001: "Request is not valid JSON",
    36002: "Mandatory parameter is missing: {}",
    36003: "Parameter is incorrect: {}",
    36004: "Message not found",
}

TRIES = 3
"""So often a report is pushed to somebody who does not answer 2xx."""
LONGEST_BATCH = 50_000

Endpoint = Callable[[web.Request], Awaitable[web.Response]]


class HyberError(Exception):
    def __init__(self, code: int, name: str = "", *, status: int | None = None) -> None:
        super().__init__(ERRORS[code].format(name))
        self.code = code
        self.status = status


@dataclass(slots=True, kw_only=True)
class Accepted:
    """A message that the sandbox has taken, with all that was asked for."""

    message_id: str
    phone: str
    """Digits."""
    extra_id: str | None
    text: str | None
    """Of a batch, where each message has its own for all channels."""
    channels: list[str]
    channel_options: dict[str, dict[str, Any]]
    callback_url: str | None
    at: float = field(default_factory=time)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message so far: -1 while nothing has."""

    channel: str = "hyber"
    code: int = -1
    at: float = field(default_factory=time)


class HyberSandbox(Sandbox):
    """Hyber for one client; what was sent twice is delivered twice."""

    name = "hyber"
    credentials: ClassVar[Mapping[str, str]] = {
        "client_id": "4075",
        "login": "switchboard",
        "password": "9e107d9d372bb6826bd81d3542a419d6",
    }

    def __init__(
        self,
        *,
        moment: float = 0.5,
        seconds_per_ttl_second: float = 0.001,
        error_status: int = 200,
        pushes: int = 1,
        newest_first: bool = False,
        not_found_first: int = 0,
    ) -> None:
        super().__init__()
        self.accepted: list[Accepted] = []
        self.pushed: list[dict[str, Any]] = []
        """Every report that somebody was told, as often as they were."""
        self.moment = moment
        """Seconds that a phone takes to answer."""
        self.seconds_per_ttl_second = seconds_per_ttl_second
        """How long a second of a ttl is: the longest one shall be over while somebody watches."""
        self.error_status = error_status
        """Of a refusal: their own client expects another one than 200."""
        self.pushes = pushes
        """How often each report is pushed."""
        self.newest_first = newest_first
        """Whether that a message was seen is pushed before that it was delivered."""
        self.not_found_first = not_found_first
        """How many look-ups of a message do not find it yet."""
        self._messages: dict[str, Accepted] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._by_extra_id: dict[str, str] = {}
        self._looked_up: Counter[str] = Counter()
        self._deliveries: set[asyncio.Task[None]] = set()
        self._session: ClientSession | None = None

    @property
    def settings(self) -> Mapping[str, str]:
        return {
            **super().settings,
            "batch_url": self.url,
            "reports_url": self.url,
            "alpha_name": ALPHA_NAME,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.post("/{client_id}", self._let_in(self._send)),
            web.post("/{client_id}/batch/sync", self._let_in(self._send_batch)),
            web.get("/{client_id}/api/dr/{message_id}/simple", self._let_in(self._report)),
            web.get("/{client_id}/api/dr/external/{extra_id}/simple", self._let_in(self._report_of)),
        ]

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        await super().start(host, port)
        self._session = ClientSession(timeout=ClientTimeout(total=5))

    async def stop(self) -> None:
        await super().stop()  # first, so that nothing more is accepted
        for delivery in self._deliveries:
            delivery.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        if self._session:
            await self._session.close()

    async def settled(self) -> None:
        """Until nothing more will be heard of what was accepted so far."""
        while self._deliveries:
            await asyncio.wait(self._deliveries)

    def _let_in(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: web.Request) -> web.Response:
            if not self._is_known(request):
                # Inferred: what is in the body.
                headers = {"WWW-Authenticate": 'Basic realm="Hyber"'}
                return web.Response(status=401, text="Unauthorized", headers=headers)
            try:
                return await endpoint(request)
            except HyberError as error:
                body = {"error_code": error.code, "error_text": str(error)}
                return answer(body, status=error.status or self.error_status)

        return guarded

    def _is_known(self, request: web.Request) -> bool:
        right = encode_basic_auth(self.credentials["login"], self.credentials["password"])
        return (
            request.headers.get("Authorization") == right
            and request.match_info["client_id"] == self.credentials["client_id"]
        )

    async def _send(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        check_form(body, with_texts=True)
        return answer({"message_id": self._accept(body, body).message_id})

    async def _send_batch(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        messages = body.get("messages")
        if not messages:
            raise HyberError(36002, "messages")
        if not isinstance(messages, list) or len(messages) > LONGEST_BATCH:
            raise HyberError(36003, "messages")
        check_form(body, with_texts=False)
        return answer({"messages": [self._accept_part(message, body) for message in messages]})

    def _accept_part(self, message: Any, form: Mapping[str, Any]) -> dict[str, Any]:
        """Inferred: one that is refused says why as a campaign's report would, and stops no other."""
        if not isinstance(message, dict):
            raise HyberError(36003, "messages")
        said = {"phone_number": str(message.get("phone_number")), "extra_id": message.get("extra_id")}
        try:
            if "sms" in form["channels"] and not message.get("text"):
                raise HyberError(36002, "text")
            message_id = self._accept(message, form).message_id
        except HyberError as error:
            refused = {"error_code": error.code, "error_text": str(error)}
            return {"processed": False, "accepted": False, **said, **refused}
        return {"processed": True, "message_id": message_id, "accepted": True, **said}

    def _accept(self, message: Mapping[str, Any], form: Mapping[str, Any]) -> Accepted:
        accepted = Accepted(
            message_id=str(uuid4()),
            phone=phone_of(message),
            extra_id=short(message, "extra_id", 64),
            text=message.get("text"),
            channels=form["channels"],
            channel_options=form["channel_options"],
            callback_url=short(form, "callback_url", 256),
        )
        self.accepted.append(accepted)
        self._messages[accepted.message_id] = accepted
        self._outcomes[accepted.message_id] = Outcome()
        if accepted.extra_id:
            # Inferred: no id is too old to be used again, and the newest message is the one it means.
            self._by_extra_id[accepted.extra_id] = accepted.message_id
        delivery = asyncio.create_task(self._deliver(accepted))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)
        return accepted

    async def _report(self, request: web.Request) -> web.Response:
        return self._found(request.match_info["message_id"])

    async def _report_of(self, request: web.Request) -> web.Response:
        return self._found(self._by_extra_id.get(request.match_info["extra_id"], ""))

    def _found(self, message_id: str) -> web.Response:
        found = self._messages.get(message_id)
        if found is None:
            raise HyberError(36004, status=404)
        self._looked_up[message_id] += 1
        if self._looked_up[message_id] <= self.not_found_first:
            raise HyberError(36004, status=404)
        return answer(looked_up(found, self._outcomes[message_id]))

    async def _deliver(self, message: Accepted) -> None:
        if message.phone.endswith(SILENT):
            return
        for channel in message.channels:
            code = await self._try(message, channel)
            outcome = Outcome(channel, code)
            if code == DELIVERED[channel]:
                break
        self._outcomes[message.message_id] = outcome
        if not self.newest_first:
            await self._push(message, outcome)
        if message.phone.endswith(SEES) and outcome.channel in SEEN:
            await asyncio.sleep(self.moment)
            seen = self._outcomes[message.message_id] = Outcome(outcome.channel, SEEN[outcome.channel])
            await self._push(message, seen)
        if self.newest_first:
            await self._push(message, outcome)

    async def _try(self, message: Accepted, channel: str) -> int:
        """How it ends on this channel."""
        is_deaf = message.phone.endswith(EXPIRES) or (message.phone.endswith(ONLY_SMS) and channel != "sms")
        if is_deaf:
            await asyncio.sleep(message.channel_options[channel]["ttl"] * self.seconds_per_ttl_second)
            return EXPIRED
        await asyncio.sleep(self.moment)
        return FAILED if message.phone.endswith(FAILS) else DELIVERED[channel]

    async def _push(self, message: Accepted, outcome: Outcome) -> None:
        if message.callback_url is None or self._session is None:
            return
        report = pushed(message, outcome)
        for _ in range(self.pushes):
            if await self._is_heard(self._session, message.callback_url, report):
                self.pushed.append(report)

    async def _is_heard(self, session: ClientSession, url: str, report: Mapping[str, Any]) -> bool:
        """Inferred: how often they try, and what they take for an answer."""
        for tries in range(TRIES):
            await asyncio.sleep(self.moment * tries)
            with suppress(ClientError, OSError):
                async with session.post(url, json=report) as response:
                    if response.ok:
                        return True
        return False


def looked_up(message: Accepted, outcome: Outcome) -> dict[str, Any]:
    return {
        "phone_number": message.phone,
        "last_partner": outcome.channel,
        **said_of(message, outcome),
    }


def pushed(message: Accepted, outcome: Outcome) -> dict[str, Any]:
    return {"number": message.phone, "sent_via": outcome.channel, **said_of(message, outcome)}


def said_of(message: Accepted, outcome: Outcome) -> dict[str, Any]:
    has_ended = outcome.code > 0
    # Inferred: that the more detailed statuses are -1 too, as long as the status is.
    return {
        "message_id": message.message_id,
        "extra_id": message.extra_id,
        "time": int(outcome.at * 1000),
        "status": outcome.code // 10_000 if has_ended else -1,
        "substatus": outcome.code // 1000 if has_ended else -1,
        "hyber_status": outcome.code,
        **({"total_sms_parts": 1, "delivered_sms_parts": 1} if outcome.code == DELIVERED["sms"] else {}),
    }


async def body_of(request: web.Request) -> dict[str, Any]:
    try:
        return dict(orjson.loads(await request.read()))
    except (TypeError, ValueError):
        raise HyberError(36001) from None


def check_form(body: Mapping[str, Any], *, with_texts: bool) -> None:
    """One mandatory parameter that is missing, and nothing of the request is taken."""
    channels, options = body.get("channels"), body.get("channel_options")
    if not channels:
        raise HyberError(36002, "channels")
    if not options:
        raise HyberError(36002, "channel_options")
    known = isinstance(channels, list) and all(isinstance(c, str) and c in TTLS for c in channels)
    if not known or len(set(channels)) != len(channels):
        raise HyberError(36003, "channels")
    if not isinstance(options, dict):
        raise HyberError(36003, "channel_options")
    for channel in channels:
        check_option(channel, options.get(channel), with_texts=with_texts)


def check_option(channel: str, option: Any, *, with_texts: bool) -> None:
    if not isinstance(option, dict):
        raise HyberError(36002, channel)
    for name in ("ttl", *MANDATORY[channel]):
        if not option.get(name) and (with_texts or name != "text"):
            raise HyberError(36002, f"{channel}.{name}")
    shortest, longest = TTLS[channel]
    if type(option["ttl"]) is not int or not shortest <= option["ttl"] <= longest:
        raise HyberError(36003, f"{channel}.ttl")
    if with_texts and not any(name in option for name in SAYS_SOMETHING):
        raise HyberError(36002, f"{channel}.text")


def phone_of(message: Mapping[str, Any]) -> str:
    """Their older clients write it as text."""
    phone = message.get("phone_number")
    if phone is None:
        raise HyberError(36002, "phone_number")
    digits = str(phone).removeprefix("+")
    if not re.fullmatch("[1-9][0-9]{6,14}", digits) or digits.endswith(REFUSED):
        raise HyberError(PHONE_INCORRECT)
    return digits


def short(body: Mapping[str, Any], name: str, longest: int) -> str | None:
    text = body.get(name)
    if text is not None and (not isinstance(text, str) or len(text) > longest):
        raise HyberError(36003, name)
    return text
