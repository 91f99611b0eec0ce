"""The graph: Strawberry's schema, bounded in time, its contexts never shared, its errors fit to be seen."""

import asyncio
import warnings
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing, nullcontext, suppress
from datetime import UTC, datetime
from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import strawberry
import structlog
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
    specified_rules,
)
from graphql.type.definition import GraphQLResolveInfoHelpers
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext, StreamResult, validate_document
from strawberry.types import ExecutionContext, ExecutionResult

from adapters.cache import stale_answers
from adapters.deadline import deadline
from gateway.errors import codes, presented
from resolvers.context import Context
from resolvers.mutation import Mutation
from resolvers.query import Query
from resolvers.stale import Staleness
from resolvers.subscription import Subscription
from schema.scalars import SCALARS

T = TypeVar("T")

DOCUMENTS = 256
"""How many documents stay parsed and validated; the body limit bounds what each may take."""

log = structlog.get_logger("switchboard.graph")

# Of an operation that is cancelled graphql-core leaves some coroutines unstarted: nothing is lost with them.
warnings.filterwarnings("ignore", r"coroutine '(Executor|GraphQLCoreConverter)\.", RuntimeWarning)

# graphql-core's helpers are methods of their executor, and so a cycle that would keep every context, with all
# that it loaded, until the garbage collector comes by. What still runs afterwards finds these instead.
_AFTERWARDS = GraphQLResolveInfoHelpers(
    gather=lambda awaitables: asyncio.gather(*awaitables), track=lambda _: None
)


class Prepared(NamedTuple):
    """A document that was read before; to run it takes neither parsing nor validating."""

    document: DocumentNode
    faults: list[GraphQLError]


class _Executor(StrawberryGraphQLCoreExecutionContext):
    def execute_operation(self, serially: bool | None = None) -> Any:
        """Runs for a query, for a mutation and for each event of a subscription."""
        result = super().execute_operation(serially)
        if self.is_awaitable(result):
            return self._bounded(result)
        self.async_helpers = _AFTERWARDS
        return result

    async def _bounded(self, result: Awaitable[T]) -> T:
        try:
            # Who changes something wants to know how things are, not how they were.
            reads = self.operation.operation is not OperationType.MUTATION
            stale = stale_answers(self.context_value.stale.note) if reads else nullcontext()
            with deadline(self.context_value.timeout), stale:
                return await result
        finally:
            self.async_helpers = _AFTERWARDS

    def build_per_event_executor(self, payload: Any) -> Any:
        executor = super().build_per_event_executor(payload)
        executor.context_value = self.context_value.event()
        return executor


class Graph(strawberry.Schema):
    def __init__(self, **roots: Any) -> None:
        config = StrawberryConfig(scalar_map=SCALARS)
        super().__init__(**roots, execution_context_class=_Executor, config=config)
        self._prepared = lru_cache(DOCUMENTS)(self._prepare)

    def _prepare(self, query: str) -> Prepared:
        document = parse(query)
        return Prepared(document, validate_document(self._schema, document, tuple(specified_rules)))

    def subscribes(self, query: str | None, operation_name: str | None) -> bool:
        """Whether what is to be run is a subscription."""
        if query is None or "subscription" not in query:  # most are spared the parsing
            return False
        try:
            document = self._prepared(query).document
        except GraphQLSyntaxError:
            return False
        operation = get_operation_ast(document, operation_name)
        return operation is not None and operation.operation is OperationType.SUBSCRIPTION

    async def execute(self, query: str | None, *args: Any, **kwargs: Any) -> ExecutionResult:
        result = await super().execute(query, *args, **kwargs)
        return _fit_to_be_seen(result, kwargs["context_value"])

    async def stream(self, query: str | None, *args: Any, **kwargs: Any) -> StreamResult:
        """On a connection that stays, and whose own context all its operations would share."""
        kwargs["context_value"] = context = kwargs["context_value"].fresh()
        return _told(await super().stream(query, *args, **kwargs), context)

    def process_errors(self, errors: list[GraphQLError], execution_context: Any = None) -> None:
        """Strawberry would log texts and values here; gateway/errors.py says what may be said."""

    def _create_execution_context(self, *args: Any, **kwargs: Any) -> ExecutionContext:
        execution = super()._create_execution_context(*args, **kwargs)
        if execution.query:
            with suppress(GraphQLSyntaxError):  # Strawberry meets it again, and knows what to answer
                prepared = self._prepared(execution.query)
                execution.graphql_document = prepared.document
                execution.pre_execution_errors = list(prepared.faults)
        if execution.context is not None:
            execution.context.operation = operation_name(execution)
        return execution


def build_graph() -> Graph:
    return Graph(query=Query, mutation=Mutation, subscription=Subscription)


async def _told(results: StreamResult, context: Context) -> AsyncGenerator[Any, None]:
    """The results of one operation, and its line in the log when it is over."""
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
            operation=context.operation,
            ms=round((perf_counter() - started) * 1000, 1),
            **({"errors": sorted(seen)} if seen else {}),
        )


def operation_name(execution: ExecutionContext) -> str | None:
    """As the log may have it: a name that the document holds, and not just any text sent beside it."""
    if execution.graphql_document is None:
        return None
    names = [
        definition.name.value
        for definition in execution.graphql_document.definitions
        if isinstance(definition, OperationDefinitionNode) and definition.name
    ]
    asked_for = execution.operation_name
    return asked_for[:64] if asked_for in names else None


def _fit_to_be_seen(result: ExecutionResult, context: Context) -> ExecutionResult:
    if result.errors:
        result.errors = presented(result.errors, context.request_id)
    if context.stale:
        result.extensions = {**(result.extensions or {}), "sources": _freshness(context.stale)}
        context.stale.clear()  # the next event of a subscription begins without
    return result


def _freshness(stale: Mapping[str, Staleness]) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        source.upper(): {
            "stale": True,
            "since": since.isoformat(),
            "age": round((now - since).total_seconds(), 1),
            "reason": reason,
        }
        for source, (since, reason) in sorted(stale.items())
    }
