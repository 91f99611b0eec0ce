"""A broadcast's progress: what becomes of it -> what whoever watches it is told."""

import asyncio
from contextlib import aclosing
from time import monotonic
from typing import Any

import pytest

from adapters.storage.messages import Id, State
from gateway.settings import Sending, Settings
from resolvers.ids import to_id
from tests.gateways import Gateway, gateway_on
from tests.graph.test_broadcasts import (
    NOTHING,
    becomes,
    change,
    deliveries,
    finish,
    key,
    planned,
    start,
    work,
)
from tests.watching import WAYS

WATCH = """subscription ($id: ID!) { broadcastProgress(id: $id) {
  id status progress finishedAt
  counts { total queued submitted delivered seen failed expired cancelled skipped unknown }
} }"""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Any:
    return WAYS[request.param]


async def after(answers: Any) -> dict[str, Any]:
    """What is told next."""
    async with asyncio.timeout(10):
        told: dict[str, Any] = (await anext(answers))["data"]["broadcastProgress"]
        return told


async def test_it_is_told_from_the_first_plan_to_the_last_delivery(town: Gateway, way: Any) -> None:
    id = (await start(town, channels=["MESSENGER"]))["id"]
    async with aclosing(way(town, WATCH, id=id)) as answers:
        drafting = await after(answers)
        await work(town, id)
        running = await after(answers)
        one, *others = await deliveries(town, id, status=["QUEUED"])
        await becomes(town, one, State.ACCEPTED)
        submitted = await after(answers)
        await change(town, "pause", id)
        paused = await after(answers)
        await change(town, "resume", id)
        resumed = await after(answers)
        for message in others:
            await becomes(town, message, State.DELIVERED)
        await finish(town, id)
        statuses = [resumed]
        async with asyncio.timeout(10):
            statuses += [answer["data"]["broadcastProgress"] async for answer in answers]

    total, count = running["counts"]["total"], len(others) + 1
    skipped = total - count
    assert (drafting["status"], drafting["progress"], drafting["counts"]) == ("DRAFTING", 0, NOTHING)
    assert running["status"] == "RUNNING"
    assert running["counts"] == NOTHING | {"total": total, "skipped": skipped, "queued": count}
    assert running["progress"] == pytest.approx(skipped / total)
    assert (submitted["counts"]["submitted"], submitted["counts"]["queued"]) == (1, count - 1)
    assert (paused["status"], resumed["status"]) == ("PAUSED", "RUNNING")
    last = statuses[-1]
    assert (last["status"], last["progress"]) == ("COMPLETED", 1)
    assert last["finishedAt"]
    for told in (drafting, running, submitted, paused, *statuses):
        assert sum(told["counts"].values()) == 2 * told["counts"]["total"]


async def test_what_is_cancelled_is_over_when_all_of_its_rows_say_so(town: Gateway, way: Any) -> None:
    id = (await planned(town))["id"]
    async with aclosing(way(town, WATCH, id=id)) as answers:
        before = await after(answers)
        await change(town, "cancel", id)
        cancelled = await after(answers)
        await work(town, id)
        over = [answer["data"]["broadcastProgress"] async for answer in answers]
    again = [answer["data"]["broadcastProgress"] async for answer in way(town, WATCH, id=id)]

    assert before["counts"]["queued"] == cancelled["counts"]["queued"] == before["counts"]["total"]
    assert (cancelled["status"], cancelled["progress"]) == ("CANCELLED", 0)
    assert [told["counts"]["cancelled"] for told in over] == [before["counts"]["total"]]
    assert again == over


async def test_however_much_happens_it_is_told_four_times_a_second(town: Gateway, way: Any) -> None:
    id = (await planned(town))["id"]
    moments = list[float]()

    async def watch() -> None:
        async for _ in way(town, WATCH, id=id):
            moments.append(monotonic())

    watching = asyncio.create_task(watch())
    for message in await deliveries(town, id):
        await becomes(town, message, State.ACCEPTED)
        await town.post.news.tell(Id(key(id), 0))
        await asyncio.sleep(0.05)
    await finish(town, id)
    async with asyncio.timeout(10):
        await watching

    assert 2 <= len(moments) <= 2 + (moments[-1] - moments[0]) / 0.25


async def test_what_is_no_broadcast_is_said_once(town: Gateway, way: Any) -> None:
    wrong = {
        to_id("Broadcast", 5): "NOT_FOUND",
        to_id("Agent", "1"): "BAD_USER_INPUT",
        to_id("Broadcast", 2**63): "BAD_USER_INPUT",
        "?": "BAD_USER_INPUT",
    }
    for id, code in wrong.items():
        (answer,) = [answer async for answer in way(town, WATCH, id=id)]
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == code


async def test_it_is_sent_and_told_until_it_is_completed(settings_of_a_town: Settings, way: Any) -> None:
    # What Chatfuel does not answer in time is unknown for good, and how slow a machine is, is no claim.
    sending = settings_of_a_town.model_copy(update={"sending": Sending.ON, "timeout": 30})
    async with gateway_on(sending, timeout=30, connect_timeout=30) as gateway:
        id = (await start(gateway))["id"]
        async with asyncio.timeout(60):
            told = [answer["data"]["broadcastProgress"] async for answer in way(gateway, WATCH, id=id)]
        messages = await deliveries(gateway, id)

    last = told[-1]
    assert (last["status"], last["progress"], last["counts"]["queued"]) == ("COMPLETED", 1, 0)
    assert last["counts"]["total"] == len(messages) > 5
    assert len(gateway.hyber.accepted) + len(gateway.chatfuel.accepted) == len(messages)
    for message in messages:
        assert [event["status"] for event in message["history"]][:2] == ["QUEUED", "SUBMITTED"]
    progress = [each["progress"] for each in told]
    assert progress == sorted(progress)
