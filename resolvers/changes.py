"""Changes: how a mutation is run, and what is said of one that was made in some places and not in others."""

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from strawberry.extensions import FieldExtension
from strawberry.extensions.field_extension import AsyncExtensionResolver

from adapters.errors import Fault, SourceError, Unacceptable
from resolvers.context import Info
from schema.errors import BadInput, Conflict, Refusal

T = TypeVar("T")

log = structlog.get_logger("switchboard.changes")

_under_way = set[asyncio.Task[Any]]()


class Change(FieldExtension):
    """A change that was begun is made to its end, though its caller has left; what follows is read anew.

    So a mutation asks no loader before it has written: it would be answered again what was there before. What
    it asks the sources themselves is not answered by what others asked for before it began.
    """

    # Positional, since a mutation may have an argument of such a name.
    async def resolve_async(  # type: ignore[override]
        self, next_: AsyncExtensionResolver, parent: object, info: Info, /, **arguments: Any
    ) -> Any:
        info.context.read_anew()
        for source in (info.context.adapters.mercately, info.context.adapters.poster):
            source.read_anew()

        async def run() -> Any:
            return await next_(parent, info, **arguments)

        return await to_the_end(run())


async def to_the_end(change: Coroutine[Any, Any, T]) -> T:
    task = asyncio.create_task(change)
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_tell_nobody)
        raise


def _tell_nobody(change: asyncio.Task[Any]) -> None:
    """How it ended, whose caller has left: nobody else would look at it."""
    error = None if change.cancelled() else change.exception()
    if isinstance(error, SourceError | Refusal):
        log.info("a change failed whose caller had left", code=error.extensions["code"])
    elif error and not isinstance(error, Partly | NotShown):
        log.error("unexpected", exc_info=error)


async def all_ended() -> None:
    """Waits for the changes whose callers have left."""
    await asyncio.gather(*_under_way, return_exceptions=True)


class Partly(Exception):
    """Several things were to be written, and not all of them were: which, by name, and why not the others."""

    def __init__(self, written: Sequence[str], failed: Mapping[str, BaseException]) -> None:
        self._first = next(iter(failed.values()))
        self._written = list(written)
        self._failed = dict(failed)
        parts = len(written) + len(failed)
        super().__init__(f"{len(written)} of {parts} parts were written. {_sentence(self._first)}")

    @property
    def extensions(self) -> dict[str, object]:
        doubtful = [name for name, error in self._failed.items() if getattr(error, "in_doubt", False)]
        return {
            **_extensions(self._first),
            "written": self._written,
            "notWritten": [name for name in self._failed if name not in doubtful],
            "unknown": doubtful,
            "failures": {
                name: {"message": _sentence(error), **_extensions(error)}
                for name, error in self._failed.items()
            },
        }


async def all_written(changes: Mapping[str, Awaitable[object]]) -> None:
    """Makes all the changes at once, and says by name which were made unless all were."""
    answers = await asyncio.gather(*changes.values(), return_exceptions=True)
    outcomes = dict(zip(changes, answers, strict=True))
    failed = {name: error for name, error in outcomes.items() if isinstance(error, BaseException)}
    for error in failed.values():
        if not isinstance(error, SourceError | Refusal):
            log.error("unexpected", exc_info=error)
    if failed and len(changes) == 1:
        raise next(iter(failed.values()))
    if failed:
        raise Partly([name for name in outcomes if name not in failed], failed)


class NotShown(Exception):
    """Everything was written; only how it looks now could not be read."""

    def __init__(self, error: SourceError) -> None:
        super().__init__(f"It was written, but cannot be shown now: {error}")
        self._error = error

    @property
    def extensions(self) -> dict[str, object]:
        return self._error.extensions | {"outcome": "WRITTEN"}


async def shown(answer: Awaitable[T]) -> T:
    """The answer to a change that was made."""
    try:
        return await answer
    except SourceError as error:
        raise NotShown(error) from error


def _sentence(error: BaseException) -> str:
    return str(error) if isinstance(error, SourceError | Refusal) else "Something went wrong on our side."


def _extensions(error: BaseException) -> dict[str, object]:
    return error.extensions if isinstance(error, SourceError | Refusal) else {"code": "INTERNAL"}


_SENTENCES = {
    Fault.INVALID: "{} does not accept this.",
    Fault.MISSING: "{} does not go without this.",
    Fault.TAKEN: "{} has this already, for somebody or something else.",
}


def taken_at(source: str) -> str:
    return _SENTENCES[Fault.TAKEN].format(source.capitalize())


def refusal(error: Unacceptable, arguments: Mapping[str, str]) -> Refusal:
    """The same in the graph's words; `arguments` says where each of the source's values came from."""
    title = error.source.capitalize()
    fields = {
        arguments.get(name, "input"): _SENTENCES[fault].format(title) for name, fault in error.faults.items()
    }
    said = {name: value for name, value in error.extensions.items() if name != "code"}
    only_taken = set(error.faults.values()) == {Fault.TAKEN}
    return (Conflict if only_taken else BadInput)(
        fields or {"input": f"{title} does not accept this."}, **said
    )
