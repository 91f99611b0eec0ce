"""Holding: how long the loop is kept from turning, for which time everybody waits."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def held() -> AsyncIterator[list[float]]:
    """The longest time meanwhile, of the processor's: what other processes take is not our doing."""
    longest = [0.0]

    async def watch() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.001)
            longest[0] = max(longest[0], time.thread_time() - began)

    gc.collect()
    gc.freeze()  # as the server does, or the collector would walk all that the tests have made
    watching = asyncio.create_task(watch())
    try:
        yield longest
    finally:
        watching.cancel()
        gc.unfreeze()
