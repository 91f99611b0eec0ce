"""One run of a compiled operation: what the emitted code calls, and whatever has to be waited for.

The emitted functions complete all that is there at once, and leave null where something has to be awaited.
What is awaited is noted with its path in the answer, and put there when it has come: then no object waits for
another, and those that stand next to each other are loaded together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from inspect import iscoroutine
from types import GeneratorType
from typing import Any, NamedTuple, TypeAlias, cast

from graphql import (
    ExecutionResult,
    GraphQLAbstractType,
    GraphQLEnumType,
    GraphQLError,
    GraphQLLeafType,
    GraphQLObjectType,
    Undefined,
    located_error,
)
from graphql.execution.executor import (
    Executor,
    collect_iterator_awaitables,
    default_type_resolver,
    invalid_return_type_error,
)
from graphql.execution.values import get_argument_values
from graphql.pyutils import Path, inspect, is_iterable

from gateway.execution.fields import Relation
from gateway.execution.plan import Field, Place

At: TypeAlias = "tuple[At | None, str | int, str | None]"
"""Where in the answer: as graphql-core's Path is, but a plain tuple, which is made in no time."""
Complete: TypeAlias = Callable[["Run", Any, Any], Any]
"""Makes the answer of a value that stands at such a place, or raises."""
Body: TypeAlias = Complete
"""The same of an object that is known to be one of the type."""

FINE = object()
"""The value is nothing special."""
MOST_KNOWN = 64
PLAIN = {str, int, float, bool, datetime, date, time, timedelta, Decimal}
"""Of these everybody knows that they are values and nothing else."""


class Site(NamedTuple):
    """A relation where it is asked for."""

    relation: Relation
    place: Place
    complete: Complete
    shares: bool
    """Whether what was completed of a child serves all its parents: then it holds nothing but attributes."""


class Program(NamedTuple):
    """What was compiled."""

    roots: Sequence[Complete]
    """One function for all fields of a query; of a mutation one for each."""
    sites: Sequence[Site]
    source: str
    fields: Sequence[Field]
    """All of them, each before those below it."""


