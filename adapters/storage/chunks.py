"""Chunks: a thousand deliveries of a broadcast, worked off by one task at a time.

Whoever claims a chunk has it while the lease lasts, which it renews; what it may not do any more, because
somebody else has the chunk or the broadcast does not run, changes nothing and says so.
"""

from collections.abc import Collection
from itertools import takewhile
from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, bindparam, case, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storage.database import AnyRow, Questions, reads, writes
from adapters.storage.messages import Message, addresses_of
from adapters.storage.messages import State as Sending
from adapters.storage.steps import State, pending_in
from adapters.storage.tables import BROADCAST, CHUNK, DELIVERY


class Chunk(msgspec.Struct, frozen=True):
    broadcast_id: int
    n: int
    lo: int
    hi: int
    tries: int
    """How often it was claimed."""


class Live(NamedTuple):
    chunks: int
    ours: int
    """Of them, those that were given out with a token of the owner's."""


class Taken(NamedTuple):
    rows: list[Message]
    next: str | None
    """The channel of the row behind them; None if there is none."""


class _Raced(Exception):
    """Somebody else took some of the rows meanwhile."""


class Chunks(Questions):
    @reads
    async def waiting(self, connection: AsyncConnection, moment: int, per_broadcast: int) -> list[Chunk]:
        """So many of each running broadcast that may be claimed: nobody has them, or their lease is over."""
        chunk, running = CHUNK.c, BROADCAST.c.state == State.RUNNING
        chunks = list[Chunk]()
        for id in await connection.scalars(select(BROADCAST.c.id).where(running).order_by(BROADCAST.c.id)):
            free = chunk.state.in_(("waiting", "live")), chunk.due <= moment
            rows = select(chunk.broadcast_id, chunk.n, chunk.lo, chunk.hi, chunk.tries)
            some = rows.where(chunk.broadcast_id == id, *free).order_by(chunk.due, chunk.n)
            chunks += [Chunk(*row) for row in await connection.execute(some.limit(per_broadcast))]
        return chunks

    @reads
    async def live(self, connection: AsyncConnection, moment: int, owner: str = "") -> dict[int, Live]:
        """How many of each running broadcast somebody is at; none is left out, also not for nobody."""
        chunk = CHUNK.c
        at_work = (chunk.broadcast_id == BROADCAST.c.id) & (chunk.state == "live") & (chunk.due > moment)
        ours = func.sum(case((chunk.token.startswith(owner, autoescape=True), 1), else_=0))
        rows = select(BROADCAST.c.id, func.count(chunk.n), ours).outerjoin_from(BROADCAST, CHUNK, at_work)
        counted = rows.where(BROADCAST.c.state == State.RUNNING).group_by(BROADCAST.c.id)
        return {id: Live(count, int(ours)) for id, count, ours in await connection.execute(counted)}

    @writes
    async def claim(
        self,
        connection: AsyncConnection,
        broadcast_id: int,
        n: int,
        token: str,
        moment: int,
        lease_until: int,
    ) -> bool:
        chunk = CHUNK.c
        this = chunk.broadcast_id == broadcast_id, chunk.n == n
        free = chunk.state.in_(("waiting", "live")), chunk.due <= moment, _runs(broadcast_id)
        values = {"state": "live", "token": token, "due": lease_until, "tries": chunk.tries + 1}
        change = update(CHUNK).where(*this, *free).values(values)
        return bool((await connection.execute(change)).rowcount)

    @reads
    async def ours(self, connection: AsyncConnection, broadcast_id: int, n: int, token: str) -> Chunk | None:
        """The chunk, if it was given out with this token, and to nobody since."""
        chunk = CHUNK.c
        this = chunk.broadcast_id == broadcast_id, chunk.n == n, chunk.state == "live", chunk.token == token
        rows = select(chunk.broadcast_id, chunk.n, chunk.lo, chunk.hi, chunk.tries).where(*this)
        row = (await connection.execute(rows)).first()
        return row and Chunk(*row)

    @writes
    async def release(self, connection: AsyncConnection, chunk: Chunk, token: str, due: int) -> bool:
        """Gives it back; nobody takes it before it is due."""
        ours = update(CHUNK).where(*_is_ours(chunk, token))
        values = {"state": "waiting", "token": None, "due": due}
        return bool((await connection.execute(ours.values(values))).rowcount)

    @writes
    async def finish(self, connection: AsyncConnection, chunk: Chunk, token: str) -> bool:
        """Whether it was ours, and no row of it is left to take, or to say what became of it."""
        left = select(1).where(*pending_in(chunk.broadcast_id, chunk.lo, chunk.hi))
        in_hand = select(1).where(*_in_hand(chunk))
        ours = update(CHUNK).where(*_is_ours(chunk, token), ~exists(left), ~exists(in_hand))
        return bool((await connection.execute(ours.values(state="done", token=None))).rowcount)

    async def take(
        self, chunk: Chunk, token: str, channel: str | None, count: int, *, lease_until: int
    ) -> Taken | None:
        """So many of its next rows if they are for the channel, from now on under way, each a new attempt.

        Nobody asks what became of them before they are left. None: the chunk is not ours any more, or its
        broadcast does not run.
        """
        try:
            return await self._take(chunk, token, channel, count, lease_until)
        except _Raced:
            return Taken([], channel)

    @writes
    async def _take(
        self,
        connection: AsyncConnection,
        chunk: Chunk,
        token: str,
        channel: str | None,
        count: int,
        lease_until: int,
    ) -> Taken | None:
        this = {"of": chunk.broadcast_id, "number": chunk.n, "whose": token, "until": lease_until}
        if not (await connection.execute(_RENEW, this)).rowcount:
            return None
        wanted = count if channel else 0
        here = {"of": chunk.broadcast_id, "low": chunk.lo, "high": chunk.hi}
        found = (await connection.execute(_NEXT, here | {"many": wanted + 1})).all()
        some = list(takewhile(lambda one: one.channel == channel, found[:wanted]))
        following = found[len(some)].channel if len(some) < len(found) else None
        if not some:
            return Taken([], following)
        # They are neighbours: what is between them and pending is one of them.
        those = {"of": chunk.broadcast_id, "low": some[0].seq, "high": some[-1].seq}
        if (await connection.execute(_TAKE, those)).rowcount != len(some):
            raise _Raced
        return Taken([_taken(one) for one in some], following)

    @writes
    async def put_back(self, connection: AsyncConnection, chunk: Chunk, seqs: Collection[int]) -> None:
        """Those of them that certainly were not sent."""
        values = {"state": Sending.PENDING, "state_rank": Sending.PENDING.rank}
        these = *_in_hand(chunk), DELIVERY.c.seq.in_(seqs)
        await connection.execute(update(DELIVERY).where(*these).values(values))

    @writes
    async def leave(
        self, connection: AsyncConnection, chunk: Chunk, seqs: Collection[int] | None = None, *, due: int
    ) -> None:
        """Those, or all, of which nobody knows what became of them: from `due` on somebody may ask."""
        these = _in_hand(chunk) if seqs is None else (*_in_hand(chunk), DELIVERY.c.seq.in_(seqs))
        await connection.execute(update(DELIVERY).where(*these).values(due=due))


