"""A broadcast under way: a row is taken by one only, and by nobody once it is paused, cancelled or lost."""

import asyncio
from collections.abc import Awaitable, Callable
from time import time

import pytest

from adapters.storage import messages
from adapters.storage.audience import Address, Plan, Way
from adapters.storage.broadcasts import (
    Broadcast,
    Broadcasts,
    Forbidden,
    NewBroadcast,
    NothingToRetry,
    Phase,
    State,
)
from adapters.storage.chunks import Chunk, Chunks
from adapters.storage.client import Storage, open_storage
from adapters.storage.directory import Entry
from adapters.storage.everyprint import NotFound
from adapters.storage.messages import Event, Failure, Message
from adapters.storage.tables import now

PLAN = Plan(ways=(Way("sms", Address.PHONE),))
COUNT, WITHOUT_PHONE = 12, 3
LEASE, NOW = 1_000, 10_000
PENDING, SENDING, SKIPPED = messages.State.PENDING, messages.State.SENDING, messages.State.SKIPPED
CANCELLED, DELIVERED = messages.State.CANCELLED, messages.State.DELIVERED
FAILED, EXPIRED, UNKNOWN = messages.State.FAILED, messages.State.EXPIRED, messages.State.UNKNOWN


@pytest.fixture
def chunks(storage: Storage) -> Chunks:
    return storage.chunks


