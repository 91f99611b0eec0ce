"""Messages: the ledger of what is sent, a row for each recipient, who wants nothing, and what vendors report.

PENDING 0 -> SENDING 1 -> ACCEPTED 2 -> SENT 3 -> DELIVERED, FAILED or EXPIRED 4 -> SEEN 5
             SENDING 1 -> UNKNOWN 2     PENDING 0 -> SKIPPED or CANCELLED 4

States have a rank and only go up, but for a step of a cascade that did not deliver: then the next is pending.
"""

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from time import time
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from adapters.storage.database import AnyRow, Questions, found, found_by_key, is_mysql, reads, writes
from adapters.storage.tables import (
    DeliveryEventRow,
    DeliveryRow,
    ReportRow,
    SuppressionRow,
    now,
)

ALONE = 0
"""The broadcast of a message that is of none."""
ANY_CHANNEL = ""


class State(StrEnum):
    PENDING = "pending"
    SENDING = "sending"
    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    SEEN = "seen"
    FAILED = "failed"
    EXPIRED = "expired"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        return RANKS[self]

    @property
    def is_final(self) -> bool:
        return self.rank >= RANKS[State.DELIVERED] or self is State.UNKNOWN


RANKS: Mapping[State, int] = {
    State.PENDING: 0,
    State.SENDING: 1,
    State.ACCEPTED: 2,
    State.UNKNOWN: 2,
    State.SENT: 3,
    State.DELIVERED: 4,
    State.FAILED: 4,
    State.EXPIRED: 4,
    State.SKIPPED: 4,
    State.CANCELLED: 4,
    State.SEEN: 5,
}


class Id(NamedTuple):
    broadcast: int
    seq: int


class Event(msgspec.Struct, frozen=True, kw_only=True):
    state: State
    channel: str | None = None
    reason: str | None = None
    at: datetime = msgspec.field(default_factory=now)


