"""Sync: walks the sources' customers into the directory now, and says how far it is."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from uuid import uuid4

import typer
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from adapters import RESTS, open_adapters
from adapters.errors import SourceError
from adapters.lines import open_lines
from adapters.storage.directory import Directory, PassLost
from gateway.refresher import connected
from gateway.server import prepare_database
from gateway.settings import Settings
from resolvers.mirror import Progress, Source, Tell, mirror, sources_of

TELLING = 1.0
"""Seconds between two lines about a source, where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Outcome:
    source: str
    seconds: float
    progress: Progress | None = None
    trouble: str = ""


async def run(settings: Settings, names: Sequence[str]) -> list[Outcome]:
    """All sources side by side, taking over what another process has begun; without names, all connected."""
    await prepare_database(settings)
    async with (
        open_lines(RESTS, settings.sources, settings.sandbox, embedded=settings.embedded) as lines,
        open_adapters(lines, settings.database) as adapters,
    ):
        every = sources_of(adapters, page=settings.directory_page, region=settings.region)
        if unknown := [name for name in names if name not in every]:
            raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(every)}.")
        wanted = {name: every[name] for name in names} if names else connected(adapters, settings)
        with _telling() as tell:
            async with asyncio.TaskGroup() as group:
                walks = [
                    group.create_task(_walk(source, adapters.storage.directory, tell))
                    for source in wanted.values()
                ]
    return [walk.result() for walk in walks]


def show(outcomes: Sequence[Outcome]) -> None:
    table = Table("source", "people", "removed", "seconds", box=None, pad_edge=False)
    for outcome in outcomes:
        if done := outcome.progress:
            table.add_row(outcome.source, f"{done.done:,}", f"{done.removed:,}", f"{outcome.seconds:.1f}")
    if table.row_count:
        Console().print(table)
    for trouble in dict.fromkeys(outcome.trouble for outcome in outcomes if outcome.trouble):
        typer.echo(trouble, err=True)


async def _walk(source: Source, directory: Directory, tell: Tell) -> Outcome:
    started = perf_counter()
    progress, trouble = None, ""
    try:
        progress = await mirror(source, directory, owner=uuid4().hex, tell=tell, take_over=True)
        if progress:
            await tell(replace(progress, total=progress.done))
    except SourceError as error:
        trouble = str(error)
    except PassLost:
        trouble = f"Another process has taken over {source.name}, and goes on there."
    return Outcome(source.name, perf_counter() - started, progress, trouble)


@contextmanager
def _telling() -> Iterator[Tell]:
    console = Console()
    if not console.is_terminal:
        yield _Lines().tell
        return
    people = TextColumn("{task.fields[people]}")
    with Bars(
        TextColumn("{task.description:<10}"), BarColumn(), people, TimeElapsedColumn(), console=console
    ) as bars:
        yield _Bars(bars).tell


class _Bars:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks = dict[str, TaskID]()

    async def tell(self, progress: Progress) -> None:
        if progress.source not in self._tasks:
            self._tasks[progress.source] = self._bars.add_task(progress.source, people="")
        self._bars.update(
            self._tasks[progress.source],
            completed=progress.done,
            total=progress.total,
            people=_people(progress),
        )


class _Lines:
    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    async def tell(self, progress: Progress) -> None:
        now = perf_counter()
        if now - self._told.get(progress.source, -TELLING) >= TELLING:
            self._told[progress.source] = now
            typer.echo(f"{progress.source}: {_people(progress)}")


def _people(progress: Progress) -> str:
    """A source may count fewer than it then shows."""
    if progress.total:
        return f"{progress.done:,} of {max(progress.total, progress.done):,} people"
    return f"{progress.done:,} people"
