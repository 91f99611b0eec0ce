"""Connections: how many there may be, and how long a peer may take over what it sends and what it reads."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import StreamReader, hdrs, web
from aiohttp.http_exceptions import LineTooLong
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
"""Bytes of the first line of a request; a query may come by GET."""
LONGEST_HEADER = 16_000
"""Bytes of a header. By the two figures aiohttp's errors are told apart."""

MOST_UNWANTED = 4 * 2**20
"""Bytes that are unpacked of a body that is too large, until its connection is closed."""

_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


_SHED: Any = SimpleNamespace(keep_alive=True)
"""In place of a response, once it is written."""

Shed = Callable[[BaseRequest], bytes | None]
"""The whole answer, where there is no room for a request and nothing to be looked at for that."""


class Runner(web.AppRunner):
    """Runs the application on connections that are bounded."""

    def __init__(self, app: web.Application, *, most: int, drain: float, shed: Shed = lambda _: None) -> None:
        super().__init__(
            app,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=IDLE,
            shutdown_timeout=drain,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_HEADER,
        )
        self._most = most
        self._shed = shed

    async def _make_server(self) -> Server:
        server = await super()._make_server()
        bounded = cast("_Server", server)
        bounded.__class__ = _Server  # aiohttp asks nobody of which class it is to be
        bounded.most, bounded.shed = self._most, self._shed
        return bounded


class _Server(Server):
    most: int
    shed: Shed

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Unwanted(StreamReader):
    """What is left of a body that is too large: aiohttp would read it, however much it unpacks to."""

    __slots__ = ()

    async def readany(self) -> bytes:
        if self.total_bytes > MOST_UNWANTED:
            raise TimeoutError  # as after the seconds that it may take
        await asyncio.sleep(0)  # as long as there is some, the loop would never turn
        return await super().readany()


class _Connection(RequestHandler):
    __slots__ = ("_has_begun", "_head")

    def __init__(self, manager: _Server, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._head: asyncio.TimerHandle | None = None
        self._has_begun = False
        """Has some of the head come?"""

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
            return
        self._has_begun = True
        if self._head is None and not self._upgraded:
            self._head = self._loop.call_later(HEAD, self._too_slow)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._no_hurry()
        super().connection_lost(exc)

    async def _handle_request(
        self,
        request: BaseRequest,
        start_time: float | None,
        request_handler: Callable[[BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:
        if self.transport is not None and not self._paused:
            answer = cast("_Server", self._manager).shed(request)
            if answer is not None:
                self.transport.write(answer)
                return _SHED, False
        return await super()._handle_request(request, start_time, request_handler)

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
        is_packed = hdrs.CONTENT_ENCODING in request.headers
        if resp.status == 413 and is_packed and type(request.content) is StreamReader:
            request.content.__class__ = _Unwanted
        return finished

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, LineTooLong):  # of which aiohttp only says that it is wrong
            is_first = exc.args[1] == LONGEST_LINE
            status = 414 if is_first else 431
            message = "The address is too long: send it by POST." if is_first else "A header is too long."
        return super().handle_error(request, status, exc, message)

    def _too_slow(self) -> None:
        self._head = None
        if self._has_begun and self.transport is not None:
            self.transport.write(_LATE)
        self.force_close()

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _no_hurry(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
        self._has_begun = False
