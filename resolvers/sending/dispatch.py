"""Dispatch: sees to it that every broadcast goes on: its plan, its chunks, and its end.

Of each broadcast alike a few chunks more are given out than there are hands for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from secrets import token_hex
from time import time

import structlog

from adapters.errors import SourceError
from adapters.storage.chunks import Chunk, Live
from adapters.storage.client import Storage
from adapters.storage.messages import Id
from resolvers.sending.carrier import LEASE
from resolvers.sending.engine import Engine
from resolvers.sending.rounds import Rounds

AHEAD = 2
"""Chunks given out for each hand."""
AGAIN = 1_000
"""Milliseconds until a chunk that the broker did not take is given out again."""

log = structlog.get_logger("switchboard.dispatch")


class Dispatch(Rounds):
    def __init__(
        self, storage: Storage, engine: Engine, slots: int, told: Callable[[Id], Awaitable[None]]
    ) -> None:
        super().__init__()
        self._broadcasts = storage.broadcasts
        self._chunks = storage.chunks
        self._engine = engine
        self._window = slots * AHEAD
        self._told = told
        self._owner = token_hex(8)
        self._phases: dict[int, asyncio.Task[None]] = {}

    async def idle(self) -> None:
        """Until no plan is under way."""
        while self._phases:
            await asyncio.wait(self._phases.values())

    async def turn(self) -> None:
        moment = _now()
        for id in await self._broadcasts.start_due(moment):
            await self._told(Id(id, 0))
        for id in await self._broadcasts.in_phase(moment):
            if id not in self._phases:
                self._phases[id] = asyncio.create_task(self._go_through(id), context=Context())
        await self._give_out(moment)

    async def _go_through(self, id: int) -> None:
        """All steps of a phase."""
        try:
            while await self._broadcasts.step(id, self._owner, _now()):
                await self._told(Id(id, 0))
        except SourceError as error:  # somebody goes on with it when the lease is over
            log.warning("a broadcast was left where it is", broadcast=id, code=error.code)
        except Exception:
            log.exception("unexpected", broadcast=id)
        finally:
            del self._phases[id]
            self.wake()
        await self._told(Id(id, 0))

    async def _give_out(self, moment: int) -> None:
        live = await self._chunks.live(moment, self._owner)
        if not live:
            return
        free = self._window - sum(each.ours for each in live.values())
        waiting = dict[int, list[Chunk]]()
        for chunk in await self._chunks.waiting(moment, max(free, 1)):
            waiting.setdefault(chunk.broadcast_id, []).append(chunk)
        for id, each in live.items():
            if not each.chunks and id not in waiting and await self._broadcasts.finish(id):
                await self._told(Id(id, 0))
        for chunk in _fairly(waiting, live, free):
            if not await self._give(chunk, moment):
                return

    async def _give(self, chunk: Chunk, moment: int) -> bool:
        """Whether whoever takes chunks is there."""
        token = f"{self._owner}:{token_hex(8)}"
        if not await self._chunks.claim(chunk.broadcast_id, chunk.n, token, moment, moment + LEASE):
            return True
        try:
            await self._engine.kick(chunk.broadcast_id, chunk.n, token)
        except SourceError:
            await self._chunks.release(chunk, token, _now() + AGAIN)
            return False
        return True


def _fairly(waiting: dict[int, list[Chunk]], live: dict[int, Live], free: int) -> list[Chunk]:
    """So many of those that wait, each time of the broadcast of which the fewest are under way."""
    under_way = {id: live[id].chunks for id in waiting if id in live}
    chosen = list[Chunk]()
    while under_way and len(chosen) < free:
        id = min(under_way, key=lambda each: (under_way[each], each))
        chosen.append(waiting[id].pop(0))
        under_way[id] += 1
        if not waiting[id]:
            del under_way[id]
    return chosen


def _now() -> int:
    return int(time() * 1000)