class Failure(msgspec.Struct, frozen=True):
    code: str
    text: str
    vendor_code: str | None = None


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    phone: str | None = None
    """In E.164."""
    messenger_id: str | None = None
    body: bytes
    """What is to be said, frozen: JSON that only its author reads."""
    channel: str | None = None
    due: int | None
    """UTC in milliseconds; None if it is not to be sent at all."""
    send_at: datetime | None = None
    tag: str | None = None
    idempotency_key: str | None = None
    input_hash: str | None = None
    events: tuple[Event, ...]
    """The last of them says its state."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    broadcast_id: int
    seq: int
    phone: str | None
    messenger_id: str | None
    state: State
    due: int | None
    """When somebody has to look at it again: to send it, or to ask what became of it."""
    step: int
    attempt: int
    channel: str | None
    vendor_id: str | None
    body: bytes
    failure_code: str | None
    failure_text: str | None
    vendor_code: str | None
    tag: str | None
    created_at: datetime
    send_at: datetime | None
    accepted_at: datetime | None
    final_at: datetime | None

    @property
    def id(self) -> Id:
        return Id(self.broadcast_id, self.seq)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    external_id: str
    status: str
    at: int
    body: bytes


class WaitingReport(msgspec.Struct, frozen=True):
    id: int
    source: str
    external_id: str
    body: bytes


class Suppression(msgspec.Struct, frozen=True):
    address: str
    channel: str
    reason: str
    created_at: datetime


class KeyReused(Exception):
    """The idempotency key came with other input before."""


_MESSAGES = select(DeliveryRow)
_ID = col(DeliveryRow.broadcast_id), col(DeliveryRow.seq)


class Messages(Questions):
    @writes
    async def add(self, connection: AsyncConnection, new: NewMessage) -> tuple[Message, bool]:
        """The message, and whether it is new: a key that comes again gets what it got first."""
        key = new.idempotency_key
        if key is not None and (first := await _first(connection, key, new.input_hash)):
            return first, False
        id = Id(ALONE, _new_seq())
        state, moment = new.events[-1].state, now()
        given = {name: getattr(new, name) for name in new.__struct_fields__ if name != "events"}
        row = given | {
            "broadcast_id": id.broadcast,
            "seq": id.seq,
            "state": state,
            "state_rank": state.rank,
            "step": 0,
            "attempt": 0,
            "created_at": moment,
            "final_at": moment if state.is_final else None,
        }
        await connection.execute(insert(DeliveryRow).values(row))
        await _tell(connection, id, *new.events)
        return await _message(connection, id), True

    @reads
    async def first(
        self, connection: AsyncConnection, idempotency_key: str, input_hash: str
    ) -> Message | None:
        """What the key got, should it have come before."""
        return await _first(connection, idempotency_key, input_hash)

    @reads
    async def messages(self, connection: AsyncConnection, ids: Collection[Id]) -> dict[Id, Message]:
        rows = await found_by_key(connection, _MESSAGES, *_ID, ids)
        return {Id(row.broadcast_id, row.seq): _plain(row) for row in rows}

    @reads
    async def histories(self, connection: AsyncConnection, ids: Collection[Id]) -> dict[Id, list[Event]]:
        """Oldest first."""
        events = defaultdict[Id, list[Event]](list)
        ordered = select(DeliveryEventRow).order_by(col(DeliveryEventRow.id))
        of = col(DeliveryEventRow.broadcast_id), col(DeliveryEventRow.seq)
        for row in await found_by_key(connection, ordered, *of, ids):
            event = Event(state=State(row.state), channel=row.channel, reason=row.reason, at=row.at)
            events[Id(row.broadcast_id, row.seq)].append(event)
        return dict(events)

    @reads
    async def to_person(
        self,
        connection: AsyncConnection,
        phones: Collection[str],
        messenger_ids: Collection[str],
        first: int,
        before: Id | None = None,
    ) -> list[Message]:
        """So many of the messages to any of the addresses, newest first, from behind the given one on."""
        rows = _MESSAGES.where(_is_to(phones, messenger_ids))
        if before is not None:
            rows = rows.where(
                or_(
                    col(DeliveryRow.seq) < before.seq,
                    (col(DeliveryRow.seq) == before.seq) & (col(DeliveryRow.broadcast_id) < before.broadcast),
                )
            )
        ordered = rows.order_by(col(DeliveryRow.seq).desc(), col(DeliveryRow.broadcast_id).desc())
        return [_plain(row) for row in await connection.execute(ordered.limit(first))]

    @reads
    async def count_to_person(
        self, connection: AsyncConnection, phones: Collection[str], messenger_ids: Collection[str]
    ) -> int:
        rows = select(func.count()).select_from(DeliveryRow).where(_is_to(phones, messenger_ids))
        return await connection.scalar(rows) or 0

    # On its way

    @reads
    async def due(self, connection: AsyncConnection, moment: int, count: int) -> list[Message]:
        """So many of those that somebody has to look at by now."""
        rows = _MESSAGES.where(col(DeliveryRow.due) <= moment).order_by(col(DeliveryRow.due)).limit(count)
        return [_plain(row) for row in await connection.execute(rows)]

    @writes
    async def claim(self, connection: AsyncConnection, id: Id, moment: int, *, due: int) -> Message | None:
        """Takes a pending message to send it now; None if another was faster, or it is not due any more.

        From `due` on somebody may ask what became of it.
        """
        claim = _of(id, col(DeliveryRow.state) == State.PENDING, col(DeliveryRow.due) <= moment).values(
            state=State.SENDING,
            state_rank=State.SENDING.rank,
            attempt=col(DeliveryRow.attempt) + 1,
            due=due,
        )
        return await _message(connection, id) if await _changed(connection, claim) else None

    @writes
    async def hold(self, connection: AsyncConnection, message: Message, *, due: int) -> bool:
        """Takes a message that is under way to ask what became of it; nobody else does so before `due`."""
        same = (
            col(DeliveryRow.state) == message.state,
            col(DeliveryRow.attempt) == message.attempt,
            col(DeliveryRow.due) == message.due,
        )
        return await _changed(connection, _of(message.id, *same).values(due=due))

    @writes
    async def raise_to(
        self,
        connection: AsyncConnection,
        id: Id,
        event: Event,
        *,
        attempt: int | None = None,
        vendor_id: str | None = None,
        failure: Failure | None = None,
        due: int | None = None,
        keep_due: bool = False,
    ) -> bool:
        """Whether the state went up; with `attempt`, only if no later one has begun."""
        lower = [col(DeliveryRow.state_rank) < event.state.rank]
        if attempt is not None:
            lower.append(col(DeliveryRow.attempt) == attempt)
        values: dict[str, Any] = {
            "state": event.state,
            "state_rank": event.state.rank,
            "due": col(DeliveryRow.due) if keep_due else due,
            "channel": event.channel or col(DeliveryRow.channel),
        }
        if vendor_id is not None:
            values["vendor_id"] = vendor_id
        if failure is not None:
            values |= _columns(failure)
        if event.state is State.ACCEPTED:
            values["accepted_at"] = event.at
        if event.state.is_final:
            values["final_at"] = func.coalesce(col(DeliveryRow.final_at), event.at)
        if not await _changed(connection, _of(id, *lower).values(values)):
            return False
        await _tell(connection, id, event)
        return True

    @writes
    async def go_on(
        self,
        connection: AsyncConnection,
        id: Id,
        event: Event,
        *,
        attempt: int,
        step: int,
        channel: str,
        failure: Failure | None = None,
        due: int,
    ) -> bool:
        """The step ended, as the event says, without delivering: the next is pending."""
        under_way = (
            col(DeliveryRow.attempt) == attempt,
            col(DeliveryRow.state_rank).between(State.SENDING.rank, State.SENT.rank),
        )
        values = {
            "state": State.PENDING,
            "state_rank": State.PENDING.rank,
            "step": step,
            "channel": channel,
            "vendor_id": None,
            "due": due,
            **(_columns(failure) if failure else {}),
        }
        if not await _changed(connection, _of(id, *under_way).values(values)):
            return False
        await _tell(connection, id, event, Event(state=State.PENDING, channel=channel))
        return True

    @writes
    async def put_back(self, connection: AsyncConnection, id: Id, *, attempt: int, due: int) -> bool:
        """It certainly was not sent: it is pending again."""
        sending = col(DeliveryRow.state) == State.SENDING, col(DeliveryRow.attempt) == attempt
        values = {"state": State.PENDING, "state_rank": State.PENDING.rank, "due": due}
        return await _changed(connection, _of(id, *sending).values(values))

    @writes
    async def cancel(self, connection: AsyncConnection, id: Id) -> bool:
        """Whether it had not gone out, and now never will."""
        pending = _of(id, col(DeliveryRow.state) == State.PENDING)
        event = Event(state=State.CANCELLED)
        values = {"state": event.state, "state_rank": event.state.rank, "due": None, "final_at": event.at}
        if not await _changed(connection, pending.values(values)):
            return False
        await _tell(connection, id, event)
        return True

    # Reports

    @writes
    async def receive(self, connection: AsyncConnection, reports: Iterable[Report]) -> None:
        """Keeps them until somebody applies them; one that is there already is no news."""
        rows = [msgspec.structs.asdict(report) | {"waiting": True} for report in reports]
        if not rows:
            return
        if is_mysql(connection):
            await connection.execute(mysql.insert(ReportRow).prefix_with("IGNORE"), rows)
        else:
            await connection.execute(sqlite.insert(ReportRow).on_conflict_do_nothing(), rows)

    @reads
    async def waiting_reports(self, connection: AsyncConnection, count: int) -> list[WaitingReport]:
        rows = select(ReportRow).where(col(ReportRow.waiting).is_(True)).order_by(col(ReportRow.id))
        answers = await connection.execute(rows.limit(count))
        return [WaitingReport(row.id, row.source, row.external_id, row.body) for row in answers]

    @writes
    async def done_with(self, connection: AsyncConnection, report_ids: Collection[int]) -> None:
        those = col(ReportRow.id).in_(report_ids)
        await connection.execute(update(ReportRow).where(those).values(waiting=False))

    # Who wants nothing

    @writes
    async def suppress(
        self, connection: AsyncConnection, address: str, channel: str, reason: str
    ) -> Suppression:
        """Said again it keeps its moment, and takes the new reason."""
        this = col(SuppressionRow.address) == address, col(SuppressionRow.channel) == channel
        change = update(SuppressionRow).where(*this).values(reason=reason)
        if not (await connection.execute(change)).rowcount:
            new = {"address": address, "channel": channel, "reason": reason, "created_at": now()}
            await connection.execute(insert(SuppressionRow).values(new))
        row = (await connection.execute(select(SuppressionRow).where(*this))).one()
        return msgspec.convert(row, Suppression, from_attributes=True)

    @writes
    async def unsuppress(self, connection: AsyncConnection, address: str, channel: str) -> bool:
        this = col(SuppressionRow.address) == address, col(SuppressionRow.channel) == channel
        return bool((await connection.execute(delete(SuppressionRow).where(*this))).rowcount)

    @reads
    async def suppressions(
        self, connection: AsyncConnection, addresses: Collection[str]
    ) -> dict[str, set[str]]:
        """The channels on which an address wants nothing; ANY_CHANNEL for all."""
        channels = defaultdict[str, set[str]](set)
        for row in await found(connection, select(SuppressionRow), col(SuppressionRow.address), addresses):
            channels[row.address].add(row.channel)
        return dict(channels)


def _new_seq() -> int:
    """By time, and for those of one millisecond by chance."""
    return (int(time() * 1000) << 20) | secrets.randbits(20)


def _of(id: Id, *conditions: ColumnElement[bool]) -> Any:
    this = col(DeliveryRow.broadcast_id) == id.broadcast, col(DeliveryRow.seq) == id.seq
    return update(DeliveryRow).where(*this, *conditions)


async def _changed(connection: AsyncConnection, change: Any) -> bool:
    return bool((await connection.execute(change)).rowcount)


async def _message(connection: AsyncConnection, id: Id) -> Message:
    this = col(DeliveryRow.broadcast_id) == id.broadcast, col(DeliveryRow.seq) == id.seq
    return _plain((await connection.execute(_MESSAGES.where(*this))).one())


async def _first(connection: AsyncConnection, key: str, input_hash: str | None) -> Message | None:
    row = (await connection.execute(_MESSAGES.where(col(DeliveryRow.idempotency_key) == key))).one_or_none()
    if row is None:
        return None
    if row.input_hash != input_hash:
        raise KeyReused
    return _plain(row)


async def _tell(connection: AsyncConnection, id: Id, *events: Event) -> None:
    rows = [msgspec.structs.asdict(event) | {"broadcast_id": id.broadcast, "seq": id.seq} for event in events]
    await connection.execute(insert(DeliveryEventRow), rows)


def _columns(failure: Failure) -> dict[str, str | None]:
    return {
        "failure_code": failure.code,
        "failure_text": failure.text[:255],
        "vendor_code": failure.vendor_code and failure.vendor_code[:32],
    }


def _plain(row: AnyRow) -> Message:
    named = {name: getattr(row, name) for name in Message.__struct_fields__}
    return Message(**named | {"state": State(row.state)})


def _is_to(phones: Collection[str], messenger_ids: Collection[str]) -> ColumnElement[bool]:
    return or_(col(DeliveryRow.phone).in_(phones), col(DeliveryRow.messenger_id).in_(messenger_ids))
