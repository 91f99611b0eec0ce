"""The graph: Strawberry's schema, bounded in time, its contexts never shared, its errors fit to be seen."""

import asyncio
import warnings
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping, Sequence
from contextlib import aclosing, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple, TypeVar, cast

import strawberry
import structlog
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    MiddlewareManager,
    OperationDefinitionNode,
    OperationType,
    OverlappingFieldsCanBeMergedRule,
    get_operation_ast,
    specified_rules,
    validate,
)
from graphql import ExecutionResult as GraphQLExecutionResult
from graphql.type.definition import GraphQLResolveInfoHelpers
from graphql.validation import validation_context
from graphql.validation.rules import max_introspection_depth_rule, overlapping_fields_can_be_merged
from graphql.validation.validate import ValidationAbortedError
from strawberry.execution import optimized_is_awaitable
from strawberry.extensions import SchemaExtension
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import DEFAULT_ALLOWED_OPERATION_TYPES, StreamResult
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType as Kind

from adapters import tracing
from adapters.cache import stale_answers
from adapters.deadline import deadline
from gateway.aside import aside
from gateway.documents import Cache, Documents, trusted
from gateway.errors import Refused, codes, presented
from gateway.executor import AFTER, Compiled, Executor, introspects
from gateway.limits import Measure, Pass, check, check_measure, check_operations, check_values, read
from gateway.settings import Limits, Settings, UseExecutor
from resolvers.context import Context
from resolvers.mutation import Mutation
from resolvers.permission import guard
from resolvers.query import Query
from resolvers.stale import Staleness
from resolvers.subscription import Subscription
from schema.scalars import SCALARS

T = TypeVar("T")

_NOTHING = nullcontext()
_NO_MIDDLEWARE = MiddlewareManager()

PREPARED = 256, 16 * 2**20
"""How many documents stay parsed and validated, and how many bytes of memory they may take."""
A_TOKEN = 700
"""Bytes that one takes, parsed."""
OPERATION = "graphql"
"""As a span is called until it is known what is run."""
LONG = 1_000
"""Characters of a document that takes about 5 ms to read."""
FAULTS = 20
"""So many are told at once."""
MERGING = (OverlappingFieldsCanBeMergedRule,)
"""The rule that alone may take as long as all others, which come first."""
RULES = (
    *(rule for rule in specified_rules if rule not in MERGING),
    MaybeNullValidationRule,
    OneOfInputValidationRule,
)

# A small part of what graphql-core would spend on a single document: it takes as long as others may have to
# wait for it. And introspection as its tools ask for it.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 20_000
validation_context.MAX_FRAGMENT_WORK = 5_000
max_introspection_depth_rule.MAX_LIST_DEPTH = 2

log = structlog.get_logger("switchboard.graph")

# Of an operation that is cancelled graphql-core leaves some coroutines unstarted: nothing is lost with them.
warnings.filterwarnings("ignore", r"coroutine '(Executor|GraphQLCoreConverter)\.", RuntimeWarning)

# graphql-core's helpers are methods of their executor, and so a cycle that would keep every context, with all
# that it loaded, until the garbage collector comes by. What still runs afterwards finds these instead.
_AFTERWARDS = GraphQLResolveInfoHelpers(
    gather=lambda awaitables: asyncio.gather(*awaitables), track=lambda _: None
)


class _NoExtensions(SchemaExtensionsRunner):
    """Around no step of an operation is there anything to do."""

    def nothing(self) -> Any:
        return _NOTHING

    operation = validation = parsing = executing = nothing


class Prepared(NamedTuple):
    """A document that was read before; to run it takes neither parsing nor validating."""

    document: DocumentNode | None
    faults: list[GraphQLError]
    measures: Mapping[str | None, Measure] = {}
    """Of each operation, by its name."""
    compiled: Compiled | None = None


class Asked(NamedTuple):
    """What came over a socket, where a query alone is not all of it."""

    query: str | None
    extensions: Mapping[str, Any]


