"""Post: all that sends, together, as long as a process runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from adapters import Adapters
from adapters.hyber.report import Wire, read_pushed, write_pushed
from adapters.storage.messages import Report
from resolvers.sending import attic
from resolvers.sending.carrier import Carrier
from resolvers.sending.courier import Courier
from resolvers.sending.dispatch import Dispatch
from resolvers.sending.engine import Engine, open_engine
from resolvers.sending.limits import Limits, open_limits
from resolvers.sending.news import News, open_news
from resolvers.sending.pump import Pump
from resolvers.tasks import stop


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """What of it a process does, and with whom."""

    environment: str
    callback_url: str | None = None
    redis_url: str | None = None
    broker_url: str | None = None
    at_once: bool = True
    """What somebody asks this process to send; otherwise that, too, waits for who sends what waits."""
    what_waits: bool = True
    """Messages that are due, and broadcasts."""
    slots: int = 4
    """Chunks of broadcasts that it sends at the same time."""
    grace: float = 10.0
    """Seconds that they have to end when the process does."""
    keep_messages: int = 0
    keep_reports: int = 0
    """Days; 0 is for ever."""


class Post:
    def __init__(self, adapters: Adapters, news: News, limits: Limits, sending: Sending) -> None:
        self.news = news
        self.sends_at_once = sending.at_once
        self._storage = adapters.storage
        self._courier = Courier(
            adapters,
            environment=sending.environment,
            callback_url=sending.callback_url,
            told=news.tell,
            limits=limits,
        )
        self.pump = Pump(self._storage.messages, self._courier)
        self.letters = self._courier.letters
        self.carrier = Carrier(adapters, self._courier, news.tell)
        self.dispatch: Dispatch | None = None
        """Only where broadcasts are sent; elsewhere they are seen within a moment."""

    def wake(self) -> None:
        """There is something to send, or to plan."""
        self.pump.wake()
        if self.dispatch:
            self.dispatch.wake()

    async def receive(self, pushed: bytes) -> None:
        """Keeps what Hyber says of messages of ours until a pump applies it, here or in another process."""
        ours = [_kept(wire) for wire in read_pushed(pushed) if self._courier.is_ours(wire.report)]
        if ours:
            await self._storage.messages.receive(ours)
            self.pump.wake()

    def dispatch_through(self, engine: Engine, slots: int) -> Dispatch:
        self.dispatch = Dispatch(self._storage, engine, slots, self.news.tell)
        return self.dispatch

    async def carry(self, broadcast_id: int, n: int, token: str) -> None:
        await self.carrier.carry(broadcast_id, n, token)
        if self.dispatch:  # there is a free hand
            self.dispatch.wake()


@asynccontextmanager
async def open_post(adapters: Adapters, sending: Sending) -> AsyncIterator[Post]:
    """What is under way when the block ends is ended first."""
    async with AsyncExitStack() as stack:
        news = await stack.enter_async_context(open_news(sending.redis_url, sending.environment))
        limits = await stack.enter_async_context(open_limits(sending.redis_url, sending.environment))
        post = Post(adapters, news, limits, sending)
        loops = list[asyncio.Task[None]]()
        if sending.what_waits:
            opened = open_engine(
                sending.broker_url,
                post.carry,
                sending.slots,
                environment=sending.environment,
                grace=sending.grace,
            )
            engine = await stack.enter_async_context(opened)
            dispatch = post.dispatch_through(engine, sending.slots)
            keeping = attic.run(adapters.storage, sending.keep_messages, sending.keep_reports)
            running = post.pump.run(), dispatch.run(), engine.work(), keeping
            loops = [asyncio.create_task(each) for each in running]
        try:
            yield post
        finally:
            await stop(*loops)
            await post.pump.idle()
            if post.dispatch:
                await post.dispatch.idle()


def _kept(wire: Wire) -> Report:
    report = wire.report
    return Report(
        source="hyber",
        external_id=report.extra_id or "",
        status=report.vendor_code or report.state,
        at=int(wire.time or 0),
        body=write_pushed(wire),
    )
