"""The sync's benchmark: `python -m bench.sync --people 100000 --database sqlite`.

Two whole passes, the second with nothing new: how long, and how far the memory grows.
"""

import asyncio
import tempfile
import time
from http.client import HTTPException
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import psutil
import structlog
import typer

from adapters import open_adapters
from adapters.chatfuel.client import ChatfuelSettings
from adapters.hyber.client import HyberSettings
from adapters.lines import Line
from adapters.mercately.client import MercatelySettings
from adapters.poster.client import PosterSettings
from adapters.rest import Mode
from bench.directory import Kind, Roomy
from bench.servers import LOAD_CORE, Process
from resolvers.mirror import Progress, mirror, sources_of

MOST = 150
"""MiB that the memory may grow by."""


class Crowd(Process):
    core = LOAD_CORE
    people = 0

    def arguments(self) -> list[str]:
        return ["-m", "bench.crowd", str(self.port), str(self.people)]

    def answers(self) -> bool:
        try:
            return bool(self.request("GET", "/api/clients.getClients?offset=0&num=1"))
        except (OSError, HTTPException):
            return False


class Memory:
    """How far it has grown, at most, in MiB."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._now()
        self.growth = 0.0

    async def look(self, _: Progress) -> None:
        self.growth = max(self.growth, self._now() - self._before)

    def _now(self) -> float:
        return float(self._process.memory_info().rss / 2**20)


async def bench(url: str, crowd: str) -> float:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    lines = {
        "mercately": Line(Mode.REAL, MercatelySettings(url=crowd)),
        "poster": Line(Mode.REAL, PosterSettings(url=crowd)),
        "hyber": Line(Mode.OFF, HyberSettings()),
        "chatfuel": Line(Mode.OFF, ChatfuelSettings()),
    }
    async with open_adapters(lines, url) as adapters:
        await adapters.storage.migrate()
        memory, directory = Memory(), adapters.storage.directory
        sources = sources_of(adapters, page=200, region="EC").values()
        for title in ("everybody new", "nothing new"):
            started, cpu = time.perf_counter(), time.process_time()
            passes = (mirror(source, directory, owner=uuid4().hex, tell=memory.look) for source in sources)
            walked = await asyncio.gather(*passes)
            people = sum(one.done for one in walked if one)
            spent, cpu = time.perf_counter() - started, time.process_time() - cpu
            typer.echo(
                f"{title}: {people:,} people in {spent:.1f} s ({people / spent:,.0f}/s), {cpu:.1f} s of "
                f"processor time; memory +{memory.growth:.0f} MiB at most"
            )
    return memory.growth


def main(
    people: Annotated[int, typer.Option(min=1)] = 100_000,
    database: Annotated[Kind, typer.Option()] = Kind.SQLITE,
) -> None:
    """Leaves with status 1 when the memory grows by more than it may."""
    with tempfile.TemporaryDirectory(prefix="switchboard-") as name:
        folder = Path(name)
        crowd, server = Crowd(folder), Roomy(folder)
        crowd.people = people
        crowd.start()
        try:
            if database is Kind.MARIADB:
                server.start()
                url = server.database("directory")
            else:
                url = f"sqlite+aiosqlite:///{folder / 'directory.db'}"
            growth = asyncio.run(bench(url, crowd.url))
        finally:
            crowd.stop()
            server.stop()
    raise typer.Exit(0 if growth < MOST else 1)


if __name__ == "__main__":
    typer.run(main)
