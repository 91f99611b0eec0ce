"""A customer's own token: the whole schema is walked with it, and nothing of anybody else comes back."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)

from gateway.graph import build_graph
from gateway.settings import Limits, Settings
from resolvers.ids import to_id
from schema.scopes import Scope
from tests.gateways import Gateway, gateway_on
from tests.issuer import CLAIM, Issuer, bearer, settings_for

SCHEMA = build_graph()._schema
AWA = to_id("Customer", "everyprint:2413659892012345")
EVERYTHING = [scope.value for scope in Scope]
EVERYBODY = "{ customers(first: 100) { edges { node { id messengerId phone email lastName } } } }"


WIDE = Limits(
    text=1_048_576,
    tokens=100_000,
    depth=100,
    aliases=10_000,
    directives=10_000,
    root_fields=10_000,
    fragments=10_000,
    cost=10_000_000,
)
"""An operation that asks for everything is not refused for that."""


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def gateway(settings: Settings, peopled_database: Path, issuer: Issuer) -> AsyncIterator[Gateway]:
    copy(peopled_database, settings.data_dir)
    keys = settings.data_dir / "keys.json"
    keys.write_text(issuer.public())
    said = settings_for(str(keys)) | {"limits": WIDE}
    async with gateway_on(settings.model_copy(update=said)) as opened:
        yield opened


class Walk:
    """Operations in which every field of the schema stands, with arguments that name somebody."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values
        """Of arguments, by their name or by the name of their type."""
        self.seen = set[str]()

    def operations(self, root: GraphQLObjectType, kind: str) -> Iterator[str]:
        for name, field in root.fields.items():
            yield f"{kind} {{ {self._field(root, name, field, Counter(), 8)} }}"

    def _field(
        self, type: GraphQLObjectType, name: str, field: GraphQLField, been: Counter[str], left: int
    ) -> str:
        self.seen.add(f"{type.name}.{name}")
        arguments = [
            f"{argument}: {self._value(argument, each.type)}"
            for argument, each in field.args.items()
            if is_required_argument(each) or argument in self._values
        ]
        said = f"{name}({', '.join(arguments)})" if arguments else name
        to = get_named_type(field.type)
        return said if is_leaf_type(to) else f"{said} {{ {self._selection(to, been, left - 1)} }}"

    def _selection(self, type: Any, been: Counter[str], left: int) -> str:
        if isinstance(type, GraphQLInterfaceType):
            parts = SCHEMA.get_possible_types(type)
            return " ".join(f"... on {each.name} {{ {self._selection(each, been, left)} }}" for each in parts)
        found = ["__typename"]
        for name, field in type.fields.items():
            to, coordinate = get_named_type(field.type), f"{type.name}.{name}"
            if is_leaf_type(to) or (left > 0 and been[coordinate] < 2):
                been[coordinate] += 1
                # The same field of two types may have arguments that differ: each has a name of its own.
                found.append(f"{type.name}_{name}: {self._field(type, name, field, been, left)}")
        return " ".join(found)

    def _value(self, name: str, type: GraphQLInputType) -> str:
        if name in self._values:
            return self._values[name]
        if isinstance(type, GraphQLNonNull):
            return self._value(name, type.of_type)
        if isinstance(type, GraphQLList):
            return f"[{self._value(name, type.of_type)}]"
        if isinstance(type, GraphQLEnumType):
            return str(next(iter(type.values)))
        if isinstance(type, GraphQLInputObjectType):
            return self._input(type)
        return self._values.get(str(type)) or {"Int": "1", "Boolean": "true"}.get(str(type), '"1"')

    def _input(self, type: GraphQLInputObjectType) -> str:
        wanted = {name: field for name, field in type.fields.items() if is_required_input_field(field)}
        wanted = wanted or dict(list(type.fields.items())[:1])  # of some exactly one is taken
        said = (f"{name}: {self._value(name, field.type)}" for name, field in wanted.items())
        return f"{{{', '.join(said)}}}"


def coordinates(schema: GraphQLSchema) -> set[str]:
    return {
        f"{type.name}.{name}"
        for type in schema.type_map.values()
        if isinstance(type, GraphQLObjectType) and not type.name.startswith("__")
        for name in type.fields
    }


