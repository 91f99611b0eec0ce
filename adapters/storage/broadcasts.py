"""Broadcasts: what is sent to many, planned once, from then on a row for each recipient in the ledger.

drafting -> (scheduled) -> running <-> paused -> completed or cancelled

What is to be done to all of their rows (to plan, to cancel, to retry) is a phase, done in steps: each is one
transaction, which also says where the next begins. So whoever is killed is followed by somebody else.
"""

from collections import Counter, defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Select, case, exists, func, insert, or_, outerjoin, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from adapters.storage import messages, steps
from adapters.storage.audience import Page, Plan, judged, page_of, shared_phones
from adapters.storage.database import (
    AnyRow,
    Database,
    Questions,
    batches,
    found,
    reads,
    reads_many,
    writes,
    writes_many,
)
from adapters.storage.everyprint import NotFound, Refused
from adapters.storage.messages import KeyReused, Message
from adapters.storage.steps import Phase, State, at_moment, in_states, retried_in
from adapters.storage.tables import BROADCAST, CHUNK, DELIVERY, BroadcastRow, now

__all__ = [
    "Broadcast",
    "Broadcasts",
    "Forbidden",
    "NewBroadcast",
    "NothingToRetry",
    "Phase",
    "Preview",
    "Sample",
    "State",
]

LEASE = 30_000
"""Milliseconds from one step to the next, after which somebody else may go on with it."""
SAMPLES = 5


class NewBroadcast(msgspec.Struct, frozen=True, kw_only=True):
    plan: Plan
    listed: tuple[str, ...] = ()
    """A key of each of those who were named one by one, as text."""
    body: bytes
    """What is to be said, frozen: JSON that only its author reads."""
    rate_per_second: float | None = None
    send_at: datetime | None = None
    tag: str | None = None
    idempotency_key: str | None = None
    input_hash: str | None = None


