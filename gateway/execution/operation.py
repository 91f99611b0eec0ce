"""A compiled operation: what `compile` answers, and what is called with root, context and variables."""

from collections.abc import Awaitable
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    default_field_resolver,
    default_type_resolver,
    get_operation_ast,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.executor import Executor
from graphql.execution.incremental import IncrementalExecutor
from graphql.execution.values import VariableValues
from graphql.pyutils import Undefined
from graphql.type.directives import GraphQLDisableErrorPropagationDirective

from gateway.execution.code import Coder
from gateway.execution.fields import Describe, Recognise, nothing_known, nothing_recognised
from gateway.execution.plan import Field, NotCompiled, Plan, conditions
from gateway.execution.run import Program, Run

MOST_PROGRAMS = 8
"""So many answers to its @skip and @include are compiled of one operation, each as a program of its own."""

A_CHARACTER = 8
"""Bytes that a program takes for each of its source, with all that it works with."""


def compile(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation_name: str | None = None,
    describe: Describe = nothing_known,
    recognise: Recognise = nothing_recognised,
) -> "Operation":
    """Raises `NotCompiled` for what graphql-core has to execute. The document should be valid."""
    operation = get_operation_ast(document, operation_name)
    if operation is None:
        raise NotCompiled("There is no such operation.")
    if operation.operation is OperationType.SUBSCRIPTION:
        raise NotCompiled("Subscriptions are not compiled.")
    if any(
        directive.name.value == GraphQLDisableErrorPropagationDirective.name
        for directive in operation.directives or ()
    ):
        raise NotCompiled("Errors that do not propagate are not compiled.")
    return Operation(schema, document, operation, describe, recognise)


class Operation:
    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        describe: Describe,
        recognise: Recognise,
    ) -> None:
        fragments = [each for each in document.definitions if isinstance(each, FragmentDefinitionNode)]
        if any(fragment.variable_definitions for fragment in fragments):
            raise NotCompiled("Fragments with variables of their own are not compiled.")
        self._schema = schema
        self._document = document
        self._operation = operation
        self._fragments = {each.name.value: FragmentDetails(each) for each in fragments}
        self._describe = describe
        self._recognise = recognise
        self._conditions = conditions([operation, *fragments])
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._size = 0
        if not self._conditions:
            self._programs[()] = self._compiled(VariableValues({}, {}))

    @property
    def source(self) -> str:
        """What was written; of an operation with conditions, for the variables of its runs so far."""
        return "\n\n".join(program.source for program in self._programs.values())

    @property
    def fields(self) -> list[Field]:
        """What was compiled, each before those below it."""
        return [field for program in self._programs.values() for field in program.fields]

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return self._size

    def __call__(
        self, root: Any = None, context: Any = None, variables: dict[str, Any] | None = None
    ) -> ExecutionResult | Awaitable[ExecutionResult]:
        name = self._operation.name.value if self._operation.name else None
        executor = IncrementalExecutor.build(self._schema, self._document, root, context, variables, name)
        if isinstance(executor, list):
            return ExecutionResult(None, executor)
        return self.run(executor)

    def run(self, executor: Executor[Any]) -> ExecutionResult | Awaitable[ExecutionResult]:
        """In place of `executor.execute_operation()`; raises `NotCompiled` before it calls anything."""
        middleware = executor.middleware_manager
        if (
            (middleware is not None and middleware.middlewares)
            or executor.abort_signal is not None
            or executor.hooks is not None
            or executor.field_resolver is not default_field_resolver
            or executor.type_resolver is not default_type_resolver
        ):
            raise NotCompiled("Whoever executes it wants more than to execute it.")
        return Run(self._program(executor.variable_values), executor).start()

    def _program(self, variables: VariableValues) -> Program:
        key = tuple(variables.coerced.get(name, Undefined) for name in self._conditions)
        program = self._programs.get(key)
        if program is None:
            if len(self._programs) == MOST_PROGRAMS:
                raise NotCompiled(f"It has been compiled for {MOST_PROGRAMS} sets of variables already.")
            program = self._programs[key] = self._compiled(variables)
        return program

    def _compiled(self, variables: VariableValues) -> Program:
        plan = Plan(self._schema, self._operation, self._fragments, variables)
        try:
            program = Coder(plan, self._describe, self._recognise).program()
        except GraphQLError as error:
            raise NotCompiled(error.message) from error
        except (RecursionError, SyntaxError):
            raise NotCompiled("The operation is nested too deeply.") from None
        self._size += A_CHARACTER * len(program.source)
        return program
