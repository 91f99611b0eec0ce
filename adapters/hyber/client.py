"""Hyber's client: one method per question we ask."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeVar
from urllib.parse import quote

import msgspec
from aiohttp import encode_basic_auth
from pydantic import Field, SecretStr, field_validator

from adapters.errors import Fault, Rejected, SourceError, Unacceptable
from adapters.hyber.message import Message
from adapters.hyber.report import Report, Wire
from adapters.hyber.sandbox import HyberSandbox
from adapters.rest import UNREADABLE, Rest, Source

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
        """Answers the id that they give it."""
        path = f"/{self._client}"
        return str((await self._post("send", path, _Accepted, message.body)).message_id)

    async def send_batch(self, messages: Sequence[Message]) -> dict[str, str | Rejected]:
        """By extra_id: the id that they give a message, or why they refuse it.

        The messages have one form and an extra_id each. Whom the answer does not mention may have got theirs:
        look it up. Inferred: what a refused one looks like, and that it does not stop the others.
        """
        forms = [message.form for message in messages]
        if not messages or forms[0] is None or any(form != forms[0] for form in forms):
            raise ValueError("The messages of a batch have one form, which says the same on each channel.")
        return await self.send_parts(forms[0], [message.part for message in messages])

    async def send_parts(
        self, form: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]
    ) -> dict[str, str | Rejected]:
        """The same of what the messages have in common, and of what is their own."""
        body = {"messages": parts, **form}
        path = f"{self._settings.batch_url}/{self._client}/batch/sync"
        found = await self._post("send batch", path, _Batch, body)
        outcomes = {str(sent.extra_id): self._outcome(sent) for sent in found.messages if sent.extra_id}
        return {extra_id: outcome for extra_id, outcome in outcomes.items() if outcome is not None}

    async def report(self, message_id: str) -> Report | None:
        return await self._look_up("report", quote(message_id, safe=""))

    async def report_of(self, extra_id: str) -> Report | None:
        """Inferred: of several messages with this id, the newest."""
        return await self._look_up("report of", f"external/{quote(extra_id, safe='')}")

    async def _look_up(self, question: str, which: str) -> Report | None:
        path = f"{self._settings.reports_url}/{self._client}/api/dr/{which}/simple"
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


_read_said = msgspec.json.Decoder(_Said).decode


def _read(body: bytes) -> _Said:
    try:
        return _read_said(body)
    except UNREADABLE:
        return _Said()
