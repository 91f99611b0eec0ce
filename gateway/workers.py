"""Workers: several processes of one kind, and the parent that minds them."""

import asyncio
import multiprocessing
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from typing import Any

import structlog

log = structlog.get_logger("switchboard.workers")

PAUSE = 1.0
"""Seconds before a worker that died is replaced, so that one that cannot live does not spin."""

_spawn = multiprocessing.get_context("spawn")  # a fork would copy the parent's event loop


async def supervise(
    count: int,
    work: Callable[..., None],
    arguments: tuple[Any, ...],
    stop: asyncio.Event,
    died: Callable[[int | None], None],
) -> None:
    """Keeps `count` processes of `work` alive until `stop` is set, then waits for them to finish.

    `died` is told the id of one that ended before.
    """
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(_keep_alive(number, work, arguments, stop, died))


async def _keep_alive(
    number: int,
    work: Callable[..., None],
    arguments: tuple[Any, ...],
    stop: asyncio.Event,
    died: Callable[[int | None], None],
) -> None:
    told = asyncio.create_task(stop.wait())
    while not told.done():
        process = _spawn.Process(target=work, args=arguments, name=f"worker-{number}")
        process.start()
        death = asyncio.create_task(_death(process))
        await asyncio.wait({death, told}, return_when=asyncio.FIRST_COMPLETED)
        if told.done():
            process.terminate()
            await death
        else:
            log.error("a worker died and is replaced", worker=number, exit_code=process.exitcode)
            died(process.pid)
            await asyncio.wait({told}, timeout=PAUSE)


async def _death(process: SpawnProcess) -> None:
    loop, dead = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, dead.set)
    try:
        await dead.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()


def when_parent_is_gone(act: Callable[[], None]) -> None:
    """However it ended: a worker without a parent would hold the port for ever."""
    if parent := multiprocessing.parent_process():
        asyncio.get_running_loop().add_reader(parent.sentinel, act)
