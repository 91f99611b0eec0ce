"""Operations over SSE: GraphQL over server-sent events, in the mode of distinct connections."""

import asyncio
import gc
import json
from collections.abc import AsyncGenerator, AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import strawberry
from aiohttp import ClientResponse, ClientSession
from multidict import CIMultiDict

from adapters.mercately.sandbox import MercatelySandbox
from gateway.graph import Graph
from gateway.settings import Settings
from resolvers.query import Query
from schema.context import Info
from tests.gateways import Gateway, gateway_on, lines_to, serving

EVENTS = "text/event-stream"
JSON = "application/json"
AGENT = '{ agent(id: "QWdlbnQ6Mjc2Mw") { email } }'
ENDED = "event: complete\r\ndata: \r\n\r\n"


@strawberry.type
class Watched:
    @strawberry.field
    async def agent_count(self, info: Info) -> int:
        return len(await info.context.loaders.agents.load(None))


class Town:
    """Who listens in a test, and who does not any more."""

    def __init__(self) -> None:
        self.listening = asyncio.Event()
        self.left = asyncio.Event()
        self.told = 0

    @asynccontextmanager
    async def listener(self) -> AsyncIterator[None]:
        self.listening.set()
        try:
            yield
        finally:
            self.left.set()


@pytest.fixture
async def town() -> Town:
    return Town()


def graph_of(town: Town) -> Graph:
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
        async def fails(self) -> AsyncGenerator[int, None]:
            yield 1
            raise RuntimeError("the password is hunter2")

        @strawberry.subscription
        async def endless(self) -> AsyncGenerator[int, None]:
            async with town.listener():
                yield 1
                await asyncio.Event().wait()

        @strawberry.subscription
        async def flood(self) -> AsyncGenerator[str, None]:
            async with town.listener():
                while True:
                    town.told += 1
                    yield "x" * 10_000

    @strawberry.type
    class Mutation:
        @strawberry.mutation
        async def change(self) -> str:
            return "done\nindeed"

    return Graph(query=Query, mutation=Mutation, subscription=Watching)


@pytest.fixture
async def gateway(settings: Settings, town: Town) -> AsyncIterator[Gateway]:
    async with gateway_on(settings, graph=graph_of(town), cache_lists=0) as opened:
        yield opened


@asynccontextmanager
async def asking(
    gateway: Gateway, query: str, *, accept: str = EVENTS, **variables: Any
) -> AsyncIterator[ClientResponse]:
    body = {"query": query, "variables": variables}
    headers = {"Accept": accept}
    async with (
        asyncio.timeout(10),
        gateway.session.post(f"{gateway.url}/graphql", json=body, headers=headers) as response,
    ):
        yield response


async def events(gateway: Gateway, query: str, **said: Any) -> list[dict[str, Any]]:
    """The results of one operation, which is then complete."""
    async with asking(gateway, query, **said) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, EVENTS)
        return read(await response.text())


def read(text: str) -> list[dict[str, Any]]:
    *events, last, rest = text.split("\r\n\r\n")
    assert (last, rest) == ("event: complete\r\ndata: ", "")
    found = []
    for event in events:
        name, data = event.split("\r\n")
        assert name == "event: next"
        assert data.startswith("data: ")
        found.append(json.loads(data[6:]))
    return found


async def test_a_subscription_gives_each_event_then_completes(gateway: Gateway) -> None:
    assert await events(gateway, "subscription { count(to: 3) }") == [
        {"data": {"count": number}} for number in (1, 2, 3)
    ]


async def test_any_operation_is_answered_in_one_event(gateway: Gateway) -> None:
    assert await events(gateway, AGENT) == [{"data": {"agent": {"email": "agent@example.com"}}}]
    assert await events(gateway, "mutation { change }") == [{"data": {"change": "done\nindeed"}}]


@pytest.mark.parametrize("query", ["subscription { count(to: 1) }", "{ __typename }"])
async def test_the_stream_is_kept_by_nobody_on_its_way(gateway: Gateway, query: str) -> None:
    async with asking(gateway, query) as response:
        said = response.headers
        assert (said["Cache-Control"], said["X-Accel-Buffering"]) == ("no-cache, no-transform", "no")
        assert (said["Vary"], said["X-Content-Type-Options"]) == ("Accept", "nosniff")
        assert "X-Request-Id" in said


async def test_an_event_source_asks_by_get_and_changes_nothing(gateway: Gateway) -> None:
    async def get(query: str) -> tuple[int, str]:
        url, headers = f"{gateway.url}/graphql", {"Accept": EVENTS}
        async with gateway.session.get(url, params={"query": query}, headers=headers) as response:
            return response.status, await response.text()

    status, text = await get("subscription { count(to: 2) }")
    assert (status, [event["data"]["count"] for event in read(text)]) == (200, [1, 2])
    status, text = await get("{ __typename }")
    assert (status, read(text)) == (200, [{"data": {"__typename": "Query"}}])
    status, _ = await get("mutation { change }")
    assert status == 405


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", "application/graphql-response+json"),
        ("text/*, application/*", "application/graphql-response+json"),
        (f"{JSON}, {EVENTS}", JSON),
        (f"{EVENTS}, {JSON}", EVENTS),
        ("Text/Event-Stream; charset=utf-8", EVENTS),
    ],
)
async def test_events_are_for_those_who_ask_for_them(gateway: Gateway, accept: str, answered: str) -> None:
    async with asking(gateway, "{ __typename }", accept=accept) as response:
        assert response.content_type == answered

    headers = CIMultiDict([("Accept", kind.strip()) for kind in accept.split(",")])
    url, params = f"{gateway.url}/graphql", {"query": "{ __typename }"}
    async with gateway.session.get(url, params=params, headers=headers) as response:
        assert response.content_type == answered


