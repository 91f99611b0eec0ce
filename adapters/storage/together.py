"""Together: one question to the database for all who ask the same while the one before is on its way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST = 100
"""So many are asked for at once."""


class Together(Generic[K, V]):
    """`ask` answers for each, in order: what is to be returned to whom, or raised.

    A transaction costs nearly the same for one as for a hundred. Nobody waits for company: who comes alone
    asks alone. Who leaves early leaves alone: what others ask for, and what is written, is not broken off.
    """

    def __init__(self, ask: Callable[[Sequence[K]], Awaitable[Sequence[V | Exception]]]) -> None:
        self._ask = ask
        self._waiting: list[tuple[K, asyncio.Future[V]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, item: K) -> V:
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._asking is None:
            # In a context of its own: the deadline of a request is not that of all.
            self._asking = asyncio.create_task(self._ask_all(), context=Context())
        return await answer

    async def _ask_all(self) -> None:
        try:
            await asyncio.sleep(0)  # with those who come in the same turn of the loop
            while self._waiting:
                some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._ask_for(some)
        finally:
            self._asking = None

    async def _ask_for(self, some: Sequence[tuple[K, "asyncio.Future[V]"]]) -> None:
        answers: Sequence[V | Exception]
        try:
            answers = await self._ask([item for item, _ in some])
        except Exception as error:
            answers = [error] * len(some)
        for (_, waiting), answer in zip(some, answers, strict=True):
            if waiting.done():  # nobody waits any more
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
