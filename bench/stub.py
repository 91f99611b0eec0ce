"""The stub: Mercately as a server of fixed bytes, so that the upstream is never what is measured.

`python -m bench.stub PORT`. GET /_count answers how many other requests there have been.
"""

import asyncio
import sys
from typing import cast

import orjson
import uvloop

from adapters.mercately import demo
from adapters.mercately.client import API
from tests.services import HOST


def ok(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


ANSWERS = {
    f"{API}/agents".encode(): ok(orjson.dumps({"agents": demo.agents()})),
    f"{API}/whatsapp_templates".encode(): ok(orjson.dumps({"templates": demo.templates()})),
}
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Stub(asyncio.Protocol):
    """One connection. Only GET is understood: a request ends where its head does."""

    count = 0

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        self._transport.write(b"".join(map(_answer, heads)))


def _answer(head: bytes) -> bytes:
    path = head.split(b" ", 2)[1].partition(b"?")[0]
    if path == b"/_count":
        return ok(str(Stub.count).encode())
    Stub.count += 1
    return ANSWERS.get(path, NOT_FOUND)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Stub, HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