class Broadcast(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    state: State
    reason: str | None
    """Why it is paused, if somebody said so."""
    phase: Phase | None
    plan: Plan
    body: bytes
    total: int
    """Of its recipients, also those who are not reached; while it is planned, of those so far."""
    rate_per_second: float | None
    tag: str | None
    created_at: datetime
    send_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


class Sample(msgspec.Struct, frozen=True):
    person: str
    phone: str | None
    messenger_id: str | None
    channel: str
    part: bytes
    """What a delivery of theirs has as its body."""


class Preview(msgspec.Struct, frozen=True):
    recipients: int
    by_channel: dict[str, int]
    """By the first channel that reaches them."""
    unreachable: dict[str, int]
    """By the reason."""
    samples: list[Sample]


class Forbidden(Refused):
    """Its state does not allow that."""

    def __init__(self, state: State) -> None:
        super().__init__(f"the broadcast is {state}")
        self.state = state


class NothingToRetry(Refused): ...


_COLUMNS = [BROADCAST.c[name] for name in Broadcast.__struct_fields__]


class Broadcasts(Questions):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.page_size = steps.PAGE_OF_ONE_WRITER if database.has_one_writer else steps.PAGE
        self.step_size = steps.STEP

    @writes
    async def add(self, connection: AsyncConnection, new: NewBroadcast) -> tuple[Broadcast, bool]:
        """The broadcast, and whether it is new: a key that comes again gets what it got first."""
        key = new.idempotency_key
        if key is not None and (first := await _first(connection, key, new.input_hash)):
            return first, False
        taken = {name: getattr(new, name) for name in new.__struct_fields__ if name not in ("plan", "listed")}
        row = taken | {
            "state": State.DRAFTING,
            "phase": Phase.PLAN,
            "place": "",
            "leased_until": 0,
            "total": 0,
            "last_seq": 0,
            "chunks": 0,
            "plan": msgspec.json.encode(new.plan),
            "listed": msgspec.json.encode(new.listed),
            "created_at": now(),
        }
        added = await connection.execute(insert(BROADCAST).values(row))
        return await _broadcast(connection, added.lastrowid), True

    @reads
    async def first(
        self, connection: AsyncConnection, idempotency_key: str, input_hash: str
    ) -> Broadcast | None:
        """What the key got, should it have come before."""
        return await _first(connection, idempotency_key, input_hash)

    @reads
    async def of(self, connection: AsyncConnection, ids: Collection[int]) -> dict[int, Broadcast]:
        rows = await found(connection, select(*_COLUMNS), col(BroadcastRow.id), ids)
        return {row.id: _plain(row) for row in rows}

    @reads
    async def page(
        self, connection: AsyncConnection, first: int, before: int | None = None
    ) -> list[Broadcast]:
        """So many, newest first, from behind the given one on."""
        rows = select(*_COLUMNS).order_by(BROADCAST.c.id.desc()).limit(first)
        if before is not None:
            rows = rows.where(BROADCAST.c.id < before)
        return [_plain(row) for row in await connection.execute(rows)]

    @reads
    async def count(self, connection: AsyncConnection) -> int:
        return await connection.scalar(select(func.count()).select_from(BROADCAST)) or 0

    @reads
    async def counts(
        self, connection: AsyncConnection, ids: Collection[int]
    ) -> dict[int, dict[messages.State, int]]:
        """How many deliveries of each are in which state, from the deliveries themselves.

        And of those that are not kept any more, from what was counted when they went: both at one moment.
        """
        counts = defaultdict[int, Counter[messages.State]](Counter)
        for some in batches(dict.fromkeys(ids)):
            for row in await connection.execute(_counts(some)):
                if row.purged_counts and row.id not in counts:
                    counts[row.id].update(read_counts(row.purged_counts))
                if row.state is not None:
                    counts[row.id][messages.State(row.state)] += row.rows
        return {id: dict(by_state) for id, by_state in counts.items()}

    @reads
    async def deliveries(
        self,
        connection: AsyncConnection,
        id: int,
        states: Collection[messages.State],
        first: int,
        after_seq: int = 0,
    ) -> list[Message]:
        """So many of those in one of the states, or of all, from behind the given one on."""
        row = DELIVERY.c
        rows = select(DELIVERY).where(row.broadcast_id == id, row.seq > after_seq)
        if states:
            rows = rows.where(row.state.in_(states))
        return list(map(messages.plain, await connection.execute(rows.order_by(row.seq).limit(first))))

    # What it would do

    async def preview(self, plan: Plan, listed: Collection[str] = ()) -> Preview:
        """What planning would write down now, counted."""
        by_channel, unreachable, seen = Counter[str](), Counter[str](), set[str]()
        samples, after = list[Sample](), ""
        while True:
            page, rows, some = await self._preview(plan, listed, after, SAMPLES - len(samples))
            for row in rows:
                if row.why is not None:
                    unreachable[row.why] += row.people
                elif row.shared is None:
                    by_channel[row.channel] += row.people
                elif row.shared not in seen:
                    seen.add(row.shared)
                    by_channel[row.channel] += 1
            samples += some
            if page.edge is None:
                recipients = by_channel.total() + unreachable.total()
                return Preview(recipients, dict(by_channel), dict(unreachable), samples)
            after = page.edge

    @reads_many
    async def _preview(
        self, connection: AsyncConnection, plan: Plan, listed: Collection[str], after: str, wanted: int
    ) -> tuple[Page, list[AnyRow], list[Sample]]:
        """One page of it, the rows in the order in which planning meets the addresses that people share."""
        page = await page_of(connection, plan, listed, after, self.page_size)
        one = (await judged(connection, plan, page)).c
        shared = case((one.key.in_(shared_phones()), one.key), else_=None).label("shared")
        marked = select(one.person, one.channel, one.why, shared).subquery()
        group = marked.c.channel, marked.c.why, marked.c.shared
        first, many = func.min(marked.c.person).label("first"), func.count().label("people")
        rows = sorted(
            await connection.execute(select(*group, first, many).group_by(*group)),
            key=lambda row: row.first,
        )
        if not wanted:
            return page, rows, []
        reached = select(one.person, one.phone, one.messenger_id, one.channel, one.part)
        some = reached.where(one.why.is_(None)).order_by(one.person).limit(wanted)
        samples = [
            Sample(row.person, row.phone, row.messenger_id, row.channel, row.part.encode())
            for row in await connection.execute(some)
        ]
        return page, rows, samples

    # Phases

    @reads
    async def in_phase(self, connection: AsyncConnection, moment: int) -> list[int]:
        """Those that have a next step which nobody is at."""
        row = BROADCAST.c
        waiting = select(row.id).where(row.phase.is_not(None), row.leased_until <= moment)
        return list(await connection.scalars(waiting.order_by(row.id)))

    @writes_many
    async def step(self, connection: AsyncConnection, id: int, owner: str, moment: int) -> bool:
        """Does the next step of its phase; whether the owner has another one to do."""
        row = BROADCAST.c
        free = or_(row.leased_until <= moment, row.owner == owner)
        lease = update(BROADCAST).where(row.id == id, row.phase.is_not(None), free)
        if not await _changed(connection, lease.values(owner=owner, leased_until=moment + LEASE)):
            return False
        current = (await connection.execute(select(BROADCAST).where(row.id == id))).one()
        if current.phase == Phase.PLAN:
            values = await steps.plan(connection, current, moment, self.page_size)
        elif current.phase == Phase.CANCEL:
            values = await steps.cancel(connection, current, moment, self.step_size)
        else:
            values = await steps.retry(connection, current, moment, self.step_size)
        if is_over := "place" not in values:
            values |= {"phase": None, "owner": None, "leased_until": 0}
        await connection.execute(update(BROADCAST).where(row.id == id).values(values))
        return not is_over

    # States

    @writes
    async def start_due(self, connection: AsyncConnection, moment: int) -> list[int]:
        """Those that begin now, for their time has come."""
        row = BROADCAST.c
        due = row.state == State.SCHEDULED, row.send_at <= at_moment(moment)
        ids = list(await connection.scalars(select(row.id).where(*due)))
        values = {"state": State.RUNNING, "started_at": at_moment(moment)}
        return [
            id
            for id in ids
            if await _changed(connection, update(BROADCAST).where(row.id == id, *due).values(values))
        ]

    @writes
    async def pause(self, connection: AsyncConnection, id: int, reason: str | None = None) -> Broadcast:
        return await _put(connection, id, (State.RUNNING, State.SCHEDULED), state=State.PAUSED, reason=reason)

    @writes
    async def resume(self, connection: AsyncConnection, id: int) -> Broadcast:
        row, moment = BROADCAST.c, now()
        is_ahead = func.coalesce(row.send_at > moment, False)
        return await _put(
            connection,
            id,
            (State.PAUSED,),
            state=case((is_ahead, State.SCHEDULED), else_=State.RUNNING),
            reason=None,
            started_at=case((is_ahead, None), else_=func.coalesce(row.started_at, moment)),
        )

    @writes
    async def cancel(self, connection: AsyncConnection, id: int) -> Broadcast:
        """From now on nothing of it goes out; its rows say so soon after."""
        unfinished = State.DRAFTING, State.SCHEDULED, State.RUNNING, State.PAUSED
        return await _put(
            connection,
            id,
            unfinished,
            state=State.CANCELLED,
            reason=None,
            finished_at=now(),
            **_begin(Phase.CANCEL),
        )

    @writes
    async def retry(self, connection: AsyncConnection, id: int) -> Broadcast:
        """What failed or expired is sent again, as new attempts."""
        failed = exists(select(1).where(*retried_in(id)))
        if not await connection.scalar(select(failed)):
            broadcast = await _broadcast(connection, id)
            raise NothingToRetry if broadcast.state is State.COMPLETED else Forbidden(broadcast.state)
        return await _put(
            connection,
            id,
            (State.COMPLETED,),
            state=State.RUNNING,
            finished_at=None,
            **_begin(Phase.RETRY),
        )

    @writes
    async def finish(self, connection: AsyncConnection, id: int) -> bool:
        """Whether it was running, and now nothing of it is left to send."""
        row = BROADCAST.c
        chunks = select(CHUNK.c.n).where(CHUNK.c.broadcast_id == id, CHUNK.c.state != "done")
        open_ = select(1).where(*in_states(id, messages.State.PENDING, messages.State.SENDING))
        over = row.state == State.RUNNING, row.phase.is_(None), ~exists(chunks), ~exists(open_)
        change = update(BROADCAST).where(row.id == id, *over)
        return await _changed(connection, change.values(state=State.COMPLETED, finished_at=now()))


read_counts = msgspec.json.Decoder(dict[messages.State, int]).decode


def _counts(ids: Collection[int]) -> Select[Any]:
    """One statement, so that nobody is counted before going and after."""
    delivery, group = DELIVERY.c, (DELIVERY.c.broadcast_id, DELIVERY.c.state)
    rows = select(*group, func.count().label("rows")).where(delivery.broadcast_id.in_(ids))
    here = rows.group_by(*group).subquery()
    of_each = outerjoin(BROADCAST, here, here.c.broadcast_id == BROADCAST.c.id)
    counted = select(BROADCAST.c.id, BROADCAST.c.purged_counts, here.c.state, here.c.rows)
    return counted.select_from(of_each).where(BROADCAST.c.id.in_(ids))


def _begin(phase: Phase) -> dict[str, Any]:
    return {"phase": phase, "place": "", "owner": None, "leased_until": 0}


async def _put(connection: AsyncConnection, id: int, allowed: Collection[State], **values: Any) -> Broadcast:
    """The broadcast in its new state, if one of the allowed was its state before."""
    this = BROADCAST.c.id == id, BROADCAST.c.state.in_(allowed)
    changed = await _changed(connection, update(BROADCAST).where(*this).values(values))
    broadcast = await _broadcast(connection, id)
    if not changed:
        raise Forbidden(broadcast.state)
    return broadcast


async def _broadcast(connection: AsyncConnection, id: int) -> Broadcast:
    row = (await connection.execute(select(*_COLUMNS).where(BROADCAST.c.id == id))).one_or_none()
    if row is None:
        raise NotFound("no such broadcast")
    return _plain(row)


async def _first(connection: AsyncConnection, key: str, input_hash: str | None) -> Broadcast | None:
    rows = select(*_COLUMNS, BROADCAST.c.input_hash).where(BROADCAST.c.idempotency_key == key)
    row = (await connection.execute(rows)).one_or_none()
    if row is None:
        return None
    if row.input_hash != input_hash:
        raise KeyReused
    return _plain(row)


async def _changed(connection: AsyncConnection, change: Any) -> bool:
    return bool((await connection.execute(change)).rowcount)


def _plain(row: AnyRow) -> Broadcast:
    named = {name: getattr(row, name) for name in Broadcast.__struct_fields__}
    return msgspec.convert(named | {"plan": msgspec.json.decode(row.plan)}, Broadcast)