class _Executor(Executor):
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


class _Discreet(_Executor):
    @classmethod
    def build(cls, *args: Any, **kwargs: Any) -> Any:
        return super().build(*args, **{**kwargs, "hide_suggestions": True})


class Graph(strawberry.Schema):
    def __init__(
        self,
        *,
        limits: Limits | None = None,
        introspection: bool = True,
        documents: Documents | None = None,
        compiles_after: int | None = AFTER,
        **roots: Any,
    ) -> None:
        executor = _Executor if introspection else _Discreet
        super().__init__(
            **roots, execution_context_class=executor, config=StrawberryConfig(scalar_map=SCALARS)
        )
        guard(self._schema)
        self._limits = limits or Limits()
        self._introspection = introspection
        self._compiles_after = compiles_after
        self._documents = documents or Documents()
        self._cache: Cache[Prepared] = Cache(*PREPARED)

    @property
    def core(self) -> GraphQLSchema:
        """As graphql-core knows it."""
        return self._schema

    async def prepare(self, query: str | None, extensions: Mapping[str, Any] | None) -> None:
        """Reads what is to be run; what is long is read aside, for others would wait."""
        with suppress(Refused):  # that is said when it is looked at
            text = self._documents.text(query, extensions)
            if text and len(text) > LONG and self._cache.get(text) is None:
                self._keep(text, await aside(self._read, text))

    def prepared(self, text: str) -> Prepared:
        return self._cache.get(text) or self._keep(text, self._read(text))

    def _read(self, text: str) -> Prepared:
        document, measures, compiled = None, dict[str | None, Measure](), None
        try:
            document = read(text, self._limits)
            measures = self._measured(document)
            faults = self._invalid(document, RULES) or self._invalid(document, MERGING)
            compiled = self._compiled(text, document)
        except GraphQLError as error:
            faults = [error.with_traceback(None)]
        return Prepared(document, faults, measures, compiled)

    def _keep(self, text: str, prepared: Prepared) -> Prepared:
        tokens = prepared.document.token_count if prepared.document else 0
        self._cache.put(text, prepared, 1_000 + len(text) + A_TOKEN * (tokens or 0))
        return prepared

    def _compiled(self, text: str, document: DocumentNode) -> Compiled | None:
        if self._compiles_after is None:
            return None
        return Compiled(self._schema, document, self._compiles_after, partial(self._cache.charge, text))

    def faults(self, document: DocumentNode) -> list[GraphQLError]:
        """What would be wrong with it, if it were sent."""
        try:
            self._measured(document)
        except Refused as error:
            return [error]
        return self._invalid(document, RULES) or self._invalid(document, MERGING)

    def _measured(self, document: DocumentNode) -> dict[str | None, Measure]:
        operations = sum(isinstance(each, OperationDefinitionNode) for each in document.definitions)
        check_operations(operations)
        walk = Pass(self._schema, document, introspection=self._introspection)
        measures = {}
        for operation in document.definitions:
            if isinstance(operation, OperationDefinitionNode):
                measure = walk.operation(operation)
                check_measure(self._limits, measure)
                if measure.types and not introspects(operation.selection_set, walk.fragments):
                    raise Refused("Ask for all types in an operation of its own: it takes long to tell them.")
                if not measure.varies:
                    check(self._limits, "cost", measure.cost)
                measures[operation.name.value if operation.name else None] = measure
        return measures

    def _invalid(self, document: DocumentNode, rules: Sequence[Any]) -> list[GraphQLError]:
        faults = validate(
            self._schema, document, rules, max_errors=FAULTS, hide_suggestions=not self._introspection
        )
        if faults and isinstance(faults[-1], ValidationAbortedError) and len(faults) <= FAULTS:
            return [Refused("The document takes too long to validate: ask for less at a time.")]
        return faults

    def subscribes(
        self, query: str | None, operation_name: str | None, extensions: Mapping[str, Any] | None = None
    ) -> bool:
        """Whether what is to be run is a subscription."""
        try:
            text = self._documents.text(query, extensions)
        except Refused:
            return False
        if not text or "subscription" not in text:  # most are spared the parsing
            return False
        document = self.prepared(text).document
        operation = get_operation_ast(document, operation_name) if document else None
        return operation is not None and operation.operation is OperationType.SUBSCRIPTION

    async def execute(self, query: str | None, *args: Any, **kwargs: Any) -> ExecutionResult:
        started, context = perf_counter(), kwargs["context_value"]
        with tracing.span(OPERATION) as span:
            is_alone = not (self.extensions or self.directives)
            execute = self._execute_alone if is_alone else super().execute
            seen = _fit_to_be_seen(await execute(query, *args, **kwargs), context)
            failed = codes(seen.errors or ())
            _tell(span, context, failed)
        context.counts.operation(context.operation, failed, perf_counter() - started)
        return seen

    async def _execute_alone(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,
        root_value: Any = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[Kind] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """As Strawberry does it, and graphql-core, without the steps that are there for extensions."""
        execution = self._create_execution_context(
            query,
            DEFAULT_ALLOWED_OPERATION_TYPES if allowed_operation_types is None else allowed_operation_types,
            variable_values,
            context_value,
            root_value,
            operation_name=operation_name,
            operation_extensions=operation_extensions,
        )
        if failed := await self._prepare_operation_async(execution, _NoExtensions(execution, [])):
            return ExecutionResult(None, failed.errors, execution.extensions_results)
        try:
            done = self._executed(execution, operation_extensions)
            if not isinstance(done, GraphQLExecutionResult):
                done = await done
        except GraphQLError as error:
            done = GraphQLExecutionResult(None, [error])
        except Exception as error:
            done = GraphQLExecutionResult(None, [GraphQLError(str(error), original_error=error)])
        return ExecutionResult(done.data, done.errors, execution.extensions_results)

    def _executed(self, execution: ExecutionContext, extensions: dict[str, Any] | None) -> Any:
        """The result, or an awaitable of it."""
        executor = self.execution_context_class.build(
            self._schema,
            cast("DocumentNode", execution.graphql_document),
            execution.root_value,
            execution.context,
            execution.variables,
            execution.operation_name,
            middleware=_NO_MIDDLEWARE,
            is_awaitable=cast("Any", optimized_is_awaitable),
            operation_extensions=extensions,
        )
        if isinstance(executor, list):  # what is wrong with its variables
            return GraphQLExecutionResult(None, executor)
        return executor.execute_operation()

    async def stream(self, query: Asked | str | None, *args: Any, **kwargs: Any) -> StreamResult:
        """On a connection that stays, and whose own context all its operations would share."""
        if isinstance(query, Asked):
            query, kwargs["operation_extensions"] = query
        await self.prepare(query, kwargs.get("operation_extensions"))
        kwargs["context_value"] = context = kwargs["context_value"].fresh()
        return _told(await super().stream(query, *args, **kwargs), context)

    def process_errors(self, errors: list[GraphQLError], execution_context: Any = None) -> None:
        """Strawberry would log texts and values here; gateway/errors.py says what may be said."""

    def create_extensions_runner(
        self, execution_context: ExecutionContext, extensions: list[SchemaExtension]
    ) -> SchemaExtensionsRunner:
        runner = SchemaExtensionsRunner if extensions else _NoExtensions
        return runner(execution_context, extensions)

    def _get_middleware_manager(self, extensions: list[SchemaExtension]) -> MiddlewareManager:
        return super()._get_middleware_manager(extensions) if extensions else _NO_MIDDLEWARE

    def _create_execution_context(self, *args: Any, **kwargs: Any) -> ExecutionContext:
        execution = super()._create_execution_context(*args, **kwargs)
        try:
            self._look_at(execution, kwargs.get("operation_name"))
        except Refused as error:
            execution.pre_execution_errors = [error]
        if execution.context is not None:
            execution.context.operation, execution.context.kind = _operation(execution)
        return execution

    def _look_at(self, execution: ExecutionContext, asked_for: str | None) -> None:
        asked = execution.operation_extensions or {}
        text = self._documents.text(execution.query, asked)
        if not text:
            return
        prepared = self.prepared(text)
        execution.graphql_document = prepared.document
        execution.pre_execution_errors = list(prepared.faults)
        if prepared.faults:
            return
        self._documents.keep(text, asked)
        if execution.context is not None:
            execution.context.compiled = prepared.compiled
        if asked_for is None and len(prepared.measures) > 1:
            raise Refused("The document has several operations: name in operationName the one to run.")
        check_values(self._limits, execution.variables)
        cost = self._cost(prepared, execution)
        if asked.get("cost") is True:
            execution.extensions_results["cost"] = {"value": cost, "budget": self._limits.cost}

    def _cost(self, prepared: Prepared, execution: ExecutionContext) -> int:
        measure = prepared.measures.get(execution.operation_name)
        if measure is None:  # there is no such operation, and Strawberry says so
            return 0
        if measure.varies and prepared.document:
            operation = get_operation_ast(prepared.document, execution.operation_name)
            walk = Pass(self._schema, prepared.document, introspection=True, variables=execution.variables)
            cost = walk.operation(operation).cost if operation else 0
            check(self._limits, "cost", cost)
            return cost
        return measure.cost

    async def _prepare_operation_async(
        self, context: ExecutionContext, extensions_runner: SchemaExtensionsRunner
    ) -> PreExecutionError | None:
        if context.pre_execution_errors and context.graphql_document is None:
            return PreExecutionError(data=None, errors=context.pre_execution_errors)
        return await super()._prepare_operation_async(context, extensions_runner)


def build_graph(settings: Settings | None = None, **wishes: Any) -> Graph:
    roots: dict[str, Any] = {"query": Query, "mutation": Mutation, "subscription": Subscription}
    if settings is None:
        return Graph(**roots, **wishes)
    return Graph(
        compiles_after=AFTER if settings.executor is UseExecutor.COMPILED else None,
        limits=settings.limits,
        introspection=settings.has_introspection,
        documents=Documents(trusted(settings.documents)),
        **roots,
    )


async def _told(results: StreamResult, context: Context) -> AsyncGenerator[Any, None]:
    """The results of one operation, and its line in the log when it is over."""
    started, seen = perf_counter(), set[str]()
    subscribes = context.kind == OperationType.SUBSCRIPTION.value
    if subscribes:
        context.counts.subscriptions(+1)
    with tracing.span(OPERATION) as span:
        try:
            async with aclosing(results):
                async for result in results:
                    if isinstance(result, ExecutionResult):
                        seen.update(codes(_fit_to_be_seen(result, context).errors or ()))
                    yield result
        finally:
            failed, took = sorted(seen), perf_counter() - started
            if subscribes:  # it lasts as long as its client likes
                context.counts.subscriptions(-1)
            context.counts.operation(context.operation, failed, None if subscribes else took)
            _tell(span, context, failed)
            log.info(
                "operation",
                operation=context.operation,
                ms=round(took * 1000, 1),
                **({"errors": failed} if failed else {}),
            )


def _tell(span: tracing.Span, context: Context, failed: Sequence[str]) -> None:
    if not span.is_heard:
        return
    said = {"graphql.operation.type": context.kind, "graphql.operation.name": context.operation}
    span.call(" ".join(filter(None, said.values())) or OPERATION)
    span.say({name: value for name, value in said.items() if value})
    if failed:
        span.fail(",".join(failed))


def _operation(execution: ExecutionContext) -> tuple[str | None, str | None]:
    """Its name and its kind, as the log may have them: what the document holds, not any text beside it."""
    if execution.graphql_document is None:
        return None, None
    asked_for = execution.operation_name
    for definition in execution.graphql_document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            name = definition.name.value if definition.name else None
            if name == asked_for:
                return name and name[:64], definition.operation.value
    return None, None


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