_TAKEN = (
    "broadcast_id", "seq", "own_key", "phone", "messenger_id", "step", "attempt", "channel", "body", "tag",
    "created_at", "send_at",
)  # fmt: skip


def _taken(row: AnyRow) -> Message:
    """As it is now, but for its history, and for what became of earlier attempts."""
    return Message(
        broadcast_id=row.broadcast_id,
        seq=row.seq,
        **addresses_of(row),
        state=Sending.SENDING,
        due=None,
        step=row.step,
        attempt=row.attempt + 1,
        channel=row.channel,
        vendor_id=None,
        body=row.body,
        history=b"",
        failure_code=None,
        failure_text=None,
        vendor_code=None,
        tag=row.tag,
        created_at=row.created_at,
        send_at=row.send_at,
        accepted_at=None,
        final_at=None,
    )


_NEXT = (
    select(*(DELIVERY.c[name] for name in _TAKEN))
    .where(*pending_in(bindparam("of"), bindparam("low"), bindparam("high")))
    .order_by(DELIVERY.c.seq)
    .limit(bindparam("many"))
)
_TAKE = (
    update(DELIVERY)
    .where(*pending_in(bindparam("of"), bindparam("low"), bindparam("high")))
    .values(state=Sending.SENDING, state_rank=Sending.SENDING.rank, attempt=DELIVERY.c.attempt + 1)
)
_RENEW = (
    update(CHUNK)
    .where(
        CHUNK.c.broadcast_id == bindparam("of"),
        CHUNK.c.n == bindparam("number"),
        CHUNK.c.state == "live",
        CHUNK.c.token == bindparam("whose"),
        exists(select(1).where(BROADCAST.c.id == bindparam("of"), BROADCAST.c.state == State.RUNNING)),
    )
    .values(due=bindparam("until"))
)


def _in_hand(chunk: Chunk) -> tuple[ColumnElement[bool], ...]:
    """Taken, and not heard of since."""
    row = DELIVERY.c
    here = row.broadcast_id == chunk.broadcast_id, row.seq.between(chunk.lo, chunk.hi)
    return *here, row.state == Sending.SENDING, row.due.is_(None)


def _is_ours(chunk: Chunk, token: str) -> tuple[ColumnElement[bool], ...]:
    this = CHUNK.c.broadcast_id == chunk.broadcast_id, CHUNK.c.n == chunk.n
    return *this, CHUNK.c.state == "live", CHUNK.c.token == token


def _runs(broadcast_id: int) -> ColumnElement[bool]:
    return exists(select(1).where(BROADCAST.c.id == broadcast_id, BROADCAST.c.state == State.RUNNING))
