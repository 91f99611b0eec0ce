"""Compiled operations: schema, query and what the fields do -> what is answered, and what is called."""

import asyncio
import gc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from graphql import (
    AbortSignal,
    ExecutionResult,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    execute,
    parse,
)
from graphql.execution import MiddlewareManager
from graphql.execution.incremental import IncrementalExecutor

from gateway.execution import Attribute, Described, NotCompiled, Relation, compile
from tests.execution.differential import awaited, said

SCHEMA = """
type Query {
  person(id: ID = "1", tags: [String!] = ["a"]): Person
  people: [Person!]!
  all: [Person]
  now: String!
}
type Person { id: ID! name: String! friend: Person boss: Person! age: Int }
type Mutation { first: Person second: Int! third: Int }
type Subscription { news: String }
"""


class Person:
    def __init__(
        self, id: str, name: Any = "Ada", friend_id: str | None = None, boss_id: str | None = "1"
    ) -> None:
        self.id = id
        self.name = name
        self.friend_id = friend_id
        self.boss_id = boss_id


def schema() -> GraphQLSchema:
    return build_schema(SCHEMA)


def relations(
    load: Callable[[Any, list[Any]], Any],
) -> Callable[[GraphQLObjectType, GraphQLField], Described]:
    def describe(type: GraphQLObjectType, field: GraphQLField) -> Described:
        if type.name != "Person":
            return None
        name = next(name for name, each in type.fields.items() if each is field)
        return Relation(f"{name}_id", load) if name in ("friend", "boss") else Attribute(name)

    return describe


async def test_a_relation_is_loaded_once_a_level_with_each_key_once() -> None:
    asked: list[list[str]] = []

    async def load(context: Any, keys: list[str]) -> Sequence[Any]:
        asked.append(keys)
        await asyncio.sleep(0)
        return [Person(key, f"Friend {key}", friend_id=key + key) for key in keys]

    people = [Person("1", friend_id="7"), Person("2", friend_id="8"), Person("3", friend_id="7"), Person("4")]
    operation = compile(
        schema(), parse("{ people { friend { name friend { id } } } }"), None, relations(load)
    )

    result = await awaited(operation({"people": people}))

    assert asked == [["7", "8"], ["77", "88"]]
    assert result.errors is None
    assert result.data == {
        "people": [
            {"friend": {"name": "Friend 7", "friend": {"id": "77"}}},
            {"friend": {"name": "Friend 8", "friend": {"id": "88"}}},
            {"friend": {"name": "Friend 7", "friend": {"id": "77"}}},
            {"friend": None},
        ]
    }


async def test_a_child_of_several_is_completed_once_unless_something_is_wrong_with_it() -> None:
    class Counted(Person):
        reads = 0

        @property
        def name(self) -> Any:
            Counted.reads += 1
            return None if self.id == "8" else "Ada"

        @name.setter
        def name(self, _: Any) -> None: ...

    async def load(context: Any, keys: list[str]) -> Sequence[Any]:
        return [Counted(key) for key in keys]

    people = [Person(str(index), friend_id="7" if index % 2 else "8") for index in range(6)]
    operation = compile(schema(), parse("{ people { friend { name } } }"), None, relations(load))

    result = await awaited(operation({"people": people}))

    assert Counted.reads == 1 + 3
    assert [error.path for error in result.errors or ()] == [
        ["people", at, "friend", "name"] for at in (0, 2, 4)
    ]
    assert result.data == {
        "people": [{"friend": {"name": "Ada"} if index % 2 else None} for index in range(6)]
    }


@pytest.mark.parametrize("fails", ["load", "key"])
async def test_a_relation_that_fails_is_an_error_of_each_who_has_it(fails: str) -> None:
    async def load(context: Any, keys: list[str]) -> Sequence[Any]:
        if fails == "load":
            raise ValueError("Nobody is there.")
        return [ValueError("Nobody is there.") for _ in keys]

    document = parse("{ all { id boss { name } } }")
    operation = compile(schema(), document, None, relations(load))

    result = await awaited(operation({"all": [Person("1"), Person("2"), Person("3", boss_id=None)]}))

    assert result.data == {"all": [None, None, None]}
    assert [said(error)[:2] for error in result.errors or ()] == [
        ("Cannot return null for non-nullable field Person.boss.", ("all", 2, "boss")),
        ("Nobody is there.", ("all", 0, "boss")),
        ("Nobody is there.", ("all", 1, "boss")),
    ]


