"""News: whoever waits for a message hears when something became of it, and then reads the ledger."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import msgspec
import structlog

from adapters.storage.messages import Id
from resolvers.sending.connection import connected_to
from resolvers.tasks import stop

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

PATIENCE = 0.2
"""Seconds to tell the other processes."""
FIRST_PATIENCE = 2.0
"""The same while there is no connection yet."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds between a failure and the next try; they double."""

log = structlog.get_logger("switchboard.news")


class News:
    """In one process: what another changes is seen when the ledger is read again anyway."""

    def __init__(self) -> None:
        self._waiting: dict[Id, set[asyncio.Event]] = defaultdict(set)

    async def tell(self, id: Id) -> None:
        for event in self._waiting.get(id, ()):
            event.set()

    @contextmanager
    def of(self, id: Id) -> Iterator[asyncio.Event]:
        """An event that is set at each change; who has looked clears it."""
        event = asyncio.Event()
        self._waiting[id].add(event)
        try:
            yield event
        finally:
            self._waiting[id].discard(event)
            if not self._waiting[id]:
                del self._waiting[id]


class SharedNews(News):
    """Among processes, through Redis; nobody waits for it, and without it this is the news of one process."""

    def __init__(self, redis: Redis, channel: str) -> None:
        super().__init__()
        self._redis = redis
        self._channel = channel
        self._is_down = False
        self._untold: set[Id] = set()
        self._something_to_tell = asyncio.Event()

    async def tell(self, id: Id) -> None:
        await super().tell(id)
        if not self._is_down:
            self._untold.add(id)
            self._something_to_tell.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._redis.pubsub() as subscription, asyncio.TaskGroup() as both:
                    async with asyncio.timeout(FIRST_PATIENCE):
                        await subscription.subscribe(self._channel)
                        await subscription.get_message(timeout=None)  # that we are subscribed
                        await self._publish(())
                    self._is_up_again()
                    pause = FIRST_PAUSE
                    both.create_task(self._listen(subscription))
                    both.create_task(self._publish_all())
            except* Exception as errors:  # none of them is worth a message that is not sent
                self._went_down(errors.exceptions[0])
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _listen(self, subscription: PubSub) -> None:
        async for heard in subscription.listen():
            for id in msgspec.json.decode(heard["data"], type=list[Id]):
                await super().tell(id)

    async def _publish_all(self) -> None:
        while True:
            await self._something_to_tell.wait()
            self._something_to_tell.clear()
            ids, self._untold = self._untold, set()
            async with asyncio.timeout(PATIENCE):
                await self._publish(ids)

    async def _publish(self, ids: Collection[Id]) -> None:
        await self._redis.publish(self._channel, msgspec.json.encode(ids))

    def _went_down(self, error: Exception) -> None:
        if not self._is_down:
            log.warning("Redis does not answer", kind=type(error).__name__)
        self._is_down = True
        self._untold.clear()  # the others have read the ledger before it is back

    def _is_up_again(self) -> None:
        if self._is_down:
            log.info("Redis answers again")
        self._is_down = False


@asynccontextmanager
async def open_news(redis_url: str | None, environment: str) -> AsyncIterator[News]:
    if redis_url is None:
        yield News()
        return
    async with connected_to(redis_url) as redis:
        news = SharedNews(redis, f"switchboard:{environment}:messages")
        loop = asyncio.create_task(news.run())
        try:
            yield news
        finally:
            await stop(loop)