# Errors


@pytest.mark.parametrize("accept", ["*/*", JSON])
async def test_a_subscription_has_no_single_answer(gateway: Gateway, accept: str) -> None:
    async with asking(gateway, "subscription { count(to: 1) }", accept=accept) as response:
        assert response.status == 422
        (error,) = (await response.json())["errors"]
    assert error["message"] == f"Subscribe over WebSocket, or with {EVENTS} as Accept."


@pytest.mark.parametrize(
    "query",
    [
        "{",
        "{ nope }",
        "subscription { nope }",
        "subscription ($to: Int!) { count(to: $to) }",
        "subscription { count(to: 1) } fragment F on Nope { x }",
    ],
)
async def test_a_wrong_document_is_an_event_with_its_errors(gateway: Gateway, query: str) -> None:
    (answer,) = await events(gateway, query)

    assert "data" not in answer or answer["data"] is None
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_USER_INPUT"}


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 422), (b"{}", 422), (b'{"query": 5}', 422), (b" " * 300_000, 413)],
)
async def test_a_malformed_request_is_refused_as_any_other(
    gateway: Gateway, body: bytes, status: int
) -> None:
    headers = {"Accept": EVENTS, "Content-Type": JSON}
    async with gateway.session.post(f"{gateway.url}/graphql", data=body, headers=headers) as response:
        assert response.status == status
        assert (await response.json())["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_an_error_over_sse_is_as_fit_to_be_seen_as_over_http(
    gateway: Gateway, log_lines: list[MutableMapping[str, Any]]
) -> None:
    first, last = await events(gateway, "subscription Mine { fails }")
    gateway.mercately.trouble("status", path="/agents")
    (gap,) = await events(gateway, "{ agents { id } }")
    (other_gap,) = await events(gateway, "subscription { watch(times: 1) { agentCount } }")

    assert first == {"data": {"fails": 1}}
    (masked,) = last["errors"]
    assert (masked["extensions"]["code"], "hunter2" in json.dumps(last)) == ("INTERNAL", False)
    assert {gap["errors"][0]["extensions"]["code"], other_gap["errors"][0]["extensions"]["code"]} == {
        "SOURCE_UNAVAILABLE"
    }
    (line,) = [line for line in log_lines if line.get("operation") == "Mine"]
    assert (line["event"], line["errors"]) == ("operation", ["INTERNAL"])
    (unexpected,) = [line for line in log_lines if line["event"] == "unexpected"]
    assert unexpected["log_level"] == "error"


async def test_every_event_asks_the_sources_anew(gateway: Gateway) -> None:
    assert len(await events(gateway, "subscription { watch(times: 3) { agentCount } }")) == 3

    assert gateway.mercately.count("/agents") == 3


# Those who stay, and those who leave


async def test_a_stream_says_that_it_is_alive(
    settings: Settings, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.view.KEEP_ALIVE", 0.05)
    async with (
        gateway_on(settings, graph=graph_of(town)) as gateway,
        asking(gateway, "subscription { endless }") as response,
    ):
        first = await response.content.readuntil(b"\r\n\r\n")
        pings = [await response.content.readuntil(b"\r\n\r\n") for _ in range(3)]

    assert b'data: {"data":{"endless":1}}' in first
    assert pings == [b": ping\r\n\r\n"] * 3


@pytest.mark.parametrize("query", ["subscription { endless }", "subscription { flood }"])
async def test_when_the_client_leaves_its_operation_ends(gateway: Gateway, town: Town, query: str) -> None:
    async with asking(gateway, query) as response:
        await response.content.readuntil(b"\r\n\r\n")
        assert town.listening.is_set()
        response.close()
        gc.disable()  # it must not be the collector who ends it
        try:
            async with asyncio.timeout(1):
                await town.left.wait()
        finally:
            gc.enable()


async def test_nothing_is_kept_for_a_client_that_does_not_read(gateway: Gateway, town: Town) -> None:
    async with asking(gateway, "subscription { flood }") as response:
        await response.content.readuntil(b"\r\n\r\n")
        seen = -1
        while seen != town.told:  # until it waits
            seen = town.told
            await asyncio.sleep(0.2)

        assert town.told < 5_000, "the buffers of two sockets, and no queue of ours"
        for _ in range(100):
            await response.content.readuntil(b"\r\n\r\n")


async def test_stopping_ends_streams_without_saying_that_they_are_complete(
    settings: Settings, town: Town
) -> None:
    async with ClientSession() as session:
        async with serving(settings, lines_to(), graph_of(town)) as (url, _):
            body, headers = {"query": "subscription { endless }"}, {"Accept": EVENTS}
            response = await session.post(f"{url}/graphql", json=body, headers=headers)
            await response.content.readuntil(b"\r\n\r\n")
            started = asyncio.get_running_loop().time()
            rest = asyncio.create_task(response.content.read())
        assert asyncio.get_running_loop().time() - started < 1
        assert await rest == b""
        response.close()

    assert town.left.is_set()


async def test_an_answer_under_way_is_given_before_it_stops(settings: Settings, town: Town) -> None:
    async with MercatelySandbox() as mercately, ClientSession() as session:
        mercately.trouble("delay", path="/agents", seconds=0.3)
        async with serving(settings, lines_to(mercately), graph_of(town)) as (url, _):
            body, headers = {"query": AGENT}, {"Accept": EVENTS}
            asked = asyncio.create_task(session.post(f"{url}/graphql", json=body, headers=headers))
            while not mercately.count("/agents"):
                await asyncio.sleep(0.01)
        async with await asked as response:
            assert read(await response.text()) == [{"data": {"agent": {"email": "agent@example.com"}}}]
