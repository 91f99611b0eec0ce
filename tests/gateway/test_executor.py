"""The executor behind Strawberry: what it knows of the fields, what it compiles and when."""

import asyncio
import gc
from functools import partial
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest
import strawberry
from graphql import ExecutionResult, GraphQLObjectType, GraphQLSchema, execute, parse
from graphql.execution import MiddlewareManager
from strawberry.dataloader import DataLoader
from strawberry.extensions import FieldExtension
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from gateway.documents import Cache
from gateway.execution import Attribute, Relation
from gateway.executor import Compiled, Executor, described
from gateway.graph import PREPARED, build_graph
from gateway.settings import Settings
from schema.relations import relation
from tests.gateways import gateway_on

NOW = "{ sources { source } }"


class Loud(FieldExtension):
    def resolve(self, next_: Any, source: Any, info: strawberry.Info, **arguments: Any) -> Any:
        return next_(source, info, **arguments).upper()


class Nobody(BasePermission):
    message = "You may not."

    def has_permission(self, source: Any, info: strawberry.Info, **arguments: Any) -> bool:
        info.context.log.append("asked for leave")
        return False


@strawberry.type
class Dog:
    first_name: str
    owner_id: strawberry.Private[str]
    loud: str = strawberry.field(extensions=[Loud()])
    secret: str | None = strawberry.field(permission_classes=[Nobody], default=None)
    friend: "Dog | None" = relation("owner_id", "dogs")

    @strawberry.field
    def age(self) -> int:
        return 3

    @strawberry.field
    async def called(self, info: strawberry.Info, often: int = 2, times: list[int] | None = None) -> str:
        info.context.log.append(f"called {often} {times} at {info.path.key}")
        return f"{self.first_name} " * often


@strawberry.type
class Query:
    @strawberry.field
    def dog(self) -> Dog | None:
        return Dog(first_name="Rex", owner_id="1", loud="wow")


def _described(schema: GraphQLSchema, type_name: str, name: str) -> Any:
    type = schema.type_map[type_name]
    assert isinstance(type, GraphQLObjectType)
    return described(type, type.fields[name])


def test_plain_fields_are_read_relations_are_loaded_and_all_else_is_called() -> None:
    schema = strawberry.Schema(Query)._schema
    of_dog = partial(_described, schema, "Dog")

    assert of_dog("firstName") == Attribute("first_name")
    assert isinstance(found := of_dog("friend"), Relation)
    assert found.key == "owner_id"
    assert [of_dog(name) for name in ("loud", "secret", "age")] == [None, None, None]


async def test_resolvers_permissions_and_extensions_are_called_once_each_and_as_strawberry_does() -> None:
    schema = strawberry.Schema(Query)._schema
    document = parse(
        """query ($often: Int, $times: [Int!]) { dog {
            firstName loud secret age
            called again: called(often: $often, times: $times) never: called(often: 0)
        } }"""
    )
    seen = []
    for executor in (StrawberryGraphQLCoreExecutionContext, Executor):
        context = SimpleNamespace(log=[], compiled=Compiled(schema, document, after=0))
        result = execute(
            schema,
            document,
            context_value=context,
            variable_values={"times": [1, 2]},
            executor_class=executor,
            middleware=MiddlewareManager(),
        )
        assert not isinstance(result, ExecutionResult)
        seen.append((await result, context.log))
        assert (context.compiled.size > 0) == (executor is Executor)

    (theirs, their_log), (ours, our_log) = seen
    assert (ours, our_log) == (theirs, their_log)
    assert our_log == [
        "asked for leave",
        "called 2 None at called",
        "called 2 [1, 2] at again",
        "called 0 None at never",
    ]
    assert ours.data == {
        "dog": {
            "firstName": "Rex",
            "loud": "WOW",
            "secret": None,
            "age": 3,
            "called": "Rex Rex ",
            "again": "Rex Rex ",
            "never": "",
        }
    }


async def test_of_more_documents_than_are_kept_nothing_stays(settings: Settings) -> None:
    graph, compiled = build_graph(compiles_after=0), []
    async with gateway_on(settings, graph=graph) as gateway:
        for number in range(PREPARED[0] + 50):
            text = f"{{ a{number}: sources {{ source }} }}"
            await gateway.data(text)
            compiled.append(ref(graph.prepared(text).compiled))
    gc.collect()

    assert [bool(each()) for each in compiled] == [False] * 50 + [True] * PREPARED[0]


