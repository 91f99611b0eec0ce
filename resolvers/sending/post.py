"""Post: all that sends, together, as long as a process runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters import Adapters
from resolvers.sending.courier import Courier
from resolvers.sending.news import News
from resolvers.sending.pump import Pump


class Post:
    def __init__(self, adapters: Adapters, *, environment: str, callback_url: str | None) -> None:
        self.news = News()
        courier = Courier(adapters, environment=environment, callback_url=callback_url, told=self.news.tell)
        self.pump = Pump(adapters.storage.messages, courier)


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
