"""Both executors beside each other: what they answer has to be the same."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from random import Random
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    NameNode,
    OperationDefinitionNode,
    execute,
    parse,
)
from graphql.type.directives import GraphQLDisableErrorPropagationDirective

from gateway.execution import NotCompiled, compile
from tests.execution.nasty import Operations, Thing, World, describe, describe_attributes, recognise, schema

Said = tuple[str, tuple[Any, ...], tuple[Any, ...]]


def said(error: GraphQLError) -> Said:
    locations = tuple((location.line, location.column) for location in error.locations or ())
    return error.message, tuple(error.path or ()), locations


async def awaited(result: ExecutionResult | Awaitable[ExecutionResult]) -> ExecutionResult:
    return result if isinstance(result, ExecutionResult) else await result


def places(result: ExecutionResult) -> set[tuple[Any, ...]]:
    """Where the answer is null because of an error."""
    return {_nulled(result.data, error.path or []) for error in result.errors or ()}


def _nulled(data: Any, path: list[Any]) -> tuple[Any, ...]:
    for length, key in enumerate(path):
        if data is None:
            return tuple(path[:length])
        data = data[key]
    assert data is None, path
    return tuple(path)


class Unlike(AssertionError):
    pass


class Case:
    def __init__(self, seed: int) -> None:
        draw = Random(seed)
        self.seed = seed
        self.trouble = draw.choice((0, 0.01, 0.05, 0.2))
        self.waiting = draw.choice((0, 0, 0.05, 0.3, 0.8))
        self.relations = draw.random() < 0.5
        operations = Operations(draw, 40)
        self.text, self.variables = operations.operation(), operations.variables()
        self.document = parse(self.text)

    def world(self) -> World:
        return World(self.seed, self.trouble, self.waiting)

    def compiled(self, world: World) -> ExecutionResult | Awaitable[ExecutionResult]:
        known = describe if self.relations else describe_attributes
        operation = compile(schema(), self.document, describe=known, recognise=recognise)
        return operation(Thing(world, "root", "Query"), None, self.variables)

    def executed(self, world: World, document: DocumentNode) -> ExecutionResult | Awaitable[ExecutionResult]:
        return execute(schema(), document, Thing(world, "root", "Query"), None, self.variables)

    async def possible(self) -> set[Said]:
        """The errors that any order of events could bring, since none hides another."""
        (operation, *others) = self.document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        name = NameNode(value=GraphQLDisableErrorPropagationDirective.name)
        unhindered = replace(operation, directives=(DirectiveNode(name=name, arguments=()),))
        document = replace(self.document, definitions=(unhindered, *others))
        result = await awaited(self.executed(self.world(), document))
        return {said(error) for error in result.errors or ()}


async def compare(seed: int) -> str:
    """Says what was compared, or raises `Unlike`."""
    case = Case(seed)
    theirs_in, ours_in = case.world(), case.world()
    try:
        ours_now = case.compiled(ours_in)
    except NotCompiled:
        return "not compiled"
    ours = await awaited(ours_now)
    theirs_now = case.executed(theirs_in, case.document)
    theirs = await awaited(theirs_now)
    context = f"seed {seed}\n{case.text}\n{case.variables}\ntheirs {theirs}\nours   {ours}"
    if str(theirs.data) != str(ours.data):  # which tells True from 1, and one order of keys from another
        raise Unlike(context)
    if theirs.data is None and any(not error.path for error in theirs.errors or ()):
        if list(map(said, theirs.errors or ())) != list(map(said, ours.errors or ())):
            raise Unlike(context)
        return "refused"
    if twice := [path for path, count in ours_in.calls.items() if count > 1]:
        raise Unlike(f"{context}\nTwice called: {twice}")
    # What is loaded comes later than it would have been resolved, and so may its errors come too late.
    if isinstance(theirs_now, ExecutionResult) and not case.relations:
        if list(map(said, theirs.errors or ())) != list(map(said, ours.errors or ())):
            raise Unlike(context)
        if theirs_in.calls != ours_in.calls:
            raise Unlike(f"{context}\nTheirs called {theirs_in.calls}, ours {ours_in.calls}")
        assert ours_now is ours, context
        return "at once"
    if places(theirs) != places(ours):
        raise Unlike(f"{context}\n{places(theirs)}\n{places(ours)}")
    if impossible := {said(error) for error in ours.errors or ()} - await case.possible():
        raise Unlike(f"{context}\nImpossible: {impossible}")
    return "awaited"


def run(seeds: range) -> dict[str, int]:
    """Raises for the first that differs, also where something is left that nobody awaited."""
    found: dict[str, int] = {}

    async def all_of_them() -> None:
        for seed in seeds:
            try:
                kind = await compare(seed)
            except Unlike:
                raise
            except Exception as error:
                raise Unlike(f"seed {seed}") from error
            found[kind] = found.get(kind, 0) + 1

    asyncio.run(all_of_them())
    return found
