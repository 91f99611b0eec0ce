"""Trial: an operation run once on demo people and sandboxes of its own, all watched that may ask somebody.

So whom it asks is counted, and not guessed; nobody else's source or database is touched.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import isawaitable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from graphql import DocumentNode, GraphQLError, GraphQLField, GraphQLObjectType, GraphQLSchema

from adapters import RESTS, Adapters, open_adapters
from adapters.deadline import deadline
from adapters.lines import UseSandbox, open_lines
from gateway import demo
from gateway.execution import Described, Field, Operation, Relation, compile
from gateway.executor import described, recognised
from gateway.graph import Graph
from gateway.server import prepare_database
from gateway.settings import Settings
from resolvers.caller import ANYBODY
from resolvers.changes import all_ended
from resolvers.context import Context
from resolvers.sending.post import Sending, open_post

Keys: TypeAlias = tuple[str, ...]
"""Where in the answer a field stands, whatever the items of its lists."""


@dataclass(slots=True)
class Seen:
    """What came of a field."""

    calls: int = 0
    """Of its resolver."""
    batches: list[int] = field(default_factory=list)
    """The keys of each, where it is a relation."""
    asked: Counter[str] = field(default_factory=Counter)
    """Sources with their questions; what several fields need is with the first of them."""


_asking: ContextVar[Seen | None] = ContextVar("asking", default=None)


@contextmanager
def _on_behalf_of(seen: Seen) -> Iterator[None]:
    token = _asking.set(seen)
    try:
        yield
    finally:
        _asking.reset(token)


async def _awaited(seen: Seen, found: Awaitable[Any]) -> Any:
    with _on_behalf_of(seen):
        return await found


class _Resolver:
    """One that is watched, at every place where it stands."""

    def __init__(self, resolve: Callable[..., Any]) -> None:
        self.seen: defaultdict[Keys, Seen] = defaultdict(Seen)
        self._resolve = resolve

    def __call__(self, source: Any, info: Any, /, **arguments: Any) -> Any:
        seen = self.seen[tuple(key for key in info.path.as_list() if isinstance(key, str))]
        seen.calls += 1
        with _on_behalf_of(seen):
            found = self._resolve(source, info, **arguments)
        return _awaited(seen, found) if isawaitable(found) else found


class _Load:
    """A relation's, watched, at one place."""

    def __init__(self, load: Callable[[Any, list[Any]], Awaitable[Sequence[Any]]]) -> None:
        self.seen = Seen()
        self._load = load

    async def __call__(self, context: Any, keys: list[Any]) -> Sequence[Any]:
        self.seen.batches.append(len(keys))
        with _on_behalf_of(self.seen):
            return await self._load(context, keys)


class Watched:
    """A graph that tells of each field what came of it; from now on it is watched for good."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._known = {id(field): described(type, field) for type, field in _fields(graph.core)}
        for _, each in _fields(graph.core):
            if each.resolve and not self._known[id(each)]:
                each.resolve = _Resolver(each.resolve)

    def compile(self, document: DocumentNode, name: str | None) -> Operation:
        return compile(self.graph.core, document, name, self._described, recognised)

    def _described(self, _: GraphQLObjectType, field: GraphQLField) -> Described:
        kind = self._known.get(id(field))
        return replace(kind, load=_Load(kind.load)) if isinstance(kind, Relation) else kind


def seen_of(field: Field) -> Seen:
    """Nothing, of a field that nobody has to watch."""
    watcher: Any = field.kind.load if isinstance(field.kind, Relation) else field.definition.resolve
    if isinstance(watcher, _Load):
        return watcher.seen
    return watcher.seen[keys_of(field)] if isinstance(watcher, _Resolver) else Seen()


def keys_of(field: Field) -> Keys:
    return (*(keys_of(field.parent) if field.parent else ()), field.key)


def _fields(schema: GraphQLSchema) -> Iterator[tuple[GraphQLObjectType, GraphQLField]]:
    for type in schema.type_map.values():
        if isinstance(type, GraphQLObjectType) and not type.name.startswith("__"):
            for each in type.fields.values():
                yield type, each


async def run(
    settings: Settings, execute: Callable[[Context], Any], asked: Counter[str]
) -> Sequence[GraphQLError]:
    """What it asks is added to `asked`; answered are its errors."""
    async with _on_the_demo(settings, asked) as context:
        with deadline(settings.timeout):
            result = execute(context)
            result = await result if isawaitable(result) else result
        await all_ended()
    errors: Sequence[GraphQLError] = result.errors or ()
    return errors


@asynccontextmanager
async def _on_the_demo(settings: Settings, asked: Counter[str]) -> AsyncIterator[Context]:
    """Whatever the settings say of sources and databases, in a folder of its own that is gone afterwards."""
    with TemporaryDirectory(prefix="switchboard") as folder:
        alone = settings.model_copy(update={"data_dir": Path(folder), "database_url": None, "demo": True})
        await prepare_database(alone)
        sources = {rest.name: rest.Settings.model_validate({}) for rest in RESTS}
        async with open_lines(RESTS, sources, UseSandbox.ON, embedded=True) as lines:
            await demo.move_in(alone, lines)
            async with (
                open_adapters(lines, alone.database) as adapters,
                open_post(adapters, Sending(environment="trial", what_waits=False)) as post,
            ):
                _listen(adapters, asked)
                yield Context(adapters, post, "trial", alone.timeout, alone.region, ANYBODY)


def _listen(adapters: Adapters, asked: Counter[str]) -> None:
    def hear(source: str, question: str, outcome: str, seconds: float) -> None:
        said = f"{source} {question}"
        asked[said] += 1
        if seen := _asking.get():
            seen.asked[said] += 1

    adapters.storage.record.told = partial(hear, "database")
    for rest in RESTS:
        getattr(adapters, rest.name).record.told = partial(hear, rest.name)
