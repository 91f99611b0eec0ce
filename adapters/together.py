"""Together: one question for all who ask the same at about the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from adapters import tracing

K = TypeVar("K")
V = TypeVar("V")

MOST = 100
"""So many are asked for at once."""
COMPANY = 0.003
"""Seconds to wait for others, where the last one did not come alone."""


class Together(Generic[K, V]):
    """`ask` answers for each, in order: what is to be returned to whom, or raised.

    A transaction, or a call, costs nearly the same for one as for a hundred. Who comes alone asks alone and
    at once; where many come, each group waits a moment for those who come then. With `in_turn` a group is
    asked for when the one before has its answer, and all who came meanwhile are of it. Who leaves early
    leaves alone: what others ask for, and what is written, is not broken off.
    """

    def __init__(
        self, ask: Callable[[Sequence[K]], Awaitable[Sequence[V | Exception]]], *, in_turn: bool = True
    ) -> None:
        self._ask = ask
        self._in_turn = in_turn
        self._waiting: list[tuple[K, asyncio.Future[V], tracing.Trace | None]] = []
        self._gathering: asyncio.Task[None] | None = None
        self._asking = set[asyncio.Task[None]]()
        self._had_company = False

    async def __call__(self, item: K) -> V:
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer, tracing.current.get()))
        if self._gathering is None:
            # In a context of its own: the deadline of a request is not that of all.
            self._gathering = asyncio.create_task(self._gather(), context=Context())
        return await answer

    async def _gather(self) -> None:
        try:
            while self._waiting:
                # At the least those who come in the same turn of the loop.
                await asyncio.sleep(COMPANY if self._had_company else 0)
                some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                self._had_company = len(some) > 1
                if self._in_turn:
                    await self._ask_for(some)
                else:
                    task = asyncio.create_task(self._ask_for(some))
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
        finally:
            self._gathering = None

    async def _ask_for(self, some: Sequence[tuple[K, "asyncio.Future[V]", tracing.Trace | None]]) -> None:
        answers: Sequence[V | Exception]
        try:
            with tracing.going_on(some[0][2]):  # of several traces it can be part of one
                answers = await self._ask([item for item, _, _ in some])
        except Exception as error:
            answers = [error] * len(some)
        for (_, waiting, _), answer in zip(some, answers, strict=True):
            if waiting.done():  # nobody waits any more
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
