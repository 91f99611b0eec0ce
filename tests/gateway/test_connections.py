"""Connections: nobody is held who sends or reads slowly, and no more are open than there may be."""

import asyncio
import socket
from collections.abc import AsyncIterator
from time import monotonic
from typing import NamedTuple

import pytest
from aiohttp import ClientSession, web

from gateway import connections
from gateway.connections import Runner

HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n"
MOST = 20


class Server(NamedTuple):
    port: int
    runner: Runner

    @property
    def open(self) -> int:
        server = self.runner.server
        assert server
        return len(server.connections)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    for name, seconds in (("HEAD", 0.4), ("IDLE", 1.5), ("SLOWEST_READER", 0.4)):
        monkeypatch.setattr(connections, name, seconds)
    app = web.Application()
    app.add_routes([web.get("/", _some), web.get("/socket", _echo)])
    runner = Runner(app, most=MOST, drain=1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    yield Server(listener.getsockname()[1], runner)
    await runner.cleanup()


async def _some(request: web.Request) -> web.Response:
    return web.Response(body=bytes(int(request.query.get("bytes", "2"))))


async def _echo(request: web.Request) -> web.WebSocketResponse:
    opened = web.WebSocketResponse()
    await opened.prepare(request)
    async for message in opened:
        await opened.send_str(message.data)
    return opened


async def held(server: Server, *parts: bytes, pause: float = 0.15) -> tuple[bytes, float]:
    """What is answered to the parts, and after how long the connection is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    began = monotonic()
    try:
        for part in parts:
            if not writer.transport.is_closing():
                writer.write(part)
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), 5), monotonic() - began
    except ConnectionError:  # cut off while it was sending
        return b"", monotonic() - began
    finally:
        writer.close()


SLOW = {
    "says nothing": (),
    "says half a head": (HEAD,),
    "never ends its head": tuple(b"X: y\r\n" if number else HEAD for number in range(20)),
    "has a second head that does not end": (HEAD + b"\r\n", b"GET / HTTP"),
}


@pytest.mark.parametrize("parts", SLOW.values(), ids=SLOW)
async def test_nobody_is_held_who(server: Server, parts: tuple[bytes, ...]) -> None:
    began = monotonic()
    task = asyncio.create_task(held(server, *parts))
    while not server.open:
        await asyncio.sleep(0.01)
    while server.open:
        await asyncio.sleep(0.01)

    assert 0.3 < monotonic() - began < 1.4
    answer, _ = await task
    assert answer.count(b"200 OK") == sum(b"\r\n\r\n" in part for part in parts)


async def test_a_connection_is_kept_for_the_next_request_for_a_while(server: Server) -> None:
    answer, seconds = await held(server, HEAD + b"\r\n", b"", b"", b"", HEAD + b"\r\n")

    assert answer.count(b"200 OK") == 2
    assert 1.5 < seconds < 4


async def test_who_does_not_read_the_answer_loses_it(server: Server) -> None:
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", server.port))
        peer.sendall(b"GET /?bytes=60000000 HTTP/1.1\r\nHost: here\r\n\r\n")
        began = monotonic()
        while not server.open:
            await asyncio.sleep(0.01)
        while server.open:
            await asyncio.sleep(0.01)

    assert 0.3 < monotonic() - began < 1.4


async def test_a_socket_may_be_quiet(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/socket"
    async with ClientSession() as session, session.ws_connect(url) as opened:
        for _ in range(2):
            await opened.send_str("there?")
            assert await opened.receive_str(timeout=2) == "there?"
            await asyncio.sleep(0.6)


async def test_more_than_there_may_be_are_told_to_come_again(server: Server) -> None:
    peers = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(MOST)]
    answer, _ = await held(server)
    for _, writer in peers:
        writer.close()

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in answer


async def test_many_requests_sent_at_once_leave_room_for_others(server: Server) -> None:
    crowd = asyncio.create_task(held(server, (HEAD + b"\r\n") * 5_000))
    await asyncio.sleep(0.05)
    answer, seconds = await held(server, HEAD + b"Connection: close\r\n\r\n", pause=0)
    answers, _ = await crowd

    assert b"200 OK" in answer
    assert seconds < 0.5
    assert answers.count(b"200 OK") == 5_000
