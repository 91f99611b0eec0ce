"""What the graph answers while a source is down: what was, saying so, and nothing old to a change."""

import time
from datetime import UTC, datetime, timedelta

from gateway.settings import Settings
from resolvers.ids import to_id
from tests.gateways import Gateway, gateway_on
from tests.graph.test_sources import status

AGENTS = "{ agents { id } templates { id } }"
NOTES = """mutation Note($id: ID!, $agentId: ID!) {
    updateCustomer(id: $id, input: {notes: "new", agentId: $agentId}) { notes }
}"""
AWA, AGENT = to_id("Customer", "mercately:4880pbiig3874"), to_id("Agent", 2763)


async def fails(gateway: Gateway, times: int) -> None:
    for number in range(1, times + 1):
        await gateway.ask(f"{{ conversations(first: {number}) {{ totalCount }} }}")


async def test_what_was_is_answered_and_says_since_when_and_why(settings: Settings) -> None:
    async with gateway_on(settings, cache_lists=0, probe_interval=0.2) as gateway:
        well = await gateway.ask(AGENTS)
        asked = datetime.now(UTC)
        gateway.mercately.trouble("status", status=503)
        down = await gateway.ask(AGENTS)

        assert down["data"] == well["data"]
        assert "errors" not in down
        said = down["extensions"]["sources"]["MERCATELY"]
        assert (said["stale"], said["reason"]) == (True, "SOURCE_UNAVAILABLE")
        assert abs(datetime.fromisoformat(said["since"]) - asked) < timedelta(seconds=1)
        assert 0 <= said["age"] < 1

        # Once its circuit is open it is not even asked, and a query costs what it costs without it.
        await fails(gateway, 5)
        assert (await status(gateway, "MERCATELY"))["circuit"] in ("OPEN", "HALF_OPEN")

        gateway.mercately.heal()
        end = time.monotonic() + 5
        while "extensions" in (healed := await gateway.ask(AGENTS)):
            assert time.monotonic() < end
        assert healed == well
        assert (await status(gateway, "MERCATELY"))["circuit"] == "CLOSED"


async def test_an_open_circuit_says_when_it_is_tried_again_and_is_shown(settings: Settings) -> None:
    async with gateway_on(settings, probe_interval=60) as gateway:
        gateway.mercately.trouble("reset")
        await fails(gateway, 3)
        asked = len(gateway.mercately.asked)
        answer = await gateway.ask("{ agents { id } groups { id } }")

        assert (await status(gateway, "MERCATELY"))["circuit"] == "OPEN"
        assert (await status(gateway, "POSTER"))["circuit"] == "CLOSED"
        assert len(gateway.mercately.asked) == asked
        (error,) = answer["errors"]
        assert error["message"] == "Mercately keeps failing and is tried again in 60 s."
        assert error["extensions"] == {"code": "SOURCE_UNAVAILABLE", "source": "MERCATELY"}
        assert answer["data"]["groups"]


async def test_a_change_is_told_nothing_old(town: Gateway) -> None:
    await town.data(AGENTS)
    town.mercately.trouble("status", path="GET", status=503)
    error = await town.error(NOTES, id=AWA, agentId=AGENT)

    assert error["extensions"]["code"] == "SOURCE_UNAVAILABLE"
    assert [asked.method for asked in town.mercately.asked if asked.method != "GET"] == []
    answer = await town.ask(AGENTS)  # who reads gets it, marked
    assert answer["extensions"]["sources"]["MERCATELY"]["reason"] == "SOURCE_UNAVAILABLE"
