"""Client: how the peers in Python ask the upstream, with aiohttp."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import ClientSession, TCPConnector, web

Get = Callable[[str], Awaitable[Any]]
Loads = Callable[[bytes], Any]

GET: web.AppKey[Get] = web.AppKey("get")


class Refused(Exception):
    """The upstream has said no."""


def asking(upstream: str, loads: Loads) -> Callable[[web.Application], AsyncIterator[None]]:
    async def resources(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession(upstream, connector=TCPConnector(limit=256)) as session:

            async def get(path: str) -> Any:
                async with session.get(path) as response:
                    body = await response.read()
                    if response.status != 200:
                        raise Refused(path, response.status)
                    return loads(body)

            app[GET] = get
            yield

    return resources
