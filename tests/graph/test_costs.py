"""Costs: what a query makes the gateway ask its sources, as the sandboxes counted it."""

import asyncio
from collections import Counter
from typing import Any

from tests.gateways import Gateway


def asked(gateway: Gateway) -> dict[str, int]:
    """How often each vendor was asked each thing, since the fixture was through."""
    paths = [
        request.path.rpartition("/")[2]
        for sandbox in (gateway.mercately, gateway.poster)
        for request in sandbox.asked
    ]
    return dict(Counter(paths))


async def test_a_hundred_conversations_cost_a_call_a_channel_one_for_agents_and_none_for_customers(
    peopled: Gateway,
) -> None:
    data = await peopled.data(
        "{ conversations(first: 100) { edges { node { customer { firstName } agent { email } } } } }"
    )

    assert len(data["conversations"]["edges"]) == 100
    assert all(edge["node"]["customer"] for edge in data["conversations"]["edges"])
    assert asked(peopled) == {"messenger_conversations": 1, "whatsapp_conversations": 1, "agents": 1}


async def test_a_list_of_people_with_balances_and_groups_costs_one_call_for_the_groups(
    peopled: Gateway,
) -> None:
    data = await peopled.data(
        """{ all: customers(first: 100) { edges { node { firstName balance { amount } groups { name } } } }
        some: customers(first: 100, filter: {source: POSTER}) { edges { node { groups { name } } } } }"""
    )

    assert len(data["all"]["edges"]) == len(data["some"]["edges"]) == 100
    assert asked(peopled) == {"clients.getGroups": 1}


async def test_agents_of_a_list_of_people_cost_each_page_of_conversations_once(peopled: Gateway) -> None:
    data = await peopled.data(
        """{ customers(first: 100, filter: {source: MERCATELY}) {
        edges { node { agent { email } conversations { totalCount } } } } }"""
    )

    nodes = [edge["node"] for edge in data["customers"]["edges"]]
    assert any(node["agent"] for node in nodes)
    assert any(node["agent"] is None for node in nodes)
    calls = asked(peopled)
    assert calls.pop("agents") == 1
    assert set(calls) == {"messenger_conversations", "whatsapp_conversations"}
    # 600 conversations a channel are two pages; that the second is the last shows only behind it.
    assert all(count <= 5 for count in calls.values())


async def test_the_newest_conversations_are_found_on_the_first_page(peopled: Gateway) -> None:
    await peopled.data('{ customer(by: {messengerId: "2413659892012345"}) { agent { email } } }')

    assert asked(peopled) == {
        "4880pbiig3874": 1,
        "clients.getClient": 1,
        "messenger_conversations": 1,
        "whatsapp_conversations": 1,
        "agents": 1,
    }


async def test_identical_reads_in_flight_across_requests_are_one_call(peopled: Gateway) -> None:
    for sandbox in (peopled.mercately, peopled.poster):
        sandbox.trouble("delay", seconds=0.4)
    query = '{ customer(by: {posterId: "1"}) { firstName groups { name } } }'

    answers = await asyncio.gather(*(peopled.data(query) for _ in range(20)))

    assert all(answer == answers[0] for answer in answers)
    assert asked(peopled) == {"4880pbiig3874": 1, "clients.getClient": 1, "clients.getGroups": 1}


async def test_sources_of_a_person_are_asked_at_the_same_time(peopled: Gateway) -> None:
    for sandbox in (peopled.mercately, peopled.poster):
        sandbox.trouble("delay", seconds=1)
    loop, query = asyncio.get_running_loop(), '{ customer(by: {posterId: "1"}) { firstName } }'

    started = loop.time()
    await peopled.data(query)

    assert loop.time() - started < 1.9  # one after the other they take more than 2


async def test_nobody_is_asked_what_nobody_wants_to_know(peopled: Gateway) -> None:
    data: dict[str, Any] = await peopled.data(
        """{ customers(first: 100) { totalCount
        edges { node { id firstName phone email tags { name } asOf } } } }"""
    )

    assert len(data["customers"]["edges"]) == 100
    assert asked(peopled) == {}
