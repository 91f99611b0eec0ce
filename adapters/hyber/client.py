"""Hyber's client: one method per question we ask."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeVar
from urllib.parse import quote

import msgspec
from aiohttp import TCPConnector, encode_basic_auth
from pydantic import Field, SecretStr, field_validator

from adapters.errors import Fault, Rejected, SourceError, Unacceptable, Unavailable
from adapters.hyber.message import Form, Message
from adapters.hyber.report import Report, Wire
from adapters.hyber.sandbox import HyberSandbox
from adapters.rest import UNREADABLE, Mode, Path, Rest, Source
from adapters.together import Together

T = TypeVar("T")

NOBODY = "00000000-0000-0000-0000-000000000000"
"""No message has this id."""

PHONE_INCORRECT = {"36024", "1154"}
"""The newer code and the older one."""

NOT_ACCEPTED = "NOT_ACCEPTED"
"""Our code for a message of a batch that was refused without one of theirs."""

# Inferred: nobody tells what they answer about a message that they do not know. A 404 without their own error
# in it is no such answer: it may as well come from a wrong address.
UNKNOWN = re.compile(r"not (found|exist)|no such|unknown (message|id)", re.IGNORECASE)


class HyberSettings(Source):
    credentials: ClassVar = ("client_id", "login", "password")

    url: str = Field(
        "https://api-v2.hyber.im",
        description="The part before the client's id; with a site of your own, https://api-v2-{site}.hyber.im.",
    )
    batch_url: str = Field(
        "https://proxy.hyber.im", description="The same for batches: https://proxy-{site}.hyber.im."
    )
    reports_url: str = Field(
        "https://dr-v2.hyber.im", description="The same for reports: https://dr-v2-{site}.hyber.im."
    )
    client_id: str = Field("", description="The client's id.")
    login: str = Field("", pattern="^[^:]*$", description="The login of the client's API.")
    password: SecretStr = Field(SecretStr(""), description="Its password.")
    alpha_name: str = Field(
        "", description="Whom an SMS comes from, where it does not say: a name registered with GMS."
    )
    rate: float | None = Field(
        None, gt=0, description="Messages a second at most, of all processes; left out, there is no limit."
    )

    @field_validator("batch_url", "reports_url")
    @classmethod
    def _http_too(cls, url: str) -> str:
        return cls._http(url)


class _Said(msgspec.Struct):
    """Both of their envelopes: an error has a code, everything else an id or several messages."""

    message_id: Any = None
    messages: Any = None
    error_code: int | str | None = None
    error_text: str | None = None


class _Accepted(msgspec.Struct):
    message_id: Annotated[str, msgspec.Meta(min_length=1)] | int


class _Sent(msgspec.Struct):
    """What they say of one message of a batch."""

    extra_id: str | int | None = None
    message_id: str | int | None = None
    accepted: bool | None = None
    error_code: int | str | None = None
    error_text: str | None = None


class _Batch(msgspec.Struct):
    messages: list[_Sent]


class _NotThere(Rejected):
    """They do not know the message."""


class Hyber(Rest):
    name = "hyber"
    title = "Hyber"
    Settings = HyberSettings
    Sandbox = HyberSandbox

    _settings: HyberSettings

    def __init__(self, settings: Source, mode: Mode, connector: TCPConnector) -> None:
        super().__init__(settings, mode, connector)
        # One that answers slowly keeps nobody waiting who comes later.
        self._sending = Together(self._send_all, in_turn=False)

    @classmethod
    def headers(cls, settings: HyberSettings) -> Mapping[str, str]:
        return {"Authorization": encode_basic_auth(settings.login, settings.password.get_secret_value())}

    @property
    def alpha_name(self) -> str:
        """Whom an SMS comes from that does not say."""
        return self._settings.alpha_name

    @property
    def rate(self) -> float | None:
        """Messages a second that it may be sent at most."""
        return self._settings.rate

    async def ping(self) -> None:
        await self.report(NOBODY)

    async def send(self, message: Message) -> str:
        """Answers the id that they give it.

        Those of one form that come together go together: a crowd of single messages does not wait for one
        of our connections each.
        """
        return await self._sending(message)

    async def _send_all(self, messages: Sequence[Message]) -> list[str | Exception]:
        answers: dict[int, str | Exception] = {}

        async def send(form: Form | None, places: Sequence[int]) -> None:
            some = [messages[place] for place in places]
            answers.update(zip(places, await self._send_some(form, some), strict=True))

        forms = defaultdict[Form | None, list[int]](list)
        for place, message in enumerate(messages):
            forms[message.form if message.extra_id else None].append(place)
        await asyncio.gather(*(send(form, places) for form, places in forms.items()))
        return [answers[place] for place in range(len(messages))]

    async def _send_some(self, form: Form | None, messages: Sequence[Message]) -> Sequence[str | SourceError]:
        if form and len(messages) > 1:
            try:
                return await self.send_batch(form, messages)
            except Rejected:  # all of them, though the fault may be that of one
                pass
            except SourceError as error:
                return [error] * len(messages)
        return await asyncio.gather(*(_answer(self._send_alone(message)) for message in messages))

    async def _send_alone(self, message: Message) -> str:
        path = Path("/{client}", client=self._client)
        return str((await self._post("send", path, _Accepted, message.body)).message_id)

    async def send_batch(self, form: Form, messages: Sequence[Message]) -> list[str | SourceError]:
        """Of each message, in order, the id that they give it, or why not.

        The messages have that form, and an extra_id each. Whom the answer does not mention may have got
        theirs: that is in doubt. Inferred: what a refused one looks like, and that it stops no other.
        """
        body = {"messages": [message.part for message in messages], **form.body}
        path = Path("{host}/{client}/batch/sync", host=self._settings.batch_url, client=self._client)
        found = await self._post("send batch", path, _Batch, body)
        outcomes = {str(sent.extra_id): self._outcome(sent) for sent in found.messages if sent.extra_id}
        return [outcomes.get(message.extra_id or "") or self._in_doubt() for message in messages]

    async def report(self, message_id: str) -> Report | None:
        return await self._look_up("report", quote(message_id, safe=""))

    async def report_of(self, extra_id: str) -> Report | None:
        """Inferred: of several messages with this id, the newest."""
        return await self._look_up("report of", f"external/{quote(extra_id, safe='')}")

    async def _look_up(self, question: str, which: str) -> Report | None:
        path = Path(
            "{host}/{client}/api/dr/{message}/simple",
            host=self._settings.reports_url,
            client=self._client,
            message=which,
        )
        try:
            return (await self._get(question, path, Wire)).report
        except _NotThere:
            return None

    async def _post(self, question: str, path: str, answer: type[T], body: Mapping[str, Any]) -> T:
        return await self._change(question, "POST", path, answer, json=body)

    @property
    def _client(self) -> str:
        return quote(self._settings.client_id, safe="")

    def _outcome(self, sent: _Sent) -> str | Rejected | None:
        if sent.error_code is not None or sent.accepted is False:
            return self._no(str(sent.error_code or NOT_ACCEPTED), sent.error_text or "")
        return str(sent.message_id) if sent.message_id else None

    def _in_doubt(self) -> SourceError:
        error = Unavailable(self.name, f"{self.title} did not say whether it has taken the message.")
        error.doubt()
        return error

    def _reader(self, answer: type[T]) -> Callable[[bytes], T]:
        """Some of their numbers were text once."""
        return msgspec.json.Decoder(answer, strict=False).decode

    def _refusal(self, status: int, body: bytes) -> SourceError | None:
        if status in (401, 403, 429):
            return super()._refusal(status, body)
        # Whatever the status: their own client reads errors from other ones than 200, and others from 200.
        said = _read(body)
        if said.message_id or said.messages:
            return None
        if said.error_code is None:
            return super()._refusal(status, body)
        code, text = str(said.error_code), said.error_text or ""
        if code not in PHONE_INCORRECT and (status == 404 or UNKNOWN.search(text)):
            return _NotThere(
                self.name, f"{self.title} does not know it.", vendor_code=code, vendor_message=text
            )
        return self._no(code, text)

    def _no(self, code: str, text: str) -> Rejected:
        if code not in PHONE_INCORRECT:
            return self._said_no(code, text)
        return Unacceptable(
            self.name,
            f"{self.title} refused the phone number.",
            faults={"phone": Fault.INVALID},
            vendor_code=code,
            vendor_message=text,
        )


async def _answer(question: Awaitable[str]) -> str | SourceError:
    try:
        return await question
    except SourceError as error:
        return error


_read_said = msgspec.json.Decoder(_Said).decode


def _read(body: bytes) -> _Said:
    try:
        return _read_said(body)
    except UNREADABLE:
        return _Said()
