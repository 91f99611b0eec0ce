"""Limits: when a vendor may be called, so that all who call it together stay below its rate.

A limit is the moment from which it is free again: each message moves that on by its share of a second (GCRA),
and nothing is saved up. The moments stand in Redis, by its own clock, or in this process where it is alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import uniform
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

import structlog

from adapters.errors import Unavailable
from resolvers.sending.connection import connected_to

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

MARGIN = 1.02
"""Clocks, ours and the vendor's, differ a little."""
BROADCASTS = 0.9
"""Of a vendor's rate, what all broadcasts together may use."""
PORTION = 0.02
"""Of a second's messages, how many may come at once."""
AHEAD = 0.1
"""Seconds before its time that a broadcast may take a turn: so long it can keep a single message waiting."""
EARLY = 0.02
"""Seconds by which a broadcast may be ahead of its own limit, so that it loses nothing by waking up late."""
TIDY = 1_000
"""So many limits are kept until those that are free again are forgotten."""
PATIENCE = 1.0
"""Seconds that Redis may take to answer, and for which it is not asked again if it has not."""

TAKE = """
-- KEYS: the pause, then the limits; ARGV: the patience, which limit is the broadcast's own (0: none), how
-- early that may be, then by what each limit moves on. All times in microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local own = tonumber(ARGV[2])
local free_at = {}
local start = now
for i, moment in ipairs(redis.call('MGET', unpack(KEYS))) do
  free_at[i] = tonumber(moment or 0)
  if i ~= own then
    start = math.max(start, free_at[i])
  end
end
local late = start - now - ARGV[1]
if own > 0 then
  late = math.max(late, free_at[own] - start - ARGV[3])
end
if late > 0 then
  return {0, math.ceil(late)}
end
for i = 2, #KEYS do
  local moment = math.max(free_at[i], start) + ARGV[i + 2]
  local kept = math.max(math.ceil((moment - now) / 1000), 1)
  redis.call('SET', KEYS[i], string.format('%.0f', moment), 'PX', kept)
end
return {1, start - now}
"""
PAUSE = """
-- KEYS: the pause; ARGV: how long, in microseconds.
local time = redis.call('TIME')
local moment = time[1] * 1000000 + time[2] + ARGV[1]
if moment > tonumber(redis.call('GET', KEYS[1]) or 0) then
  redis.call('SET', KEYS[1], string.format('%.0f', moment), 'PX', math.max(math.ceil(ARGV[1] / 1000), 1))
end
"""

log = structlog.get_logger("switchboard.limits")


class Turn(NamedTuple):
    granted: bool
    wait: float
    """Seconds after which the vendor may be called; if it is not granted, after which to ask again."""


class _Limited(NamedTuple):
    """What a turn is limited by, and by how many seconds it moves each limit on."""

    pause: str
    vendors: Mapping[str, float]
    own: Mapping[str, float]
    """One, or none."""


