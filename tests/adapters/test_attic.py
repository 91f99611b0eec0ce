"""The attic: what is over goes once it is old, counted; what is not over, or not old, stays."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from adapters.storage.attic import OVER, Lost
from adapters.storage.audience import Address, Plan, Way
from adapters.storage.broadcasts import NewBroadcast
from adapters.storage.client import Storage, open_storage
from adapters.storage.messages import ALONE, Event, NewMessage, Report, State, first_seq_at
from adapters.storage.tables import ATTIC, BROADCAST, DELIVERY, REPORT
from resolvers.sending import attic as keeping
from resolvers.sending.attic import Keeper

NOW = datetime.now(UTC).replace(microsecond=0)
PLAN = Plan(ways=(Way("sms", Address.PHONE),))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PAUSE", 0)
    monkeypatch.setattr("adapters.storage.attic.STEP", 3)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


async def change(storage: Storage, statement: Any, *rows: Any) -> None:
    async with storage._engine.execution_options(writes=True).begin() as connection:
        await connection.execute(statement, *rows)


async def broadcast(storage: Storage, age: float) -> int:
    """One that was planned, begun and finished so many days ago, with nobody in it."""
    added, _ = await storage.broadcasts.add(NewBroadcast(plan=PLAN, body=b"{}"))
    times = {name: ago(age) for name in ("created_at", "started_at", "finished_at")}
    this = update(BROADCAST).where(BROADCAST.c.id == added.id)
    await change(storage, this.values(state="completed", phase=None, **times))
    return added.id


async def deliveries(storage: Storage, of: int, age: float, *states: State, seq: int = 1) -> None:
    """Numbered from there on; those that are over have been for so many days."""
    rows = [
        {
            "broadcast_id": of,
            "seq": seq + place,
            "phone": "+593990009102",
            "own_key": None,
            "state": state,
            "state_rank": state.rank,
            "step": 0,
            "attempt": 1,
            "body": b'{"channels":["sms"]}',
            "history": b"",
            "created_at": ago(age),
            "final_at": ago(age) if state.is_final else None,
        }
        for place, state in enumerate(states)
    ]
    await change(storage, insert(DELIVERY), rows)


async def left(storage: Storage, of: int) -> list[State]:
    return [row.state for row in await storage.broadcasts.deliveries(of, (), 100)]


async def cleared(storage: Storage, messages: int = 400, reports: int = 30) -> bool:
    """Whether it was time, which it is."""
    await change(storage, update(ATTIC).values(until=0, owner=None))
    return await Keeper(storage.attic, messages, reports).turn()


async def test_what_is_over_goes_when_it_is_old_and_what_is_not_over_never(storage: Storage) -> None:
    old = first_seq_at(ago(401))
    await deliveries(storage, ALONE, 401, *State, seq=old)
    await deliveries(storage, ALONE, 399, *State, seq=first_seq_at(ago(399)))
    await deliveries(storage, ALONE, 1, State.DELIVERED, seq=old - 1)  # it was to be sent a year later

    assert await cleared(storage)

    kept = [state for state in State if state not in OVER]
    assert kept == [State.PENDING, State.SENDING, State.ACCEPTED, State.SENT]
    assert await left(storage, ALONE) == [State.DELIVERED, *kept, *State]


async def test_the_counts_of_a_broadcast_are_the_same_after_its_deliveries_went(storage: Storage) -> None:
    states = [State.DELIVERED] * 7 + [State.FAILED] * 3 + [State.SEEN, State.SKIPPED, State.UNKNOWN]
    old, young, empty = [await broadcast(storage, age) for age in (401, 10, 500)]
    await deliveries(storage, old, 401, *states, State.ACCEPTED)
    await deliveries(storage, old, 390, State.DELIVERED, seq=100)
    await deliveries(storage, young, 10, *states)
    before = await storage.broadcasts.counts([old, young, empty])

    await cleared(storage)

    assert await left(storage, old) == [State.ACCEPTED, State.DELIVERED]
    assert len(await left(storage, young)) == len(states)
    assert await storage.broadcasts.counts([old, young, empty]) == before
    assert before[old][State.DELIVERED] == 8

    await cleared(storage, messages=380)  # what is left of it goes in another clearing
    assert await left(storage, old) == [State.ACCEPTED]
    assert await storage.broadcasts.counts([old, young, empty]) == before


async def test_counts_that_are_read_while_it_clears_are_right_at_every_moment(
    storage: Storage, database_url: str
) -> None:
    id = await broadcast(storage, 401)
    await deliveries(storage, id, 401, *[State.DELIVERED] * 40)
    async with open_storage(database_url, patience=10) as other:
        clearing = asyncio.create_task(cleared(other))
        while not clearing.done():
            assert await storage.broadcasts.counts([id]) == {id: {State.DELIVERED: 40}}
    assert await clearing

    assert await left(storage, id) == []
    assert await storage.broadcasts.counts([id]) == {id: {State.DELIVERED: 40}}


async def test_applied_reports_go_when_they_are_old_and_waiting_ones_never(storage: Storage) -> None:
    reports = [
        Report(source="hyber", external_id=f"t-0-{n}-1", status="1", at=0, body=b"{}") for n in range(9)
    ]
    await storage.messages.receive(reports)
    ids = [report.id for report in await storage.messages.waiting_reports(10)]
    await storage.messages.done_with(ids[1:])
    await change(storage, update(REPORT).where(REPORT.c.id < ids[7]).values(received_at=ago(31)))

    await cleared(storage)

    async with storage._engine.connect() as connection:
        rows = await connection.scalars(select(REPORT.c.id).order_by(REPORT.c.id))
        assert list(rows) == [ids[0], *ids[7:]]


async def test_for_ever_is_for_ever(storage: Storage) -> None:
    await deliveries(storage, ALONE, 5_000, State.DELIVERED, seq=1)
    await storage.messages.receive([Report(source="hyber", external_id="x", status="1", at=0, body=b"{}")])
    await storage.messages.done_with([1])
    await change(storage, update(REPORT).values(received_at=ago(5_000)))

    assert not await cleared(storage, messages=0, reports=0)
    assert await cleared(storage, messages=0)
    assert await left(storage, ALONE) == [State.DELIVERED]
    assert await cleared(storage, reports=0)
    assert await left(storage, ALONE) == []


async def test_a_key_is_free_again_when_its_message_is_not_kept_any_more(storage: Storage) -> None:
    queued = (Event(state=State.PENDING, channel="sms"),)
    new = NewMessage(
        phone="+593990009102", body=b"{}", due=10, events=queued, idempotency_key="k", input_hash="a"
    )
    message = (await storage.messages.add(new)).message
    await storage.messages.cancel(message.id)
    old = {"seq": first_seq_at(ago(401)), "final_at": ago(401)}
    assert not (await storage.messages.add(new)).is_new
    await change(storage, update(DELIVERY).values(old))

    await cleared(storage)

    again, is_new, _ = await storage.messages.add(new)
    assert is_new
    assert again.id != message.id


async def test_one_process_clears_and_who_was_too_slow_stops(storage: Storage) -> None:
    first, second, moment = "first", "second", 1_000
    entered = await asyncio.gather(*(storage.attic.enter(f"{n}", moment) for n in range(10)))
    assert entered.count(True) == 1

    late = moment + 3_600_000  # whoever it was has been killed
    assert await storage.attic.enter(first, late)
    assert not await storage.attic.enter(second, late + 59_999)
    assert not await storage.attic.clear_reports(first, late + 50_000, ago(1))
    assert not await storage.attic.enter(second, late + 60_000), "it was at it since"
    assert await storage.attic.enter(second, late + 110_000)
    with pytest.raises(Lost):
        await storage.attic.clear_messages(first, late, ALONE, State.DELIVERED, ago(1))

    await storage.attic.leave(first, late)
    await storage.attic.leave(second, late + 200_000)
    assert not await storage.attic.enter(first, late + 199_999)
    assert await storage.attic.enter(first, late + 200_000)


async def test_it_goes_on_by_itself_until_it_is_told_to_stop(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TURN", 0.01)
    monkeypatch.setattr(keeping, "EVERY", 10)
    running = asyncio.create_task(keeping.run(storage, 400, 30))
    for _ in range(2):
        await deliveries(storage, ALONE, 401, State.DELIVERED, seq=1)
        async with asyncio.timeout(30):
            while await left(storage, ALONE):
                await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])

    assert running.cancelled()
