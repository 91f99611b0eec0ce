"""The ledger of what is sent: once for each key, up and never down, one at a time."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.storage.client import Storage, open_storage
from adapters.storage.messages import (
    ANY_CHANNEL,
    Event,
    Failure,
    Id,
    KeyReused,
    Message,
    Messages,
    NewMessage,
    Place,
    Report,
    State,
)

PHONE = "+593990009102"
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
QUEUED = (Event(state=State.PENDING, channel="sms", at=AT),)


@pytest.fixture
def messages(storage: Storage) -> Messages:
    return storage.messages


def new(**said: Any) -> NewMessage:
    whole: dict[str, Any] = {
        "phone": "+593990009102",
        "body": b'{"text":"Hola"}',
        "due": 10,
        "events": QUEUED,
    }
    return NewMessage(**whole | said)


async def queued(messages: Messages, **said: Any) -> Message:
    message = (await messages.add(new(**said))).message
    return message


async def now(messages: Messages, id: Id) -> Message:
    return (await messages.messages([id]))[id]


async def history(messages: Messages, id: Id) -> list[tuple[State, str | None, str | None]]:
    return [
        (event.state, event.channel, event.reason) for event in (await messages.messages([id]))[id].events
    ]


async def test_a_message_comes_back_as_it_was_added(messages: Messages) -> None:
    added, is_new, _ = await messages.add(new(tag="welcome", send_at=AT, channel="sms"))

    assert is_new
    assert await now(messages, added.id) == added
    assert (added.state, added.body, added.due, added.step, added.attempt) == (
        State.PENDING,
        b'{"text":"Hola"}',
        10,
        0,
        0,
    )
    assert (added.tag, added.send_at, added.final_at) == ("welcome", AT, None)
    assert added.events == list(QUEUED)


async def test_a_key_gets_its_first_message_also_from_fifty_at_once(messages: Messages) -> None:
    twins = await asyncio.gather(*(messages.add(new(idempotency_key="k", input_hash="a")) for _ in range(50)))

    assert len({message.id for message, *_ in twins}) == 1
    assert sorted(is_new for _, is_new, _ in twins) == [False] * 49 + [True]
    with pytest.raises(KeyReused):
        await messages.add(new(idempotency_key="k", input_hash="b"))


async def test_of_many_who_claim_a_due_message_one_gets_it(storage: Storage, database_url: str) -> None:
    id = (await queued(storage.messages)).id
    assert await storage.messages.claim(id, 9, due=20) is None, "it is not due yet"

    async with open_storage(database_url) as other:
        both = (storage.messages, other.messages)
        claims = await asyncio.gather(*(both[n % 2].claim(id, 10, due=20) for n in range(20)))

    (claimed,) = [claim for claim in claims if claim]
    assert (claimed.state, claimed.attempt, claimed.due) == (State.SENDING, 1, 20)


async def test_what_is_due_comes_in_its_order_and_what_is_over_never(messages: Messages) -> None:
    late, early, over = [await queued(messages, due=due) for due in (30, 10, 5)]
    await messages.cancel(over.id)

    assert [message.id for message in await messages.due(30, 10)] == [early.id, late.id]
    assert [message.id for message in await messages.due(29, 10)] == [early.id]
    assert [message.id for message in await messages.due(30, 1)] == [early.id]


@pytest.mark.parametrize(
    ("reported", "state"),
    [
        (["accepted", "sent", "delivered", "seen"], "seen"),
        (["delivered", "accepted", "sent"], "delivered"),
        (["seen", "delivered"], "seen"),
        (["delivered", "failed", "expired"], "delivered"),
        (["failed", "delivered"], "failed"),
        (["unknown", "accepted"], "unknown"),
        (["unknown", "delivered"], "delivered"),
        (["accepted", "accepted"], "accepted"),
    ],
    ids=" ".join,
)
async def test_a_state_only_goes_up(messages: Messages, reported: list[str], state: str) -> None:
    id = (await queued(messages)).id
    await messages.claim(id, 10, due=20)

    went_up = [await messages.raise_to(id, Event(state=State(each), channel="sms")) for each in reported]

    message = await now(messages, id)
    assert message.state == state
    assert (message.final_at is not None) is State(state).is_final
    assert len(await history(messages, id)) == 1 + sum(went_up)


async def test_an_attempt_of_before_fails_nothing_any_more_and_may_still_deliver(messages: Messages) -> None:
    id = (await queued(messages, channel="viber")).id
    await messages.claim(id, 10, due=20)
    expired = Event(state=State.EXPIRED, channel="viber", reason="35015")
    failure = Failure("SOURCE_REJECTED", "Viber did not deliver in time.", "35015")
    assert await messages.go_on(id, expired, attempt=1, step=1, channel="sms", failure=failure, due=11)
    pending = await now(messages, id)
    await messages.claim(id, 11, due=30)

    assert (pending.state, pending.step, pending.channel) == (State.PENDING, 1, "sms")
    assert not await messages.go_on(id, expired, attempt=1, step=2, channel="x", due=12)
    assert not await messages.raise_to(id, Event(state=State.FAILED), attempt=1)
    assert await messages.raise_to(id, Event(state=State.DELIVERED, channel="viber"))
    assert await history(messages, id) == [
        (State.PENDING, "sms", None),
        (State.EXPIRED, "viber", "35015"),
        (State.PENDING, "sms", None),
        (State.DELIVERED, "viber", None),
    ]


async def test_what_was_certainly_not_sent_is_pending_again(messages: Messages) -> None:
    id = (await queued(messages)).id
    await messages.claim(id, 10, due=20)

    assert await messages.put_back(id, attempt=1, due=15)
    assert not await messages.put_back(id, attempt=1, due=16)
    again = await messages.claim(id, 15, due=25)
    assert again
    assert again.attempt == 2


async def test_what_is_under_way_is_asked_for_by_one(messages: Messages) -> None:
    id = (await queued(messages)).id
    await messages.claim(id, 10, due=20)
    stuck = (await messages.due(20, 1))[0]

    held = await asyncio.gather(*(messages.hold(stuck, due=40) for _ in range(10)))

    assert sorted(held) == [False] * 9 + [True]
    assert await messages.due(39, 1) == []


async def test_cancelled_is_what_had_not_gone_out(messages: Messages) -> None:
    waiting, gone = await queued(messages), await queued(messages)
    await messages.claim(gone.id, 10, due=20)

    assert await messages.cancel(waiting.id)
    assert not await messages.cancel(waiting.id)
    assert not await messages.cancel(gone.id)
    assert await messages.claim(waiting.id, 100, due=110) is None
    assert (await now(messages, waiting.id)).state is State.CANCELLED


async def test_who_cannot_be_reached_is_skipped_from_the_start(messages: Messages) -> None:
    events = (Event(state=State.SKIPPED, channel="sms", reason="no phone"),)
    skipped = await queued(messages, phone=None, due=None, events=events)

    assert (skipped.state, skipped.final_at is not None) == (State.SKIPPED, True)
    assert await messages.due(10**15, 10) == []


async def test_a_persons_messages_come_newest_first_by_any_address(messages: Messages) -> None:
    everything: tuple[dict[str, Any], ...] = (
        {},
        {"phone": None, "messenger_id": "9"},
        {"phone": "+1"},
        {"messenger_id": "8"},  # somebody else's, who had the phone then
    )
    made = [await queued(messages, **to) for to in everything]
    phones, messenger_ids = ["+593990009102"], ["9"]

    page = await messages.to_person(phones, messenger_ids, 10)
    places = sorted((Place(message.created_at, *message.id) for message in made[:2]), reverse=True)
    assert [Place(message.created_at, *message.id) for message in page] == places
    rest = await messages.to_person(phones, messenger_ids, 10, places[0])
    assert [message.id for message in rest] == [places[1][1:]]
    assert await messages.count_to_person(phones, messenger_ids) == 2
    assert await messages.to_person([], [], 10) == []


async def test_a_report_that_comes_twice_is_one(messages: Messages) -> None:
    report = Report(source="hyber", external_id="x-0-1-1", status="23011", at=5, body=b"{}")
    other = Report(source="hyber", external_id="x-0-1-1", status="35015", at=5, body=b"{}")

    await messages.receive([report, report])
    await messages.receive([report, other])
    await messages.receive([])

    waiting = await messages.waiting_reports(10)
    assert [each.external_id for each in waiting] == ["x-0-1-1", "x-0-1-1"]
    await messages.done_with([waiting[0].id])
    await messages.receive([report])
    assert [each.id for each in await messages.waiting_reports(10)] == [waiting[1].id]


async def test_who_wants_nothing_is_known_by_address_and_channel(messages: Messages) -> None:
    first = await messages.suppress("+1", "sms", "asked")
    again = await messages.suppress("+1", "sms", "asked twice")
    await messages.suppress("+1", ANY_CHANNEL, "left")

    assert (again.created_at, again.reason) == (first.created_at, "asked twice")
    assert await messages.wanted_nothing("+1", "+2") == {"+1": {"sms", ANY_CHANNEL}}
    assert await messages.unsuppress("+1", ANY_CHANNEL)
    assert not await messages.unsuppress("+1", ANY_CHANNEL)
    assert await messages.wanted_nothing("+1") == {"+1": {"sms"}}
