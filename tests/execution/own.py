"""Our own schema, whose resolvers make things up; what is only read or loaded stays as it is."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    execute,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_composite_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
    parse,
    validate,
)
from graphql.execution import MiddlewareManager
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from gateway.execution import Attribute, Relation
from gateway.executor import Compiled, Executor, described
from gateway.graph import build_graph
from schema.relations import loaded_by
from tests.execution.differential import awaited, places, said

LEAVES: Mapping[str, Any] = {
    "Int": 3,
    "Float": 0.5,
    "String": "text",
    "Boolean": True,
    "ID": "1",
    "Date": date(2026, 11, 21),
    "DateTime": datetime(2026, 11, 21, tzinfo=UTC),
    "Decimal": Decimal("12.50"),
    "PhoneNumber": "+593999999999",
}
LITERALS = {"Int": "3", "Float": "0.5", "Boolean": "true", "Decimal": '"1.5"'}


@cache
def loaded() -> Mapping[str, Any]:
    """What each loader finds."""
    found = {}
    for type in schema().type_map.values():
        for field in getattr(type, "fields", {}).values():
            definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
            if isinstance(definition, StrawberryField) and (relation := loaded_by(definition)):
                found[relation.loader] = get_nullable_type(field.type)
    return found


@cache
def schema() -> GraphQLSchema:
    found = build_graph()._schema
    for type in found.type_map.values():
        if isinstance(type, GraphQLObjectType) and not type.name.startswith("__"):
            for field in type.fields.values():
                if described(type, field) is None:
                    field.resolve = _made_up
    return found


def _made_up(source: Any, info: Any, /, **arguments: Any) -> Any:
    path = info.path.as_list()
    return info.context.made(f"{path} {sorted(arguments)}", info.return_type)


class Context:
    """Of one run: what it makes up follows from the seed and the place."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        draw = Random(seed)
        self.trouble = draw.choice((0, 0.05))
        self.waiting = draw.choice((0, 0.5))
        self.has_waited = False
        self.compiled: Compiled | None = None
        self.caller = self
        self.loaders = SimpleNamespace(
            **{name: SimpleNamespace(load=self._loader(name, type)) for name, type in loaded().items()}
        )

    def need(self, scope: Any, own: bool) -> None:
        if Random(f"{self.seed} {scope}").random() < self.trouble * 2:
            raise PermissionError(f"You may not {scope}.")

    def _loader(self, name: str, type: Any) -> Callable[[Any], Any]:
        async def load(key: Any) -> Any:
            self.has_waited = True
            await asyncio.sleep(0)
            return self._value(Random(f"{self.seed} {name} {key}"), type)

        return load

    def made(self, place: str, type: Any) -> Any:
        draw = Random(f"{self.seed} {place}")
        if draw.random() < self.waiting:
            self.has_waited = True
            return self._made_later(draw, type)
        return self._value(draw, type)

    async def _made_later(self, draw: Random, type: Any) -> Any:
        await asyncio.sleep(0)
        return self._value(draw, type)

    def _value(self, draw: Random, type: Any) -> Any:
        if draw.random() < self.trouble:
            if draw.random() < 0.5:
                raise ValueError("Broken.")
            return draw.choice((None, object, 2**40))
        bare: Any = get_nullable_type(type)
        if bare is type and draw.random() < 0.2:
            return None
        if is_list_type(bare):
            return [self._value(draw, bare.of_type) for _ in range(draw.randrange(6))]
        if isinstance(bare, GraphQLEnumType):
            return draw.choice(list(bare.extensions[GraphQLCoreConverter.DEFINITION_BACKREF].wrapped_cls))
        if is_leaf_type(bare):
            return LEAVES[bare.name]
        if is_abstract_type(bare):
            bare = draw.choice(schema().get_possible_types(bare))
        return self._object(draw, bare)

    def _object(self, draw: Random, type: GraphQLObjectType) -> Any:
        origin = type.extensions[GraphQLCoreConverter.DEFINITION_BACKREF].origin
        found = object.__new__(origin)
        for field in type.fields.values():
            kind = described(type, field)
            if isinstance(kind, Attribute):
                setattr(found, kind.name, self._value(draw, field.type))
            elif isinstance(kind, Relation):
                if isinstance(vars(origin).get(kind.key), property):
                    self._hold(found, draw)
                else:
                    setattr(found, kind.key, draw.choice((None, *map(_Key, range(3)))))
        return found

    def _hold(self, found: Any, draw: Random) -> None:
        """What the keys of relations are made of, where they are not attributes themselves.

        Who has none says so at once; of graphql-core it is a coroutine that is told, and so later.
        """
        found.gap = ValueError("Unknown.") if draw.random() < self.trouble else None
        self.has_waited |= found.gap is not None
        for name in ("member_keys", "group_keys", "row_ids"):
            setattr(found, name, draw.choice(((), (1,), (1, 2))))


