"""Hammer: a process that takes every turn it gets for some seconds, and says when it used them."""

import asyncio
from multiprocessing.connection import Connection
from time import monotonic

from resolvers.sending.limits import Limits, open_limits, portion

SLOTS = 8
"""So many ask at a time in a process."""
Use = tuple[float, int]
"""When the vendor was called, by the clock that all processes have, and with how many messages."""


async def hammer(
    limits: Limits, rate: float, until: float, broadcast: tuple[int, float] | None, count: int
) -> list[Use]:
    used: list[Use] = []

    async def slot() -> None:
        while monotonic() < until:
            turn = await limits.turn("hyber", count, rate=rate, patience=1, alone=False, broadcast=broadcast)
            if turn.granted:
                await asyncio.sleep(turn.wait)
                used.append((monotonic(), count))

    await asyncio.gather(*(slot() for _ in range(SLOTS)))
    return used


def work(redis_url: str, rate: float, seconds: float, said: Connection) -> None:
    """Opens, says so, and begins when it is told to."""
    asyncio.run(_work(redis_url, rate, seconds, said))


async def _work(redis_url: str, rate: float, seconds: float, said: Connection) -> None:
    async with open_limits(redis_url, "test") as limits:
        said.send("ready")
        said.recv()
        said.send(await hammer(limits, rate, monotonic() + seconds, None, portion(rate)))
