"""The attic: what is over, until it was kept long enough; cleared by one process at a time, in small steps.

There is no index by age, which every message would pay for: what is over is found by broadcast and state, and
of what is not old enough there only what began long ago and ended late is met in vain.
"""

from datetime import datetime

import msgspec
from sqlalchemy import Select, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storage.broadcasts import read_counts
from adapters.storage.database import Questions, reads, writes
from adapters.storage.messages import ALONE, State, first_seq_at
from adapters.storage.tables import ATTIC, BROADCAST, DELIVERY, REPORT

LEASE = 60_000
"""Milliseconds from one step to the next, after which somebody else may go on with it."""
STEP = 1_000
"""So many rows go in one transaction."""
OVER = tuple(state for state in State if state.is_final)


class Lost(Exception):
    """Somebody else clears."""


class Attic(Questions):
    @writes
    async def enter(self, connection: AsyncConnection, owner: str, moment: int) -> bool:
        """Whether it is time to clear, and nobody else does; from now on it is the owner's to do."""
        row = ATTIC.c
        change = update(ATTIC).where(row.until <= moment).values(owner=owner, until=moment + LEASE)
        return bool((await connection.execute(change)).rowcount)

    @writes
    async def leave(self, connection: AsyncConnection, owner: str, until: int) -> None:
        """Nobody has to clear before then."""
        change = update(ATTIC).where(ATTIC.c.owner == owner).values(owner=None, until=until)
        await connection.execute(change)

    @reads
    async def broadcasts(self, connection: AsyncConnection, before: datetime) -> list[int]:
        """Those that may have deliveries which were over before then; with them what is of none."""
        row, delivery = BROADCAST.c, DELIVERY.c
        since = func.coalesce(row.finished_at, row.started_at, row.created_at)
        some = [
            exists(select(1).where(delivery.broadcast_id == row.id, delivery.state == state))
            for state in OVER
        ]
        rows = select(row.id).where(since < before, or_(*some)).order_by(row.id)
        return [ALONE, *await connection.scalars(rows)]

    @writes
    async def clear_messages(
        self,
        connection: AsyncConnection,
        owner: str,
        moment: int,
        broadcast_id: int,
        state: State,
        before: datetime,
        after: int = 0,
    ) -> int | None:
        """Of so many in that state, those go that were over before then; behind which to go on, if at all."""
        await _stay(connection, owner, moment)
        counted = None
        if broadcast_id != ALONE:
            own = select(BROADCAST.c.purged_counts).where(BROADCAST.c.id == broadcast_id)
            counted = await connection.scalar(own.with_for_update())
        row = DELIVERY.c
        here = row.broadcast_id == broadcast_id, row.state == state
        ahead = select(row.seq, row.final_at).where(*here, row.seq > after)
        if broadcast_id == ALONE:  # they are numbered by time
            ahead = ahead.where(row.seq < first_seq_at(before))
        found = (await connection.execute(ahead.order_by(row.seq).limit(STEP))).all()
        old = [one.seq for one in found if one.final_at and one.final_at < before]
        if old:
            going = delete(DELIVERY).where(*here, row.seq.in_(old), row.final_at < before)
            gone = (await connection.execute(going)).rowcount
            if broadcast_id != ALONE:
                counts = read_counts(counted) if counted else {}
                counts[state] = counts.get(state, 0) + gone
                change = update(BROADCAST).where(BROADCAST.c.id == broadcast_id)
                await connection.execute(change.values(purged_counts=msgspec.json.encode(counts)))
        return found[-1].seq if len(found) == STEP else None

    @writes
    async def clear_reports(
        self, connection: AsyncConnection, owner: str, moment: int, before: datetime
    ) -> bool:
        """So many that were applied and came before then go; whether there may be more."""
        await _stay(connection, owner, moment)
        found = (await connection.execute(_applied())).all()
        old = [one.id for one in found if one.received_at < before]
        if old:
            await connection.execute(delete(REPORT).where(REPORT.c.id.in_(old)))
        return len(old) == STEP


async def _stay(connection: AsyncConnection, owner: str, moment: int) -> None:
    change = update(ATTIC).where(ATTIC.c.owner == owner).values(until=moment + LEASE)
    if not (await connection.execute(change)).rowcount:
        raise Lost


def _applied() -> Select[tuple[int, datetime]]:
    row = REPORT.c
    return select(row.id, row.received_at).where(row.waiting.is_(False)).order_by(row.id).limit(STEP)