async def test_a_guard_is_asked_before_its_field_is_read() -> None:
    def describe(type: GraphQLObjectType, field: GraphQLField) -> Described:
        return Attribute("name", guard=lambda context: context["may"]()) if type.name == "Person" else None

    def no() -> None:
        raise PermissionError("You may not.")

    operation = compile(schema(), parse("{ person { id } }"), None, describe)
    root = {"person": Person("1")}

    refused = await awaited(operation({"person": lambda info, **_: root["person"]}, {"may": no}))
    allowed = await awaited(operation({"person": lambda info, **_: root["person"]}, {"may": lambda: None}))

    assert [error.message for error in refused.errors or ()] == ["You may not."]
    assert allowed.data == {"person": {"id": "Ada"}}


async def test_fields_of_a_mutation_are_run_one_after_the_other_until_one_breaks_it() -> None:
    log: list[str] = []

    async def first(info: Any) -> Person:
        log.append("first begins")
        await asyncio.sleep(0)
        log.append("first ends")
        return Person("1")

    async def load(context: Any, keys: list[str]) -> Sequence[Any]:
        await asyncio.sleep(0)
        log.append("loaded")
        return [Person(key) for key in keys]

    async def second(info: Any) -> int:
        log.append("second")
        raise ValueError("No.")

    root = {"first": first, "second": second, "third": lambda info: log.append("third")}
    document = parse("mutation { first { boss { id } } second third }")

    result = await awaited(compile(schema(), document, None, relations(load))(root))

    assert log == ["first begins", "first ends", "loaded", "second"]
    assert result.data is None
    assert [error.path for error in result.errors or ()] == [["second"]]


async def test_what_is_not_waited_for_any_more_does_not_delay_the_answer() -> None:
    cancelled: list[bool] = []

    async def slow(info: Any) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return "Ada"

    async def broken(info: Any) -> str:
        await asyncio.sleep(0)
        raise ValueError("No.")

    person = {"name": slow, "id": broken}
    result = await asyncio.wait_for(
        awaited(compile(schema(), parse("{ all { name id } }"))({"all": [person]})), timeout=10
    )

    assert result.data == {"all": [None]}
    assert [error.message for error in result.errors or ()] == ["No."]
    assert cancelled == [True]


async def test_who_cancels_an_operation_cancels_everything_of_it() -> None:
    begun, cancelled = asyncio.Event(), list[str]()

    async def slow(info: Any) -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(info.field_name)
            raise
        return "Ada"

    operation = compile(schema(), parse("{ now all { name id } }"))
    task = asyncio.ensure_future(awaited(operation({"now": slow, "all": [{"name": slow, "id": slow}]})))
    await begun.wait()
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(cancelled) == ["id", "name", "now"]
    gc.collect()  # would tell of coroutines that nobody awaited


async def test_an_operation_in_a_task_group_ends_with_it_and_leaves_no_task() -> None:
    begun, ended = asyncio.Event(), list[str]()

    async def slow(info: Any) -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(info.field_name)
        return "Ada"

    async def breaks() -> None:
        await begun.wait()
        raise ValueError("Somebody else's.")

    operation = compile(schema(), parse("{ now all { name id } }"))
    before = asyncio.all_tasks()

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(awaited(operation({"now": slow, "all": [{"name": slow, "id": slow}]})))
            group.create_task(breaks())

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await both()
    assert sorted(ended) == ["id", "name", "now"]
    assert asyncio.all_tasks() == before


async def test_resolvers_have_task_groups_and_time_limits_of_their_own() -> None:
    async def waits() -> None:
        await asyncio.sleep(60)

    async def breaks() -> None:
        raise ValueError("No.")

    async def together(info: Any) -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits())
            group.create_task(breaks())
        return "Ada"

    async def in_time(info: Any) -> str:
        async with asyncio.timeout(0.01):
            await waits()
        return "Ada"

    async def fine(info: Any) -> str:
        await asyncio.sleep(0)
        return "1"

    document = parse("{ person { id name } all { name } }")
    root = {"person": lambda info, **_: {"id": fine, "name": together}, "all": [{"name": in_time}]}
    theirs = await awaited(execute(schema(), document, root))
    ours = await awaited(compile(schema(), document)(root))

    assert ours.data == theirs.data == {"person": None, "all": [None]}
    assert sorted(map(said, ours.errors or ())) == sorted(map(said, theirs.errors or ()))


async def test_a_resolver_that_is_cancelled_by_somebody_else_cancels_the_operation() -> None:
    async def gone(info: Any) -> str:
        raise asyncio.CancelledError

    async def slow(info: Any) -> str:
        await asyncio.sleep(60)
        return "Ada"

    operation = compile(schema(), parse("{ now all { name } }"))
    with pytest.raises(asyncio.CancelledError):
        await awaited(operation({"now": gone, "all": [{"name": slow}]}))


