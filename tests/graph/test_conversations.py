"""Conversations: both channels merged newest first, page by page, at the cost of the pages needed."""

import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.mercately import demo
from adapters.mercately.sandbox import NOW
from resolvers.conversations import Cursor
from resolvers.ids import split_id, to_id
from tests.gateways import Gateway

LIST = """query (
  $channel: ConversationChannel, $unassigned: Boolean, $agentId: ID, $first: Int, $after: String
) {
  conversations(
    channel: $channel, unassigned: $unassigned, agentId: $agentId, first: $first, after: $after
  ) {
    totalCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    edges { cursor node { id channel messageCount lastInteraction agent { id } } }
  }
}"""


CUSTOMERS = {customer.id: customer for customer in demo.customers()}


async def listed(gateway: Gateway, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await gateway.data(LIST, **asked))["conversations"]
    return found


async def pages(gateway: Gateway, **asked: Any) -> AsyncIterator[dict[str, Any]]:
    """Every page, from the first to the last."""
    page = await listed(gateway, **asked)
    yield page
    while page["pageInfo"]["hasNextPage"]:
        page = await listed(gateway, **asked, after=page["pageInfo"]["endCursor"])
        yield page


async def every_id(gateway: Gateway, **asked: Any) -> list[str]:
    return [edge["node"]["id"] async for page in pages(gateway, **asked) for edge in page["edges"]]


def known(*channels: demo.Channel, **wanted: Any) -> list[str]:
    """The ids of the sandbox's conversations, newest first."""
    rows = [(row, channel) for channel in channels for row in demo.conversations(channel, NOW)]
    for name, value in wanted.items():
        rows = [pair for pair in rows if getattr(CUSTOMERS[pair[0].customer_id], name) == value]
    rows.sort(key=lambda pair: (-pair[0].last_interaction.timestamp(), pair[1]))
    return [to_id("Conversation", f"{channel}:{row_of(row.customer_id)}") for row, channel in rows]


def row_of(web_id: str) -> str:
    return re.split("[a-z]{5}", web_id)[1]


async def test_a_page_merges_both_channels_newest_first(gateway: Gateway) -> None:
    page = await listed(gateway, first=100)

    nodes = [edge["node"] for edge in page["edges"]]
    assert [node["id"] for node in nodes] == known("messenger", "whatsapp")[:100]
    assert {node["channel"] for node in nodes} == {"MESSENGER", "WHATSAPP"}
    assert nodes[0]["lastInteraction"] > nodes[-1]["lastInteraction"]
    assert nodes[0]["lastInteraction"].endswith("+00:00")
    assert page["totalCount"] == 1200
    assert page["pageInfo"]["hasNextPage"]
    assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]


async def test_a_hundred_with_their_agents_cost_a_call_a_channel_and_one_for_agents(gateway: Gateway) -> None:
    await listed(gateway, first=100)

    assert gateway.mercately.count("/messenger_conversations") == 1
    assert gateway.mercately.count("/whatsapp_conversations") == 1
    assert gateway.mercately.count("/agents") == 1


async def test_one_channel_alone_costs_one_call(gateway: Gateway) -> None:
    page = await listed(gateway, channel="WHATSAPP", first=100)

    assert [edge["node"]["id"] for edge in page["edges"]] == known("whatsapp")[:100]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (600, True)
    assert gateway.mercately.count("_conversations") == 1


@pytest.mark.parametrize("first", [100, 99, 37])
async def test_every_page_together_is_every_conversation_once(gateway: Gateway, first: int) -> None:
    assert await every_id(gateway, first=first) == known("messenger", "whatsapp")


async def test_unassigned_are_those_that_nobody_answers(gateway: Gateway) -> None:
    assert await every_id(gateway, unassigned=True, first=100) == known(
        "messenger", "whatsapp", agent_id=None
    )


async def test_those_of_an_agent_by_filter_and_by_relation(gateway: Gateway) -> None:
    agent = to_id("Agent", 2763)
    data = await gateway.data(
        "query ($id: ID!) { agent(id: $id) { conversations(first: 100) { edges { node { id } } } } }",
        id=agent,
    )

    theirs = known("messenger", "whatsapp", agent_id=2763)
    assert theirs
    assert await every_id(gateway, agentId=agent, first=7) == theirs
    assert [edge["node"]["id"] for edge in data["agent"]["conversations"]["edges"]] == theirs[:100]


async def test_a_conversation_is_found_by_its_id(gateway: Gateway) -> None:
    id = known("whatsapp")[350]
    data = await gateway.data(
        "query ($id: ID!) { node(id: $id) { ... on Conversation { id channel } } }", id=id
    )

    assert data == {"node": {"id": id, "channel": "WHATSAPP"}}
    assert gateway.mercately.count("/messenger_conversations") == 0


async def test_an_unknown_conversation_is_null(gateway: Gateway) -> None:
    data = await gateway.data(
        "query ($id: ID!) { node(id: $id) { id } }", id=to_id("Conversation", "messenger:1")
    )

    assert data == {"node": None}