class Town:
    """What there is of Awa and of others, as one sees it who may see everything."""

    def __init__(self, gateway: Gateway, issuer: Issuer) -> None:
        self._gateway = gateway
        self.all = bearer(issuer.token(*EVERYTHING))
        self.own = bearer(issuer.token(*EVERYTHING, **{CLAIM: AWA}))

    async def data(self, query: str) -> Any:
        answer = await self._gateway.ask(query, self.all)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def others(self) -> list[dict[str, Any]]:
        people = [edge["node"] for edge in (await self.data(EVERYBODY))["customers"]["edges"]]
        return [person for person in people if person["id"] != AWA]

    async def message_to(self, id: str) -> str:
        sms = '{sms: {text: "Your code is ' + id + '", alphaName: "X"}}'
        send = f'mutation {{ sendMessage(input: {{to: {{customerId: "{id}"}}, content: {sms}}}) {{ id }} }}'
        found: str = (await self.data(send))["sendMessage"]["id"]
        return found

    async def ask(self, query: str) -> Any:
        return await self._gateway.ask(query, self.own)

    async def event(self, subscription: str) -> Any:
        """The first one."""
        url, headers = f"{self._gateway.url}/graphql", {"Accept": "text/event-stream"} | self.own
        body = {"query": subscription}
        async with self._gateway.session.post(url, json=body, headers=headers) as response:
            assert response.status == 200
            await response.content.readline()
            line = await response.content.readline()
        return json.loads(line.removeprefix(b"data: "))


def quoted(value: str) -> str:
    return json.dumps(value)


async def test_nothing_of_anybody_else_comes_back(gateway: Gateway, issuer: Issuer) -> None:
    town = Town(gateway, issuer)
    others = await town.others()
    ama = next(person for person in others if person["phone"] and person["messengerId"])
    hers, awas = await town.message_to(ama["id"]), await town.message_to(AWA)
    start = f'mutation {{ broadcast(input: {{audience: {{customerIds: ["{AWA}", "{ama["id"]}"]}}, '
    started = await town.data(start + 'content: {sms: {text: "Hola", alphaName: "X"}}}) { id } }')
    broadcast = started["broadcast"]["id"]
    chats = await town.data("{ conversations(first: 100) { edges { node { id customer { id } } } } }")
    nodes = [edge["node"] for edge in chats["conversations"]["edges"]]
    theirs = next(node["id"] for node in nodes if node["customer"]["id"] != AWA)
    group = (await town.data("{ groups { id } }"))["groups"][0]["id"]
    of_others = {
        *(person[name] for person in others for name in ("id", "messengerId", "phone", "email")),
        hers,
        broadcast,
        *(node["id"] for node in nodes if node["customer"]["id"] != AWA),
    } - {None}
    mine = (await town.data(f'{{ customer(by: {{id: "{AWA}"}}) {{ phone email messengerId }} }}'))["customer"]
    of_others -= set(mine.values())
    assert len(of_others) > 100

    walked = set[str]()
    asked = [theirs, hers, group, broadcast, ama["id"], "QWdlbnQ6Mjc2Mw"]
    keys = [f"{{{name}: {quoted(ama[name])}}}" for name in ("id", "phone", "messengerId")]
    ways = [{"ID": quoted(id), "by": key} for id, key in zip(asked, keys * 2, strict=True)]
    ways.append({"ID": quoted(AWA), "by": f'{{id: "{AWA}"}}'})
    ways.append({"ID": quoted(awas), "by": f"{{phone: {quoted(mine['phone'])}}}"})
    before = len(gateway.hyber.asked), len(gateway.mercately.asked)
    for values in ways:
        walk = Walk(values)
        own = values["ID"] in (quoted(AWA), quoted(awas))
        # Those that change something are refused whatever they name: one way of each will do.
        for kind in ("query", "subscription", *(["mutation"] if values is ways[0] else [])):
            root = getattr(SCHEMA, f"{kind}_type")
            for operation in walk.operations(root, kind):
                answer = await (town.event if kind == "subscription" else town.ask)(operation)
                codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
                assert codes <= {"FORBIDDEN", "BAD_USER_INPUT", "NOT_FOUND"}, (operation, answer["errors"])
                if kind == "mutation":
                    assert codes == {"FORBIDDEN"}, operation
                assert_none_of(of_others, answer.get("data"), operation)
                asked_for = re.search(r"\{ (\w+)", operation)
                if own and asked_for and asked_for[1] in ("node", "customer"):
                    assert answer["data"], operation
        walked |= walk.seen
    assert walked == coordinates(SCHEMA)
    assert len(gateway.hyber.asked) == before[0], "nothing was sent"


