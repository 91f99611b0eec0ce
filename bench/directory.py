"""`python -m bench.directory --people 1000000 --database mariadb`: the directory, filled and searched.

Every tenth person is Poster's client too. Some names are borne by many and some by one: so a search is for
what is common or for what is rare.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Annotated, Any

import msgspec
import psutil
import typer
from msgspec import structs
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.storage.client import Storage, open_storage
from adapters.storage.directory import Directory, Entry, Filter
from adapters.storage.identity import Key
from adapters.storage.search import folded
from tests.services import Mariadb

PAGE = 500
REPEATS = 7
FIRST = (
    "María",
    "José",
    "Luis",
    "Ana",
    "Carlos",
    "Sofía",
    "Juan",
    "Lucía",
    "Andrés",
    "Ángel",
    "Rosa",
    "Óscar",
)
LAST = (
    "Pérez",
    "García",
    "López",
    "Rodríguez",
    "González",
    "Sánchez",
    "Flores",
    "Gómez",
    "Vásquez",
    "Quishpe",
)
SYLLABLES = [consonant + vowel for consonant in "bcdfghjlmnprstvxyz" for vowel in "aeiou"]
HOSTS = (*["gmail.com"] * 6, *["hotmail.com"] * 3, "yahoo.es", "correo.ec")
NOTES = "Prefers to be written to in the afternoon; buys for the shop and for the family. " * 4

SEARCHES = {
    "no hit": Filter(search="zzyzx"),
    "one hit, a phone": Filter(search="0990 123 457"),
    "one hit, an e-mail": Filter(search="p123456@"),
    "rare, a syllable of names": Filter(search="xoxo"),
    "two words": Filter(search="quishpe 8877"),
    "common, a name": Filter(search="perez"),
    "common, of every third": Filter(search="hotmail"),
    "nearly everybody's": Filter(search="com"),
    "two letters": Filter(search="qu"),
    "common, and a tag": Filter(search="maria", tag="RARE"),
    "a source and a tag": Filter(source="poster", tag="VIP"),
    "everybody": Filter(),
    "a group": Filter(group=Key("poster", "3")),
}


class Roomy(Mariadb):
    """With the memory that a server of this size is given; the tests' own has little."""

    def command(self) -> list[str]:
        return [*super().command(), "--innodb-buffer-pool-size=1G", "--innodb-log-file-size=256M"]


class Kind(StrEnum):
    MARIADB = "mariadb"
    SQLITE = "sqlite"


def people(count: int, source: str) -> Iterator[Entry]:
    draw = Random(source)
    for number in range(count):
        first = draw.choice(FIRST)
        syllables = "".join(draw.choice(SYLLABLES) for _ in range(draw.randint(2, 4))).title()
        last = draw.choice(LAST) if draw.random() < 0.5 else syllables
        profile = {"id": number, "first_name": first, "last_name": last, "notes": NOTES}
        yield Entry(
            source=source,
            key=f"4880{folded(syllables)[:5]}{number}",
            row_number=number,
            first_name=first,
            last_name=last,
            email=f"{folded(last)}.p{number}@{draw.choice(HOSTS)}",
            phone=f"+593{990_000_000 + number}",
            group_key=str(number % 9) if source == "poster" else None,
            tags=tuple(tag for tag, every in (("VIP", 20), ("RARE", 50_000)) if number % every == 0),
            profile=msgspec.json.encode(profile),
            as_of=1,
        )


async def fill(directory: Directory, source: str, count: int) -> list[float]:
    """One whole pass; how long each page took."""
    took: list[float] = []
    current, entries = await directory.begin(source, owner="bench"), people(count, source)
    assert current
    while page := list(islice(entries, PAGE)):
        started = time.perf_counter()
        await directory.mirror(current, page, current.next + len(took) + 1)
        took.append(time.perf_counter() - started)
    assert not await directory.missed(current, 1)
    await directory.finish(current)
    return took


async def longest_block(blocks: list[float]) -> None:
    """How long others on the event loop wait for their turn."""
    while True:
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        blocks.append(time.perf_counter() - started)


