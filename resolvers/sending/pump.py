"""Pump: sees to it that every message of the ledger is looked at when it is due, by one of many processes."""

import asyncio
from collections.abc import Coroutine
from time import monotonic, time
from typing import Any

import structlog

from adapters import tracing
from adapters.errors import SourceError, Unavailable
from adapters.hyber.report import read_reports
from adapters.storage.messages import Id, Message, Messages, State, WaitingReport, WantedNothing
from resolvers.sending.courier import Courier
from resolvers.sending.rounds import Rounds

WINDOW = 20
"""So many messages are under way in a process at the same time."""
REPORTS = 1_000

log = structlog.get_logger("switchboard.pump")


class Pump(Rounds):
    def __init__(self, ledger: Messages, courier: Courier) -> None:
        super().__init__()
        self._ledger = ledger
        self._courier = courier
        self._going: dict[Id, asyncio.Task[Message | None]] = {}
        self._more = False
        """Is there more to look at as soon as there is room?"""

    async def turn(self) -> None:
        await self._apply_reports()
        self._more = len(self._going) >= WINDOW
        if not self._more:
            due = await self._ledger.due(int(time() * 1000), WINDOW)
            ours = [message for message in due if message.id not in self._going]
            self._more = len(due) == WINDOW
            for message in ours[: WINDOW - len(self._going)]:
                self._start(message.id, self._courier.ask(message))

    def send(
        self, message: Message, wanted_nothing: WantedNothing | None = None
    ) -> "asyncio.Task[Message | None]":
        """At once, and to the end: whoever waits for it may leave. What it is then, if it was taken."""
        if message.state is State.SENDING:  # claimed by who wrote it down
            errand = self._courier.send_claimed(message, monotonic(), wanted_nothing)
            return self._start(message.id, errand)
        return self._going.get(message.id) or self._start(message.id, self._courier.send(message.id))

    def claimed_until(self) -> int:
        """For a message that is to be sent at once."""
        return self._courier.claimed_until()

    async def idle(self) -> None:
        """Until nothing is under way."""
        while self._going:
            await asyncio.wait(self._going.values())

    def _start(self, id: Id, errand: Coroutine[Any, Any, Message | None]) -> "asyncio.Task[Message | None]":
        # In a context of its own: no request's deadline ends it.
        task = asyncio.create_task(self._to_the_end(errand), context=tracing.alone())
        self._going[id] = task
        task.add_done_callback(lambda _: self._ended(id))
        return task

    def _ended(self, id: Id) -> None:
        self._going.pop(id, None)
        if self._more and len(self._going) <= WINDOW // 2:
            self.wake()

    async def _to_the_end(self, errand: Coroutine[Any, Any, Message | None]) -> Message | None:
        try:
            return await errand
        except SourceError as error:  # the database: the message is due again, and looked at again
            log.warning("a message was left where it is", code=error.code)
        except Exception:
            log.exception("unexpected")
        return None

    async def _apply_reports(self) -> None:
        waiting = await self._ledger.waiting_reports(REPORTS)
        if not waiting:
            return
        try:
            await self._courier.apply([report for row in waiting for report in read_reports(row.body)])
        except Unavailable:  # the database: they wait for the next turn
            raise
        except Exception:  # one of them: it is found out which, and said
            for row in waiting:
                await self._apply(row)
        await self._ledger.done_with([row.id for row in waiting])
        if len(waiting) == REPORTS:  # there may be more
            self.wake()

    async def _apply(self, row: WaitingReport) -> None:
        try:
            await self._courier.apply(list(read_reports(row.body)))
        except Unavailable:
            raise
        except Exception:  # tried again it would fail again, and no report behind it would get its turn
            log.exception("a report could not be applied", report=row.id)