def test_who_reads_otherwise_than_by_attribute_is_called() -> None:
    config = StrawberryConfig(default_resolver=lambda source, name: source[name])

    assert _described(strawberry.Schema(Query, config=config)._schema, "Dog", "firstName") is None


def test_what_takes_a_scope_is_guarded_by_it() -> None:
    schema = build_graph()._schema
    edge, agent = (
        _described(schema, *field) for field in (("ConversationEdge", "node"), ("Conversation", "agent"))
    )

    assert isinstance(edge, Attribute)
    assert isinstance(agent, Relation)
    assert edge.guard
    assert agent.guard
    assert _described(schema, "Conversation", "messageCount") == Attribute("message_count")


@pytest.mark.parametrize(
    ("type", "field"),
    [
        ("BroadcastAudience", "group"),
        ("Conversation", "agent"),
        ("Conversation", "customer"),
        ("Customer", "agent"),
        ("Customer", "balance"),
        ("Customer", "groups"),
        ("Message", "broadcast"),
        ("Message", "template"),
        ("Recipient", "customer"),
    ],
)
def test_what_a_key_leads_to_is_loaded_and_not_resolved_one_by_one(type: str, field: str) -> None:
    assert isinstance(_described(build_graph()._schema, type, field), Relation)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (NOW, 2),
        ("{ sources { " + "source state " * 75 + "} }", 3),
        ("{ __typename __schema { queryType { name } } }", None),
    ],
)
async def test_a_document_is_compiled_when_it_comes_again_the_larger_the_later(
    settings: Settings, text: str, at: int | None
) -> None:
    graph, answers = build_graph(), []
    async with gateway_on(settings, graph=graph) as gateway:
        compiled = graph.prepared(text).compiled
        assert compiled
        for number in range(1, 5):
            answers.append(await gateway.data(text))
            assert (compiled.size > 0) == (at is not None and number >= at)

    assert all(answer == answers[0] for answer in answers)


async def test_nothing_is_said_of_what_fails_for_somebody_who_has_left() -> None:
    """Neither when they leave before it fails, nor at the same time."""
    unseen: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    relation = _described(strawberry.Schema(Query)._schema, "Dog", "friend")
    for is_late in (True, False):
        failing = asyncio.Event()

        async def load(keys: list[str], failing: asyncio.Event = failing) -> list[Dog]:
            await failing.wait()
            raise ValueError(keys)

        context = SimpleNamespace(loaders=SimpleNamespace(dogs=DataLoader(load)))
        asking = asyncio.create_task(relation.load(context, ["1", "2", "3"]))
        await asyncio.sleep(0.01)
        if is_late:
            asking.cancel()
            await asyncio.sleep(0.01)
        failing.set()
        asking.cancel()
        await asyncio.wait([asking])
        await asyncio.sleep(0.01)
        del asking, context
        gc.collect()

    assert unseen == []


async def test_what_is_asked_of_the_schema_itself_is_executed_once(settings: Settings) -> None:
    """Unless it may differ from time to time."""
    graph = build_graph()
    types = "{ __schema { types { name } } }"
    some = "query ($name: String!) { __type(name: $name) { name } }"
    async with gateway_on(settings, graph=graph) as gateway:
        answers = [await gateway.data(types) for _ in range(3)]
        others = [await gateway.data(some, name=name) for name in ("Agent", "Group")]
        compiled = graph.prepared(types).compiled
        async with gateway.session.get(f"{gateway.url}/metrics") as page:
            executions = [line for line in (await page.text()).splitlines() if "_executions_total{" in line]

    assert answers[0] == answers[1] == answers[2]
    assert others == [{"__type": {"name": "Agent"}}, {"__type": {"name": "Group"}}]
    assert compiled
    assert compiled.size > len(str(answers[0]))
    assert sorted(line.rpartition("{")[2] for line in executions) == [
        'executor="compiled"} 2.0',
        'executor="core"} 3.0',
    ]


def test_what_is_compiled_counts_against_the_memory_of_documents() -> None:
    kept: Cache[str] = Cache(entries=10, size=100)
    kept.put("old", "old", 40)
    kept.put("new", "new", 40)
    kept.charge("forgotten", 100)
    assert kept.get("old")

    kept.charge("new", 40)

    assert (kept.get("old"), kept.get("new")) == (None, "new")


def test_nothing_is_compiled_where_graphql_core_is_to_execute_all() -> None:
    assert build_graph(compiles_after=None).prepared(NOW).compiled is None
