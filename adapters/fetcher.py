"""The fetcher: asks over the connections that aiohttp makes and keeps, by its parser.

Its session, which is ready for every other kind of request, takes four times as long for one. Cookies,
proxies, redirects and second tries our sources have none of; all that goes over a connection is aiohttp's.
"""

import asyncio
import re
from collections.abc import Mapping
from math import inf
from typing import NamedTuple, TypeVar

import aiohttp
from aiohttp.helpers import TimerNoop, strip_auth_from_url
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_writer import _serialize_headers
from aiohttp.streams import StreamReader
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

B = TypeVar("B", bytes, bytearray)

_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_PLAIN = re.compile(r"[A-Za-z0-9._~-]*")
_NO_TIMER = TimerNoop()  # one time-out is around all
_NO_INFO = aiohttp.RequestInfo(URL(), "", CIMultiDictProxy(CIMultiDict()))


class TooLarge(Exception):
    """The answer is more than anybody is ready to read."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Body(NamedTuple):
    kind: str
    content: bytes


class Departure:
    """Whether a request has got a connection, and more or less of it went out on it."""

    has_left = False


class _Host:
    """What all requests to it have in common, made once as aiohttp makes it."""

    def __init__(self, headers: CIMultiDict[str], origin: str) -> None:
        url, auth = strip_auth_from_url(URL(origin))
        self.request = aiohttp.ClientRequest("GET", url, headers=headers, auth=auth)
        self.head = self.head_with({})

    def head_with(self, headers: Mapping[str, str]) -> bytes:
        """All of it behind the request line; refused where a header holds the end of one."""
        all_of_them = CIMultiDict(self.request.headers)
        all_of_them.update(headers)
        return _serialize_headers("", all_of_them)


class Fetcher:
    def __init__(
        self,
        connector: aiohttp.TCPConnector,
        headers: Mapping[str, str],
        connect_timeout: float,
        largest: int,
    ) -> None:
        self._connector = connector
        self._headers = CIMultiDict(headers)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout, ceil_threshold=inf)
        self._largest = largest
        self._hosts: dict[str, _Host] = {}

    async def ask(
        self,
        method: str,
        url: str,
        params: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        *,
        seconds: float,
        departure: Departure | None = None,
    ) -> Answer:
        """Fails as aiohttp's session does; the time is that of all, with what it waits for a connection."""
        origin, target = _parts(url, params)
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = _Host(self._headers, origin)
        content = b""
        if body is not None:
            content = body.content
            headers = {**(headers or {}), "Content-Type": body.kind, "Content-Length": str(len(content))}
        head = host.head_with(headers) if headers else host.head
        request = b"%s %s HTTP/1.1%s%s" % (method.encode(), target.encode(), head, content)
        async with asyncio.timeout(seconds):
            connection = await self._connector.connect(host.request, [], self._timeout)
            try:
                if departure:
                    departure.has_left = True
                answer = await self._exchange(connection, request)
            except BaseException:
                connection.close()
                raise
            connection.release()
            return answer

    async def _exchange(self, connection: aiohttp.connector.Connection, request: bytes) -> Answer:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(timer=_NO_TIMER, read_until_eof=True)
        transport.write(request)
        try:
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:  # is followed by the answer
                message, content = await protocol.read()
        except HttpProcessingError as error:
            raise aiohttp.ClientResponseError(_NO_INFO, (), status=error.code) from None
        return Answer(message.code, message.headers, await body_of(content, self._largest))


async def body_of(content: StreamReader, largest: int) -> bytes:
    if content.is_eof():  # as most answers have come, with their head
        return _fitting(content.read_nowait(), largest)
    body = bytearray()  # many chunks would leave the heap in pieces
    try:
        async for chunk in content.iter_any():
            body += chunk
            _fitting(body, largest)
        return bytes(body)
    finally:
        body.clear()  # an error keeps its frames alive until the garbage collector comes by


def _fitting(body: B, largest: int) -> B:
    if len(body) > largest:
        raise TooLarge
    return body


def _parts(url: str, params: Mapping[str, str]) -> tuple[str, str]:
    """Where to connect to, and what to ask for there; what has to be quoted for that, yarl quotes."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    path = slash + path
    if not (_PLAIN_PATH.fullmatch(path) and _PLAIN.fullmatch("".join([*params, *params.values()]))):
        path = URL(url).extend_query(params).raw_path_qs
    elif params:
        path += "?" + "&".join([f"{name}={value}" for name, value in params.items()])
    return f"{scheme}://{host}", path
