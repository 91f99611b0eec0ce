"""Hostile WebSockets, frame by frame: each closed as the protocol has it, and nobody else notices."""

import asyncio
import json
import struct
import time
import zlib
from asyncio import StreamReader, StreamWriter
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import pytest
import strawberry

from gateway import view
from gateway.graph import Graph
from gateway.settings import Settings
from resolvers.query import Query
from tests.gateways import Gateway, gateway_on
from tests.holding import held

CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
HELD = 0.05
"""Seconds of processor time for which the loop may be held."""


@strawberry.type
class Endless:
    @strawberry.subscription
    async def endless(self) -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.Event().wait()


@pytest.fixture
async def gateway(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    assert view.FIRST_MESSAGE == 5
    monkeypatch.setattr(view, "FIRST_MESSAGE", 2.0)
    graph = Graph(query=Query, subscription=Endless)
    async with gateway_on(settings.model_copy(update={"sockets_each": 200}), graph=graph) as opened:
        yield opened


def frame(
    kind: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0, mask: bool = True, size: int = -1
) -> bytes:
    """`bits` are the reserved ones; `size` is what it says to be long, if that is not what it is."""
    size, masked = len(payload) if size < 0 else size, 0x80 * mask
    if size < 126:
        length = bytes((masked | size,))
    elif size < 2**16:
        length = bytes((masked | 126,)) + struct.pack("!H", size)
    else:
        length = bytes((masked | 127,)) + struct.pack("!Q", size)
    return bytes((fin << 7 | bits << 4 | kind,)) + length + (bytes(4) if mask else b"") + payload


def text(message: object) -> bytes:
    return frame(TEXT, message.encode() if isinstance(message, str) else json.dumps(message).encode())


def subscribe(id: object = "1", **payload: Any) -> dict[str, Any]:
    return {"type": "subscribe", "id": id, "payload": {"query": "subscription { endless }"} | payload}


INIT = text({"type": "connection_init"})
SQUEEZED = zlib.compress(b" " * 50_000_000, 9)[2:-4]

FRAMES: dict[str, tuple[bytes, int]] = {
    "no JSON": (text("{"), 4400),
    "JSON of depth 100,000": (text("[" * 100_000), 4400),
    "a string": (text('"x"'), 4400),
    "a number": (text("5"), 4400),
    "null": (text("null"), 4400),
    "a list": (text([]), 4400),
    "no type": (text({}), 4400),
    "a type that is a number": (text({"type": 5}), 4400),
    "an unknown type": (text({"type": "nonsense"}), 4400),
    "an unknown type that is long": (text({"type": "é" * 40_000}), 4400),
    "a payload of init that is none": (text({"type": "connection_init", "payload": 5}), 4400),
    "half a character": (text('{"type": "\\ud800"}'), 4400),
    "no id": (INIT + text({"type": "subscribe", "payload": {"query": "{ __typename }"}}), 4400),
    "an id that is a list": (INIT + text(subscribe([])), 4400),
    "no payload": (INIT + text({"type": "subscribe", "id": "1"}), 4400),
    "a payload that is a number": (INIT + text({"type": "subscribe", "id": "1", "payload": 5}), 4400),
    "a query that is a number": (INIT + text(subscribe(query=5)), 4400),
    "variables that are a list": (INIT + text(subscribe(variables=[])), 4400),
    "extensions that are a list": (INIT + text(subscribe(extensions=[])), 4400),
    "a name that is a number": (INIT + text(subscribe(operationName=5)), 4400),
    "complete without an id": (INIT + text({"type": "complete"}), 4400),
    "complete with an id that is a list": (INIT + text({"type": "complete", "id": []}), 4400),
    "a binary frame": (frame(BINARY, b'{"type": "connection_init"}'), 4400),
    "subscribe before init": (text(subscribe()), 4401),
    "a second init": (INIT + INIT, 4429),
    "an id twice": (INIT + text(subscribe()) * 2, 4409),
    "a long id twice": (INIT + text(subscribe("é" * 1_000)) * 2, 4409),
    "nothing": (b"", 4408),
    "half a frame": (frame(TEXT, b"{", size=1_000), 4408),
    "too large": (text(" " * 262_145), 1009),
    "too large in fragments": (
        frame(TEXT, b" " * 200_000, fin=False) + frame(CONTINUED, b" " * 100_000),
        1009,
    ),
    "too large by what it says": (frame(TEXT, size=2**40), 1009),
    "larger than any by what it says": (frame(TEXT, size=2**63), 1009),
    "a bomb": (frame(TEXT, SQUEEZED, bits=4), 1002),
    "other reserved bits": (frame(TEXT, b"{}", bits=3), 1002),
    "a reserved kind": (frame(0x3, b"{}"), 1002),
    "a reserved kind of control": (frame(0xB), 1002),
    "a ping in fragments": (frame(PING, fin=False), 1002),
    "a ping that is too large": (frame(PING, b"x" * 126), 1002),
    "a close of one byte": (frame(CLOSE, b"x"), 1002),
    "a close for no reason there is": (frame(CLOSE, struct.pack("!H", 1005)), 1002),
    "a close for a reason in no UTF-8": (frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007),
    "a text in no UTF-8": (frame(TEXT, b"\xff"), 1007),
    "a continuation of nothing": (frame(CONTINUED, b"{}"), 1002),
    "a text within fragments": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
}


class Peer(NamedTuple):
    reader: StreamReader
    writer: StreamWriter

    async def closed(self) -> int:
        """With which code; 1006 is what a peer says of a connection that ended without any."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                kind, payload = await self.frame()
                if kind == CLOSE:
                    assert len(payload) <= 125
                    payload[2:].decode()
                    return int.from_bytes(payload[:2], "big")
        return 1006

    async def frame(self) -> tuple[int, bytes]:
        first, size = await self.reader.readexactly(2)
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        return first & 0xF, await self.reader.readexactly(size)


@asynccontextmanager
async def peer(gateway: Gateway, *headers: str) -> AsyncIterator[Peer]:
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = (
        *("GET /graphql HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade"),
        *("Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {b64encode(bytes(16)).decode()}"),
        *("Sec-WebSocket-Protocol: graphql-transport-ws", *headers, "", ""),
    )
    try:
        writer.write("\r\n".join(lines).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Extensions" not in answer
        yield Peer(reader, writer)
    finally:
        writer.close()


async def test_every_hostile_frame_closes_with_its_code_and_nobody_else_notices(gateway: Gateway) -> None:
    async def closed_with(frames: bytes) -> int:
        async with peer(gateway, "Sec-WebSocket-Extensions: permessage-deflate") as opened:
            with suppress(ConnectionError):
                opened.writer.write(frames)
            return await asyncio.wait_for(opened.closed(), 10)

    async with held() as longest, peer(gateway) as other:
        other.writer.write(INIT)
        codes = await asyncio.gather(*(closed_with(frames) for frames, _ in FRAMES.values()))
        other.writer.write(text(subscribe(query="{ __typename }")))
        said = [json.loads((await other.frame())[1]) for _ in range(3)]

    assert dict(zip(FRAMES, codes, strict=True)) == {name: code for name, (_, code) in FRAMES.items()}
    assert [each["type"] for each in said] == ["connection_ack", "next", "complete"]
    assert longest[0] < 0.25


async def test_a_message_may_come_in_fragments_with_pings_between_them(gateway: Gateway) -> None:
    async with peer(gateway) as opened:
        opened.writer.write(frame(TEXT, b'{"type": "conn', fin=False) + frame(PING, b"there?"))
        opened.writer.write(frame(CONTINUED, b"ection_i", fin=False) + frame(CONTINUED, b'nit"}'))

        assert await opened.frame() == (PONG, b"there?")
        assert await opened.frame() == (TEXT, b'{"type":"connection_ack"}')


async def test_one_operation_more_than_may_run_is_refused_and_the_others_go_on(gateway: Gateway) -> None:
    async with peer(gateway) as opened:
        opened.writer.write(INIT + b"".join(text(subscribe(str(number))) for number in range(21)))
        said = [json.loads((await opened.frame())[1]) for _ in range(22)]
        (refused,) = [each for each in said if each["type"] == "error"]
        opened.writer.write(text({"type": "complete", "id": "0"}) + text(subscribe("again")))
        again = json.loads((await opened.frame())[1])

    assert refused["id"] == "20"
    assert refused["payload"][0] == {
        "message": "At most 20 operations run on a socket at once: complete one, or open another.",
        "extensions": {"code": "RATE_LIMITED", "retryAfter": 1},
    }
    assert (again["id"], again["type"]) == ("again", "next")


@pytest.mark.parametrize(
    ("ping", "many", "pong"),
    [
        (frame(PING), 60_000, frame(PONG, mask=False)),
        (text({"type": "ping"}), 20_000, frame(TEXT, b'{"type":"pong"}', mask=False)),
    ],
    ids=["frames", "messages"],
)
async def test_a_flood_of_pings_leaves_room_for_others(
    gateway: Gateway, ping: bytes, many: int, pong: bytes
) -> None:
    async with held() as longest, peer(gateway) as opened:
        opened.writer.write(INIT + ping * many)
        assert await opened.frame() == (TEXT, b'{"type":"connection_ack"}')
        assert await opened.reader.readexactly(many * len(pong)) == pong * many

    assert longest[0] < HELD


async def test_a_silent_peer_is_out_and_one_that_answers_stays(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (view.HEARTBEAT, view.LARGEST_MESSAGE, view.OPERATIONS) == (20, 256 * 1024, 20)
    monkeypatch.setattr(view, "HEARTBEAT", 1.0)

    async def lives(opened: Peer) -> None:
        while True:
            kind, payload = await opened.frame()
            if kind == PING:
                opened.writer.write(frame(PONG, payload))

    async with peer(gateway) as silent, peer(gateway) as alive:
        silent.writer.write(INIT)
        alive.writer.write(INIT)
        living = asyncio.create_task(lives(alive))
        began = time.monotonic()
        await asyncio.wait_for(silent.reader.read(), 10)

        assert time.monotonic() - began > 1
        assert not living.done()
        living.cancel()
