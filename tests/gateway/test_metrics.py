"""Metrics: what Prometheus finds at /metrics, who may look, and that nobody's data is in it."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from time import time
from typing import Any

import psutil
import strawberry
from aiohttp import ClientSession
from pydantic import SecretStr

from adapters.circuit import FAILURES
from adapters.storage.messages import Event, NewMessage, State
from gateway.graph import Graph
from gateway.metrics import MOST_OPERATIONS, Metrics
from gateway.settings import Settings
from resolvers.query import Query
from tests.gateways import Gateway, gateway_on
from tests.processes import ask, serve

PHONE = "+593990009102"


async def metrics_of(gateway: Gateway, **headers: str) -> str:
    async with gateway.session.get(f"{gateway.url}/metrics", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        return await response.text()


def value(page: str, name: str, **labels: str) -> float:
    """Of all the lines that have these labels, among others."""
    return sum(
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith((f"{name}{{", f"{name} "))
        and all(f'{key}="{said}"' in line for key, said in labels.items())
    )


async def test_what_was_asked_and_what_that_asked_is_counted(gateway: Gateway) -> None:
    gateway.mercately.trouble("status", status=500)
    await gateway.error("query Staff { agents { id } }")
    gateway.mercately.heal()
    await gateway.data("query Staff { agents { id } }")
    await gateway.ask("{ nothing }")
    page = await metrics_of(gateway)

    assert value(page, "switchboard_request_seconds_count", path="/graphql", status="200") == 1
    assert value(page, "switchboard_request_seconds_count", path="/graphql", status="294") == 1
    assert value(page, "switchboard_request_seconds_count", path="/graphql", status="422") == 1
    assert value(page, "switchboard_operations_total", operation="Staff", code="ok") == 1
    assert value(page, "switchboard_operations_total", operation="Staff", code="SOURCE_UNAVAILABLE") == 1
    assert value(page, "switchboard_operations_total", operation="(none)", code="BAD_USER_INPUT") == 1
    asked = {"source": "mercately", "call": "agents"}
    assert value(page, "switchboard_source_seconds_count", **asked, outcome="ok") == 1
    assert value(page, "switchboard_source_seconds_count", **asked, outcome="SOURCE_UNAVAILABLE") >= 1
    assert value(page, "switchboard_source_seconds_count", source="everyprint") > 0


async def test_who_executed_what_is_counted(gateway: Gateway) -> None:
    await gateway.data("{ sources { source } }")
    await gateway.data("{ __schema { queryType { name } } }")
    await gateway.ask("{ nothing }")
    page = await metrics_of(gateway)

    assert value(page, "switchboard_executions_total", executor="compiled") == 1
    assert value(page, "switchboard_executions_total", executor="core") == 1


async def becomes(gateway: Gateway, expected: float, name: str, **labels: str) -> str:
    """The page, once this is its value."""
    async with asyncio.timeout(10):
        while value(page := await metrics_of(gateway), name, **labels) != expected:
            await asyncio.sleep(0.02)
    return page


async def test_the_circuit_of_each_source_is_told_as_it_changes(settings: Settings) -> None:
    circuit, agents = "switchboard_source_circuit", "{ agents { id } }"
    async with gateway_on(settings, probe_interval=0.3) as gateway:
        whole = {"source": "mercately", "state": "closed"}
        assert value(await metrics_of(gateway), circuit, **whole) == 1
        gateway.mercately.trouble("status", status=500)
        for _ in range(FAILURES):
            await gateway.ask(agents)
        page = await becomes(gateway, 0, circuit, **whole)
        assert value(page, circuit, source="mercately") == 1, "it is in one state"
        assert value(page, circuit, source="poster", state="closed") == 1
        # Nobody asks for it: that it may be tried again is told all the same.
        await becomes(gateway, 1, circuit, source="mercately", state="half_open")
        await gateway.ask(agents)
        assert value(await metrics_of(gateway), circuit, source="mercately", state="open") == 1
        gateway.mercately.heal()
        await becomes(gateway, 1, circuit, source="mercately", state="half_open")
        await gateway.data(agents)
        assert value(await metrics_of(gateway), circuit, **whole) == 1


@strawberry.type
class Watching:
    @strawberry.subscription
    async def endless(self) -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.Event().wait()


async def test_answers_are_timed_whatever_they_come_over_and_open_subscriptions_counted(
    settings: Settings,
) -> None:
    events = {"Accept": "text/event-stream"}
    watch = {"query": "subscription Watch { endless }"}

    def subscribe(query: str) -> dict[str, Any]:
        return {"id": query, "type": "subscribe", "payload": {"query": query}}

    async with gateway_on(settings, graph=Graph(query=Query, subscription=Watching)) as gateway:
        url = f"{gateway.url}/graphql"
        async with (
            gateway.session.ws_connect(url, protocols=["graphql-transport-ws"]) as socket,
            gateway.session.post(url, json=watch, headers=events) as stream,
        ):
            await stream.content.readline()
            await gateway.data("query Ping { __typename }")
            await socket.send_json({"type": "connection_init"})
            await socket.send_json(subscribe("query Ping { __typename }"))
            await socket.send_json(subscribe(watch["query"]))
            while (await socket.receive_json(timeout=5)).get("id") != watch["query"]:
                pass
            assert value(await metrics_of(gateway), "switchboard_subscriptions") == 2
        page = await becomes(gateway, 0, "switchboard_subscriptions")

    assert value(page, "switchboard_operation_seconds_count", operation="Ping") == 2
    assert value(page, "switchboard_operation_seconds_count", operation="Watch") == 0
    assert value(page, "switchboard_operations_total", operation="Watch") == 2
    assert value(page, "switchboard_request_seconds_count", path="/graphql") == 1, "a stream is no answer"


async def test_the_ledger_says_how_it_stands(gateway: Gateway) -> None:
    overdue = NewMessage(
        phone=PHONE,
        body=b"{}",
        due=int(time() * 1000) - 60_000,
        events=(Event(state=State.PENDING),),
    )
    lost = NewMessage(phone=PHONE, body=b"{}", due=None, events=(Event(state=State.UNKNOWN),))
    await gateway.storage.messages.add(overdue)
    await gateway.storage.messages.add(lost)
    page = await metrics_of(gateway)

    assert value(page, "switchboard_ledger_up") == 1
    assert 60 <= value(page, "switchboard_ledger_overdue_seconds") < 90
    assert value(page, "switchboard_ledger_unknown_messages") == 1
    assert value(page, "switchboard_ledger_expired_leases") == 0


async def test_what_is_under_way_is_told(gateway: Gateway) -> None:
    before = value(await metrics_of(gateway), "switchboard_tasks")
    waiting = [asyncio.create_task(asyncio.sleep(60)) for _ in range(5)]
    after = value(await metrics_of(gateway), "switchboard_tasks")
    for task in waiting:
        task.cancel()

    assert after >= before + 5 > 5


async def test_nobodys_data_is_in_it(town: Gateway) -> None:
    search = '{ customers(first: 1, filter: {search: "Awa"}) { edges { node { id phone } } } }'
    person = (await town.data(search))["customers"]["edges"][0]["node"]
    await town.data("query Hers($id: ID!) { customer(by: {id: $id}) { firstName } }", id=person["id"])
    page = await metrics_of(town)

    assert 'operation="Hers"' in page
    for secret in (person["phone"], person["phone"][1:], person["id"], "Awa"):
        assert secret not in page


async def test_names_of_operations_do_not_grow_without_end() -> None:
    metrics = Metrics()
    for number in range(MOST_OPERATIONS + 50):
        metrics.operation(f"Name{number}", (), 0.1)
    page = metrics.page(None).decode()

    assert page.count("switchboard_operations_total{") == MOST_OPERATIONS + 1
    assert value(page, "switchboard_operations_total", operation="(other)") == 50
    assert value(page, "switchboard_ledger_up") == 0


async def test_only_who_is_here_or_knows_the_secret_may_look(gateway: Gateway, settings: Settings) -> None:
    url = f"{gateway.url}/metrics"
    async with gateway.session.get(url, headers={"X-Forwarded-For": "203.0.113.7"}) as response:
        assert response.status == 404
    settings = settings.model_copy(update={"metrics_secret": SecretStr("OfPrometheus")})
    async with gateway_on(settings) as closed:
        for headers in ({}, {"Authorization": "Bearer OfNobody"}):
            async with closed.session.get(f"{closed.url}/metrics", headers=headers) as response:
                assert response.status == 404
        assert "switchboard_" in await metrics_of(closed, Authorization="Bearer OfPrometheus")


async def test_several_workers_count_together(tmp_path: Path) -> None:
    closed = {"source": "poster", "state": "closed"}
    async with serve(tmp_path, workers=2) as served, ClientSession() as session:

        async def page_where(circuits: int) -> str:
            async with asyncio.timeout(20):
                while True:
                    async with session.get(f"{served.url}/metrics") as response:
                        page = await response.text()
                    if value(page, "switchboard_source_circuit", **closed) == circuits:
                        return page
                    await asyncio.sleep(0.05)

        for _ in range(20):
            await ask(served.url, "query Ping { __typename }")
        page = await page_where(circuits=2)
        workers = psutil.Process(served.process.pid).children()
        killed = next(each for each in workers if "spawn_main" in " ".join(each.cmdline()))
        os.kill(killed.pid, signal.SIGKILL)
        await page_where(circuits=1)  # what was so in the one that is no more is not so

    assert value(page, "switchboard_operations_total", operation="Ping") == 20
