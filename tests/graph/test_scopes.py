"""Scopes: every field that leads to a noun takes one; who has not got it is refused there, and only there."""

from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema, get_named_type

from gateway.graph import build_graph
from gateway.settings import Settings
from resolvers.permission import needed_by
from schema.scopes import Scope
from tests.gateways import Gateway, gateway_on
from tests.issuer import Issuer, bearer, settings_for

BY_ID = {"Query.node", "Query.nodes"}
"""Of these what is found says what it takes."""


def fields(schema: GraphQLSchema) -> Iterator[tuple[str, GraphQLObjectType, str | None]]:
    """Each field that leads to a type with fields, or is at the root; that type, and the scope it takes."""
    roots = {schema.query_type, schema.mutation_type, schema.subscription_type}
    for type in schema.type_map.values():
        if isinstance(type, GraphQLObjectType) and not type.name.startswith("__"):
            for name, field in type.fields.items():
                to, requires = get_named_type(field.type), needed_by(field)
                if type in roots or isinstance(to, GraphQLObjectType):
                    yield f"{type.name}.{name}", to, requires and requires.scope  # type: ignore[misc]


def test_every_field_at_the_root_and_every_one_that_leads_to_another_noun_takes_a_scope() -> None:
    schema = build_graph()._schema
    node = cast("GraphQLInterfaceType", schema.type_map["Node"])
    others = {schema.type_map[name] for name in ("Balance", "SourceStatus", "BroadcastPreview")}
    nouns = {*schema.get_possible_types(node), *others}

    without = {
        name
        for name, to, scope in fields(schema)
        if scope is None and (to in nouns or name.split(".")[0] in ("Query", "Mutation", "Subscription"))
    }

    assert without == BY_ID
    assert {scope for _, _, scope in fields(schema) if scope} == {scope.value for scope in Scope}


def test_who_reads_the_schema_is_told() -> None:
    printed = build_graph().as_str()

    assert "directive @requires(scope: String!, own: Boolean) on OBJECT | FIELD_DEFINITION" in printed
    assert 'type Customer implements Node @requires(scope: "customers:read", own: true) {' in printed
    assert 'sendMessage(input: SendMessageInput!): Message! @requires(scope: "messages:send")' in printed


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def gateway(settings: Settings, issuer: Issuer) -> AsyncIterator[Gateway]:
    keys = settings.data_dir.with_name("keys.json")
    keys.write_text(issuer.public())
    async with gateway_on(settings.model_copy(update=settings_for(str(keys)))) as opened:
        yield opened


async def test_who_has_not_the_scope_is_refused_at_the_field_and_nobody_is_asked(
    gateway: Gateway, issuer: Issuer
) -> None:
    async def asked(query: str, *scopes: str) -> tuple[object, list[tuple[list[object], str]]]:
        answer = await gateway.ask(query, bearer(issuer.token(*scopes)))
        errors = answer.get("errors", [])
        assert {error["extensions"]["code"] for error in errors} <= {"FORBIDDEN"}
        return answer["data"], [(error["path"], error["extensions"]["scope"]) for error in errors]

    agent, template = "QWdlbnQ6Mjc2Mw", "VGVtcGxhdGU6MQ"
    data, errors = await asked(
        f'{{ a: agents {{ id }} one: node(id: "{agent}") {{ id }} '
        f'two: nodes(ids: ["{agent}", "{template}"]) {{ __typename }} groups {{ id }} }}',
        "templates:read",
    )
    assert data == {"a": None, "one": None, "two": [None, None], "groups": None}
    assert sorted(errors, key=str) == [
        (["a"], "agents:read"),
        (["groups"], "groups:read"),
        (["one"], "agents:read"),
        (["two", 0], "agents:read"),
    ]
    assert gateway.mercately.count("/agents") == gateway.poster.count("/api/clients.getGroups") == 0

    # What is left out is not asked for, and takes no scope; what is in a fragment does.
    fragment = "fragment x on Query { sources { source } }"
    data, errors = await asked(f"{{ agents @skip(if: true) {{ id }} ...x }} {fragment}")
    assert (data, errors) == (None, [(["sources"], "sources:read")])

    # What it writes it may see, and what this leads to takes its own scope.
    save = """mutation { saveCustomer(input: {messengerId: "1", lastName: "Kim", gender: MALE}) {
      lastName balance { amount } } }"""
    assert await asked(save) == (None, [(["saveCustomer"], "customers:write")])
    assert await asked(save, "customers:write") == (
        {"saveCustomer": {"lastName": "Kim", "balance": None}},
        [(["saveCustomer", "balance"], "balances:read")],
    )
    both = await asked(save, "customers:write", "balances:read")
    assert both == ({"saveCustomer": {"lastName": "Kim", "balance": {"amount": "0"}}}, [])

    # A message by which a customer is changed takes the scope for that, too.
    send = """mutation { sendMessage(input: {to: {messengerId: "1"}, content: {text: "Hola"},
      customer: {notes: "x"}}) { id } }"""
    assert await asked(send, "messages:send") == (None, [(["sendMessage"], "customers:write")])
    assert not gateway.chatfuel.asked
