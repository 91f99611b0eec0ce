"""Relay's connections, every one of them: how much is asked for, from where, and what is said of the page."""

from typing import Any

import pytest

from resolvers.connections import to_cursor
from resolvers.ids import to_id
from tests.gateways import Gateway

AWA = '{messengerId: "2413659892012345"}'
CONNECTIONS = {
    "customers": "customers(%s) { %s }",
    "conversations": "conversations(%s) { %s }",
    "Group.customers": 'group(id: "' + to_id("Group", "poster:4") + '") { customers(%s) { %s } }',
    "own Group.customers": 'group(id: "' + to_id("Group", "everyprint:1") + '") { customers(%s) { %s } }',
    "Agent.conversations": 'agent(id: "' + to_id("Agent", 2764) + '") { conversations(%s) { %s } }',
    "Customer.conversations": f"customer(by: {AWA}) {{ conversations(%s) {{ %s }} }}",
    "Balance.entries": f"customer(by: {AWA}) {{ balance {{ entries(%s) {{ %s }} }} }}",
}
PAGE = (
    "pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount edges { cursor node { id } }"
)


def page_of(data: dict[str, Any]) -> dict[str, Any]:
    """The connection, wherever in the answer."""
    while "edges" not in data:
        (data,) = data.values()
    return data


@pytest.mark.parametrize("first", [0, -1, 101, 2_000_000_000])
@pytest.mark.parametrize("name", CONNECTIONS)
async def test_so_many_at_once_are_not_given(peopled: Gateway, name: str, first: int) -> None:
    error = await peopled.error("{ " + CONNECTIONS[name] % (f"first: {first}", "edges { cursor }") + " }")

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["fields"] == {"first": f"Ask for 1 to 100 at a time; {first} given."}


@pytest.mark.parametrize(
    "after",
    [
        "nonsense",
        "%",
        "é",
        "MTIzNA=",
        to_cursor("\x00"),
        to_cursor("1:2:3:4:5"),
        to_cursor("-1"),
        "A" * 9_000,
    ],
    ids=lambda it: it[:12],
)
@pytest.mark.parametrize("name", CONNECTIONS)
async def test_a_cursor_that_nobody_gave_is_bad_input_or_a_place_like_any_other(
    peopled: Gateway, name: str, after: str
) -> None:
    answer = await peopled.ask("{ " + CONNECTIONS[name] % (f'after: "{after}"', "edges { cursor }") + " }")

    for error in answer.get("errors", ()):
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert list(error["extensions"]["fields"]) == ["after"]


@pytest.mark.parametrize("name", CONNECTIONS)
async def test_pages_follow_each_other_without_gap_or_repetition(people: Gateway, name: str) -> None:
    whole = page_of(await people.data("{ " + CONNECTIONS[name] % ("first: 100", PAGE) + " }"))
    wanted = [edge["cursor"] for edge in whole["edges"]][:5]
    cursors, after = list[str](), ""
    while len(cursors) < len(wanted):
        page = page_of(await people.data("{ " + CONNECTIONS[name] % (f"first: 2{after}", PAGE) + " }"))
        cursors += [edge["cursor"] for edge in page["edges"]]
        assert page["pageInfo"]["hasPreviousPage"] is bool(after)
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]
        assert page["pageInfo"]["hasNextPage"] is (len(cursors) < len(whole["edges"]))
        assert page["totalCount"] == whole["totalCount"]
        after = f', after: "{page["pageInfo"]["endCursor"]}"'

    if not whole["pageInfo"]["hasNextPage"]:
        assert whole["totalCount"] in (None, len(whole["edges"]))
    assert cursors[: len(wanted)] == wanted


@pytest.mark.parametrize("name", CONNECTIONS)
async def test_first_and_after_may_be_null(peopled: Gateway, name: str) -> None:
    said = page_of(await peopled.data("{ " + CONNECTIONS[name] % ("first: null, after: null", PAGE) + " }"))
    unsaid = page_of(await peopled.data("{ " + CONNECTIONS[name].replace("(%s)", "") % PAGE + " }"))

    assert said == unsaid
