"""Steps: what is done to all rows of a broadcast at once, some thousands at a time.

Each says what it leaves to be written to the broadcast; without a place to go on from, it was the last.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Integer,
    String,
    Subquery,
    case,
    column,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    table,
    text,
    update,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.ddl import CreateTableAs

from adapters.storage import messages
from adapters.storage.audience import Plan, judged, page_of
from adapters.storage.database import AnyRow, is_mysql
from adapters.storage.messages import Event, and_then, write_events
from adapters.storage.tables import CHUNK, DELIVERY, Moment

PAGE = 40_000
"""So many people are planned in one transaction."""
PAGE_OF_ONE_WRITER = 150_000
"""SQLite writes all leaves of an index anew in every transaction that fills it: the fewer, the faster."""
CACHE_OF_ONE_WRITER, USUAL_CACHE = 64_000, 2_000
"""KiB in which it keeps these leaves meanwhile."""
SETTLED = 30_000
"""Milliseconds after which nobody has anything in hand any more that was taken before."""
CHUNK_SIZE = 1_000
STEP = 5_000
"""So many rows are cancelled or retried in one transaction."""
RETRIED = messages.State.FAILED, messages.State.EXPIRED


class State(StrEnum):
    DRAFTING = "drafting"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Phase(StrEnum):
    PLAN = "plan"
    CANCEL = "cancel"
    RETRY = "retry"


async def plan(connection: AsyncConnection, current: AnyRow, moment: int, size: int) -> dict[str, Any]:
    await _keep_in_memory(connection, CACHE_OF_ONE_WRITER)
    said, at = msgspec.json.decode(current.plan, type=Plan), at_moment(moment)
    listed = msgspec.json.decode(current.listed, type=tuple[str, ...])
    page = await page_of(connection, said, listed, current.place, size)
    before = last = current.last_seq
    total, chunks = current.total, list[dict[str, Any]]()
    await _deliver(connection, current.id, before, await judged(connection, said, page), at)
    for row in await connection.execute(_counted(current.id, before)):
        total, last = total + row.rows, max(last, row.last)
        if row.state == messages.State.PENDING:
            chunks += _chunks(current.id, current.chunks, row.first, row.last)
    if chunks:
        await connection.execute(insert(CHUNK), chunks)
    await _keep_in_memory(connection, USUAL_CACHE)
    values = {"total": total, "last_seq": last, "chunks": current.chunks + len(chunks)}
    if page.edge is not None:
        return values | {"place": page.edge}
    if not values["chunks"]:
        return values | {"state": State.COMPLETED, "started_at": at, "finished_at": at}
    if current.send_at and current.send_at > at:
        return values | {"state": State.SCHEDULED}
    return values | {"state": State.RUNNING, "started_at": at}


async def _keep_in_memory(connection: AsyncConnection, kibibytes: int) -> None:
    """Of SQLite's pages, by this connection; MySQL's are in a memory of their own."""
    if not is_mysql(connection):
        await connection.exec_driver_sql(f"PRAGMA cache_size = -{kibibytes}")


async def _deliver(connection: AsyncConnection, id: int, last: int, people: Subquery, at: datetime) -> None:
    """A row for each, in the order of addresses, as indexes grow fastest; behind them who is skipped.

    Whose address another has got already gets none. To number rows while it sorts them takes either database
    longer than to write them: MySQL counts in a variable instead, and SQLite in a table of the moment.
    """
    one = people.c
    in_order = one.why.is_not(None), one.key, one.person
    if is_mysql(connection):
        await connection.execute(text("SET @planned = 0"))
        rows = _rows(id, last + literal_column("(@planned := @planned + 1)", Integer), one, at)
        mine = mysql.insert(DELIVERY).from_select(list(rows), select(*rows.values()).order_by(*in_order))
        await connection.execute(mine.on_duplicate_key_update(seq=DELIVERY.c.seq))
        return
    names = "key", "phone", "messenger_id", "channel", "why", "part"
    in_turn = select(*(one[name] for name in names)).order_by(*in_order)
    await connection.execute(CreateTableAs(in_turn, "planned", temporary=True))
    planned = table("planned", column("rowid", Integer), *(column(name, String) for name in names))
    rows = _rows(id, last + planned.c.rowid, planned.c, at)
    # The condition tells SQLite's parser where the rows end and what to do with a conflict begins.
    some = select(*rows.values()).where(planned.c.rowid > 0)
    await connection.execute(sqlite.insert(DELIVERY).from_select(list(rows), some).on_conflict_do_nothing())
    await connection.exec_driver_sql("DROP TABLE planned")


def _rows(
    id: int, seq: ColumnElement[int], one: ReadOnlyColumnCollection[str, Any], at: datetime
) -> dict[str, ColumnElement[Any]]:
    is_out = one.why.is_not(None)
    return {
        "broadcast_id": literal(id),
        "seq": seq,
        "own_key": one.key,
        "phone": func.nullif(one.phone, one.key),
        "messenger_id": func.nullif(one.messenger_id, one.key),
        "state": case((is_out, messages.State.SKIPPED.value), else_=messages.State.PENDING.value),
        "state_rank": case((is_out, messages.State.SKIPPED.rank), else_=messages.State.PENDING.rank),
        "step": literal(0),
        "attempt": literal(0),
        "channel": case((is_out, None), else_=one.channel),
        "body": one.part,
        "history": case((is_out, _skipped(one.why, at)), else_=""),
        "failure_text": one.why,
        "created_at": literal(at, Moment()),
        "final_at": case((is_out, literal(at, Moment())), else_=None),
    }


def _skipped(why: ColumnElement[str], at: datetime) -> ColumnElement[str]:
    """A line of history with the reason of each."""
    line = write_events((Event(state=messages.State.SKIPPED, reason="?", at=at),)).decode()
    before, after = line.split("?")
    return literal(before) + why + literal(after)


def _counted(id: int, last: int) -> Any:
    """The new ones in each state: how many they are, and from where to where."""
    seq, state = DELIVERY.c.seq, DELIVERY.c.state
    place = func.min(seq).label("first"), func.max(seq).label("last")
    rows = select(state, func.count().label("rows"), *place).group_by(state)
    new = rows.where(*in_states(id, messages.State.PENDING, messages.State.SKIPPED), seq > last)
    # Its other indexes do not say which of the new rows are visible, and MySQL would look up each of them.
    return new.with_hint(DELIVERY, "FORCE INDEX (PRIMARY)", "mysql")


def _chunks(id: int, count: int, first: int, last: int) -> Iterator[dict[str, Any]]:
    for n, lo in enumerate(range(first, last + 1, CHUNK_SIZE), count):
        hi = min(lo + CHUNK_SIZE - 1, last)
        yield {"broadcast_id": id, "n": n, "lo": lo, "hi": hi, "state": "waiting", "due": 0, "tries": 0}


async def cancel(connection: AsyncConnection, current: AnyRow, moment: int, size: int) -> dict[str, Any]:
    at, row = at_moment(moment), DELIVERY.c
    pending = in_states(current.id, messages.State.PENDING)
    seqs = await _next(connection, pending, size)
    if seqs:
        these = row.broadcast_id == current.id, row.seq.between(seqs[0], seqs[-1])
        state = messages.State.CANCELLED
        values = {"state": state, "state_rank": state.rank, "due": None, "final_at": at}
        values |= and_then(Event(state=state, at=at))
        await connection.execute(update(DELIVERY).where(*pending, *these).values(values))
    if len(seqs) == size:
        return {"place": str(seqs[-1])}
    in_hand = *in_states(current.id, messages.State.SENDING), row.due.is_(None)
    await connection.execute(update(DELIVERY).where(*in_hand).values(due=moment + SETTLED))
    await connection.execute(
        update(CHUNK).where(CHUNK.c.broadcast_id == current.id).values(state="done", token=None)
    )
    return {}


async def retry(connection: AsyncConnection, current: AnyRow, moment: int, size: int) -> dict[str, Any]:
    """Their chunks are there to be taken again."""
    row, failed = DELIVERY.c, retried_in(current.id)
    seqs = await _next(connection, failed, size)
    if seqs:
        these = row.broadcast_id == current.id, row.seq.between(seqs[0], seqs[-1])
        state = messages.State.PENDING
        await connection.execute(
            update(DELIVERY)
            .where(*failed, *these)
            .values(
                state=state,
                state_rank=state.rank,
                due=None,
                step=0,
                channel=_first_channel(connection),
                vendor_id=None,
                failure_code=None,
                failure_text=None,
                vendor_code=None,
                accepted_at=None,
                final_at=None,
                **and_then(Event(state=state, at=at_moment(moment))),
            )
        )
        chunk = CHUNK.c
        touched = chunk.broadcast_id == current.id, chunk.lo <= seqs[-1], chunk.hi >= seqs[0]
        to_do = exists(select(1).where(*pending_in(chunk.broadcast_id, chunk.lo, chunk.hi)))
        reopened = update(CHUNK).where(*touched, chunk.state == "done", to_do)
        await connection.execute(reopened.values(state="waiting", token=None, due=0))
    return {"place": str(seqs[-1])} if len(seqs) == size else {}


def _first_channel(connection: AsyncConnection) -> ColumnElement[str]:
    first = func.json_extract(DELIVERY.c.body, "$.channels[0]", type_=String)
    return func.json_unquote(first, type_=String) if is_mysql(connection) else first


def pending_in(broadcast_id: Any, lo: Any, hi: Any) -> tuple[ColumnElement[bool], ...]:
    """Rows that a chunk's task is to take: a message that has been on its way has a time of its own."""
    row = DELIVERY.c
    return (
        row.broadcast_id == broadcast_id,
        row.state == messages.State.PENDING,
        row.seq.between(lo, hi),
        row.due.is_(None),
    )


def retried_in(id: int) -> tuple[ColumnElement[bool], ...]:
    return *in_states(id, *RETRIED), DELIVERY.c.body != messages.FORGOTTEN


async def _next(connection: AsyncConnection, those: tuple[ColumnElement[bool], ...], size: int) -> list[int]:
    """The first of them: a step takes them out of the state by which the next would find them."""
    rows = select(DELIVERY.c.seq).where(*those).order_by(DELIVERY.c.seq).limit(size)
    return list(await connection.scalars(rows))


def in_states(id: int, *states: messages.State) -> tuple[ColumnElement[bool], ...]:
    return DELIVERY.c.broadcast_id == id, DELIVERY.c.state.in_(states)


def at_moment(moment: int) -> datetime:
    return datetime.fromtimestamp(moment / 1000, UTC)
