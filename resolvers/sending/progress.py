"""Progress: a broadcast as it goes on, until it is over."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from adapters.storage.broadcasts import Broadcast, Broadcasts
from adapters.storage.broadcasts import State as Stage
from adapters.storage.messages import Id, State
from resolvers.sending.news import News

PACE = 0.25
"""Seconds between two looks at the ledger, however much happens."""
TURN = 1.0
"""Seconds after which it is looked at anyway: another process may be at work."""
SHARE = 5
"""To count a million rows takes its time: of a watcher's time not more than one part of so many."""


class Progress(NamedTuple):
    broadcast: Broadcast
    counts: Mapping[State, int]

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will go out any more; reports of what did may still come."""
        ended = self.broadcast.state in (Stage.COMPLETED, Stage.CANCELLED) and self.broadcast.phase is None
        return ended and not any(self.counts.get(state) for state in (State.PENDING, State.SENDING))


async def progress_of(news: News, ledger: Broadcasts, id: int) -> AsyncGenerator[Progress, None]:
    """As it is now, and then after changes; nothing if there is no such broadcast."""
    seen: Progress | None = None
    with news.of(Id(id, 0)) as changed:
        while True:
            changed.clear()
            started = monotonic()
            broadcast = (await ledger.of([id])).get(id)
            if broadcast is None:
                return
            now = Progress(broadcast, (await ledger.counts([id])).get(id, {}))
            took = monotonic() - started
            if now != seen:
                seen = now
                yield now
            if now.is_over:
                return
            await asyncio.sleep(max(PACE, took * (SHARE - 1)))
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN - PACE):
                    await changed.wait()
