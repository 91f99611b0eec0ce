"""The refresher: keeps the directory as fresh as its interval says, in whichever process gets to it first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import uniform
from time import perf_counter, process_time, time
from uuid import uuid4

import structlog

from adapters import Adapters
from adapters.errors import SourceError
from adapters.rest import Mode
from adapters.storage.client import Storage
from adapters.storage.directory import Directory, PassLost
from gateway.settings import Settings
from resolvers.mirror import Progress, Source, mirror, sources_of
from resolvers.tasks import stop

log = structlog.get_logger("switchboard.directory")

FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
"""Seconds between a failure and the next try; they double."""
SCATTER = 5.0
"""Seconds within which processes that wait for the same thing wake up."""
ELSEWHERE = 30.0
"""Seconds until we look again whether somebody else's pass is over, or given up."""
LONGEST_PAUSE = 1.0
"""Seconds between two pages: long before others would take the pass for given up."""


@asynccontextmanager
async def refreshing(adapters: Adapters, settings: Settings) -> AsyncIterator[None]:
    if not settings.directory_interval:
        yield
        return
    refresher = _Refresher(adapters.storage.directory, settings.directory_interval)
    tasks = [
        asyncio.create_task(refresher.keep_fresh(source)) for source in connected(adapters, settings).values()
    ]
    try:
        yield
    finally:
        await stop(*tasks)


def connected(adapters: Adapters, settings: Settings) -> dict[str, Source]:
    sources = sources_of(adapters, page=settings.directory_page, region=settings.region)
    off = {rest.name for rest in (adapters.mercately, adapters.poster) if rest.mode is Mode.OFF}
    return {name: source for name, source in sources.items() if name not in off}


class _Refresher:
    def __init__(self, directory: Directory, interval: float) -> None:
        self._directory = directory
        self._interval = interval
        self._owner = uuid4().hex
        self._troubles: dict[str, str] = {}

    async def keep_fresh(self, source: Source) -> None:
        next_pause = FIRST_WAIT
        while True:
            try:
                wait, next_pause = await self._refresh(source), FIRST_WAIT
            except SourceError as error:
                self._complain(error)
                wait, next_pause = next_pause, min(next_pause * 2, LONGEST_WAIT)
            except Exception:
                log.exception("unexpected", source=source.name)
                wait = LONGEST_WAIT
            await asyncio.sleep(wait + uniform(0, min(wait, SCATTER)))  # noqa: S311

    async def _refresh(self, source: Source) -> float:
        """A pass, if it is time for one; in how many seconds to look again."""
        last = await self._directory.last_pass(source.name)
        if last and last.finished_at is not None:
            age = time() - last.finished_at / 1000
            if 0 <= age < self._interval:
                return self._interval - age
        started = perf_counter()
        try:
            done = await mirror(source, self._directory, owner=self._owner, tell=_Pace())
        except PassLost:
            done = None
        if done is None:
            return min(self._interval, ELSEWHERE)
        for name in (source.name, Storage.name):
            self._troubles.pop(name, None)
        log.info(
            "directory",
            source=source.name,
            outcome="ok",
            people=done.done,
            removed=done.removed,
            seconds=round(perf_counter() - started, 1),
        )
        return self._interval

    def _complain(self, error: SourceError) -> None:
        """Once, until something else is the matter: the tries go on in silence."""
        if self._troubles.get(error.source) != error.code:
            self._troubles[error.source] = error.code
            log.warning("directory", source=error.source, outcome=error.code)


class _Pace:
    """Leaves half of a core to requests: rests as long as this process has worked since the last rest."""

    def __init__(self) -> None:
        self._rested = process_time()

    async def __call__(self, _: Progress) -> None:
        await asyncio.sleep(min(process_time() - self._rested, LONGEST_PAUSE))
        self._rested = process_time()