@pytest.fixture
async def town(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Where twelve people have a phone and three have none; of twelve rows there are three chunks."""
    monkeypatch.setattr("adapters.storage.steps.CHUNK_SIZE", 5)
    phones = [f"+5939900{n:05}" for n in range(COUNT)] + [None] * WITHOUT_PHONE
    await storage.directory.upsert(
        Entry(source="mercately", key=f"m{n}", phone=phone, as_of=1) for n, phone in enumerate(phones)
    )
    return storage


async def stepped(broadcasts: Broadcasts, id: int) -> Broadcast:
    while await broadcasts.step(id, "us", int(time() * 1000)):
        pass
    return await now_is(broadcasts, id)


async def now_is(broadcasts: Broadcasts, id: int) -> Broadcast:
    return (await broadcasts.of([id]))[id]


async def running(storage: Storage) -> int:
    broadcast, _ = await storage.broadcasts.add(NewBroadcast(plan=PLAN, body=b"{}"))
    assert (await stepped(storage.broadcasts, broadcast.id)).state is State.RUNNING
    return broadcast.id


async def counts(storage: Storage, id: int) -> dict[messages.State, int]:
    return (await storage.broadcasts.counts([id]))[id]


async def claimed(storage: Storage, id: int, by: str = "t") -> Chunk:
    chunk = next(chunk for chunk in await storage.chunks.waiting(NOW, 10) if chunk.broadcast_id == id)
    assert await storage.chunks.claim(id, chunk.n, by, NOW, NOW + LEASE)
    return chunk


async def sent(storage: Storage, id: int, *ends: messages.State) -> list[Message]:
    """All of it taken; the first of the rows end so, and all others are delivered."""
    taken = list[Message]()
    while any(chunk.broadcast_id == id for chunk in await storage.chunks.waiting(NOW, 10)):
        chunk = await claimed(storage, id)
        taken += await take(storage.chunks, chunk, "t", 100)
        assert await storage.chunks.finish(chunk, "t")
    failure = Failure("SOURCE_REJECTED", "No such number.", "12")
    for place, row in enumerate(taken):
        end = ends[place] if place < len(ends) else DELIVERED
        event = Event(state=end, channel="sms")
        assert await storage.messages.raise_to(
            row.id, event, failure=failure if end is FAILED else None, vendor_id=f"v{row.seq}"
        )
    return taken


async def take(chunks: Chunks, chunk: Chunk, token: str, count: int) -> list[Message]:
    """And leaves them to whoever asks what became of them."""
    taken = await chunks.take(chunk, token, "sms", count, lease_until=NOW + LEASE)
    rows = taken.rows if taken else []
    await chunks.leave(chunk, [row.seq for row in rows], due=NOW)
    return rows


async def live(chunks: Chunks, moment: int) -> dict[int, int]:
    return {id: each.chunks for id, each in (await chunks.live(moment)).items()}


# Chunks


async def test_every_running_broadcast_says_which_of_its_chunks_wait(town: Storage) -> None:
    first, second = await running(town), await running(town)

    waiting = await town.chunks.waiting(NOW, 2)

    assert [(chunk.broadcast_id, chunk.n, chunk.lo, chunk.hi) for chunk in waiting] == [
        (first, 0, 1, 5),
        (first, 1, 6, 10),
        (second, 0, 1, 5),
        (second, 1, 6, 10),
    ]
    assert len(await town.chunks.waiting(NOW, 10)) == 6
    assert await live(town.chunks, NOW) == {first: 0, second: 0}
    await town.broadcasts.pause(second)
    assert {chunk.broadcast_id for chunk in await town.chunks.waiting(NOW, 10)} == {first}
    assert await live(town.chunks, NOW) == {first: 0}


async def test_a_chunk_is_claimed_by_one_until_the_lease_is_over(town: Storage, database_url: str) -> None:
    id, chunks = await running(town), town.chunks
    async with open_storage(database_url, patience=10) as other:
        both = chunks, other.chunks
        claims = await asyncio.gather(
            *(both[n % 2].claim(id, 0, f"t{n}", NOW, NOW + LEASE) for n in range(10))
        )

    assert sorted(claims) == [False] * 9 + [True]
    assert await live(chunks, NOW) == {id: 1}
    assert await live(chunks, NOW + LEASE) == {id: 0}
    assert [chunk.n for chunk in await chunks.waiting(NOW, 10)] == [1, 2]
    late = await chunks.waiting(NOW + LEASE, 10)
    assert {(chunk.n, chunk.tries) for chunk in late} == {(0, 1), (1, 0), (2, 0)}
    assert not await chunks.claim(id, 0, "late", NOW + LEASE - 1, NOW + 2 * LEASE)
    assert await chunks.claim(id, 0, "late", NOW + LEASE, NOW + 2 * LEASE)
    assert not await chunks.claim(id, 9, "t", NOW, NOW + LEASE), "there is no such chunk"


async def test_who_lost_a_chunk_can_do_nothing_with_it_any_more(town: Storage) -> None:
    id, chunks = await running(town), town.chunks
    chunk = await claimed(town, id, "old")
    assert await chunks.claim(id, chunk.n, "new", NOW + LEASE, NOW + 2 * LEASE)

    assert await take(chunks, chunk, "old", 5) == []
    assert await chunks.take(chunk, "old", "sms", 5, lease_until=NOW) is None
    assert not await chunks.release(chunk, "old", 0)
    assert not await chunks.finish(chunk, "old")
    assert len(await take(chunks, chunk, "new", 5)) == 5
    assert await chunks.finish(chunk, "new")
    assert await chunks.ours(id, chunk.n, "new") is None
    assert not await chunks.claim(id, chunk.n, "again", NOW + 9 * LEASE, NOW + 10 * LEASE)


async def test_a_chunk_that_is_given_back_waits_until_it_is_due(town: Storage) -> None:
    id, chunks = await running(town), town.chunks
    chunk = await claimed(town, id)

    assert await chunks.release(chunk, "t", NOW + 500)

    assert chunk.n not in [each.n for each in await chunks.waiting(NOW + 499, 10)]
    assert await chunks.ours(id, chunk.n, "t") is None
    assert chunk.n in [each.n for each in await chunks.waiting(NOW + 500, 10)]


async def test_rows_are_taken_in_their_order_as_new_attempts(town: Storage) -> None:
    id, chunks = await running(town), town.chunks
    chunk = await claimed(town, id)

    at_first = await chunks.take(chunk, "t", None, 0, lease_until=NOW + LEASE)
    for_others = await chunks.take(chunk, "t", "viber", 3, lease_until=NOW + LEASE)
    first = await chunks.take(chunk, "t", "sms", 3, lease_until=NOW + LEASE)
    rest = await chunks.take(chunk, "t", "sms", 3, lease_until=NOW + LEASE)

    assert at_first == for_others == ([], "sms")
    assert first
    assert rest
    assert [row.seq for row in first.rows + rest.rows] == [1, 2, 3, 4, 5]
    assert (first.next, rest.next) == ("sms", None)
    assert {(row.state, row.attempt, row.due, row.channel) for row in first.rows} == {
        (SENDING, 1, None, "sms")
    }
    assert await town.broadcasts.deliveries(id, [SENDING], 2) == first.rows[:2]


async def test_what_is_in_hand_is_put_back_or_left_before_a_chunk_is_done(town: Storage) -> None:
    id, chunks = await running(town), town.chunks
    chunk = await claimed(town, id)
    taken = await chunks.take(chunk, "t", "sms", 5, lease_until=NOW + LEASE)
    assert taken
    assert not await chunks.finish(chunk, "t")

    await chunks.put_back(chunk, [1, 2])
    await chunks.leave(chunk, [3], due=NOW + 5)
    again = await chunks.take(chunk, "t", "sms", 5, lease_until=NOW + LEASE)
    assert again
    assert [(row.seq, row.attempt) for row in again.rows] == [(1, 2), (2, 2)]
    await chunks.leave(chunk, due=NOW + 6)

    assert await chunks.finish(chunk, "t")
    due = await town.messages.due(NOW + 6, 10)
    assert [(row.seq, row.due) for row in due] == [(3, NOW + 5)] + [(n, NOW + 6) for n in (1, 2, 4, 5)]
    await chunks.put_back(chunk, [3])
    assert (await town.messages.messages([due[0].id]))[due[0].id].state is SENDING, "it is not in hand"


async def test_of_two_who_take_from_one_chunk_each_row_goes_to_one(town: Storage, database_url: str) -> None:
    """As when a task is delivered twice: both have the token."""
    id = await running(town)
    taken = list[int]()
    async with open_storage(database_url, patience=10) as other:

        async def take_all(chunks: Chunks, chunk: Chunk) -> None:
            while not await chunks.finish(chunk, "t"):
                taken.extend(row.seq for row in await take(chunks, chunk, "t", 2))
                if chunk.n not in [each.n for each in await chunks.waiting(NOW + LEASE, 10)]:
                    return

        for _ in range(3):
            chunk = await claimed(town, id)
            await asyncio.gather(take_all(town.chunks, chunk), take_all(other.chunks, chunk))

    assert sorted(taken) == list(range(1, COUNT + 1))


async def test_a_chunk_with_a_row_that_came_back_is_not_finished(town: Storage) -> None:
    """One that certainly was not sent has a time of its own, and is no more the chunk's."""
    id = await running(town)
    chunk = await claimed(town, id)
    taken = await take(town.chunks, chunk, "t", 4)

    assert not await town.chunks.finish(chunk, "t"), "one was not taken"
    taken += await take(town.chunks, chunk, "t", 4)
    assert await town.messages.put_back(taken[0].id, attempt=1, due=NOW)
    assert await take(town.chunks, chunk, "t", 4) == []
    assert await town.chunks.finish(chunk, "t")


# States


@pytest.fixture
async def each_state(town: Storage) -> dict[State, int]:
    """A broadcast in each of its states."""
    broadcasts = town.broadcasts
    drafting, _ = await broadcasts.add(NewBroadcast(plan=PLAN, body=b"{}"))
    later = now().replace(year=now().year + 1)
    scheduled, _ = await broadcasts.add(NewBroadcast(plan=PLAN, body=b"{}", send_at=later))
    await stepped(broadcasts, scheduled.id)
    ids = {State.DRAFTING: drafting.id, State.SCHEDULED: scheduled.id, State.RUNNING: await running(town)}
    ids |= {state: await running(town) for state in (State.PAUSED, State.CANCELLED, State.COMPLETED)}
    await broadcasts.pause(ids[State.PAUSED])
    await broadcasts.cancel(ids[State.CANCELLED])
    await sent(town, ids[State.COMPLETED], FAILED)
    assert await broadcasts.finish(ids[State.COMPLETED])
    return ids


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        (Broadcasts.pause, {State.RUNNING: State.PAUSED, State.SCHEDULED: State.PAUSED}),
        (Broadcasts.resume, {State.PAUSED: State.RUNNING}),
        (
            Broadcasts.cancel,
            dict.fromkeys((State.DRAFTING, State.SCHEDULED, State.RUNNING, State.PAUSED), State.CANCELLED),
        ),
        (Broadcasts.retry, {State.COMPLETED: State.RUNNING}),
    ],
    ids=["pause", "resume", "cancel", "retry"],
)
async def test_a_change_is_refused_in_the_states_that_do_not_allow_it(
    town: Storage,
    each_state: dict[State, int],
    change: Callable[[Broadcasts, int], Awaitable[Broadcast]],
    allowed: dict[State, State],
) -> None:
    for state, id in each_state.items():
        assert (await now_is(town.broadcasts, id)).state is state
        if state in allowed:
            assert (await change(town.broadcasts, id)).state is allowed[state]
            continue
        with pytest.raises(Forbidden) as refused:
            await change(town.broadcasts, id)
        assert refused.value.state is state
        assert (await now_is(town.broadcasts, id)).state is state
    with pytest.raises(NotFound):
        await change(town.broadcasts, 404)


