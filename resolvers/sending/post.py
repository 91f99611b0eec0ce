"""Post: all that sends, together, as long as a process runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters import Adapters
from adapters.hyber.report import Wire, read_pushed, write_pushed
from adapters.storage.messages import Report
from resolvers.sending.courier import Courier
from resolvers.sending.news import News
from resolvers.sending.pump import Pump


class Post:
    def __init__(self, adapters: Adapters, *, environment: str, callback_url: str | None) -> None:
        self.news = News()
        self._ledger = adapters.storage.messages
        self._courier = Courier(
            adapters, environment=environment, callback_url=callback_url, told=self.news.tell
        )
        self.pump = Pump(self._ledger, self._courier)

    async def receive(self, pushed: bytes) -> None:
        """Keeps what Hyber says of messages of ours until a pump applies it, here or in another process."""
        ours = [_kept(wire) for wire in read_pushed(pushed) if self._courier.is_ours(wire.report)]
        if ours:
            await self._ledger.receive(ours)
            self.pump.wake()


@asynccontextmanager
async def open_post(
    adapters: Adapters, *, environment: str, callback_url: str | None, pumping: bool
) -> AsyncIterator[Post]:
    """What is under way when the block ends is ended first."""
    post = Post(adapters, environment=environment, callback_url=callback_url)
    loop = asyncio.create_task(post.pump.run()) if pumping else None
    try:
        yield post
    finally:
        while loop and not loop.done():  # Python 3.11's wait_for, in MySQL's driver, may swallow it
            loop.cancel()
            await asyncio.wait([loop], timeout=0.1)
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
