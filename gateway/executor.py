"""The executor: runs what was compiled of an operation, and leaves the rest to graphql-core."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from graphql import DocumentNode, ExecutionResult, GraphQLField, GraphQLObjectType, GraphQLSchema
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from gateway.execution import Attribute, Described, NotCompiled, Operation, Relation, compile
from resolvers.permission import Guarded
from schema.relations import loaded_by

if TYPE_CHECKING:
    from resolvers.context import Context

BASIC = "GraphQLCoreConverter.from_resolver.<locals>._get_basic_result"
"""What Strawberry makes the resolver of a field that has none."""


class Compiled:
    """A document, and what was compiled of it: each of its operations when it is first run."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._document = document
        self._operations: dict[str | None, Operation | None] = {}

    def operation(self, name: str | None) -> Operation | None:
        """None where it cannot be compiled."""
        if name not in self._operations:
            try:
                found = compile(self._schema, self._document, name, described)
            except NotCompiled:
                found = None
            self._operations[name] = found
        return self._operations[name]


class Executor(StrawberryGraphQLCoreExecutionContext):
    def execute_operation(self, serially: bool | None = None) -> Any:
        compiled: Compiled | None = getattr(self.context_value, "compiled", None)
        result = self._run(compiled) if compiled and serially is None else None
        return super().execute_operation(serially) if result is None else result

    def _run(self, compiled: Compiled) -> ExecutionResult | Awaitable[ExecutionResult] | None:
        operation = compiled.operation(self.operation.name.value if self.operation.name else None)
        if operation is None:
            return None
        try:
            return operation.run(self)
        except NotCompiled:
            return None


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


async def _load(loader: Callable[[Context], Any], context: Context, keys: list[Any]) -> list[Any]:
    """One after the other they are awaited, and in one batch they are loaded."""
    load, found = loader(context).load, []
    for future in [load(key) for key in keys]:
        try:
            found.append(await future)
        except Exception as error:
            found.append(error)
    return found