class Limits:
    """Of one process, which knows of no other."""

    def __init__(self) -> None:
        self._free_at: dict[str, float] = {}
        self._tidy_at = TIDY
        self._queues: WeakValueDictionary[tuple[str, int | None], asyncio.Lock] = WeakValueDictionary()

    async def turn(
        self,
        vendor: str,
        count: int = 1,
        *,
        rate: float | None,
        patience: float,
        alone: bool,
        broadcast: tuple[int, float] | None = None,
    ) -> Turn:
        """To send so many messages; if it does not come within our patience, nothing is taken.

        A single message takes its turn at once, and then waits for it. A broadcast waits first, here, and so
        leaves what is free until then to single messages.
        """
        limited = _limited(vendor, count, rate, alone, broadcast)
        if alone:
            return await self._take(limited, patience, alone=True)
        end = monotonic() + patience
        # One at a time of each broadcast asks: else all of them would, each time that a turn is free.
        queue = self._queues.setdefault((vendor, broadcast[0] if broadcast else None), asyncio.Lock())
        try:
            async with asyncio.timeout(patience):
                await queue.acquire()
        except TimeoutError:
            return Turn(False, max(patience, AHEAD))
        try:
            while True:
                left = max(end - monotonic(), 0)
                ahead = min(left, AHEAD)
                turn = await self._take(limited, ahead, alone=False)
                if turn.granted or turn.wait + ahead > left:
                    return turn
                # By chance a little later, else who had the last turn would be the first to ask for the next;
                # and the less so the less it takes, else a slow broadcast would be slower than it has to.
                later = uniform(0, AHEAD / 2) * min(count / portion(rate), 1)  # noqa: S311
                await asyncio.sleep(turn.wait + later)
        finally:
            queue.release()

    async def pause(self, vendor: str, seconds: float) -> None:
        """Nobody calls the vendor for so long, not with a single message either; the longest pause wins."""
        name = _pause(vendor)
        self._free_at[name] = max(self._free_at.get(name, 0), monotonic() + seconds)

    async def _take(self, limited: _Limited, patience: float, *, alone: bool) -> Turn:
        now = monotonic()
        if len(self._free_at) >= self._tidy_at:
            self._free_at = {name: moment for name, moment in self._free_at.items() if moment > now}
            self._tidy_at = max(TIDY, 2 * len(self._free_at))
        start = max(self._free_at.get(name, now) for name in (limited.pause, *limited.vendors))
        late = start - now - patience
        for name in limited.own:
            late = max(late, self._free_at.get(name, now) - start - EARLY)
        if late > 0:
            return Turn(False, late)
        for name, move in {**limited.vendors, **limited.own}.items():
            self._free_at[name] = max(self._free_at.get(name, now), start) + move
        return Turn(True, start - now)


class SharedLimits(Limits):
    """Of all processes, through Redis; without it single messages go on, and broadcasts wait for it."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        self._take_turn = redis.register_script(TAKE)
        self._take_pause = redis.register_script(PAUSE)
        self._down_until: float | None = None

    async def pause(self, vendor: str, seconds: float) -> None:
        await super().pause(vendor, seconds)  # it holds without Redis too
        await self._ask(self._take_pause, [_pause(vendor)], [_microseconds(seconds)])

    async def _take(self, limited: _Limited, patience: float, *, alone: bool) -> Turn:
        names = [limited.pause, *limited.vendors, *limited.own]
        moves = [*limited.vendors.values(), *limited.own.values()]
        own = len(names) if limited.own else 0
        times = (_microseconds(seconds) for seconds in (EARLY, *moves))
        if answer := await self._ask(self._take_turn, names, [_microseconds(patience), own, *times]):
            granted, wait = answer
            return Turn(bool(granted), wait / 1e6)
        if alone:
            return await super()._take(limited, patience, alone=True)
        raise Unavailable("redis", "Redis does not answer, and without it nobody knows how fast others send.")

    async def _ask(self, script: AsyncScript, names: list[str], arguments: list[int]) -> Any:
        """None if Redis does not answer."""
        if self._down_until and monotonic() < self._down_until:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await script([f"{self._prefix}:{name}" for name in names], arguments)
        except Exception as error:  # none of them is worth a single message that is not sent
            if self._down_until is None:
                log.warning("Redis does not answer", kind=type(error).__name__)
            self._down_until = monotonic() + PATIENCE
            return None
        if self._down_until:
            log.info("Redis answers again")
        self._down_until = None
        return answer


@asynccontextmanager
async def open_limits(redis_url: str | None, environment: str) -> AsyncIterator[Limits]:
    if redis_url is None:
        yield Limits()
        return
    # Once more: its connections may be from before it was started anew.
    async with connected_to(redis_url, retries=1) as redis:
        yield SharedLimits(redis, f"switchboard:{environment}:limits")


def portion(rate: float | None, most: int = 100) -> int:
    """How many messages at once are no burst under this rate."""
    return most if rate is None else max(1, min(most, int(rate * PORTION)))


def _pause(vendor: str) -> str:
    return f"{vendor}:pause"


def _limited(
    vendor: str, count: int, rate: float | None, alone: bool, broadcast: tuple[int, float] | None
) -> _Limited:
    vendors = {}
    if rate is not None:
        vendors[f"{vendor}:all"] = count * MARGIN / rate
        if not alone:
            vendors[f"{vendor}:broadcasts"] = count / (rate * BROADCASTS)
    own = {f"broadcast:{broadcast[0]}": count * MARGIN / broadcast[1]} if broadcast else {}
    return _Limited(_pause(vendor), vendors, own)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
