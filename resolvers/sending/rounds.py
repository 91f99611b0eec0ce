"""Rounds: one look after the other at what there is to do, by who does so as long as a process runs."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress

import structlog

from adapters.errors import SourceError

TURN = 0.3
"""Seconds from one look to the next."""
LONGEST_PAUSE = 10.0
"""The same while the ledger does not answer."""

log = structlog.get_logger("switchboard.rounds")


class Rounds(ABC):
    def __init__(self) -> None:
        self._awake = asyncio.Event()

    @abstractmethod
    async def turn(self) -> None:
        """One look, at all that there is to do now."""

    def wake(self) -> None:
        """There is something to look at before the next turn."""
        self._awake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = TURN
        while True:
            self._awake.clear()
            try:
                await self.turn()
                pause = TURN
            except SourceError as error:  # without the database nothing is sent, and nothing twice
                log.warning("the ledger does not answer", who=type(self).__name__, code=error.code)
                pause = min(pause * 2, LONGEST_PAUSE)
            except Exception:
                log.exception("unexpected")
                pause = LONGEST_PAUSE
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._awake.wait()
