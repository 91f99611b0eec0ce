"""Properties: what holds whatever is drawn."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")


async def holds_for_any(
    drawn: SearchStrategy[T], claim: Callable[[T], Awaitable[None]], examples: int
) -> None:
    """Claims it of so many examples, the same in each run, one after the other in the test's own loop."""
    loop = asyncio.get_running_loop()

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @given(drawn)
    def holds(example: T) -> None:
        asyncio.run_coroutine_threadsafe(_awaited(claim(example)), loop).result()

    await asyncio.to_thread(holds)


async def _awaited(claimed: Awaitable[None]) -> None:
    await claimed
