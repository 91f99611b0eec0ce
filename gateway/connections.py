"""Connections: how many there may be, and how long a peer may take over what it sends and what it reads."""

import asyncio
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_server import Server

HEAD = 8.0
"""Seconds until the head of a request must have arrived: the first, or one that has begun."""
IDLE = 30.0
"""Seconds that a connection may stay open without a request."""
SLOWEST_READER = 30.0
"""Seconds in which an answer must be taken."""
LONGEST_LINE = 16_384
"""Bytes of the first line of a request, or of a header; a query may come by GET."""

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


class Runner(web.AppRunner):
    """Runs the application on connections that are bounded."""

    def __init__(self, app: web.Application, *, most: int, drain: float) -> None:
        super().__init__(
            app,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=IDLE,
            shutdown_timeout=drain,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        self._most = most

    async def _make_server(self) -> Server:
        server = await super()._make_server()
        bounded = cast("_Server", server)
        bounded.__class__ = _Server  # aiohttp asks nobody of which class it is to be
        bounded.most = self._most
        return bounded


class _Server(Server):
    most: int

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    __slots__ = ("_head",)

    def __init__(self, manager: _Server, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        server = cast("_Server", self._manager)
        if len(server.connections) > server.most:
            cast("asyncio.Transport", transport).write(_FULL)
            self.force_close()
        else:
            self._head = self._loop.call_later(HEAD, self._too_slow)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._waiter is None or self._waiter.done():  # the head of a request is complete
            self._no_hurry()
        elif self._head is None and not self._upgraded:
            self._head = self._loop.call_later(HEAD, self._too_slow)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._no_hurry()
        super().connection_lost(exc)

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        too_slow = self._loop.call_later(SLOWEST_READER, self._give_up)
        try:
            finished = await super().finish_response(request, resp, start_time)
        finally:
            too_slow.cancel()
        if resp.status == 408:  # aiohttp would wait for the rest of the body once more
            self.force_close()
        return finished

    def _too_slow(self) -> None:
        self._head = None
        self.force_close()

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _no_hurry(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