class Run:
    def __init__(self, program: Program, executor: Executor[Any]) -> None:
        self.context = executor.context_value
        self.is_awaitable = executor.is_awaitable
        self.errors: list[GraphQLError] = []
        self.laters: list[_Later] = []
        self.batches: list[list[Entry]] = [[] for _ in program.sites]
        """Of each site, what is to be loaded there next."""
        self._program = program
        self._executor = executor
        self._data: dict[str, Any] | None = {}
        self._tasks: dict[asyncio.Task[None], Work] = {}
        self._doomed: dict[asyncio.Task[None], Work] = {}
        self._idle: asyncio.Future[None] | None = None

    # -- the operation

    def start(self) -> ExecutionResult | Awaitable[ExecutionResult]:
        roots = iter(self._program.roots)
        works = self._next_root(roots)
        return self._finish(roots, works) if works else self._result()

    def _next_root(self, roots: Iterator[Complete]) -> list[Work]:
        """Goes on until there is something to wait for, or nothing left."""
        for root in roots:
            if self._data is None:
                break
            try:
                self._data.update(root(self, self._executor.root_value, None))
            except GraphQLError as error:
                self._data = None
                self.errors.append(error)
            if works := self._take():
                return works
        return []

    async def _finish(self, roots: Iterator[Complete], works: list[Work]) -> ExecutionResult:
        while works:
            await self._settle(works)
            works = self._next_root(roots)
        return self._result()

    def _result(self) -> ExecutionResult:
        return ExecutionResult(self._data, self.errors or None)

    # -- what the emitted code calls

    def info(self, place: Place, path: Any) -> Any:
        while type(path[1]) is int:  # that of the field, where it is a list
            path = path[0]
        field = place.field
        return self._executor.build_resolve_info(
            field.definition, [*field.nodes], field.parent_type, _as_path(path)
        )

    def arguments(self, place: Place) -> dict[str, Any]:
        field = place.field
        return get_argument_values(
            field.definition,
            field.nodes[0],
            self._executor.variable_values,
            None,
            self._executor.hide_suggestions,
        )

    def called(self, value: Any, place: Place, path: At) -> Any:
        """As graphql-core's default resolver calls what is callable."""
        return value(self.info(place, path)) if callable(value) else value

    def later(self, awaitable: Awaitable[Any], complete: Complete, place: Place, path: At) -> None:
        """Null, until it is here."""
        self.laters.append(_Later(awaitable, complete, place, path))

    def failed(self, error: Exception, place: Place, path: Any) -> None:
        """Of a field of the object there: null, with its error; or the error, where there may be no null."""
        field = place.field
        self._failed(error, place, (path, field.key, field.parent_type.name))

    def failed_item(self, error: Exception, place: Place, path: Any, index: int) -> None:
        """The same of an item of the list there."""
        self._failed(error, place, (path, index, None))

    def _failed(self, error: Exception, place: Place, path: At) -> None:
        error = located_error(error, place.field.nodes, _keys(path))
        if place.non_null:
            raise error
        self.errors.append(error)

    def odd(self, value: Any, complete: Complete, place: Place, path: At, known: set[type]) -> Any:
        """Answers for a value that is no object; classes that cannot be anything else are learned."""
        if value is None:
            return place.null()
        if self.is_awaitable(value):
            return self.later(value, complete, place, path)
        if isinstance(value, Exception):
            raise value
        if value is Undefined:
            return place.null()
        if len(known) < MOST_KNOWN and _is_never_awaitable(type(value)):
            known.add(type(value))
        return FINE

    def odd_list(
        self, value: Any, complete: Complete, item: Complete, place: Place, item_place: Place, path: At
    ) -> Any:
        """The same for what should be a list."""
        if (odd := self.odd(value, complete, place, path, set())) is not FINE:
            return odd
        if self._executor.is_async_iterable(value):
            drained = self._drained(value.__aiter__(), item, place, item_place, path)
            return self.later(drained, _placed, place, path)
        if not is_iterable(value):
            field = place.field
            raise GraphQLError(
                f"Expected Iterable, but did not find one for field '{field.parent_type}.{field.name}'."
            )
        return FINE

    def of_type(self, value: Any, body: Body, place: Place, path: At, type: GraphQLObjectType) -> Any:
        """An object that may turn out to be of another type."""
        if type.is_type_of is None:
            return body(self, value, path)
        found = type.is_type_of(value, self.info(place, path))
        if self.is_awaitable(found):

            def told(run: Run, is_one: bool, path: At) -> Any:
                return run._if_one(is_one, value, body, place, path, type)

            return self.later(found, told, place, path)
        return self._if_one(bool(found), value, body, place, path, type)

    def _if_one(
        self, is_one: bool, value: Any, body: Body, place: Place, path: At, type: GraphQLObjectType
    ) -> Any:
        if not is_one:
            raise invalid_return_type_error(type, value, place.field.details)
        return body(self, value, path)

    def abstract(
        self, value: Any, bodies: dict[str, Body], place: Place, path: At, type: GraphQLAbstractType
    ) -> Any:
        """An object whose type is to be found out first."""
        info = self.info(place, path)
        name = (type.resolve_type or default_type_resolver)(value, info, type)
        if self.is_awaitable(name):

            def told(run: Run, name: Any, path: At) -> Any:
                return run._as(name, info, value, bodies, place, path, type)

            return self.later(name, told, place, path)
        return self._as(name, info, value, bodies, place, path, type)

    def _as(
        self,
        name: Any,
        info: Any,
        value: Any,
        bodies: dict[str, Body],
        place: Place,
        path: At,
        type: GraphQLAbstractType,
    ) -> Any:
        actual = self._executor.ensure_valid_runtime_type(name, type, place.field.details, info, value)
        return self.of_type(value, bodies[actual.name], place, path, actual)

    async def _drained(
        self, source: AsyncIterator[Any], item: Complete, place: Place, item_place: Place, path: At
    ) -> _Drained:
        """What an async iterator gives. Its items are noted apart: they stand nowhere before all are here."""
        drained = _Drained([], [], [[] for _ in self.batches])
        try:
            while True:
                at = (path, len(drained.items), None)
                try:
                    each = await anext(source)
                except StopAsyncIteration:
                    return drained
                except Exception as error:
                    raise located_error(error, place.field.nodes, _keys(path)) from error
                if self.errors and self.reach(path) is None:
                    raise _Lost
                aside = self.laters, self.batches
                self.laters, self.batches = drained.laters, drained.batches
                try:
                    drained.items.append(item(self, each, at))
                except Exception as error:
                    self._failed(error, item_place, at)
                    drained.items.append(None)
                finally:
                    self.laters, self.batches = aside
        except BaseException as error:
            self.let_go([later.awaitable for later in drained.laters])
            if isinstance(error, Exception) and (close := getattr(source, "aclose", None)):
                with suppress(Exception):
                    await close()
            raise

    def abandon(self, items: Iterator[Any]) -> None:
        """What is left of a list that has become null: as with graphql-core it goes on, and nobody waits."""
        self.let_go(collect_iterator_awaitables(items, self.is_awaitable))

    def let_go(self, awaitables: list[Awaitable[Any]]) -> None:
        if awaitables:
            self._executor.settle_in_background(awaitables)

    # -- what is waited for

    async def _settle(self, works: list[Work]) -> None:
        """Until nothing is left that has a place in the answer."""
        while len(works) == 1:  # takes no task
            await works[0].follow(self)
            works = self._take()
        if not works:
            return
        self._idle = asyncio.get_running_loop().create_future()
        try:
            for work in works:
                self._spawn(work)
            await self._idle
        finally:
            await self._stop()

    def _spawn(self, work: Work) -> None:
        self._tasks[asyncio.create_task(self._pursue(work))] = work

    async def _pursue(self, work: Work) -> None:
        """That, and what comes of it."""
        task, idle = cast("asyncio.Task[None]", asyncio.current_task()), cast("Any", self._idle)
        try:
            await work.follow(self)
            while works := self._take():
                work, *others = works
                for other in others:
                    self._spawn(other)
                if task in self._tasks:
                    self._tasks[task] = work
                await work.follow(self)
        except asyncio.CancelledError:
            if task in self._tasks and not idle.done():
                idle.cancel()  # nobody told us to: a resolver did
            raise
        except BaseException as error:
            if not idle.done():
                idle.set_exception(error)
        finally:
            self._left(task)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not self._tasks and self._idle and not self._idle.done():
            self._idle.set_result(None)

    async def _stop(self) -> None:
        left = {**self._tasks, **self._doomed}
        self._tasks, self._doomed, self._idle = {}, {}, None
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        for work in left.values():
            work.drop()

    def _take(self) -> list[Work]:
        """What was noted since, but for what has lost its place."""
        works: list[Work] = []
        if self.laters:
            laters, self.laters = self.laters, []
            if self.errors:
                self.let_go([later.awaitable for later in laters if later.is_lost(self)])
                works += [later for later in laters if not later.is_lost(self)]
            else:
                works += laters
        for index, entries in enumerate(self.batches):
            if entries:
                self.batches[index] = []
                batch = _Batch(self._program.sites[index], entries)
                if not (self.errors and batch.is_lost(self)):
                    works.append(batch)
        return works

    def reach(self, path: Any) -> Any:
        """The object or the list that holds the place, or None where that has become null."""
        found: Any = self._data
        for key in _keys(path[0]):
            if found is None:
                return None
            found = found[key]
        return found

    def broke(self, error: Exception, place: Place, path: Any) -> None:
        """After something was waited for: makes the nearest place null that may be."""
        if self.reach(path) is None:
            return
        self.errors.append(located_error(error, place.field.nodes, _keys(path)))
        nearest: Place | None = place
        while nearest and nearest.non_null:
            nearest, path = nearest.parent, path[0]
        if nearest:
            self.reach(path)[path[1]] = None
        else:
            self._data = None
        for task, work in list(self._tasks.items()):
            if work.is_lost(self):
                # Not cancelled before the end: it may await what others await, too.
                self._doomed[task] = self._tasks.pop(task)
        if not self._tasks and self._idle and not self._idle.done():
            self._idle.set_result(None)


