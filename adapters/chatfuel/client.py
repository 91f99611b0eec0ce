"""Chatfuel's client: how one user of a bot is written to."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import msgspec
from pydantic import Field, SecretStr, ValidationInfo, field_validator

from adapters.chatfuel.sandbox import ChatfuelSandbox
from adapters.errors import Fault, Misconfigured, Rejected, SourceError, Unacceptable
from adapters.rest import UNREADABLE, Mode, Path, Rest, Source

LONGEST_TEXT = 2_000
"""Characters. Inferred: Messenger takes as many; what the vendor takes, within a URL, nobody says."""

BLOCK = "Message"
"""What shows the text, where no setting names another."""

USER_ID = re.compile(r"[0-9A-Za-z]{1,64}")

# Inferred, as all their sentences are.
NOBODY = re.compile(
    r"\b(?:no such|unknown|invalid) user\b|\buser\b.{0,40}\b(?:not found|unknown|does(?:n't| not) exist)",
    re.I,
)


class ChatfuelSettings(Source):
    credentials: ClassVar = ("bot_id", "token")

    url: str = Field("https://api.chatfuel.com", description="The part before /bots.")
    bot_id: str = Field("", description="The bot's id, as in the address of its dashboard.")
    token: SecretStr = Field(SecretStr(""), description="The bot's token for the Broadcasting API.")
    block: str = Field(
        "", description=f"Name of the block that shows the text: `{BLOCK}`, if neither it nor a flow is set."
    )
    flow: str = Field("", description="Name of the flow that shows the text, instead of a block.")
    attribute: str = Field(
        "text",
        min_length=1,
        description="Name of the user attribute in which the block or flow finds the text.",
    )
    tag: str = Field(
        "UPDATE",
        min_length=1,
        description="Messenger's message tag; `UPDATE` is for those who wrote to the bot within 24 hours.",
    )
    rate: float | None = Field(
        25,
        gt=0,
        description="Messages a second at most, of all processes: Chatfuel takes so many from a bot.",
    )

    @field_validator("bot_id")
    @classmethod
    def _fits_into_a_path(cls, bot_id: str) -> str:
        if re.fullmatch(r"[0-9A-Za-z]*", bot_id):
            return bot_id
        raise ValueError("must be letters and digits")

    @field_validator("flow")
    @classmethod
    def _instead_of_a_block(cls, flow: str, others: ValidationInfo) -> str:
        if flow and others.data.get("block"):
            raise ValueError("is set, and so is a block: the text is shown by one of them, set only that one")
        return flow

    @field_validator("attribute")
    @classmethod
    def _is_not_reserved(cls, attribute: str) -> str:
        if attribute.lower().startswith("chatfuel_") or attribute == "tags":
            raise ValueError("must not be `tags` or start with `chatfuel_`, which Chatfuel keeps for itself")
        return attribute

    @property
    def shown_by(self) -> Mapping[str, str]:
        return (
            {"chatfuel_flow_name": self.flow} if self.flow else {"chatfuel_block_name": self.block or BLOCK}
        )


class _Answer(msgspec.Struct):
    success: bool
    result: Any = None
    """Why not, in words, if they say it."""


_read_answer = msgspec.json.Decoder(_Answer).decode


class Chatfuel(Rest):
    name = "chatfuel"
    title = "Chatfuel"
    Settings = ChatfuelSettings
    Sandbox = ChatfuelSandbox

    _settings: ChatfuelSettings

    @property
    def rate(self) -> float | None:
        """Messages a second that it may be sent at most."""
        return self._settings.rate

    async def ping(self) -> None:
        """Proves that something answers there, not that it takes our token: a send is all one can ask."""
        try:
            await self._call("ping", "GET", "/bots", bytes)
        except (Rejected, Misconfigured):
            if self.mode is Mode.OFF:
                raise

    async def send(self, user_id: str, text: str) -> None:
        """Shows the text to this user of the bot; that they accept it is all they ever say about it."""
        if not USER_ID.fullmatch(user_id):
            raise self._unacceptable_user(vendor_code="")
        query = {
            "chatfuel_token": self._settings.token.get_secret_value(),
            "chatfuel_message_tag": self._settings.tag,
            **self._settings.shown_by,
            self._settings.attribute: text,
        }
        # Spaces as %20: a plus is one to those only who read a query as a form.
        path = Path(
            "/bots/{bot}/users/{user}/send?{query}",
            bot=self._settings.bot_id,
            user=user_id,
            query=urlencode(query, quote_via=quote),
        )
        await self._change("send", "POST", path, _Answer, json={})

    def _refusal(self, status: int, body: bytes) -> SourceError | None:
        """`success` decides, whatever the status; where it is missing, the status does."""
        said = _answer(body)
        if said and said.success:
            return None
        if said is None or status in (401, 403, 429):
            return super()._refusal(status, body)
        why = self._discreet(said.result) if isinstance(said.result, str) else ""
        if NOBODY.search(why):
            return self._unacceptable_user(vendor_code=str(status), vendor_message=why)
        return self._said_no(str(status), why)

    def _unacceptable_user(self, *, vendor_code: str, vendor_message: str = "") -> Unacceptable:
        return Unacceptable(
            self.name,
            f"{self.title} does not know this user of the bot.",
            faults={"messenger_id": Fault.INVALID},
            vendor_code=vendor_code,
            vendor_message=vendor_message,
        )

    def _discreet(self, said: str) -> str:
        """Their sentence, should it repeat our token, without it."""
        token = self._settings.token.get_secret_value()
        return said.replace(token, "…") if token else said


def _answer(body: bytes) -> _Answer | None:
    try:
        return _read_answer(body)
    except UNREADABLE:
        return None
