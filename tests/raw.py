"""Raw: an upstream on a bare TCP socket, for the troubles that no HTTP server makes, and no vendor's."""

import asyncio
import socket
import zlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

Trouble = Callable[[StreamReader, StreamWriter], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MEGABYTE = 2**20


class Raw:
    """Hears the head of a request, does what its trouble says, hangs up: `async with Raw(hang) as raw: ...`

    Without a trouble its port is closed. `greeting` is said before anything is heard.
    """

    def __init__(self, trouble: Trouble | None, *, greeting: bytes = b"") -> None:
        self.heard: list[bytes] = []
        self.accepted = 0
        self.asked = asyncio.Event()
        """Has anything been heard?"""
        self.empty = asyncio.Event()
        """Is nobody connected?"""
        self._trouble = trouble
        self._greeting = greeting
        self._socket = socket.socket()
        self._visits: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))  # nobody else can have the port, also while it is closed
        if self._trouble:
            await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server:
            self._server.close()
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        self._socket.close()

    async def heal(self, body: bytes) -> None:
        """From now on every request is answered with this."""
        self._trouble = says(body)
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._socket)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.accepted += 1
        self.empty.clear()
        visit = asyncio.create_task(self._visited(reader, writer))
        self._visits.add(visit)
        visit.add_done_callback(self._left)

    def _left(self, visit: asyncio.Task[None]) -> None:
        self._visits.discard(visit)
        if not self._visits:
            self.empty.set()

    async def _visited(self, reader: StreamReader, writer: StreamWriter) -> None:
        # Who leaves early is not our trouble.
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                writer.write(self._greeting)
                self.heard.append(await reader.readuntil(b"\r\n\r\n"))
                self.asked.set()
                if self._trouble:
                    await self._trouble(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()


async def hang(reader: StreamReader, _: StreamWriter) -> None:
    """Never answers, until the client leaves."""
    await reader.read()


async def slow_head(_: StreamReader, writer: StreamWriter) -> None:
    await _drip(writer, HEAD + b"X-Slow: " + b"x" * 1_000)


async def slow_body(_: StreamReader, writer: StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
    await _drip(writer, b" " * 1_000)


async def endless(_: StreamReader, writer: StreamWriter) -> None:
    writer.write(HEAD + b"\r\n")
    while True:
        writer.write(b" " * 65_536)
        await writer.drain()


async def slowly_endless(_: StreamReader, writer: StreamWriter) -> None:
    """So slowly that it is the time that ends it."""
    writer.write(HEAD + b"\r\n" + b" " * 4 * MEGABYTE)
    await asyncio.sleep(60)


async def lying(_: StreamReader, writer: StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n{}")


async def gzip_bomb(_: StreamReader, writer: StreamWriter) -> None:
    """150 kB that are 128 MB."""
    squeezed = zlib.compressobj(wbits=31)
    head = squeezed.compress(b"")
    # Blocks that are flushed in full depend on nothing before them, so that one can be repeated.
    block = squeezed.compress(b" " * MEGABYTE) + squeezed.flush(zlib.Z_FULL_FLUSH)
    await says(head + block * 128, "Content-Encoding: gzip")(_, writer)


def says(body: bytes, *headers: str, status: str = "200 OK") -> Trouble:
    async def say(_: StreamReader, writer: StreamWriter) -> None:
        lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", "")
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return say


def babbles(noise: bytes) -> Trouble:
    """Whatever it is, it is not HTTP."""

    async def babble(_: StreamReader, writer: StreamWriter) -> None:
        writer.write(noise)

    return babble


async def _drip(writer: StreamWriter, text: bytes) -> None:
    for byte in text:
        writer.write(bytes((byte,)))
        await asyncio.sleep(0.05)
