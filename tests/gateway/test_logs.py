"""The log: one line a request, one a source call, and nothing in it that belongs to a person."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from tests.gateway.test_serve import sandbox_of
from tests.processes import ask, serve

SECRETS = ["+593999999999", "ana@example.com", "hunter2", "Agent Example", "agent@example.com"]


def lines(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines()]


def of(log: str, event: str) -> list[dict[str, Any]]:
    return [line for line in lines(log) if line["event"] == event]


async def test_a_request_is_one_line_and_so_is_each_call_it_makes(tmp_path: Path) -> None:
    async with serve(tmp_path, DEMO="off") as served, ClientSession() as session:
        query = {"query": "query Everyone { agents { id } templates { id } }"}
        async with session.post(
            f"{served.url}/graphql", json=query, headers={"X-Request-Id": "r-1"}
        ) as response:
            assert response.status == 200
        ended = await served.end()

    (request,) = of(ended.err, "request")
    assert request | {"ms": 0, "timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "event": "request",
        "method": "POST",
        "path": "/graphql",
        "status": 200,
        "ms": 0,
        "operation": "Everyone",
        "request_id": "r-1",
    }
    calls = of(ended.err, "source")
    assert sorted(call["call"] for call in calls) == ["agents", "templates"]
    assert {(call["source"], call["outcome"], call["status"], call["request_id"]) for call in calls} == {
        ("mercately", "ok", 200, "r-1")
    }


async def test_an_error_is_told_by_its_codes(tmp_path: Path) -> None:
    async with serve(tmp_path, DEMO="off") as served, ClientSession() as session:
        await session.post(f"{sandbox_of(served)}/_sandbox/trouble", json={"kind": "html", "path": "/agents"})
        await ask(served.url, "{ agents { id } }")
        await ask(served.url, "{ nope }")
        ended = await served.end()

    assert [line.get("errors") for line in of(ended.err, "request")] == [
        ["SOURCE_MALFORMED"],
        ["BAD_USER_INPUT"],
    ]
    (call,) = of(ended.err, "source")
    assert (call["outcome"], call["detail"]) == (
        "SOURCE_MALFORMED",
        "JSON is malformed: invalid character (byte 0)",
    )


async def test_nothing_personal_is_logged_wherever_a_client_puts_it(tmp_path: Path) -> None:
    async with serve(tmp_path, LOG_LEVEL="debug") as served, ClientSession() as session:
        for secret in SECRETS:
            await session.get(
                f"{served.url}/{secret}?phone={secret}", headers={"X-Request-Id": f"{secret} x"}
            )
            await session.post(
                f"{served.url}/graphql",
                json={
                    "query": f'query ($id: ID!) {{ agent(id: $id) {{ id }} node(id: "{secret}") {{ id }} }}',
                    "variables": {"id": secret},
                    "operationName": secret,
                },
                headers={"Authorization": secret, "User-Agent": secret},
            )
            await session.post(
                f"{served.url}/graphql", data=secret.encode(), headers={"Content-Type": secret}
            )
            await ask(served.url, "{ agents { firstName lastName email } }")
        ended = await served.end()

    assert len(of(ended.err, "request")) == 4 * len(SECRETS)
    assert [secret for secret in SECRETS if secret in ended.err] == []


async def test_a_client_that_does_not_speak_http_costs_the_log_little(tmp_path: Path) -> None:
    async with serve(tmp_path) as served, ClientSession() as session:
        host, port = served.url.removeprefix("http://").split(":")
        for garbage in (
            b"\x16\x03\x01" * 50 + b"\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"A" * 100_000 + b"\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(garbage)
            with suppress(ConnectionError):  # the server need not read on before it hangs up
                await asyncio.wait_for(reader.read(), 5)
            writer.close()
        assert (await session.get(f"{served.url}/health/live")).status == 200
        ended = await served.end()

    assert all(len(line) < 1024 for line in ended.err.splitlines())
    assert "Traceback" not in ended.err
