"""Anything by its id."""

import pytest

from resolvers.ids import to_id
from tests.gateways import Gateway

AGENT = to_id("Agent", 2763)
TEMPLATE = to_id("Template", "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed")


async def test_a_node_is_of_its_own_type(gateway: Gateway) -> None:
    data = await gateway.data(
        """query ($agent: ID!, $template: ID!) {
          agent: node(id: $agent) { __typename id ... on Agent { email } }
          template: node(id: $template) { __typename id ... on Template { parameterCount } }
        }""",
        agent=AGENT,
        template=TEMPLATE,
    )

    assert data == {
        "agent": {"__typename": "Agent", "id": AGENT, "email": "agent@example.com"},
        "template": {"__typename": "Template", "id": TEMPLATE, "parameterCount": 3},
    }


async def test_nodes_come_in_the_order_asked_and_null_where_there_is_none(gateway: Gateway) -> None:
    data = await gateway.data(
        "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[TEMPLATE, to_id("Agent", 1), AGENT, TEMPLATE]
    )

    assert data["nodes"] == [{"id": TEMPLATE}, None, {"id": AGENT}, {"id": TEMPLATE}]


async def test_one_bad_id_among_nodes_is_an_error_in_its_place_alone(gateway: Gateway) -> None:
    answer = await gateway.ask("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[AGENT, "x"])

    assert answer["data"]["nodes"] == [{"id": AGENT}, None]
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["nodes", 1], "BAD_USER_INPUT")


async def test_more_than_a_hundred_nodes_are_refused_before_any_call(gateway: Gateway) -> None:
    error = await gateway.error("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[AGENT] * 101)

    assert error["extensions"]["fields"] == {"ids": "Ask for at most 100 at a time; 101 given."}
    assert gateway.mercately.count("") == 0


@pytest.mark.parametrize("id", ["", "x", to_id("Query", "1"), to_id("Nothing", "1"), to_id("Agent", "x")])
async def test_an_id_that_this_gateway_never_gave_is_bad_input(gateway: Gateway, id: str) -> None:
    error = await gateway.error("query ($id: ID!) { node(id: $id) { id } }", id=id)

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
