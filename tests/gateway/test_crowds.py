"""Crowds: who leaves, who sends too much at once or too slowly, and what that does to others."""

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import MutableMapping
from typing import Any

import pytest

from gateway import connections, view
from tests.gateways import Gateway
from tests.holding import held

SEND = 'mutation { sendMessage(input: {to: {phone: "+593990009200"}, content: {sms: {text: "Hi"}}}) { id } }'
JSON = "application/json"
HELD = 0.05
"""Seconds of processor time for which others may wait."""


async def connected(gateway: Gateway) -> tuple[StreamReader, StreamWriter]:
    host, port = gateway.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def asking(gateway: Gateway, query: str, *, times: int) -> list[StreamWriter]:
    """So many who ask, each on a connection of its own."""
    body = json.dumps({"query": query}).encode()
    lines = (
        *("POST /graphql HTTP/1.1", "Host: localhost", f"Content-Type: {JSON}"),
        *(f"Content-Length: {len(body)}", "", ""),
    )
    opened = [await connected(gateway) for _ in range(times)]
    for _, writer in opened:
        writer.write("\r\n".join(lines).encode() + body)
    return [writer for _, writer in opened]


async def test_of_a_hundred_who_leave_a_hundred_reads_end(
    gateway: Gateway, log_lines: list[MutableMapping[str, Any]]
) -> None:
    gateway.mercately.trouble("hang")
    readers = await asking(gateway, "{ agents { id } }", times=100)
    async with asyncio.timeout(10):
        while not gateway.mercately.asked:
            await asyncio.sleep(0.01)
        for _ in range(3):  # whoever comes after them is answered after they were heard
            await gateway.session.get(f"{gateway.url}/health/live")
        for writer in readers:
            writer.transport.abort()
        while len([line for line in log_lines if line.get("status") == 499]) < 100:
            await asyncio.sleep(0.01)


async def test_what_is_to_be_sent_is_sent_though_all_have_left(gateway: Gateway) -> None:
    gateway.hyber.trouble("delay", seconds=0.5)
    senders = await asking(gateway, SEND, times=10)
    async with asyncio.timeout(10):
        while str(gateway.hyber.asked).count("593990009200") < 10:
            await asyncio.sleep(0.01)
        for writer in senders:
            writer.transport.abort()
        while len(gateway.hyber.accepted) < 10:
            await asyncio.sleep(0.01)
        assert str(gateway.hyber.asked).count("593990009200") == 10


async def test_thousands_of_requests_sent_at_once_hold_nobody_up(gateway: Gateway) -> None:
    reader, writer = await connected(gateway)
    async with held() as longest:
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5_000)
        answered, said = 0, b""
        while answered < 5_000:
            said = said[-11:] + await reader.read(65_536)
            answered += said.count(b"HTTP/1.1 200")
    writer.close()

    assert longest[0] < HELD


async def test_a_body_that_does_not_come_is_waited_for_only_so_long(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (connections.HEAD, view.SLOWEST_BODY, connections.IDLE) == (8, 15, 30)
    monkeypatch.setattr(view, "SLOWEST_BODY", 0.2)
    reader, writer = await connected(gateway)
    writer.write(b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
    writer.write(b"Content-Length: 100\r\n\r\n{")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive in time" in answer
