"""Engine: carries chunks of broadcasts to whoever has a free slot.

It may lose them, and bring them twice: the ledger knows them all, and gives out again what nobody has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from adapters.errors import Unavailable

if TYPE_CHECKING:
    from taskiq import AsyncBroker

Run = Callable[[int, int, str], Awaitable[None]]
"""Sends a chunk: the broadcast's id, the chunk's number, and the token with which it was given out."""
Chunks = AsyncGenerator[Coroutine[Any, Any, None], None]
"""Each to be awaited, and then it is sent."""

TASK = "chunk.v1"
"""The queue's name has it too: who does not know a task would take it and throw it away."""
PATIENCE = 1.5
"""Seconds to hand a chunk over."""
OPENING = 10.0
"""Seconds to find a broker."""
FAREWELL = 0.5
"""Seconds to leave it."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
"""Seconds between a failure of the broker and the next try; they double."""

log = structlog.get_logger("switchboard.engine")


class Engine:
    """In this process."""

    def __init__(self, run: Run, slots: int, grace: float) -> None:
        self._run = run
        self._grace = grace
        self._free = asyncio.Semaphore(slots)
        self._going: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.Queue[tuple[int, int, str]] = asyncio.Queue()

    async def kick(self, broadcast_id: int, n: int, token: str) -> None:
        """Somebody sends this chunk when there is a slot for it."""
        self._waiting.put_nowait((broadcast_id, n, token))

    async def work(self) -> None:
        """Until it is cancelled; then what is under way has a while to end."""
        try:
            await self._work()
        finally:
            await self._end()

    async def _work(self) -> None:
        await self._take(self._chunks())

    async def _chunks(self) -> Chunks:
        while True:
            yield self._send(*await self._waiting.get())

    async def _take(self, chunks: Chunks) -> None:
        """None before there is a slot for it: another process may have one."""
        async with aclosing(chunks):
            while True:
                await self._free.acquire()
                try:
                    chunk = await anext(chunks)
                except BaseException:
                    self._free.release()
                    raise
                task = asyncio.create_task(chunk)
                self._going.add(task)
                task.add_done_callback(self._ended)

    async def _send(self, broadcast_id: int, n: int, token: str) -> None:
        try:
            await self._run(broadcast_id, n, token)
        except Exception:
            log.exception("a chunk was given up", broadcast=broadcast_id, chunk=n)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._going.discard(task)
        self._free.release()
        if not task.cancelled() and (error := task.exception()):  # it comes again, and whoever gets it knows
            log.debug("a chunk was not acknowledged", kind=type(error).__name__)

    async def _end(self) -> None:
        end = monotonic() + self._grace
        while self._going:
            left = end - monotonic()
            if left <= 0:
                for task in self._going:
                    task.cancel()
            with suppress(asyncio.CancelledError):  # who tells us to stop does so until we have
                await asyncio.wait(self._going, timeout=max(left, 0.1))


class SharedEngine(Engine):
    """Of all processes, through a broker."""

    def __init__(
        self, new_broker: Callable[[str], AsyncBroker], environment: str, run: Run, slots: int, grace: float
    ) -> None:
        super().__init__(run, slots, grace)
        self._new_broker = new_broker
        self._queue = f"switchboard:{environment}:{TASK}"
        self._slots = slots
        self._giver: asyncio.Task[AsyncBroker] | None = None
        self._taker: AsyncBroker | None = None
        self._giving = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._is_down = False

    async def kick(self, broadcast_id: int, n: int, token: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE), self._giving:
                await self._give(broadcast_id, n, token)
        except Exception as error:
            self._went_down(error)
            raise Unavailable("broker", "The broker does not take chunks; they wait until it does.") from None
        self._is_up_again()

    async def _give(self, broadcast_id: int, n: int, token: str) -> None:
        # It goes on opening when nobody waits for it: RabbitMQ's client would anyway, each time anew.
        self._giver = self._giver or asyncio.create_task(self._open(takes=False))
        try:
            broker = await asyncio.shield(self._giver)
            await broker.local_task_registry[TASK].kiq(broadcast_id, n, token)
        except BaseException:
            if self._giver.done():
                await self._end_giving()
            raise

    async def _end_giving(self) -> None:
        if self._giver:
            giver, self._giver = self._giver, None
            giver.cancel()
            (broker,) = await asyncio.gather(giver, return_exceptions=True)
            if not isinstance(broker, BaseException):
                await _close(broker)

    async def close(self) -> None:
        await self._end_giving()
        self._leave()
        await asyncio.gather(*self._leaving)

    async def _work(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                self._taker = await self._open(takes=True)
                self._is_up_again()
                pause = FIRST_PAUSE
                await self._take(self._chunks_from(self._taker))
            except Exception as error:
                self._went_down(error)
            self._leave()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _leave(self) -> None:
        """It is closed when all that came from it is acknowledged: for that it would open itself again."""
        taker, self._taker = self._taker, None
        going = set(self._going)

        async def close() -> None:
            if going:
                await asyncio.wait(going)
            await _close(taker)

        leaving = asyncio.create_task(close())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _open(self, *, takes: bool) -> AsyncBroker:
        """Makes whatever is missing there: a broker may come back empty."""

        async def send(broadcast_id: int, n: int, token: str) -> None:  # no method: taskiq renames it
            await self._send(broadcast_id, n, token)

        broker = self._new_broker(self._queue)
        broker.is_worker_process = takes
        broker.register_task(send, task_name=TASK)
        try:
            async with asyncio.timeout(OPENING):
                await broker.startup()
        except BaseException:
            await _close(broker)
            raise
        return broker

    async def _chunks_from(self, broker: AsyncBroker) -> Chunks:
        from taskiq.acks import AcknowledgeType
        from taskiq.receiver import Receiver

        receiver = Receiver(
            broker, max_async_tasks=self._slots, run_startup=False, ack_type=AcknowledgeType.WHEN_EXECUTED
        )
        async with aclosing(broker.listen()) as messages:
            async for message in messages:
                yield receiver.callback(message)

    def _went_down(self, error: Exception) -> None:
        if not self._is_down:
            log.warning("the broker does not answer", kind=type(error).__name__)
        self._is_down = True

    def _is_up_again(self) -> None:
        if self._is_down:
            log.info("the broker answers again")
        self._is_down = False


@asynccontextmanager
async def open_engine(
    broker_url: str | None, run: Run, slots: int, *, environment: str, grace: float
) -> AsyncIterator[Engine]:
    """`grace` is how many seconds a chunk under way has to end, when its process does."""
    if broker_url is None:
        yield Engine(run, slots, grace)
        return
    # Here, so that who has no broker starts without taskiq: importing that takes a good part of a second.
    from resolvers.sending.brokers import new_broker

    engine = SharedEngine(lambda queue: new_broker(broker_url, queue, slots), environment, run, slots, grace)
    try:
        yield engine
    finally:
        await engine.close()


async def _close(broker: AsyncBroker | None) -> None:
    if broker:
        with suppress(Exception):  # nobody waits for one that hangs
            async with asyncio.timeout(FAREWELL):
                await broker.shutdown()