async def test_while_it_is_paused_nothing_is_taken_and_then_it_goes_on(town: Storage) -> None:
    id, chunks = await running(town), town.chunks
    chunk = await claimed(town, id)

    paused = await town.broadcasts.pause(id, "Hyber refuses everything.")

    assert (paused.state, paused.reason) == (State.PAUSED, "Hyber refuses everything.")
    assert await take(chunks, chunk, "t", 5) == []
    assert not await chunks.claim(id, 1, "t", NOW, NOW + LEASE)
    assert await chunks.waiting(NOW, 10) == []
    resumed = await town.broadcasts.resume(id)
    assert (resumed.state, resumed.reason, resumed.started_at) == (State.RUNNING, None, paused.started_at)
    assert len(await take(chunks, chunk, "t", 5)) == 5


async def test_what_is_paused_before_its_time_waits_for_its_time_again(
    town: Storage, each_state: dict[State, int]
) -> None:
    id = each_state[State.SCHEDULED]
    await town.broadcasts.pause(id)

    resumed = await town.broadcasts.resume(id)

    assert (resumed.state, resumed.started_at) == (State.SCHEDULED, None)


async def test_cancelling_stops_at_once_and_what_went_out_stays_counted(town: Storage) -> None:
    id = await running(town)
    chunk = await claimed(town, id)
    taken = await take(town.chunks, chunk, "t", 4)
    await town.messages.raise_to(taken[0].id, Event(state=DELIVERED, channel="sms"))
    await town.messages.put_back(taken[1].id, attempt=1, due=NOW)

    cancelled = await town.broadcasts.cancel(id)

    assert (cancelled.state, cancelled.phase) == (State.CANCELLED, Phase.CANCEL)
    assert await take(town.chunks, chunk, "t", 5) == []
    town.broadcasts.step_size = 3
    after = await stepped(town.broadcasts, id)
    assert (after.phase, after.total) == (None, COUNT + WITHOUT_PHONE)
    assert await counts(town, id) == {
        DELIVERED: 1,
        SENDING: 2,
        CANCELLED: COUNT - 3,
        SKIPPED: WITHOUT_PHONE,
    }
    rows = await town.broadcasts.deliveries(id, [CANCELLED], 100)
    assert {(row.due, row.final_at is None) for row in rows} == {(None, False)}
    now = await town.messages.messages([row.id for row in rows])
    assert [[event.state for event in row.events] for row in now.values()] == [[CANCELLED]] * len(rows)
    assert not await town.chunks.finish(chunk, "t")


