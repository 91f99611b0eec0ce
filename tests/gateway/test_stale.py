"""What an answer says of the sources whose last word it repeats because they are down."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import pytest
import strawberry

from gateway.graph import Graph
from gateway.settings import Settings
from resolvers.context import Context
from tests.gateway.test_websocket import answers, connection
from tests.gateways import Gateway, gateway_on

Info = strawberry.Info[Context, None]

TEN = datetime(2026, 11, 21, 10, tzinfo=UTC)
STALE = {"stale": True, "age": ANY, "reason": "SOURCE_TIMEOUT"}
STALE_SINCE_TEN = {"sources": {"MERCATELY": {**STALE, "since": "2026-11-21T10:00:00+00:00"}}}


@strawberry.type
class Stale:
    @strawberry.field
    async def noted(self, info: Info, source: str = "mercately", hours: int = 0) -> int:
        await asyncio.sleep(0)
        info.context.stale.note(source, TEN + timedelta(hours=hours), "SOURCE_TIMEOUT")
        return hours


@strawberry.type
class Query(Stale):
    @strawberry.field
    async def broken(self, info: Info) -> int | None:
        info.context.stale.note("mercately", TEN, "SOURCE_TIMEOUT")
        raise RuntimeError


@strawberry.type
class Watching:
    @strawberry.subscription
    async def fields(self, times: int) -> AsyncGenerator[Stale, None]:
        for _ in range(times):
            yield Stale()

    @strawberry.subscription
    async def every_other(self, info: Info, times: int) -> AsyncGenerator[int, None]:
        """The stream itself notes it."""
        for number in range(times):
            if number % 2:
                info.context.stale.note("mercately", TEN, "SOURCE_TIMEOUT")
            yield number


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with gateway_on(settings, graph=Graph(query=Query, subscription=Watching)) as opened:
        yield opened


async def test_a_fresh_answer_has_no_extensions(gateway: Gateway) -> None:
    assert await gateway.ask("{ __typename }") == {"data": {"__typename": "Query"}}


async def test_a_stale_answer_says_since_when(gateway: Gateway) -> None:
    assert await gateway.ask("{ noted }") == {"data": {"noted": 0}, "extensions": STALE_SINCE_TEN}


async def test_the_earliest_time_of_each_source_counts(gateway: Gateway) -> None:
    answer = await gateway.ask(
        """{
            a: noted(hours: 1) b: noted c: noted(hours: 2)
            d: noted(source: "poster", hours: 3) e: noted(source: "poster", hours: 4)
        }"""
    )

    assert answer["extensions"]["sources"] == {
        **STALE_SINCE_TEN["sources"],
        "POSTER": {**STALE, "since": "2026-11-21T13:00:00+00:00"},
    }


async def test_an_answer_may_have_errors_and_be_stale(gateway: Gateway) -> None:
    answer = await gateway.ask("{ broken }")

    assert answer["data"] == {"broken": None}
    assert answer["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert answer["extensions"] == STALE_SINCE_TEN


async def test_what_one_operation_notes_no_other_says(gateway: Gateway) -> None:
    queries = ["{ noted }", "{ __typename }", "{ noted(hours: 1) }"] * 10
    found = await asyncio.gather(*map(gateway.ask, queries))

    since = [
        answer.get("extensions", {}).get("sources", {}).get("MERCATELY", {}).get("since") for answer in found
    ]
    assert since == ["2026-11-21T10:00:00+00:00", None, "2026-11-21T11:00:00+00:00"] * 10


async def test_on_a_socket_each_operation_and_each_event_speaks_for_itself(gateway: Gateway) -> None:
    async with connection(gateway) as opened:
        one, _ = await answers(opened, "{ noted }")
        other, _ = await answers(opened, "{ __typename }")
        *events, _ = await answers(opened, "subscription { fields(times: 2) { noted } }")
        *fresh, _ = await answers(opened, "subscription { fields(times: 2) { __typename } }")
        *streamed, _ = await answers(opened, "subscription { everyOther(times: 4) }")

    assert one["payload"] == {"data": {"noted": 0}, "extensions": STALE_SINCE_TEN}
    assert other["payload"] == {"data": {"__typename": "Query"}}
    assert [event["payload"].get("extensions") for event in events] == [STALE_SINCE_TEN] * 2
    assert [event["payload"].get("extensions") for event in fresh] == [None] * 2
    assert [event["payload"].get("extensions") for event in streamed] == [None, STALE_SINCE_TEN] * 2


async def test_operations_at_once_on_a_socket_share_nothing(gateway: Gateway) -> None:
    async with connection(gateway) as opened:
        for id, query in [
            ("a", "subscription { fields(times: 5) { noted } }"),
            ("b", "subscription { everyOther(times: 1) }"),
        ]:
            await opened.send_json({"id": id, "type": "subscribe", "payload": {"query": query}})
        received = [await opened.receive_json(timeout=5) for _ in range(8)]

    said = [
        (message["id"], message["payload"].get("extensions")) for message in received if "payload" in message
    ]
    assert sorted(said, key=lambda one: one[0]) == [("a", STALE_SINCE_TEN)] * 5 + [("b", None)]