async def measured(question: Callable[[], Awaitable[Any]]) -> tuple[float, float, Any]:
    """Milliseconds of the first time and of the times after, and the answer."""
    took: list[float] = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        answer = await question()
        took.append((time.perf_counter() - started) * 1000)
    return took[0], median(took[1:]), answer


@contextmanager
def statements(engine: AsyncEngine) -> Iterator[list[tuple[str, Any]]]:
    said: list[tuple[str, Any]] = []

    def hear(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: Any) -> None:
        said.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", hear)
    yield said
    event.remove(engine.sync_engine, "before_cursor_execute", hear)


async def explain(storage: Storage, question: Callable[[], Awaitable[Any]]) -> None:
    """What the database is asked, and how it goes about it."""
    engine = storage._engine
    with statements(engine) as said:
        await question()
    async with engine.connect() as connection:
        for statement, parameters in said:
            if statement.startswith("SELECT"):
                how = "EXPLAIN QUERY PLAN " if storage.embedded else "EXPLAIN "
                plan = (await connection.exec_driver_sql(how + statement, parameters)).all()
                typer.echo(f"\n    {' '.join(statement.split())}")
                for row in plan:
                    typer.echo(f"      {' | '.join(str(value) for value in row)}")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Storage]:
    async with open_storage(url) as storage:
        await storage.migrate()
        yield storage


def size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


async def bench(url: str, folder: Path, count: int) -> None:
    process = psutil.Process()
    async with opened(url) as storage:
        directory, before, empty = storage.directory, process.memory_info().rss, size(folder)
        for title, source, many in (
            ("first pass, everybody new", "mercately", count),
            ("second pass, nothing new", "mercately", count),
            ("first pass, of a second source", "poster", count // 10),
        ):
            started = time.perf_counter()
            blocks: list[float] = []
            watch = asyncio.create_task(longest_block(blocks))
            took = await fill(directory, source, many)
            watch.cancel()
            spent = time.perf_counter() - started
            grown = (process.memory_info().rss - before) / 2**20
            typer.echo(
                f"{title}: {many:,} entries in {spent:.0f} s ({many / spent:,.0f}/s), a page of {PAGE}: "
                f"{median(took) * 1000:.0f} ms, the slowest {max(took) * 1000:.0f} ms; "
                f"the loop held for {max(blocks) * 1000:.0f} ms at most; "
                f"memory +{grown:.0f} MiB; on disk {size(folder) - empty:,.0f} MiB"
            )
        typer.echo("\n| filter | people | first ms | then ms | count | ms |\n|---|---:|---:|---:|---:|---:|")
        for name, filter in SEARCHES.items():
            first, then, page = await measured(lambda filter=filter: directory.page(filter))  # type: ignore[misc]
            _, counted, total = await measured(lambda filter=filter: directory.count(filter))  # type: ignore[misc]
            listed = f"{len(page.persons)}{'+' if page.has_more else ''}"
            typer.echo(f"| {name} | {listed} | {first:.1f} | {then:.1f} | {total} | {counted:.1f} |")
        async with storage._engine.connect() as connection:
            if not storage.embedded:
                await connection.execute(text("ANALYZE TABLE directory_entry, directory_tag"))
        for name in ("no hit", "common, a name", "common, and a tag"):
            typer.echo(f"\nEXPLAIN: {name}")
            await explain(storage, lambda name=name: directory.page(SEARCHES[name]))  # type: ignore[misc]
        typer.echo("\nEXPLAIN: a new client, with whom they may be")
        newcomer = next(people(1, "poster"))
        await explain(storage, lambda: directory.upsert([structs.replace(newcomer, key="new")]))


def main(
    people: Annotated[int, typer.Option(min=1)] = 100_000,
    database: Annotated[Kind, typer.Option()] = Kind.MARIADB,
) -> None:
    with tempfile.TemporaryDirectory(prefix="switchboard-") as name:
        folder = Path(name)
        if database is Kind.SQLITE:
            asyncio.run(bench(f"sqlite+aiosqlite:///{folder / 'directory.db'}", folder, people))
            return
        server = Roomy(folder)
        server.start()
        try:
            asyncio.run(bench(server.database("directory"), folder / "data" / "directory", people))
        finally:
            server.stop()


if __name__ == "__main__":
    typer.run(main)
