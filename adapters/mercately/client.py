"""Mercately's client: its wire models, and one method per question we ask."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec
from pydantic import Field, SecretStr

from adapters.errors import SourceError
from adapters.mercately.sandbox import MercatelySandbox
from adapters.rest import UNREADABLE, Rest, Source

API = "/retailers/api/v1"


class MercatelySettings(Source):
    credentials: ClassVar = ("slug", "api_key")

    url: str = Field("https://app.mercately.com", description="The part before /retailers/api/v1.")
    slug: str = Field("", description="The retailer's slug.")
    api_key: SecretStr = Field(SecretStr(""), description="The retailer's API key.")


class Agent(msgspec.Struct, frozen=True):
    id: int
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    admin: bool | None = None


class Template(msgspec.Struct, frozen=True):
    text: str
    status: str
    type: str = msgspec.field(name="template_type")
    id: str | None = msgspec.field(name="internal_id", default=None)


class _Agents(msgspec.Struct):
    agents: list[Agent]


class _Templates(msgspec.Struct):
    templates: list[Template]


class _Refusal(msgspec.Struct):
    """Both of their error envelopes."""

    message: str | list[str] = ""
    errors: str | list[str] = msgspec.field(default_factory=list)

    @property
    def said(self) -> str:
        return "; ".join(_lines(self.message) + _lines(self.errors))


class Mercately(Rest):
    name = "mercately"
    title = "Mercately"
    Settings = MercatelySettings
    Sandbox = MercatelySandbox

    @classmethod
    def headers(cls, settings: MercatelySettings) -> Mapping[str, str]:
        return {"Slug": settings.slug, "Api-Key": settings.api_key.get_secret_value()}

    async def ping(self) -> None:
        await self.agents()

    async def agents(self) -> dict[int, Agent]:
        found = await self._get("agents", f"{API}/agents", _Agents)
        return {agent.id: agent for agent in found.agents}

    async def templates(self) -> dict[str, Template]:
        """Those with an id: one without can be neither named nor sent."""
        found = await self._get("templates", f"{API}/whatsapp_templates", _Templates)
        return {template.id: template for template in found.templates if template.id}

    def _refusal(self, status: int, body: bytes) -> SourceError | None:
        if 200 <= status < 300:
            return None
        said = _read_refusal(body).said
        # An unknown slug is a 404, checked before the key; today's documentation calls a bad key a 400.
        if (status, said) in {(404, "Resource not found"), (401, "Unauthorized"), (400, "Unauthorized")}:
            return self._refused_credentials()
        # Their validation answers 302 with the errors as JSON and no Location.
        if said and (status == 302 or 400 <= status < 429):
            return self._said_no(str(status), said)
        return super()._refusal(status, body)


def _read_refusal(body: bytes) -> _Refusal:
    try:
        return msgspec.json.decode(body, type=_Refusal)
    except UNREADABLE:
        return _Refusal()


def _lines(said: str | list[str]) -> list[str]:
    return [said] if isinstance(said, str) and said else list(said)