class _Later:
    """An awaitable, and what becomes of it."""

    __slots__ = ("awaitable", "complete", "has_begun", "path", "place")

    def __init__(self, awaitable: Awaitable[Any], complete: Complete, place: Place, path: At) -> None:
        self.awaitable = awaitable
        self.complete = complete
        self.place = place
        self.path = path
        self.has_begun = False

    async def follow(self, run: Run) -> None:
        self.has_begun = True
        try:
            value = await self.awaitable
            holder = run.reach(self.path)
            if holder is not None:
                holder[self.path[1]] = self.complete(run, value, self.path)
            elif type(value) is _Drained:
                run.let_go([later.awaitable for later in value.laters])
        except Exception as error:
            run.broke(error, self.place, self.path)

    def is_lost(self, run: Run) -> bool:
        return run.reach(self.path) is None

    def drop(self) -> None:
        if not self.has_begun and iscoroutine(self.awaitable):
            self.awaitable.close()


class _Lost(Exception):
    """It has no place in the answer any more."""


class _Drained(NamedTuple):
    items: list[Any]
    laters: list[_Later]
    batches: list[list[Entry]]


def _placed(run: Run, drained: _Drained, path: At) -> list[Any]:
    run.laters += drained.laters
    for entries, more in zip(run.batches, drained.batches, strict=True):
        entries += more
    return drained.items


