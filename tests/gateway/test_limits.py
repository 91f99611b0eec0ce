"""What an operation may ask for: each limit, what it costs, and who is told the schema."""

from pathlib import Path
from typing import Any

import pytest
from graphql import get_introspection_query

from gateway.graph import build_graph
from gateway.settings import Limits, Settings, UseAuth, load
from tests.gateways import Gateway, gateway_on

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "gateway/explorer/src/examples").glob("*.graphql"))

LITTLE = Limits(
    text=500, tokens=100, depth=4, aliases=2, directives=2, root_fields=3, fragments=2, cost=300, values=10
)
OVER: dict[str, tuple[str, int]] = {
    "text": ("{ __typename } #" + "é" * 250, 516),
    "tokens": ("{ " + "a " * 99 + "}", 101),
    "depth": ("{ agents { conversations { edges { node { id } } } } }", 5),
    "aliases": ("{ agents { ...A } a: agents { ...A } } fragment A on Agent { x: id }", 3),
    "directives": (
        "{ __typename @skip(if: true) ... @skip(if: true) { sources { state @skip(if: true) } } }",
        3,
    ),
    "root_fields": (
        "{ ...A agents { id } } fragment A on Query { agents { id } ... { agents { id } __typename } }",
        4,
    ),
    "fragments": ("{ agents { ...A ...A ...B } } fragment A on Agent { id } fragment B on Agent { id }", 3),
    "cost": ("{ customers(first: 100) { edges { node { id lastName } } } }", 302),
}


@pytest.fixture
def little(settings: Settings) -> Settings:
    return settings.model_copy(update={"limits": LITTLE})


async def test_over_each_limit_it_is_refused_and_told_which_and_nobody_is_asked(little: Settings) -> None:
    async with gateway_on(little) as gateway:
        for name, (query, value) in OVER.items():
            error = await gateway.error(query)

            bound = getattr(LITTLE, name)
            assert error["extensions"]["code"] == "BAD_USER_INPUT"
            assert error["extensions"]["limit"] == {"name": name, "value": value, "bound": bound}
            assert error["message"].startswith(f"At most {bound} ")
            assert error["message"].endswith(f" are allowed, and this has {value}: ask for less at a time.")

        error = await gateway.error("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=["x"] * 10)
        assert error["extensions"]["limit"]["name"] == "values"
        assert not gateway.mercately.asked


async def test_just_within_each_limit_it_is_run(little: Settings) -> None:
    within = [
        "{ __typename } #" + "é" * 242,
        "{ agents { ...A } } fragment A on Agent { ...B } fragment B on Agent { x: id }",
        "{ a: agents { x: id } b: __typename @skip(if: true) @include(if: true) }".replace("b: ", ""),
        "{ customers(first: 99) { edges { node { id } } } }",
    ]
    async with gateway_on(little) as gateway:
        for query in within:
            await gateway.data(query)


async def test_the_cost_is_told_when_it_is_asked_for_and_follows_the_variables(gateway: Gateway) -> None:
    query = """query ($first: Int = 2, $ids: [ID!]!) {
      customers(first: $first) {
        edges { node { ...Name conversations(first: 3) { edges { node { id } } } } }
      }
      agents { id }
      nodes(ids: $ids) { id }
    }
    fragment Name on Customer { firstName }"""
    for variables, cost in (
        ({"ids": []}, 2 + 2 * 10 + 11 + 1),
        ({"ids": ["x"] * 4, "first": 10}, 2 + 10 * 10 + 11 + 5),
        ({"ids": [], "first": None}, 2 + 50 * 10 + 11 + 1),
    ):
        body: dict[str, Any] = {"query": query, "variables": variables, "extensions": {"cost": True}}
        async with gateway.session.post(f"{gateway.url}/graphql", json=body) as response:
            answer = await response.json(content_type=None)
        assert answer["extensions"]["cost"] == {"value": cost, "budget": 5_000}

    error = await gateway.error(
        "query ($n: Int) { customers(first: $n) { edges { node { ...C } } } } "
        "fragment C on Customer { conversations(first: $n) { edges { node { id } } } }",
        n=50,
    )
    assert error["extensions"]["limit"] == {"name": "cost", "value": 2 + 50 * 103, "bound": 5_000}


async def test_of_several_operations_one_has_to_be_named(gateway: Gateway) -> None:
    query = "query A { a: __typename } query B { b: __typename }"
    error = await gateway.error(query)
    assert error["message"] == "The document has several operations: name in operationName the one to run."

    async with gateway.session.post(
        f"{gateway.url}/graphql", json={"query": query, "operationName": "B"}
    ) as response:
        assert await response.json(content_type=None) == {"data": {"b": "Query"}}


async def test_over_a_socket_the_limits_are_the_same(gateway: Gateway) -> None:
    async with gateway.session.ws_connect(
        f"{gateway.url}/graphql", protocols=["graphql-transport-ws"]
    ) as opened:
        await opened.send_json({"type": "connection_init"})
        await opened.receive_json()
        payload = {"query": "{ " + " ".join(f"a{i}: __typename" for i in range(16)) + " }"}
        await opened.send_json({"id": "1", "type": "subscribe", "payload": payload})
        refused = await opened.receive_json()

    assert refused["type"] == "error"
    assert refused["payload"][0]["extensions"]["limit"] == {"name": "aliases", "value": 16, "bound": 15}


def test_our_own_examples_are_within_the_limits() -> None:
    graph = build_graph()
    for path in EXAMPLES:
        assert graph.prepared(path.read_text()).faults == [], path.name


async def test_introspection_and_suggestions_are_for_development(settings: Settings) -> None:
    as_graphiql_asks = get_introspection_query(
        input_value_deprecation=True, schema_description=True, specified_by_url=True
    )
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("{ agent { id } }", {}),
        ("{ agnts { id } }", {}),
        ("{ agents { idd } }", {}),
        ("{ groups(source: POSTR) { id } }", {}),
        ("query ($s: Source) { groups(source: $s) { id } }", {"s": "POSTR"}),
        ("query ($by: CustomerKey!) { customer(by: $by) { id } }", {"by": {"phne": "1"}}),
    ]
    async with gateway_on(settings) as gateway:
        assert (await gateway.data(as_graphiql_asks))["__schema"]["types"]
        told = [str(await gateway.ask(query, **variables)) for query, variables in wrong]
        assert sum("Did you mean" in each for each in told) == 5

    async with gateway_on(settings.model_copy(update={"host": "0.0.0.0", "auth": UseAuth.OPEN})) as gateway:  # noqa: S104
        for query in (
            as_graphiql_asks,
            '{ __type(name: "Query") { name } }',
            "{ a: __schema { description } }",
        ):
            error = await gateway.error(query)
            assert (
                error["message"] == "Introspection is switched off: `switchboard schema` prints the schema."
            )
            assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert await gateway.data("{ __typename }") == {"__typename": "Query"}
        for query, variables in wrong:
            assert "Did you mean" not in str(await gateway.ask(query, **variables))


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "::1"}, True),
        ({"unix": Path("/run/x")}, True),
        ({"host": "10.0.0.1"}, False),
        ({"host": "example.com"}, False),
        ({"database_url": "mysql+aiomysql://u@h/n"}, False),
        ({"database_url": "mysql+aiomysql://u@h/n", "introspection": "on"}, True),
        ({"introspection": "off"}, False),
    ],
)
def test_the_schema_is_shown_in_the_embedded_default_on_loopback(
    changed: dict[str, Any], shown: bool
) -> None:
    assert load(**changed).has_introspection is shown
