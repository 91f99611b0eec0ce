"""Mercately's answers, read into our models, and its refusals, told apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import Busy, Misconfigured, Rejected, SourceError, Unavailable
from adapters.mercately.client import Agent, Mercately, MercatelySettings, Template
from adapters.mercately.sandbox import NO_BALANCE, MercatelySandbox
from adapters.rest import Mode

SEED = json.loads((Path(__file__).parents[1] / "seeds" / "mercately.json").read_text())
RUBY = {"message": "undefined method `id' for nil:NilClass"}


class Vendor:
    """The sandbox, saying what it is told to, and the client that hears it."""

    def __init__(self, sandbox: MercatelySandbox, client: Mercately) -> None:
        self.sandbox = sandbox
        self.client = client

    async def agents(self, *agents: object, **more: object) -> dict[int, Agent]:
        self.sandbox.trouble("wrong_shape", body={"agents": agents, **more})
        return await self.client.agents()

    async def templates(self, *templates: object) -> dict[str, Template]:
        self.sandbox.trouble("wrong_shape", body={"templates": templates})
        return await self.client.templates()

    async def refuses(self, status: int, body: object) -> SourceError:
        self.sandbox.trouble("status", status=status, body=body)
        with pytest.raises(SourceError) as caught:
            await self.client.agents()
        return caught.value


@pytest.fixture
def vendor(mercately_sandbox: MercatelySandbox, mercately: Mercately) -> Vendor:
    return Vendor(mercately_sandbox, mercately)


# What it answers


async def test_the_documented_agents_are_read_whole(vendor: Vendor) -> None:
    assert await vendor.agents(*SEED["agents"]["agents"]) == {
        2763: Agent(id=2763, first_name="Agent", last_name="Example", email="agent@example.com", admin=True)
    }


async def test_the_documented_templates_are_read_whole(vendor: Vendor) -> None:
    id = "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed"

    assert await vendor.templates(*SEED["templates"]["templates"]) == {
        id: Template(
            text="Hi *. Welcome to our WhatsApp. We will be here for any question.",
            status="active",
            type="text",
            id=id,
        )
    }


async def test_what_the_vendor_adds_is_ignored(vendor: Vendor) -> None:
    agents = await vendor.agents({"id": 1, "shift": {"from": 9}, "first_name": "Ana"}, page=1)

    assert agents == {1: Agent(1, first_name="Ana")}


@pytest.mark.parametrize(
    "agent", [{"id": 1}, {"id": 1, "first_name": None, "last_name": None, "email": None, "admin": None}]
)
async def test_an_agent_may_lack_all_but_its_id(vendor: Vendor, agent: object) -> None:
    assert await vendor.agents(agent) == {1: Agent(1)}


async def test_names_come_with_all_their_letters(vendor: Vendor) -> None:
    agents = await vendor.agents({"id": 1, "first_name": "Íñigo 🎁", "last_name": "Ñuñoa"})

    assert agents[1] == Agent(1, "Íñigo 🎁", "Ñuñoa")


async def test_no_agents_and_no_templates_are_none(vendor: Vendor) -> None:
    assert await vendor.agents() == {}
    vendor.sandbox.heal()
    assert await vendor.templates() == {}


@pytest.mark.parametrize("id", [{}, {"internal_id": None}, {"internal_id": ""}])
async def test_a_template_without_an_id_is_left_out(vendor: Vendor, id: dict[str, Any]) -> None:
    known = {"text": "Hi", "status": "active", "template_type": "text"}
    templates = await vendor.templates({**known, **id}, {**known, "internal_id": "a1"})

    assert list(templates) == ["a1"]


async def test_values_that_no_document_mentions_survive(vendor: Vendor) -> None:
    templates = await vendor.templates(
        {"text": "Hi", "status": "paused", "template_type": "carousel", "internal_id": "a1"}
    )

    assert templates["a1"] == Template("Hi", "paused", "carousel", "a1")


async def test_the_sandbox_is_read_whole(mercately: Mercately) -> None:
    agents, templates = await mercately.agents(), await mercately.templates()

    assert len(agents) == 40
    assert all(agents[id].id == id for id in agents)
    assert all(templates[id].id == id and templates[id].text for id in templates)


# What it refuses


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"message": "Resource not found"}),
        (401, {"message": "Unauthorized"}),
        (400, {"message": "Unauthorized"}),
        (401, {"message": "Unauthorized", "info": {"data": {}}}),
        (401, ""),
        (403, ""),
    ],
)
async def test_a_refusal_of_our_credentials_is_ours_to_mend(
    vendor: Vendor, status: int, body: object
) -> None:
    refusal = await vendor.refuses(status, body)

    assert type(refusal) is Misconfigured
    assert str(refusal) == "Mercately refuses our credentials: `switchboard doctor` says what to set."


@pytest.mark.parametrize("wrong", ["slug", "api_key"])
async def test_the_wrong_credentials_are_refused(mercately_sandbox: MercatelySandbox, wrong: str) -> None:
    settings = MercatelySettings.model_validate(
        {"url": mercately_sandbox.url, **MercatelySandbox.credentials, wrong: "wrong"}
    )
    async with Mercately.open(settings, Mode.REAL) as mercately:
        with pytest.raises(Misconfigured):
            await mercately.ping()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (302, {"errors": ["Email invalido"]}, "Email invalido"),
        (302, {"errors": ["Email invalido", "Ya existe."]}, "Email invalido; Ya existe."),
        (302, {"errors": "Email invalido"}, "Email invalido"),
        (401, {"message": NO_BALANCE}, NO_BALANCE),
        (400, {"message": ["Nombre vacío", "Precio vacío"]}, "Nombre vacío; Precio vacío"),
        (400, {"message": "Error: Missing phone number and/or internal_id"}, None),
        (404, {"message": "Customer not found"}, "Customer not found"),
        (404, {"message": "Error: Template not found.", "info": {"data": {}}}, "Error: Template not found."),
        (422, {"message": "No", "errors": ["Nunca"]}, "No; Nunca"),
        (400, {"message": "Falló +593 99 999 9999 de ana@example.com"}, "Falló … de …"),
    ],
)
async def test_a_refusal_says_what_the_vendor_said(
    vendor: Vendor, status: int, body: Any, said: str | None
) -> None:
    refusal = await vendor.refuses(status, body)

    assert isinstance(refusal, Rejected)
    assert str(refusal) == "Mercately refused the request."
    assert refusal.extensions == {
        "code": "SOURCE_REJECTED",
        "source": "MERCATELY",
        "vendorCode": str(status),
        "vendorMessage": said or body["message"],
    }


@pytest.mark.parametrize("status", [400, 404, 409, 422])
@pytest.mark.parametrize(
    "body",
    ["", "<html>", "null", [], {"message": None}, {"message": {}}, {"errors": [1]}, {"error": "Not Found"}],
    ids=str,
)
async def test_a_refusal_without_words_is_a_refusal(vendor: Vendor, status: int, body: object) -> None:
    refusal = await vendor.refuses(status, body)

    assert refusal.extensions == {
        "code": "SOURCE_REJECTED",
        "source": "MERCATELY",
        "vendorCode": str(status),
    }


async def test_a_long_refusal_is_told_in_short(vendor: Vendor) -> None:
    refusal = await vendor.refuses(400, {"message": "no " * 50_000})

    assert isinstance(refusal, Rejected)
    assert 100 < len(refusal.vendor_message) <= 200


@pytest.mark.parametrize(
    ("status", "kind"), [(429, Busy), (500, Unavailable), (502, Unavailable), (503, Unavailable)]
)
@pytest.mark.parametrize("body", ["", "<h1>We're sorry, but something went wrong.</h1>", RUBY], ids=str)
async def test_what_a_failing_vendor_says_is_not_told(
    vendor: Vendor, status: int, kind: type[SourceError], body: object
) -> None:
    refusal = await vendor.refuses(status, body)

    assert type(refusal) is kind
    assert refusal.extensions == {"code": "SOURCE_UNAVAILABLE", "source": "MERCATELY"}
