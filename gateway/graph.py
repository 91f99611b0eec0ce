"""The graph: Strawberry's schema, bounded in time, its contexts never shared, its errors fit to be seen."""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from time import perf_counter
from typing import Any, TypeVar

import strawberry
import structlog
from graphql import GraphQLError, OperationDefinitionNode
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext, StreamResult
from strawberry.types import ExecutionContext, ExecutionResult

from adapters.deadline import deadline
from gateway.errors import codes, presented
from resolvers.context import Context
from resolvers.query import Query

T = TypeVar("T")

DOCUMENTS = 256
"""How many documents stay parsed and validated; the body limit bounds what each may take."""

log = structlog.get_logger("switchboard.graph")


class _Executor(StrawberryGraphQLCoreExecutionContext):
    def execute_operation(self, serially: bool | None = None) -> Any:
        """Runs for a query, for a mutation and for each event of a subscription."""
        result = super().execute_operation(serially)
        return _bounded(result, self.context_value.timeout) if self.is_awaitable(result) else result

    def build_per_event_executor(self, payload: Any) -> Any:
        executor = super().build_per_event_executor(payload)
        executor.context_value = self.context_value.fresh()
        return executor


class Graph(strawberry.Schema):
    def __init__(self, **roots: Any) -> None:
        super().__init__(
            **roots,
            extensions=[lambda: ParserCache(DOCUMENTS), lambda: ValidationCache(DOCUMENTS)],
            execution_context_class=_Executor,
        )

    async def execute(self, query: str | None, *args: Any, **kwargs: Any) -> ExecutionResult:
        result = await super().execute(query, *args, **kwargs)
        return _fit_to_be_seen(result, kwargs["context_value"])

    async def stream(self, query: str | None, *args: Any, **kwargs: Any) -> StreamResult:
        """On a socket, whose own context all its operations would share."""
        kwargs["context_value"] = context = kwargs["context_value"].fresh()
        return _told(await super().stream(query, *args, **kwargs), context)

    def process_errors(self, errors: list[GraphQLError], execution_context: Any = None) -> None:
        """Strawberry would log texts and values here; gateway/errors.py says what may be said."""

    def _create_execution_context(self, *args: Any, **kwargs: Any) -> ExecutionContext:
        execution = super()._create_execution_context(*args, **kwargs)
        if execution.context is not None:
            execution.context.execution = execution
        return execution


def build_graph() -> Graph:
    return Graph(query=Query)


async def _bounded(result: Awaitable[T], seconds: float) -> T:
    with deadline(seconds):
        return await result


async def _told(results: StreamResult, context: Context) -> AsyncGenerator[Any, None]:
    """The results of one operation on a socket, and its line in the log when it is over."""
    started, seen = perf_counter(), set[str]()
    try:
        async with aclosing(results):
            async for result in results:
                if isinstance(result, ExecutionResult):
                    seen.update(codes(_fit_to_be_seen(result, context).errors or ()))
                yield result
    finally:
        log.info(
            "operation",
            operation=operation_name(context),
            ms=round((perf_counter() - started) * 1000, 1),
            **({"errors": sorted(seen)} if seen else {}),
        )


def operation_name(context: Context) -> str | None:
    """As the log may have it: a name that its document holds, and not just any text sent beside it."""
    execution = context.execution
    if execution is None or execution.graphql_document is None or not execution.operation_name:
        return None
    return execution.operation_name[:64] if _defines(execution) else None


def _defines(execution: ExecutionContext) -> bool:
    document = execution.graphql_document
    return document is not None and any(
        isinstance(definition, OperationDefinitionNode)
        and definition.name is not None
        and definition.name.value == execution.operation_name
        for definition in document.definitions
    )


def _fit_to_be_seen(result: ExecutionResult, context: Context) -> ExecutionResult:
    if result.errors:
        result.errors = presented(result.errors, context.request_id)
    return result
