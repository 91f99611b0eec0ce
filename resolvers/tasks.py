"""Tasks: how those that run until they are told to stop are told."""

import asyncio


async def stop(*tasks: asyncio.Task[None]) -> None:
    """Tells them until they do: Python 3.11's wait_for, in MySQL's driver, and its groups may swallow it."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.1)
