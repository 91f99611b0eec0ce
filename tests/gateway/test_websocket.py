"""Operations over WebSocket: graphql-transport-ws."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import strawberry
from aiohttp import ClientSession, ClientWebSocketResponse

from adapters.mercately.sandbox import MercatelySandbox
from adapters.poster.sandbox import PosterSandbox
from gateway.graph import Graph
from gateway.settings import Settings
from resolvers.query import Query
from schema.context import Info
from tests.gateways import Gateway, gateway_on, lines_to, serving

PROTOCOL = "graphql-transport-ws"


@strawberry.type
class Watched:
    @strawberry.field
    async def agent_count(self, info: Info) -> int:
        return len(await info.context.loaders.agents.load(None))


@strawberry.type
class Watching:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(1, to + 1):
            yield number

    @strawberry.subscription
    async def watch(self, times: int) -> AsyncGenerator[Watched, None]:
        for _ in range(times):
            yield Watched()

    @strawberry.subscription
    async def endless(self) -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.Event().wait()


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    graph = Graph(query=Query, subscription=Watching)
    async with gateway_on(settings, graph=graph, cache_lists=0) as opened:
        yield opened


@asynccontextmanager
async def socket(gateway: Gateway, **headers: str) -> AsyncIterator[ClientWebSocketResponse]:
    async with gateway.session.ws_connect(
        f"{gateway.url}/graphql", protocols=[PROTOCOL], headers=headers
    ) as opened:
        yield opened


@asynccontextmanager
async def connection(gateway: Gateway) -> AsyncIterator[ClientWebSocketResponse]:
    async with socket(gateway) as opened:
        await opened.send_json({"type": "connection_init"})
        assert await opened.receive_json() == {"type": "connection_ack"}
        yield opened


async def answers(opened: ClientWebSocketResponse, query: str, **variables: Any) -> list[dict[str, Any]]:
    """Every message of one operation, until its last."""
    payload = {"query": query, "variables": variables}
    await opened.send_json({"id": "1", "type": "subscribe", "payload": payload})
    received = [await opened.receive_json(timeout=5)]
    while received[-1]["type"] == "next":
        received.append(await opened.receive_json(timeout=5))
    return received


async def test_a_query_over_a_socket_answers_and_completes(gateway: Gateway) -> None:
    async with connection(gateway) as opened:
        received = await answers(opened, '{ agent(id: "QWdlbnQ6Mjc2Mw") { email } }')

    assert received == [
        {"id": "1", "type": "next", "payload": {"data": {"agent": {"email": "agent@example.com"}}}},
        {"id": "1", "type": "complete"},
    ]


@pytest.mark.parametrize("query", ["{", "{" + "é" * 10_000, "{ nope }"])
async def test_a_wrong_document_is_an_error_of_its_operation_and_the_socket_stays(
    gateway: Gateway, query: str
) -> None:
    async with connection(gateway) as opened:
        (refused,) = await answers(opened, query)
        (fine, _) = await answers(opened, "{ __typename }")

    assert (refused["id"], refused["type"]) == ("1", "error")
    assert refused["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert len(refused["payload"][0]["message"]) <= 503
    assert fine["payload"] == {"data": {"__typename": "Query"}}


async def test_a_subscription_gives_each_event_then_completes(gateway: Gateway) -> None:
    async with connection(gateway) as opened:
        received = await answers(opened, "subscription { count(to: 3) }")

    assert [message.get("payload", {}).get("data") for message in received] == [
        {"count": 1},
        {"count": 2},
        {"count": 3},
        None,
    ]


async def test_every_event_and_every_operation_asks_the_sources_anew(gateway: Gateway) -> None:
    async with connection(gateway) as opened:
        await answers(opened, "subscription { watch(times: 3) { agentCount } }")
        await answers(opened, "{ agents { id } }")

    assert gateway.mercately.count("/agents") == 4


async def test_an_error_over_a_socket_is_as_fit_to_be_seen_as_over_http(gateway: Gateway) -> None:
    gateway.mercately.trouble("status", path="/agents")
    async with connection(gateway) as opened:
        next_, _ = await answers(opened, "{ agents { id } }")
        (wrong,) = await answers(opened, "{ nope }")

    assert next_["payload"]["data"] == {"agents": None}
    assert next_["payload"]["errors"][0]["extensions"]["code"] == "SOURCE_UNAVAILABLE"
    assert wrong["type"] == "error"
    assert wrong["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_another_protocol_is_not_spoken(gateway: Gateway) -> None:
    async with gateway.session.ws_connect(f"{gateway.url}/graphql", protocols=["graphql-ws"]) as opened:
        await opened.receive(timeout=5)

        assert opened.close_code == 4406


async def test_a_page_of_another_origin_may_not_connect(gateway: Gateway) -> None:
    headers = {
        "Origin": "https://evil.example",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol": PROTOCOL,
    }
    async with gateway.session.get(f"{gateway.url}/graphql", headers=headers) as response:
        assert response.status == 403


async def test_stopping_tells_every_open_socket(settings: Settings) -> None:
    graph = Graph(query=Query, subscription=Watching)
    async with MercatelySandbox() as mercately, PosterSandbox() as poster, ClientSession() as session:
        async with serving(settings, lines_to(mercately, poster), graph) as (url, _):
            opened = await session.ws_connect(f"{url}/graphql", protocols=[PROTOCOL])
            await opened.send_json({"type": "connection_init"})
            assert (await opened.receive_json())["type"] == "connection_ack"
            listening = asyncio.create_task(opened.receive(timeout=5))
        await listening

    assert opened.close_code == 1001
