"""Agents, asked for through the graph."""

import pytest

from resolvers.ids import to_id
from tests.gateways import Gateway

EXAMPLE = to_id("Agent", 2763)


async def test_agents_come_with_everything_mercately_says(gateway: Gateway) -> None:
    data = await gateway.data("{ agents { id firstName lastName email admin } }")

    assert len(data["agents"]) == 40
    assert {
        "id": EXAMPLE,
        "firstName": "Agent",
        "lastName": "Example",
        "email": "agent@example.com",
        "admin": True,
    } in data["agents"]


async def test_an_agent_is_found_by_its_id(gateway: Gateway) -> None:
    data = await gateway.data("query One($id: ID!) { agent(id: $id) { email } }", id=EXAMPLE)

    assert data == {"agent": {"email": "agent@example.com"}}


async def test_an_unknown_agent_is_null(gateway: Gateway) -> None:
    data = await gateway.data("query One($id: ID!) { agent(id: $id) { email } }", id=to_id("Agent", 1))

    assert data == {"agent": None}


async def test_everything_one_operation_asks_about_agents_costs_one_call(gateway: Gateway) -> None:
    await gateway.data(
        """query ($id: ID!) {
          all: agents { id } again: agents { email }
          one: agent(id: $id) { id } other: agent(id: "QWdlbnQ6Mjc2NA") { id }
          node(id: $id) { id } nodes(ids: [$id, "QWdlbnQ6Mjc2NQ"]) { id }
        }""",
        id=EXAMPLE,
    )

    assert gateway.mercately.count("/agents") == 1


async def test_a_later_operation_is_answered_without_asking_again(gateway: Gateway) -> None:
    first = await gateway.data("{ agents { id } }")

    assert await gateway.ask("{ agents { id } }") == {"data": first}
    assert gateway.mercately.count("/agents") == 1


@pytest.mark.parametrize(
    "id",
    [
        "",
        "x",
        "QWdlbnQ6Mjc2Mw==",
        "QWdlbnQ6",
        to_id("Agent", "abc"),
        to_id("Agent", "02763"),
        to_id("Agent", -1),
        to_id("Agent", "9" * 5000),
        to_id("Agent", "²"),
        "é",
        "\u0000",
        "QWdl\nbnQ6MQ",
    ],
)
async def test_garbage_instead_of_an_id_is_bad_input(gateway: Gateway, id: str) -> None:
    error = await gateway.error("query One($id: ID!) { agent(id: $id) { email } }", id=id)

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["fields"] == {"id": "This is not an id of this gateway: use one that it gave."}
    assert error["path"] == ["agent"]
    assert gateway.mercately.count("/agents") == 0


async def test_the_id_of_another_type_is_bad_input(gateway: Gateway) -> None:
    error = await gateway.error(
        "query One($id: ID!) { agent(id: $id) { email } }", id=to_id("Template", "997dd550")
    )

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["message"] == "This is the id of another type of thing, not of an Agent."