Entry: TypeAlias = "tuple[dict[Any, Any], Any, At]"
"""The object that waits for a relation, the key of that, and its place."""


class _Batch:
    """The relations of one level that are loaded at once."""

    __slots__ = ("entries", "site")

    def __init__(self, site: Site, entries: list[Entry]) -> None:
        self.site = site
        self.entries = entries

    async def follow(self, run: Run) -> None:
        relation, place, complete, shares = self.site
        try:
            distinct: dict[Any, Any] = {}
            same = relation.same
            keys = [same(key) for _, key, _ in self.entries]
            for name, (_, key, _) in zip(keys, self.entries, strict=True):
                distinct.setdefault(name, key)
            values = await relation.load(run.context, list(distinct.values()))
            found = dict(zip(distinct, values, strict=True))
        except Exception as error:
            for _, _, path in self.entries:
                run.broke(error, place, path)
            return
        shared: dict[Any, Any] = {}
        for name, (holder, _, path) in zip(keys, self.entries, strict=True):
            if run.errors and run.reach(path) is None:
                continue
            if name in shared:
                holder[path[1]] = shared[name]
                continue
            before = len(run.errors), len(run.laters)
            try:
                holder[path[1]] = completed = complete(run, found[name], path)
            except Exception as error:
                run.broke(error, place, path)
            else:
                if shares and before == (len(run.errors), len(run.laters)):
                    shared[name] = completed

    def is_lost(self, run: Run) -> bool:
        return all(run.reach(path) is None for _, _, path in self.entries)

    def drop(self) -> None:
        """Nothing has been asked for before it follows."""


Work: TypeAlias = "_Later | _Batch"


# -- leaves


def leaf(type: GraphQLLeafType, place: Place, names: dict[int, str]) -> Complete:
    """Serialises as graphql-core does; `names` learns those of an enum's members."""
    serialize = type.coerce_output_value
    is_enum = isinstance(type, GraphQLEnumType)
    known: set[Any] = set(PLAIN)
    kept: list[Any] = []  # while a member is here, nothing else has its id

    def complete(run: Run, value: Any, path: At) -> Any:
        if _type(value) not in known:
            odd = run.odd(value, complete, place, path, known)
            if odd is not FINE:
                return odd
        found = serialize(value)
        if found is None or found is Undefined:
            raise TypeError(
                f"Expected `{inspect(type)}.coerce_output_value({inspect(value)})` to return non-nullable"
                f" value, returned: {inspect(found)}"
            )
        if _type(found) is not str and run.is_awaitable(found):
            return run.later(found, _given, place, path)
        if is_enum and isinstance(value, Enum) and not isinstance(value, Flag) and isinstance(found, str):
            names[id(value)] = found
            kept.append(value)
        return found

    return complete


_type = type


def _given(run: Run, value: Any, path: At) -> Any:
    return value


# -- small things


def _is_never_awaitable(kind: type) -> bool:
    """Whether no instance can be; graphql-core asks every value anew."""
    return (
        not hasattr(kind, "__await__")
        and not issubclass(kind, (Exception, GeneratorType))
        and kind.__getattribute__ is object.__getattribute__
        and not hasattr(kind, "__getattr__")
        and not any("__class__" in base.__dict__ for base in kind.__mro__[:-1])
    )


def _keys(path: Any) -> list[str | int]:
    found = []
    while path is not None:
        found.append(path[1])
        path = path[0]
    found.reverse()
    return found


def _as_path(path: Any) -> Any:
    if path is None or type(path) is Path:
        return path
    return Path(_as_path(path[0]), path[1], path[2])