async def test_new_activity_between_two_pages_neither_repeats_nor_hides_a_conversation(
    gateway: Gateway,
) -> None:
    first = await listed(gateway, channel="WHATSAPP", first=100)
    rows = {f"whatsapp:{customer.row}": customer for customer in CUSTOMERS.values()}
    old = [rows[split_id(id)[1]] for id in known("whatsapp")[300:]]
    shared = Counter(customer.phone for customer in CUSTOMERS.values())
    await write_to(gateway, next(one.phone for one in old if one.whatsapp_opt_in and shared[one.phone] == 1))

    second = await listed(gateway, channel="WHATSAPP", first=100, after=first["pageInfo"]["endCursor"])

    assert [edge["node"]["id"] for edge in second["edges"]] == known("whatsapp")[100:200]


async def write_to(gateway: Gateway, phone: str | None) -> None:
    """Moves somebody's conversation to the top."""
    url = f"{gateway.mercately.url}/retailers/api/v1/whatsapp/send_notification_by_id"
    headers = {"Slug": "sandbox", "Api-Key": gateway.mercately.credentials["api_key"]}
    body = {
        "phone_number": phone,
        "internal_id": "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed",
        "template_params": ["a", "b", "c"],
    }
    async with gateway.session.post(url, json=body, headers=headers) as sent:
        assert sent.status == 200, await sent.text()


async def test_a_cursor_whose_page_has_moved_up_goes_on_from_there(gateway: Gateway) -> None:
    first = await listed(gateway, channel="MESSENGER", first=100)
    cursor = Cursor.read(first["pageInfo"]["endCursor"])
    moved = str(Cursor(cursor.behind, {"messenger": 4}))

    second = await listed(gateway, channel="MESSENGER", first=100, after=moved)

    assert [edge["node"]["id"] for edge in second["edges"]] == known("messenger")[100:200]


async def test_the_last_page_says_that_there_is_no_next_one(gateway: Gateway) -> None:
    *_, last = [page async for page in pages(gateway, channel="MESSENGER", first=100)]

    assert len(last["edges"]) == 100
    assert last["pageInfo"]["hasNextPage"] is False
    assert last["pageInfo"]["hasPreviousPage"] is True


async def test_without_a_facebook_page_there_are_no_messenger_conversations(gateway: Gateway) -> None:
    gateway.mercately.facebook_connected = False

    page = await listed(gateway, channel="MESSENGER")

    assert page == {
        "totalCount": 0,
        "edges": [],
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None},
    }


@pytest.mark.parametrize("first", [0, -1, 101])
async def test_more_than_a_hundred_or_less_than_one_is_bad_input(gateway: Gateway, first: int) -> None:
    error = await gateway.error(LIST, first=first)

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["fields"] == {"first": f"Ask for 1 to 100 at a time; {first} given."}
    assert gateway.mercately.count("") == 0


@pytest.mark.parametrize("after", ["x", "é", "MTI", to_id("Agent", 1), to_id("a:b:c", "messenger=1")])
async def test_garbage_instead_of_a_cursor_is_bad_input(gateway: Gateway, after: str) -> None:
    error = await gateway.error(LIST, after=after)

    assert error["extensions"]["fields"] == {
        "after": "This is not a cursor of this gateway: use one that it gave."
    }


async def test_two_agents_on_one_customer_are_one_conversation(gateway: Gateway) -> None:
    row = {"id": None, "customer_id": 7, "message_count": 1, "last_interaction": "2026-11-01T00:00:00.000Z"}
    rows = [row | {"agent_id": 2763}, row | {"agent_id": 2764}, row | {"customer_id": None, "agent_id": None}]
    body = {"results": 3, "total_pages": 1, "messenger_conversations": rows}
    gateway.mercately.trouble("wrong_shape", path="/messenger_conversations", body=body)

    page = await listed(gateway, channel="MESSENGER")

    assert [edge["node"]["id"] for edge in page["edges"]] == [to_id("Conversation", "messenger:7")]


async def test_whom_only_a_conversation_told_of_keeps_their_id_when_the_directory_learns_of_them(
    gateway: Gateway,
) -> None:
    asked = (
        "{ conversations(first: 1) { edges { node { customer { id firstName lastName phone sources } } } } }"
    )
    by_id = "query ($id: ID!) { node(id: $id) { ... on Customer { id firstName lastName phone sources } } }"

    told = (await gateway.data(asked))["conversations"]["edges"][0]["node"]["customer"]
    before = (await gateway.data(by_id, id=told["id"]))["node"]
    await gateway.sync()
    after = (await gateway.data(by_id, id=told["id"]))["node"]
    known = (await gateway.data(asked))["conversations"]["edges"][0]["node"]["customer"]

    assert before == told
    assert after == known
    assert (after["firstName"], after["lastName"]) == (told["firstName"], told["lastName"])
    assert after["id"] != told["id"]
