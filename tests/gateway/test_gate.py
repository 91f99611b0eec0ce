"""The gate: what is refused before anybody looks at it, because of who asks, from where, and how many do."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, WSServerHandshakeError, web
from pydantic import SecretStr

from gateway import gate
from gateway.settings import Settings
from gateway.strain import Strain
from tests.gateways import Gateway, gateway_on

PROTOCOL = "graphql-transport-ws"
QUERY = {"query": "{ __typename }"}
OURS, FOREIGN = "https://app.example", "https://evil.example"
OF_EACH = {"x-request-id", "date", "server", "vary"} | {
    "access-control-allow-origin",
    "access-control-expose-headers",
}
AGENTS, TEMPLATES = {"query": "{ agents { id } }"}, {"query": "{ templates { id } }"}


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    said: dict[str, Any] = {
        "origins": (OURS,),
        "proxies": 1,
        "rate": 2,
        "requests": 3,
        "sockets": 6,
        "sockets_each": 3,
    }
    async with gateway_on(settings.model_copy(update=said)) as opened:
        yield opened


def by(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": f"1.2.3.4, {address}"}


async def post(gateway: Gateway, body: object = QUERY, **headers: str) -> ClientResponse:
    async with gateway.session.post(f"{gateway.url}/graphql", json=body, headers=headers) as response:
        await response.read()
        return response


async def error_of(response: ClientResponse) -> dict[str, Any]:
    (error,) = (await response.json())["errors"]
    return {"message": error["message"], **error["extensions"]}


# Pages


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": OURS}, 200),
        ({"Origin": FOREIGN}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://app.example.evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
    ],
    ids=str,
)
async def test_a_page_may_ask_if_it_is_ours_or_named(
    gateway: Gateway, headers: dict[str, str], status: int
) -> None:
    url = f"{gateway.url}/graphql?query=%7B__typename%7D"
    async with gateway.session.get(url, headers=headers) as response:
        assert response.status == status
        if status == 403:
            assert (await error_of(response))["code"] == "FORBIDDEN"


async def test_the_gateways_own_page_may_ask(gateway: Gateway) -> None:
    assert (await post(gateway, Origin=gateway.url)).status == 200


async def test_no_foreign_page_sends_a_message_through_the_door(gateway: Gateway) -> None:
    url = f"{gateway.url}/everyprint/api/broadcast/customer?messenger_id=1&message=Hola"
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    async with gateway.session.get(url, headers=headers) as response:
        assert response.status == 403
    assert not gateway.chatfuel.asked


async def test_a_named_page_may_read_what_is_answered_and_no_other(gateway: Gateway) -> None:
    ours = await post(gateway, Origin=OURS)
    async with gateway.session.options(
        f"{gateway.url}/graphql",
        headers={
            "Origin": OURS,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
    ) as preflight:
        assert preflight.status == 204
    foreign = await post(gateway, Origin=FOREIGN)

    assert ours.headers["Access-Control-Allow-Origin"] == OURS
    assert "Origin" in ours.headers.getall("Vary")
    assert preflight.headers["Access-Control-Allow-Origin"] == OURS
    assert preflight.headers["Access-Control-Allow-Headers"] == "content-type"
    assert "Access-Control-Allow-Origin" not in foreign.headers


async def test_every_answer_says_that_it_is_for_nobody_else(gateway: Gateway) -> None:
    for path in ("/graphql", "/health/live", "/nowhere", "/"):
        url = f"{gateway.url}{path}"
        async with gateway.session.get(url, params=QUERY, allow_redirects=False) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff", path
            assert response.headers["X-Frame-Options"] == "DENY"
            assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
            assert response.headers["Cache-Control"] == "no-store"


# Callers


async def test_a_caller_who_asks_too_often_is_told_when_to_come_again(gateway: Gateway) -> None:
    answers = [await post(gateway, **by("203.0.113.7")) for _ in range(12)]
    statuses = [answer.status for answer in answers]
    other = await post(gateway, **by("203.0.113.8"))

    assert statuses[:4] == [200] * 4
    assert statuses[-1] == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert other.status == 200
    assert (await post(gateway)).status == 200, "who calls from this machine"
    error = await error_of(answers[-1])
    assert (error["code"], error["retryAfter"]) == ("RATE_LIMITED", int(answers[-1].headers["Retry-After"]))


async def test_two_gateways_with_one_redis_count_together(settings: Settings, redis_url: str) -> None:
    said = {"rate": 2, "proxies": 1, "redis_url": SecretStr(redis_url)}
    settings = settings.model_copy(update=said)
    async with gateway_on(settings) as one, gateway_on(settings) as other:
        statuses = [
            (await post(gateway, **by("203.0.113.9"))).status for _ in range(6) for gateway in (one, other)
        ]

    assert 4 <= statuses.count(200) <= 8
    assert statuses[-1] == 429


async def test_whose_turn_it_is_not_finds_health_quick_and_comes_again(gateway: Gateway) -> None:
    gateway.mercately.trouble("delay", seconds=1)
    async with ClientSession() as session:
        gateway.session, own = session, gateway.session
        slow = [asyncio.create_task(post(gateway, AGENTS)) for _ in range(3)]
        gateway.session = own
        while not gateway.mercately.asked:
            await asyncio.sleep(0.01)
        refused = await post(gateway)
        looked_at = await post(gateway, Origin=OURS)
        async with asyncio.timeout(0.5), own.get(f"{gateway.url}/health/ready") as health:
            assert health.status == 200
        assert [(await each).status for each in slow] == [200] * 3

    assert refused.status == 503
    assert refused.headers["Retry-After"] == "1"
    assert await error_of(refused) == await error_of(looked_at)
    told, told_who_is_looked_at = (
        {name.lower(): value for name, value in answer.headers.items() if name.lower() not in OF_EACH}
        for answer in (refused, looked_at)
    )
    assert told == told_who_is_looked_at
    assert refused.headers["X-Request-Id"] != looked_at.headers["X-Request-Id"]
    assert (await post(gateway)).status == 200


async def test_where_the_processor_is_what_all_wait_for_some_wait_for_their_turn(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Strain, "is_too_much", True)
    monkeypatch.setattr(gate, "FEW", 1)
    gateway.mercately.trouble("delay", seconds=0.3, times=1)
    slow = asyncio.create_task(post(gateway, AGENTS))
    while not gateway.mercately.asked:
        await asyncio.sleep(0.01)
    waits, left = asyncio.create_task(post(gateway)), asyncio.create_task(post(gateway))
    await asyncio.sleep(0.1)
    left.cancel()
    assert not waits.done()
    assert [(await each).status for each in (slow, waits)] == [200, 200]

    monkeypatch.setattr(gate, "PATIENCE", 0.1)
    gateway.mercately.trouble("delay", seconds=0.6, times=1)
    slow = asyncio.create_task(post(gateway, TEMPLATES))
    asked = len(gateway.mercately.asked)
    while len(gateway.mercately.asked) == asked:
        await asyncio.sleep(0.01)
    refused = await post(gateway)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert (await slow).status == 200
    assert (await post(gateway)).status == 200


async def test_sockets_are_counted_for_each_caller_and_for_all(gateway: Gateway) -> None:
    async def opened(stack: AsyncExitStack, address: str) -> int:
        try:
            await stack.enter_async_context(
                gateway.session.ws_connect(
                    f"{gateway.url}/graphql", protocols=[PROTOCOL], headers=by(address)
                )
            )
        except WSServerHandshakeError as error:
            return error.status
        return 101

    async with AsyncExitStack() as stack:
        assert [await opened(stack, "198.51.100.1") for _ in range(4)] == [101, 101, 101, 503]
        assert [await opened(stack, f"198.51.100.{n}") for n in (2, 3, 4, 5)] == [101, 101, 101, 503]
        assert (await post(gateway)).status == 200
    async with AsyncExitStack() as stack:
        assert await opened(stack, "198.51.100.1") == 101


async def test_of_who_is_refused_nothing_stays_for_the_garbage_collector(gateway: Gateway) -> None:
    """Where much is refused, it would fill the memory faster than it is collected."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for number in range(10):
            headers = {"Origin": FOREIGN} | by(f"5.5.5.{number}")
            async with gateway.session.post(f"{gateway.url}/graphql", json=QUERY, headers=headers) as answer:
                assert answer.status == 403
        gc.collect()
        assert not [kept for kept in gc.garbage if isinstance(kept, web.Request)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