async def test_arguments_are_nobody_elses() -> None:
    seen: list[Any] = []

    def person(info: Any, id: str, tags: list[str]) -> None:
        seen.append(list(tags))
        tags.append("changed")

    operation = compile(schema(), parse('{ person(id: 2, tags: ["x"]) { id } }'))
    for _ in range(2):
        await awaited(operation({"person": person}))

    assert seen == [["x"], ["x"]]


def test_what_needs_no_waiting_is_answered_at_once_and_outside_of_any_loop() -> None:
    result = compile(schema(), parse("{ now }"))({"now": "noon"})

    assert result == ExecutionResult({"now": "noon"}, None)


def test_wrong_variables_are_refused_in_the_words_of_graphql_core() -> None:
    document = parse("query ($id: ID!) { person(id: $id) { id } }")
    refused = compile(schema(), document)({}, None, {"id": {}})

    assert isinstance(refused, ExecutionResult)
    assert refused == execute(schema(), document, {}, None, {"id": {}})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("subscription { news }", "Subscriptions are not compiled."),
        ("{ __schema { types { name } } }", "Introspection is compiled nowhere."),
        ("{ now ... @defer { now } }", "Nothing that is deferred or streamed is compiled."),
        (
            "query @experimental_disableErrorPropagation { now }",
            "Errors that do not propagate are not compiled.",
        ),
        ("query A { now } query B { now }", "There is no such operation."),
        (
            "{ person { ...F0 } }"
            + "".join(
                f" fragment F{n} on Person {{ a: friend {{ ...F{n + 1} }} b: friend {{ ...F{n + 1} }} }}"
                for n in range(12)
            )
            + " fragment F12 on Person { id }",
            "The operation has more than 1000 fields.",
        ),
        (
            "{ person " + "{ friend " * 60 + "{ id }" + "}" * 61,
            "The operation is more than 50 selections deep.",
        ),
    ],
)
def test_what_is_not_compiled_says_so(text: str, why: str) -> None:
    with pytest.raises(NotCompiled, match=why):
        compile(schema(), parse(text))


def test_each_answer_to_skip_and_include_is_a_program_of_its_own_and_there_are_few() -> None:
    variables = [f"v{number}" for number in range(4)]
    declared = ", ".join(f"${name}: Boolean!" for name in variables)
    asked = " ".join(f"{name}: now @skip(if: ${name})" for name in variables)
    operation = compile(schema(), parse(f"query ({declared}) {{ now {asked} }}"))

    def ask(number: int) -> Any:
        return operation({"now": "noon"}, None, {v: bool(number >> at & 1) for at, v in enumerate(variables)})

    assert [len(ask(number).data) for number in range(8)] == [5, 4, 4, 3, 4, 3, 3, 2]
    with pytest.raises(NotCompiled, match="compiled for 8 sets of variables"):
        ask(8)
    assert len(ask(7).data) == 2


@pytest.mark.parametrize(
    "wish",
    [
        {"middleware": MiddlewareManager(lambda resolve, source, info: resolve(source, info))},
        {"abort_signal": AbortSignal()},
        {"field_resolver": lambda source, info: "noon"},
        {"type_resolver": lambda value, info, type: "Person"},
    ],
)
def test_who_wants_more_than_to_execute_is_told_before_anything_is_called(wish: dict[str, Any]) -> None:
    document = parse("{ now }")
    executor = IncrementalExecutor.build(schema(), document, {"now": pytest.fail}, **wish)
    assert not isinstance(executor, list)

    with pytest.raises(NotCompiled, match="wants more"):
        compile(schema(), document).run(executor)


async def test_the_source_can_be_read() -> None:
    async def load(context: Any, keys: list[str]) -> Sequence[Any]:
        return []

    source = compile(schema(), parse("{ people { called: name boss { id } } }"), None, relations(load)).source

    assert "value_1 = it.name" in source
    assert "key_2 = it.boss_id" in source
    assert "return {'people': value_1}" in source


async def test_an_error_that_comes_back_as_a_value_is_an_error() -> None:
    def refuse(info: Any) -> Any:
        return GraphQLError("No.", extensions={"code": "NO"})

    result = await awaited(compile(schema(), parse("{ all { id } }"))({"all": refuse}))

    assert result.data == {"all": None}
    assert [error.formatted for error in result.errors or ()] == [
        {
            "message": "No.",
            "locations": [{"line": 1, "column": 3}],
            "path": ["all"],
            "extensions": {"code": "NO"},
        }
    ]
