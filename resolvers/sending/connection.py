"""Connection: to the Redis that several processes share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.asyncio import Redis

FAREWELL = 0.2
"""Seconds to close it."""


@asynccontextmanager
async def connected_to(redis_url: str, retries: int = 0) -> AsyncIterator[Redis]:
    """Without time-outs of its own: who asks has one that covers all that it does."""
    # Here, so that who has no Redis starts without its client: importing that takes a good part of a second.
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError

    again_at_once = Retry(NoBackoff(), retries=retries, supported_errors=(ConnectionError,))
    redis = Redis.from_url(redis_url, retry=again_at_once, socket_timeout=None)
    try:
        yield redis
    finally:
        with suppress(Exception):  # nobody waits for a Redis that hangs
            async with asyncio.timeout(FAREWELL):
                await redis.aclose()
