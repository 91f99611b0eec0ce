"""Partial answers: what is left when a source, or the database, is not there."""

import asyncio
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy.pool import QueuePool

from gateway.settings import load
from tests.gateways import Gateway, gateway_on
from tests.services import Mariadb

LIST = "{ customers(first: 100) { edges { node { firstName sources balance { amount } groups { name } } } } }"


async def test_with_poster_down_names_and_balances_are_answered_and_groups_are_null(peopled: Gateway) -> None:
    peopled.poster.trouble("status", status=500)

    answer = await peopled.ask(LIST)

    nodes = [edge["node"] for edge in answer["data"]["customers"]["edges"]]
    gaps = [index for index, node in enumerate(nodes) if node["groups"] is None]
    assert any(node["balance"] for node in nodes)
    assert all(node["firstName"] for node in nodes[:10])
    assert gaps
    assert all("POSTER" in nodes[index]["sources"] for index in gaps)
    assert sorted(error["path"] for error in answer["errors"]) == [
        ["customers", "edges", index, "node", "groups"] for index in gaps
    ]
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"SOURCE_UNAVAILABLE"}
    assert {error["extensions"]["source"] for error in answer["errors"]} == {"POSTER"}


async def test_with_mercately_down_the_directory_answers_and_says_since_when(peopled: Gateway) -> None:
    before = await peopled.data("{ customers(filter: {source: MERCATELY}) { edges { node { id asOf } } } }")
    peopled.mercately.trouble("reset")
    for _ in range(3):
        await peopled.ask("{ agents { id } }")

    answer = await peopled.ask("{ customers(filter: {source: MERCATELY}) { edges { node { id asOf } } } }")

    assert answer["data"] == before
    (source,) = answer["extensions"]["sources"].items()
    assert source[0] == "MERCATELY"
    assert source[1]["stale"] is True
    assert source[1]["since"] == min(edge["node"]["asOf"] for edge in before["customers"]["edges"])


async def test_one_customer_is_answered_from_the_directory_when_a_source_is_down(peopled: Gateway) -> None:
    query = '{ customer(by: {messengerId: "2413659892012345"}) { firstName notes asOf groups { name } } }'
    peopled.mercately.trouble("reset")
    answer = await peopled.ask(query)
    peopled.mercately.heal()
    fresh = await peopled.ask(query)

    assert "extensions" not in fresh
    assert answer["data"]["customer"]["notes"] == "Prefers WhatsApp, after 14:00"
    assert answer["data"]["customer"]["groups"] == fresh["data"]["customer"]["groups"]
    assert answer["data"]["customer"]["asOf"] < fresh["data"]["customer"]["asOf"]
    assert answer["extensions"]["sources"]["MERCATELY"]["since"] == answer["data"]["customer"]["asOf"]
    assert "errors" not in answer


async def test_somebody_whom_only_a_dead_source_can_know_is_an_error_there(gateway: Gateway) -> None:
    gateway.mercately.trouble("reset")

    answer = await gateway.ask('{ customer(by: {mercatelyId: "4880pbiig3874"}) { id } groups { name } }')

    assert answer["data"]["customer"] is None
    assert answer["data"]["groups"]
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]["source"]) == (["customer"], "MERCATELY")


async def test_without_the_database_what_needs_it_is_an_error_and_the_rest_is_answered(
    tmp_path: Path, mariadb_server: Mariadb, our_mariadb_url: str
) -> None:
    query = """{ agents { id } conversations(first: 5) { edges { node { id customer { firstName } } } }
      customers { edges { node { id } } }
      customer(by: {mercatelyId: "4880pbiig3874"}) { firstName notes balance { amount } groups { name } }
      client: customer(by: {posterId: "1"}) { firstName agent { id } conversations { edges { cursor } } } }"""
    settings = load(data_dir=tmp_path, timeout=4, drain=2, directory_interval=0, database_url=our_mariadb_url)
    async with gateway_on(settings) as gateway:
        await gateway.data(query)
        mariadb_server.stop()
        try:
            answer = await gateway.ask(query)
        finally:
            mariadb_server.start()
        healed = await gateway.data(query)

    data = answer["data"]
    assert data["agents"]
    assert [edge["node"]["customer"] for edge in data["conversations"]["edges"]] == [None] * 5
    assert data["customers"] is None
    assert data["customer"] == {
        "firstName": "Awa",
        "notes": "Prefers WhatsApp, after 14:00",
        "balance": None,
        "groups": None,
    }
    assert data["client"] == {"firstName": "Awa", "agent": None, "conversations": None}
    assert {error["extensions"]["source"] for error in answer["errors"]} == {"EVERYPRINT"}
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"SOURCE_UNAVAILABLE"}
    assert len(answer["errors"]) == 5 + 1 + 2 + 2
    assert healed["customers"]["edges"]


@pytest.mark.parametrize("phase", range(0, 40, 8))
async def test_two_hundred_cancelled_requests_leave_no_connection_behind(
    peopled: Gateway, phase: int
) -> None:
    """Clients hang up at all times: at once, while the database is asked, while the answer is written."""
    query = "{ customers(first: 5) { edges { node { balance { amount } groups { name } } } } }"
    for wave in range(5):
        requests = [asyncio.create_task(peopled.ask(query)) for _ in range(8)]
        await asyncio.sleep((phase + wave) / 1000)
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)

    answers = [await peopled.data(query) for _ in range(3)]

    assert all(answer["customers"]["edges"] for answer in answers)
    pool = cast("QueuePool", peopled.storage._engine.pool)
    assert pool.checkedout() == 0
    assert pool.checkedin() <= 15
