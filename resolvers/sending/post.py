"""Post: all that sends, together, as long as a process runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters import Adapters
from adapters.hyber.report import Wire, read_pushed, write_pushed
from adapters.storage.messages import Report
from resolvers.sending.courier import Courier
from resolvers.sending.news import News, open_news
from resolvers.sending.pump import Pump
from resolvers.tasks import stop


class Post:
    def __init__(
        self,
        adapters: Adapters,
        news: News,
        *,
        environment: str,
        callback_url: str | None,
        sends_at_once: bool,
    ) -> None:
        self.news = news
        self.sends_at_once = sends_at_once
        """What somebody asks this process to send; otherwise that, too, waits for who sends what waits."""
        self._ledger = adapters.storage.messages
        self._courier = Courier(adapters, environment=environment, callback_url=callback_url, told=news.tell)
        self.pump = Pump(self._ledger, self._courier)

    async def receive(self, pushed: bytes) -> None:
        """Keeps what Hyber says of messages of ours until a pump applies it, here or in another process."""
        ours = [_kept(wire) for wire in read_pushed(pushed) if self._courier.is_ours(wire.report)]
        if ours:
            await self._ledger.receive(ours)
            self.pump.wake()


@asynccontextmanager
async def open_post(
    adapters: Adapters,
    *,
    environment: str,
    callback_url: str | None,
    redis_url: str | None,
    sends_at_once: bool,
    sends_what_waits: bool,
) -> AsyncIterator[Post]:
    """What is under way when the block ends is ended first."""
    async with open_news(redis_url, environment) as news:
        post = Post(
            adapters, news, environment=environment, callback_url=callback_url, sends_at_once=sends_at_once
        )
        loop = asyncio.create_task(post.pump.run()) if sends_what_waits else None
        try:
            yield post
        finally:
            if loop:
                await stop(loop)
            await post.pump.idle()


def _kept(wire: Wire) -> Report:
    report = wire.report
    return Report(
        source="hyber",
        external_id=report.extra_id or "",
        status=report.vendor_code or report.state,
        at=int(wire.time or 0),
        body=write_pushed(wire),
    )
