"""The stub: Mercately, Poster and what the peers ask as one server of fixed bytes, never what is measured.

`python -m bench.stub PORT [MERCATELY POSTER]`: milliseconds until each of them answers, none when left out.
GET /_count answers how many other requests there have been.
"""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import orjson
import uvloop

from adapters.mercately.client import API as MERCATELY
from adapters.poster.client import API as POSTER
from bench.peers import upstream
from tests.services import HOST

PEOPLE, AGENTS = 100, 10
BACKLOG = 4096
"""Connections that may wait to be accepted: one that the kernel drops comes again only after a second."""
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def phone(number: int) -> str:
    return f"+593990{number:06}"


def customer(number: int) -> dict[str, Any]:
    return {
        "id": f"4880bench{number}",
        "first_name": f"Mariana {number}",
        "last_name": "Quishpe Rodríguez",
        "email": f"mariana.{number}@example.com",
        "phone": phone(number),
        "whatsapp_name": f"mariana{number}",
        "whatsapp_opt_in": True,
        "notes": "Prefers to be written to in the afternoon.",
        "tags": [],
        "custom_fields": [],
    }


def client(number: int) -> dict[str, Any]:
    """The same person, as Poster writes: numbers as text."""
    return {
        "client_id": str(number),
        "firstname": f"Mariana {number}",
        "lastname": "Quishpe Rodríguez",
        "phone": phone(number),
        "phone_number": phone(number).removeprefix("+"),
        "email": "",
        "birthday": "1990-05-17",
        "client_sex": "2",
        "client_groups_id": "1",
    }


def conversation(number: int) -> dict[str, Any]:
    return {
        "customer_id": number,
        "message_count": number,
        "last_interaction": (SINCE + timedelta(minutes=number)).isoformat(),
        "first_name": f"Mariana {number}",
        "last_name": "Quishpe Rodríguez",
        "agent_id": 1 + number % AGENTS,
    }


def agent(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "first_name": "Andrés",
        "last_name": f"Flores {number}",
        "email": f"agent{number}@example.com",
        "admin": number == 1,
    }


def ok(answer: object) -> bytes:
    body = orjson.dumps(answer)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _answers() -> Iterator[tuple[str, object]]:
    """By path, or by path and query. Of the conversations each channel has every other one."""
    numbers = range(1, PEOPLE + 1)
    yield f"{MERCATELY}/agents", {"agents": [agent(number) for number in range(1, AGENTS + 1)]}
    yield f"{MERCATELY}/customers", {"results": PEOPLE, "customers": [customer(each) for each in numbers]}
    yield f"{MERCATELY}/customers?page=2", {"results": PEOPLE, "customers": []}
    yield f"{MERCATELY}/customers/{customer(1)['id']}", {"customer": customer(1)}
    for channel, theirs in (("messenger", numbers[::2]), ("whatsapp", numbers[1::2])):
        rows = [conversation(each) for each in reversed(theirs)]
        yield f"{MERCATELY}/{channel}_conversations", {"results": len(rows), f"{channel}_conversations": rows}
    yield f"{POSTER}getGroups", {"response": [{"client_groups_id": "1", "client_groups_name": "Friends"}]}
    yield f"{POSTER}getClients", {"response": [client(each) for each in numbers]}
    yield f"{POSTER}getClient", {"response": [client(1)]}
    yield from upstream.answers()


ANSWERS = {target.encode(): ok(answer) for target, answer in _answers()}
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Stub(asyncio.Protocol):
    """One connection. Only GET is understood: a request ends where its head does."""

    count = 0

    def __init__(self, mercately: float, poster: float) -> None:
        self._delays = {MERCATELY.encode(): mercately, POSTER.encode(): poster}
        self._loop = asyncio.get_running_loop()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for head in heads:
            self._answer(head.split(b" ", 2)[1])

    def _answer(self, target: bytes) -> None:
        if target == b"/_count":
            self._transport.write(ok(Stub.count))
            return
        Stub.count += 1
        answer = ANSWERS.get(target) or ANSWERS.get(target.partition(b"?")[0], NOT_FOUND)
        delay = next((delay for api, delay in self._delays.items() if target.startswith(api)), 0)
        if delay:
            self._loop.call_later(delay / 1000, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def serve(port: int, mercately: float = 0, poster: float = 0) -> None:
    stub = partial(Stub, mercately, poster)
    server = await asyncio.get_running_loop().create_server(stub, HOST, port, backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(*map(int, sys.argv[1:])))