def assert_none_of(markers: set[str], data: Any, operation: str) -> None:
    said = set(re.findall(r'"([^"]+)"', json.dumps(data, ensure_ascii=False)))
    assert not said & markers, operation


async def test_what_is_theirs_does(gateway: Gateway, issuer: Issuer) -> None:
    town = Town(gateway, issuer)
    message = await town.message_to(AWA)

    answer = await town.ask(
        f"""{{
          customer(by: {{id: "{AWA}"}}) {{
            firstName balance {{ amount entries {{ edges {{ node {{ amount }} }} }} }} groups {{ name }}
            agent {{ firstName }}
            conversations {{ edges {{ node {{ customer {{ id }} }} }} }}
            messages {{ edges {{ node {{ id recipient {{ customer {{ id }} }} }} }} }}
          }}
          message(id: "{message}") {{ id }}
          node(id: "{message}") {{ id }}
          nobody: customer(by: {{phone: "+593999000199"}}) {{ id }}
        }}"""
    )

    assert "errors" not in answer
    person = answer["data"].pop("customer")
    assert answer["data"] == {"message": {"id": message}, "node": {"id": message}, "nobody": None}
    assert person["firstName"] == "Awa"
    assert person["balance"]["entries"]["edges"]
    assert person["groups"]
    assert person["agent"]
    assert [edge["node"]["customer"]["id"] for edge in person["conversations"]["edges"]] == [AWA, AWA]
    (sent,) = (edge["node"] for edge in person["messages"]["edges"])
    assert (sent["id"], sent["recipient"]["customer"]["id"]) == (message, AWA)

    first = await town.event(f'subscription {{ messageStatus(id: "{message}") {{ id }} }}')
    assert first == {"data": {"messageStatus": {"id": message}}}


async def test_who_has_the_same_phone_sees_nothing_of_the_other(gateway: Gateway, issuer: Issuer) -> None:
    """Awa's client at Poster is said to be somebody else: each of them has messages to the one phone."""
    town = Town(gateway, issuer)
    parted = await town.data(f'mutation {{ unlinkCustomer(id: "{AWA}", source: POSTER) {{ id phone }} }}')
    client = to_id("Customer", "poster:1")
    phone = parted["unlinkCustomer"]["phone"]
    hers, theirs = await town.message_to(AWA), await town.message_to(client)
    sms = '{sms: {text: "Hola", alphaName: "X"}}'
    start = (
        f'mutation {{ broadcast(input: {{audience: {{customerIds: ["{AWA}", "{client}"]}}, content: {sms}}})'
    )
    await town.data(f"{start} {{ id }} }}")
    while ids := await gateway.storage.broadcasts.in_phase(0):
        await gateway.storage.broadcasts.step(ids[0], "the test", 0)

    async def seen(id: str, headers: dict[str, str]) -> set[str]:
        query = f"""{{
          customer(by: {{id: "{id}"}}) {{ messages {{ totalCount edges {{ node {{ id }} }} }} }}
          nodes(ids: ["{hers}", "{theirs}"]) {{ id }}
        }}"""
        answer = await gateway.ask(query, headers)
        assert "errors" not in answer
        messages = answer["data"]["customer"]["messages"]
        found = {edge["node"]["id"] for edge in messages["edges"]}
        assert messages["totalCount"] == len(found)
        assert {node["id"] for node in answer["data"]["nodes"] if node} == found & {hers, theirs}
        return found

    assert phone == "+221770009101"
    assert hers in await seen(AWA, town.own)
    assert theirs not in await seen(AWA, town.own)
    assert await seen(client, bearer(issuer.token(*EVERYTHING, **{CLAIM: client}))) == set()


async def test_their_token_takes_scopes_too(gateway: Gateway, issuer: Issuer) -> None:
    headers = bearer(issuer.token("customers:read", **{CLAIM: AWA}))
    query = f'{{ customer(by: {{id: "{AWA}"}}) {{ firstName balance {{ amount }} }} }}'
    answer = await gateway.ask(query, headers)

    assert answer["data"] == {"customer": {"firstName": "Awa", "balance": None}}
    assert [error["extensions"]["scope"] for error in answer["errors"]] == ["balances:read"]