async def test_cancelled_while_it_is_planned_no_more_is_planned(town: Storage) -> None:
    broadcasts = town.broadcasts
    broadcasts.page_size = 4
    broadcast, _ = await broadcasts.add(NewBroadcast(plan=PLAN, body=b"{}"))
    assert await broadcasts.step(broadcast.id, "us", NOW)

    await broadcasts.cancel(broadcast.id)

    after = await stepped(broadcasts, broadcast.id)
    assert (after.state, after.total) == (State.CANCELLED, 4)
    assert (await counts(town, broadcast.id)).get(PENDING, 0) == 0


async def test_only_what_failed_or_expired_is_sent_again_as_a_new_attempt(town: Storage) -> None:
    id = await running(town)
    taken = await sent(town, id, FAILED, EXPIRED, UNKNOWN)
    assert await town.broadcasts.finish(id)

    retried = await town.broadcasts.retry(id)
    with pytest.raises(Forbidden):
        await town.broadcasts.retry(id)

    assert (retried.state, retried.phase, retried.finished_at) == (State.RUNNING, Phase.RETRY, None)
    assert not await town.broadcasts.finish(id), "it is not all pending yet"
    town.broadcasts.step_size = 1
    await stepped(town.broadcasts, id)
    assert await counts(town, id) == {PENDING: 2, UNKNOWN: 1, DELIVERED: COUNT - 3, SKIPPED: WITHOUT_PHONE}
    (chunk,) = await town.chunks.waiting(NOW, 10)
    rows = (await town.messages.messages([row.id for row in taken[:2]])).values()
    assert {(row.step, row.channel, row.vendor_id, row.failure_code) for row in rows} == {
        (0, "sms", None, None)
    }
    assert await town.chunks.claim(id, chunk.n, "t", NOW, NOW + LEASE)
    again = await take(town.chunks, chunk, "t", 100)
    assert [(row.seq, row.attempt) for row in again] == [(row.seq, 2) for row in taken[:2]]
    history = (await town.messages.messages([taken[0].id]))[taken[0].id].events
    assert [event.state for event in history] == [FAILED, PENDING]


async def test_without_a_failure_there_is_nothing_to_retry(town: Storage) -> None:
    id = await running(town)
    await sent(town, id, UNKNOWN)
    assert await town.broadcasts.finish(id)

    with pytest.raises(NothingToRetry):
        await town.broadcasts.retry(id)


async def test_it_is_completed_when_nothing_is_left_to_send(town: Storage) -> None:
    id, broadcasts = await running(town), town.broadcasts
    assert not await broadcasts.finish(id)
    chunk = await claimed(town, id)
    (first, *_) = await take(town.chunks, chunk, "t", 5)
    await town.chunks.finish(chunk, "t")
    await sent(town, id)

    assert not await broadcasts.finish(id), "the first ones are still under way"
    for seq in range(first.seq, first.seq + 5):
        await town.messages.raise_to(messages.Id(id, seq), Event(state=DELIVERED, channel="sms"))

    assert await broadcasts.finish(id)
    assert not await broadcasts.finish(id)
    over = await now_is(broadcasts, id)
    assert (over.state, over.finished_at is None) == (State.COMPLETED, False)
