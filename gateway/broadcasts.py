"""Broadcasts on the command line: how far one is, until it is over, and which there are."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from time import perf_counter

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from adapters.errors import SourceError
from adapters.storage.broadcasts import Broadcasts
from adapters.storage.client import open_storage
from gateway.server import CannotStart, prepare_database
from gateway.settings import Settings, variable_name
from resolvers.broadcasts import NONE_SUCH, broadcast_key, to_broadcast, to_counts
from resolvers.sending.news import News
from resolvers.sending.progress import Progress, progress_of
from schema.broadcasts import BroadcastCounts
from schema.errors import BadInput

TELLING = 1.0
"""Seconds between two lines, where there is no terminal."""
COUNTED = (
    *("queued", "submitted", "delivered", "seen", "failed"),
    *("expired", "cancelled", "skipped", "unknown"),
)

Tell = Callable[[Progress], None]


async def show(settings: Settings, id: str, *, once: bool) -> None:
    """From the ledger itself: no server has to run."""
    try:
        key = broadcast_key(id)
    except BadInput as error:
        raise typer.BadParameter(str(error)) from None
    is_there = False
    async with _ledger(settings) as ledger, aclosing(progress_of(News(), ledger, key)) as updates:
        with _telling(once=once) as tell:
            async for update in updates:
                is_there = True
                tell(update)
                if once:
                    break
    if not is_there:
        raise typer.BadParameter(NONE_SUCH)


async def list_newest(settings: Settings, count: int) -> None:
    table = Table("id", "status", "recipients", "done", "created", "tag", box=None, pad_edge=False)
    async with _ledger(settings) as ledger:
        rows = await ledger.page(count)
        counted = await ledger.counts([row.id for row in rows])
    for row in rows:
        counts = to_counts(counted.get(row.id, {}))
        table.add_row(
            to_broadcast(row).id,
            row.state.name,
            f"{counts.total:,}",
            _percent(counts),
            f"{row.created_at:%Y-%m-%d %H:%M}",
            row.tag,
        )
    Console().print(table)


@asynccontextmanager
async def _ledger(settings: Settings) -> AsyncIterator[Broadcasts]:
    await prepare_database(settings)
    try:
        async with open_storage(settings.database) as storage:
            yield storage.broadcasts
    except SourceError as error:
        raise CannotStart(f"{error} See {variable_name('database_url')}.") from error


@contextmanager
def _telling(*, once: bool) -> Iterator[Tell]:
    console = Console()
    if once or not console.is_terminal:
        yield _Lines().tell
        return
    columns = TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.fields[counts]}")
    with Bars(*columns, TimeElapsedColumn(), console=console) as bars:
        task = bars.add_task("", total=None, counts="")

        def tell(update: Progress) -> None:
            counts, is_planned = to_counts(update.counts), update.broadcast.started_at is not None
            bars.update(
                task,
                description=update.broadcast.state.name,
                completed=counts.total - counts.queued,
                total=counts.total if is_planned or update.is_over else None,
                counts=_said(counts),
            )

        yield tell


class _Lines:
    def __init__(self) -> None:
        self._told = -TELLING
        self._state = ""

    def tell(self, update: Progress) -> None:
        state, now = update.broadcast.state.name, perf_counter()
        if update.is_over or state != self._state or now - self._told >= TELLING:
            self._state, self._told = state, now
            counts = to_counts(update.counts)
            typer.echo(f"{state} {_percent(counts)} of {counts.total:,}: {_said(counts) or 'nobody yet'}")


def _percent(counts: BroadcastCounts) -> str:
    """Rounded down: what is not over never reads as if it were."""
    return f"{100 * (counts.total - counts.queued) // counts.total if counts.total else 0} %"


def _said(counts: BroadcastCounts) -> str:
    return ", ".join(f"{count:,} {name}" for name in COUNTED if (count := getattr(counts, name)))
