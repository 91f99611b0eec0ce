"""The executor: runs what was compiled of an operation, and leaves the rest to graphql-core."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.cast import get_strawberry_type_cast
from strawberry.types.field import StrawberryField

from gateway.aside import aside
from gateway.execution import Attribute, Described, NotCompiled, Operation, Relation, compile
from gateway.settings import UseExecutor
from resolvers.context import Context
from resolvers.permission import Guarded
from schema.relations import loaded_by

AFTER = 1
"""So many runs of a document are left to graphql-core..."""
TOKENS_A_RUN = 100
"""...and one more for each so many tokens that it has: the larger it is, the longer it takes to compile."""
BYTES_A_CHARACTER = 8
"""Of memory for what is one character of JSON, about."""
BASIC = "GraphQLCoreConverter.from_resolver.<locals>._get_basic_result"
"""What Strawberry makes the resolver of a field that has none."""


class Compiled:
    """A document, and what was compiled of it: each of its operations when it comes again.

    To compile one takes longer than to parse and to validate it: a document that comes once is spared that.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        after: int = AFTER,
        grown: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._schema = schema
        self._document = document
        self._runs_before = after and runs_before(document, after)
        self._grown = grown
        self.size = 0
        """About how many bytes what was compiled of it takes."""
        self._operations: dict[str | None, Operation | None] = {}
        self._told: dict[str | None, ExecutionResult] = {}
        """Answers to introspection."""
        self._told_size = 0

    def run(
        self, executor: StrawberryGraphQLCoreExecutionContext
    ) -> ExecutionResult | Awaitable[ExecutionResult] | None:
        """None where graphql-core has to."""
        if introspects(executor.operation.selection_set, executor.fragment_definitions):
            return self._told.get(_name(executor.operation))
        if self._runs_before:
            self._runs_before -= 1
            return None
        operation = self._operation(_name(executor.operation))
        if operation is None:
            return None
        try:
            return operation.run(executor)
        except NotCompiled:
            return None
        finally:
            self._account()

    def keep(self, operation: OperationDefinitionNode, result: ExecutionResult) -> None:
        """What is said of the schema itself is the same each time."""
        if not operation.variable_definitions and not result.errors:
            self._told[_name(operation)] = result
            self._told_size += BYTES_A_CHARACTER * len(orjson.dumps(result.data))
            self._account()

    def _operation(self, name: str | None) -> Operation | None:
        if name not in self._operations:
            try:
                self._operations[name] = compile(self._schema, self._document, name, described, recognised)
            except NotCompiled:
                self._operations[name] = None
        return self._operations[name]

    def _account(self) -> None:
        size = self._told_size + sum(operation.size for operation in self._operations.values() if operation)
        if size != self.size:
            self._grown(size - self.size)
            self.size = size


def introspects(selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> bool:
    """Do they ask for the schema and for nothing else?"""
    for each in selections.selections:
        if isinstance(each, FieldNode):
            if each.name.value not in ("__schema", "__type"):
                return False
        elif isinstance(each, InlineFragmentNode):
            if not introspects(each.selection_set, fragments):
                return False
        elif isinstance(each, FragmentSpreadNode):
            fragment = fragments.get(each.name.value)
            if fragment and not introspects(fragment.selection_set, fragments):
                return False
    return True


def _name(operation: OperationDefinitionNode) -> str | None:
    return operation.name.value if operation.name else None


def runs_before(document: DocumentNode, after: int = AFTER) -> int:
    """How often graphql-core executes it before it is compiled."""
    return after + (document.token_count or 0) // TOKENS_A_RUN


class Executor(StrawberryGraphQLCoreExecutionContext):
    def execute_operation(self, serially: bool | None = None) -> Any:
        context = self.context_value
        compiled: Compiled | None = getattr(context, "compiled", None)
        result = compiled.run(self) if compiled and serially is None else None
        if isinstance(context, Context):
            context.counts.executed(UseExecutor.CORE if result is None else UseExecutor.COMPILED)
        if result is not None:
            return result
        if introspects(self.operation.selection_set, self.fragment_definitions):
            return self._introspected(compiled)
        return super().execute_operation(serially)

    async def _introspected(self, compiled: Compiled | None) -> Any:
        """Of the whole schema that takes longer than others are to wait."""
        result: Any = await aside(super().execute_operation)
        if compiled:
            compiled.keep(self.operation, result)
        return result


def described(type: GraphQLObjectType, field: GraphQLField) -> Described:
    """What Strawberry would do for the field, where that is no more than to read or to load something."""
    resolve: Any = field.resolve
    guard = None
    if isinstance(resolve, Guarded):
        guard, resolve = resolve.allow, resolve.resolve
    definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if not isinstance(definition, StrawberryField) or definition.extensions:
        return None
    if getattr(resolve, "__qualname__", None) == BASIC:
        is_read = definition.default_resolver is getattr
        return Attribute(definition.python_name, guard) if is_read else None
    loaded = loaded_by(definition)
    if loaded is None:
        return None
    load = partial(_load, attrgetter(f"loaders.{loaded.loader}"))
    return Relation(loaded.key, load, same=loaded.same, guard=guard)


def recognised(type: GraphQLObjectType) -> Callable[[Any], bool] | None:
    """As Strawberry tells it itself, but for an object of a subclass or of another type."""
    definition = type.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if not isinstance(definition, StrawberryObjectDefinition) or definition.is_type_of:
        return None
    origin = definition.origin

    def is_surely(value: Any) -> bool:
        return value.__class__ is origin and get_strawberry_type_cast(value) is None

    return is_surely


async def _load(loader: Callable[[Context], Any], context: Context, keys: list[Any]) -> list[Any]:
    """One after the other they are awaited, and in one batch they are loaded."""
    load, found = loader(context).load, []
    futures = [load(key) for key in keys]
    try:
        for future in futures:
            try:
                found.append(await future)
            except Exception as error:
                found.append(error)
    finally:  # whoever leaves early has not seen what the others are going to say
        for future in futures[len(found) :]:
            future.add_done_callback(_see)
    return found


def _see(future: asyncio.Future[Any]) -> None:
    """An error that nobody has seen would be told in the log."""
    if not future.cancelled():
        future.exception()
