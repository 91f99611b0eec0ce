"""The attic's keeper: once an hour, in one process of all, takes away what was kept for long enough."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import uniform
from secrets import token_hex
from time import time

import structlog

from adapters.errors import SourceError
from adapters.storage.attic import OVER, Attic, Lost
from adapters.storage.client import Storage

EVERY = 3_600_000
"""Milliseconds from one clearing to the next, whoever does it."""
TURN = 300.0
"""Seconds from one look at whether it is time to the next."""
PAUSE = 0.1
"""Seconds between two steps, for those who wait for the database."""

log = structlog.get_logger("switchboard.attic")


async def run(storage: Storage, keep_messages_days: int, keep_reports_days: int) -> None:
    """Until it is cancelled; 0 days is for ever."""
    keeper = Keeper(storage.attic, keep_messages_days, keep_reports_days)
    while True:
        try:
            await keeper.turn()
        except SourceError as error:  # it is as old the next time
            log.warning("the attic was not cleared", code=error.code)
        except Exception:
            log.exception("unexpected")
        await asyncio.sleep(TURN * uniform(0.5, 1))  # noqa: S311


class Keeper:
    def __init__(self, attic: Attic, keep_messages_days: int, keep_reports_days: int) -> None:
        self._attic = attic
        self._messages = keep_messages_days
        self._reports = keep_reports_days
        self._owner = token_hex(8)

    async def turn(self) -> bool:
        """Clears, if it is time and nobody else does: whether it was ours to do, to the end."""
        if not (self._messages or self._reports) or not await self._attic.enter(self._owner, _now()):
            return False
        try:
            await self._clear_reports()
            await self._clear_messages()
        except Lost:
            return False
        await self._attic.leave(self._owner, _now() + EVERY)
        return True

    async def _clear_reports(self) -> None:
        before = _ago(self._reports)
        is_more = bool(self._reports)
        while is_more:
            is_more = await self._attic.clear_reports(self._owner, _now(), before)
            await asyncio.sleep(PAUSE)

    async def _clear_messages(self) -> None:
        before = _ago(self._messages)
        for id in await self._attic.broadcasts(before) if self._messages else ():
            for state in OVER:
                after: int | None = 0
                while after is not None:
                    after = await self._attic.clear_messages(self._owner, _now(), id, state, before, after)
                    await asyncio.sleep(PAUSE)


def _ago(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def _now() -> int:
    return int(time() * 1000)