class _Key(int):
    @property
    def customer_row_id(self) -> int:
        return self


class Operations:
    def __init__(self, draw: Random) -> None:
        self._draw = draw
        self._left = 60

    def operation(self) -> str:
        query, mutation = schema().query_type, schema().mutation_type
        if self._draw.random() < 0.3:
            return f"mutation {self._selection(mutation, 5)}"
        return self._selection(query, 6)

    def _selection(self, type: Any, depth: int) -> str:
        draw = self._draw
        parts = ["__typename"] if draw.random() < 0.2 or is_abstract_type(type) else []
        if is_abstract_type(type):
            for each in draw.sample(schema().get_possible_types(type), 2):
                parts.append(f"... on {each.name} {self._selection(each, depth - 1)}")
        fields = list(type.fields.items())
        for name, field in draw.choices(fields, k=draw.randrange(1, 6)):
            if is_leaf_type(get_named_type(field.type)) or (depth > 0 and self._left > 0):
                parts.append(self._field(name, field, depth))
        return "{ " + " ".join(parts or ["__typename"]) + " }"

    def _field(self, name: str, field: GraphQLField, depth: int) -> str:
        self._left -= 1
        given = [
            f"{each}: {self._literal(argument.type)}"
            for each, argument in field.args.items()
            if is_required_argument(argument) or self._draw.random() < 0.2
        ]
        arguments = f"({', '.join(given)})" if given else ""
        alias = f"a{self._left + 1000}: " if given or self._draw.random() < 0.2 else ""
        named = get_named_type(field.type)
        below = f" {self._selection(named, depth - 1)}" if is_composite_type(named) else ""
        return f"{alias}{name}{arguments}{below}"

    def _literal(self, type: Any) -> str:
        bare: Any = get_nullable_type(type)
        if is_list_type(bare):
            return f"[{self._literal(bare.of_type)}]"
        if isinstance(bare, GraphQLEnumType):
            return str(self._draw.choice(list(bare.values)))
        if isinstance(bare, GraphQLInputObjectType):
            needed = [name for name, field in bare.fields.items() if is_non_null_type(field.type)]
            said = needed or [next(iter(bare.fields))]
            return "{" + ", ".join(f"{name}: {self._literal(bare.fields[name].type)}" for name in said) + "}"
        return LITERALS.get(bare.name, '"2"')


async def compare(seed: int) -> None:
    document = parse(Operations(Random(seed)).operation())
    if validate(schema(), document):  # fields of one name in two types may be unlike each other
        return
    contexts = [Context(seed) for _ in EXECUTORS]
    theirs, ours = [await _answer(document, *each) for each in zip(contexts, EXECUTORS, strict=True)]
    assert repr(theirs.data) == repr(ours.data), (seed, theirs, ours)
    assert places(theirs) == places(ours), (seed, theirs, ours)
    if not any(context.has_waited for context in contexts):
        assert list(map(said, theirs.errors or ())) == list(map(said, ours.errors or ())), seed


async def _answer(document: DocumentNode, context: Context, executor: type[Any]) -> ExecutionResult:
    context.compiled = Compiled(schema(), document, after=0)
    result = execute(
        schema(),
        document,
        context_value=context,
        executor_class=executor,
        is_awaitable=cast("Any", optimized_is_awaitable),
        middleware=MiddlewareManager(),
    )
    return await awaited(result)


EXECUTORS = (StrawberryGraphQLCoreExecutionContext, Executor)
