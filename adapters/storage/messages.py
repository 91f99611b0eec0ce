"""Messages: the ledger of what is sent, a row for each recipient, who wants nothing, and what vendors report.

PENDING 0 -> SENDING 1 -> ACCEPTED 2 -> SENT 3 -> DELIVERED, FAILED or EXPIRED 4 -> SEEN 5
             SENDING 1 -> UNKNOWN 2     PENDING 0 -> SKIPPED or CANCELLED 4

States have a rank and only go up, but for a step of a cascade that did not deliver: then the next is pending.
"""

import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from time import time
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec
from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    union,
    update,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from adapters.storage.database import (
    AnyRow,
    Database,
    Questions,
    batches,
    is_mysql,
    reads,
    writes,
)
from adapters.storage.given import LONG_TEXT, MOMENT, NUMBER, TEXT, insert_given, update_given
from adapters.storage.tables import (
    BROADCAST,
    DELIVERY,
    DeliveryRow,
    Moment,
    ReportRow,
    SuppressionRow,
    now,
)
from adapters.together import Together

T = TypeVar("T")

ALONE = 0
"""The broadcast of a message that is of none."""
ANY_CHANNEL = ""
FORGOTTEN = b"{}"
"""The body of a message whose recipient was forgotten: it is never sent again."""


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


class Place(NamedTuple):
    """Where a message stands among others of all kinds, by when it was written down."""

    created_at: datetime
    broadcast: int
    seq: int


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
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
    claimed_until: int | None = None
    """For a message that its author sends at once: from then on somebody may ask what became of it."""
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
    history: bytes
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

    @property
    def events(self) -> list[Event]:
        """All that happened to it, oldest first."""
        return read_events(self.history)

    def after(self, event: Event, **said: Any) -> "Message":
        """As the event leaves it, which is written down already."""
        said |= {"state": event.state, "channel": event.channel or self.channel}
        return msgspec.structs.replace(self.noted(event), **said)

    def noted(self, *events: Event) -> "Message":
        return msgspec.structs.replace(self, history=self.history + write_events(events))


read_events = msgspec.json.Decoder(Event).decode_lines
write_events = msgspec.json.Encoder().encode_lines


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


WantedNothing: TypeAlias = Mapping[str, Collection[str]]
"""By address the channels on which it wants nothing; ANY_CHANNEL for all."""


class Added(NamedTuple):
    message: Message
    is_new: bool
    """A key that comes again gets what it got first."""
    wanted_nothing: WantedNothing
    """Of the addresses of those that are sent at once."""


class KeyReused(Exception):
    """The idempotency key came with other input before."""


_CHANCE = 20
"""Bits of a number that are chance; those before are the time."""
_MESSAGES = select(DeliveryRow)
_THOSE = select(DELIVERY).where(
    DELIVERY.c.broadcast_id == bindparam("broadcast"),
    DELIVERY.c.seq.in_(bindparam("seqs", expanding=True)),
)
_OF_KEYS = select(DELIVERY).where(
    DELIVERY.c.broadcast_id == ALONE, DELIVERY.c.own_key.in_(bindparam("keys", expanding=True))
)
_SUPPRESSED = select(SuppressionRow).where(
    col(SuppressionRow.address).in_(bindparam("addresses", expanding=True))
)
_ID = col(DeliveryRow.broadcast_id), col(DeliveryRow.seq)
_PLACE = (col(DeliveryRow.created_at), *_ID)


class _Claim(NamedTuple):
    id: Id
    moment: int
    due: int


class _Hold(NamedTuple):
    message: Message
    due: int


class _Raise(NamedTuple):
    id: Id
    event: Event
    attempt: int | None
    vendor_id: str | None
    failure: Failure | None
    due: int | None
    keep_due: bool


class _NotAll(Exception):
    """Some rows of several are not as they were thought to be: which is found out one by one."""


_ADD = insert_given(
    "delivery",
    {
        **dict.fromkeys(("broadcast_id", "seq", "state_rank", "due", "step", "attempt"), NUMBER),
        **dict.fromkeys(("phone", "messenger_id", "state", "channel", "tag", "own_key"), TEXT),
        **dict.fromkeys(("body", "history"), LONG_TEXT),
        "input_hash": TEXT,
        **dict.fromkeys(("created_at", "send_at", "final_at"), MOMENT),
    },
)
_RUNS = (  # alone, or of a broadcast that has something to send
    "(old.broadcast_id = 0 OR old.broadcast_id IN"
    " (SELECT id FROM broadcast WHERE state IN ('running', 'completed')))"
)
_CLAIM = update_given(
    "delivery",
    keys=("broadcast_id", "seq"),
    given={"broadcast_id": NUMBER, "seq": NUMBER, "moment": NUMBER, "due": NUMBER},
    change={
        "state": f"'{State.SENDING}'",
        "state_rank": str(State.SENDING.rank),
        "attempt": "attempt + 1",
        "due": "new_due",
    },
    where=f"state = '{State.PENDING}' AND due <= new_moment AND {_RUNS}",
)
_HOLD = update_given(
    "delivery",
    keys=("broadcast_id", "seq"),
    given={
        **dict.fromkeys(("broadcast_id", "seq", "attempt", "last_due", "due"), NUMBER),
        "state": TEXT,
    },
    change={"due": "new_due"},
    where="state = new_state AND attempt = new_attempt AND due = new_last_due",
)
_RAISE = update_given(
    "delivery",
    keys=("broadcast_id", "seq"),
    given={
        "broadcast_id": NUMBER,
        "seq": NUMBER,
        "only": NUMBER,
        "state": TEXT,
        "state_rank": NUMBER,
        "channel": TEXT,
        "vendor_id": TEXT,
        "failure_code": TEXT,
        "failure_text": TEXT,
        "vendor_code": TEXT,
        "due": NUMBER,
        "keeps_due": NUMBER,
        "accepted_at": MOMENT,
        "final_at": MOMENT,
        "history": LONG_TEXT,
    },
    append=("history",),
    change={
        "state": "new_state",
        "state_rank": "new_state_rank",
        "due": "CASE WHEN new_keeps_due THEN due ELSE new_due END",
        "final_at": "COALESCE(final_at, new_final_at)",
        **{
            name: f"COALESCE(new_{name}, {name})"
            for name in (
                "channel",
                "vendor_id",
                "failure_code",
                "failure_text",
                "vendor_code",
                "accepted_at",
            )
        },
    },
    where="state_rank < new_state_rank AND (new_only IS NULL OR attempt = new_only)",
)


class Messages(Questions):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._adding = Together(self._add)
        self._claiming = Together(self._claim)
        self._raising = Together(self._raise)
        self._holding = Together(self._hold)
        self._asking_what_is_wanted = Together(self._wanted_nothing)

    async def add(self, new: NewMessage) -> Added:
        return await self._adding(new)

    @writes
    async def _add(self, connection: AsyncConnection, news: Sequence[NewMessage]) -> list[Added | Exception]:
        first = await _with_keys(connection, [new.idempotency_key for new in news if new.idempotency_key])
        hashes = {key: input_hash for key, (input_hash, _) in first.items()}
        messages = {key: message for key, (_, message) in first.items()}
        nothing = await _wanted_nothing(
            connection,
            [address for new in news if new.claimed_until for address in (new.phone, new.messenger_id)],
        )
        answers: list[Added | Exception] = []
        added: list[tuple[NewMessage, Message]] = []
        for new in news:
            key = new.idempotency_key
            if key is None or key not in messages:
                message = _to_be(new)
                added.append((new, message))
                answers.append(Added(message, True, nothing))
                if key is not None:
                    hashes[key], messages[key] = new.input_hash, message
            else:
                is_same = hashes[key] == new.input_hash
                answers.append(Added(messages[key], False, nothing) if is_same else KeyReused())
        if added:
            await _ADD.run(connection, [_row(new, message) for new, message in added])
        return answers

    @reads
    async def first(
        self, connection: AsyncConnection, idempotency_key: str, input_hash: str | None
    ) -> Message | None:
        """What the key got, should it have come before."""
        found = (await _with_keys(connection, [idempotency_key])).get(idempotency_key)
        if found and found[0] != input_hash:
            raise KeyReused
        return found and found[1]

    @reads
    async def messages(self, connection: AsyncConnection, ids: Collection[Id]) -> dict[Id, Message]:
        return await _messages(connection, ids)

    @reads
    async def to_person(
        self,
        connection: AsyncConnection,
        phones: Collection[str],
        messenger_ids: Collection[str],
        first: int,
        before: Place | None = None,
    ) -> list[Message]:
        """So many of those to a person with these addresses, newest first, from behind the given place on."""
        rows = only(_MESSAGES, sent_to(phones, messenger_ids, and_nobody_else=True))
        if before is not None:
            place = literal(before.created_at, Moment()), before.broadcast, before.seq
            rows = rows.where(tuple_(*_PLACE) < tuple_(*place))
        ordered = rows.order_by(*(column.desc() for column in _PLACE))
        return [plain(row) for row in await connection.execute(ordered.limit(first))]

    @reads
    async def count_to_person(
        self, connection: AsyncConnection, phones: Collection[str], messenger_ids: Collection[str]
    ) -> int:
        rows = select(func.count(sent_to(phones, messenger_ids, and_nobody_else=True).c.seq))
        return await connection.scalar(rows) or 0

    # On its way

    @reads
    async def due(self, connection: AsyncConnection, moment: int, count: int) -> list[Message]:
        """So many of those that somebody has to look at by now; not what a paused broadcast has to send."""
        paused = select(BROADCAST.c.id).where(BROADCAST.c.state == "paused")
        waits = (col(DeliveryRow.state) == State.PENDING) & col(DeliveryRow.broadcast_id).in_(paused)
        rows = (
            _MESSAGES.where(col(DeliveryRow.due) <= moment, ~waits)
            .order_by(col(DeliveryRow.due))
            .limit(count)
        )
        return [plain(row) for row in await connection.execute(rows)]

    async def claim(self, id: Id, moment: int, *, due: int) -> Message | None:
        """Takes a pending message to send it now; None if another was faster, or it is not due any more.

        From `due` on somebody may ask what became of it.
        """
        return await self._claiming(_Claim(id, moment, due))

    async def _claim(self, claims: Sequence[_Claim]) -> list[Message | None]:
        try:
            return await self._claim_all(claims)
        except _NotAll:
            return [await self._claim_one(claim) for claim in claims]

    async def _claim_one(self, claim: _Claim) -> Message | None:
        with suppress(_NotAll):
            return (await self._claim_all([claim]))[0]
        return None

    @writes
    async def _claim_all(self, connection: AsyncConnection, claims: Sequence[_Claim]) -> list[Message | None]:
        if await _CLAIM.run(connection, map(_claim_values, claims)) < len(claims):
            raise _NotAll
        rows = await _messages(connection, [claim.id for claim in claims])
        return [rows[claim.id] for claim in claims]

    async def hold(self, message: Message, *, due: int) -> bool:
        """Takes a message that is under way to ask what became of it; nobody else does so before `due`."""
        return await self._holding(_Hold(message, due))

    async def _hold(self, holds: Sequence[_Hold]) -> list[bool]:
        return await _all_or_each(self._hold_all, holds)

    @writes
    async def _hold_all(self, connection: AsyncConnection, holds: Sequence[_Hold]) -> None:
        if await _HOLD.run(connection, map(_hold_values, holds)) < len(holds):
            raise _NotAll

    async def raise_to(
        self,
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
        return await self._raising(_Raise(id, event, attempt, vendor_id, failure, due, keep_due))

    async def accept(
        self, taken: Sequence[tuple[Message, str | None]], event: Event, due: int | None
    ) -> None:
        """The same for many whose vendor has taken them, of whom nobody knows more yet."""
        await self._raise(
            [
                _Raise(message.id, event, message.attempt, vendor_id, None, due, keep_due=False)
                for message, vendor_id in taken
            ]
        )

    async def raise_all(self, events: Sequence[tuple[Id, Event]]) -> None:
        """The same for many that go up, each of them once; when they are looked at again does not change."""
        for some in batches(events):
            await self._raise(
                [
                    _Raise(id, event, None, None, None, None, keep_due=not event.state.is_final)
                    for id, event in some
                ]
            )

    async def _raise(self, raises: Sequence[_Raise]) -> list[bool]:
        return await _all_or_each(self._raise_all, raises)

    @writes
    async def _raise_all(self, connection: AsyncConnection, raises: Sequence[_Raise]) -> None:
        if await _RAISE.run(connection, map(_values, raises)) < len(raises):
            raise _NotAll

    @writes
    async def note(self, connection: AsyncConnection, message: Message, *events: Event) -> Message:
        """What happened without changing what it is."""
        await connection.execute(_of(message.id).values(and_then(*events)))
        return message.noted(*events)

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
            col(DeliveryRow.body) != FORGOTTEN,
        )
        values = {
            "state": State.PENDING,
            "state_rank": State.PENDING.rank,
            "step": step,
            "channel": channel,
            "vendor_id": None,
            "due": due,
            **(_columns(failure) if failure else {}),
            **and_then(event, Event(state=State.PENDING, channel=channel)),
        }
        return await _changed(connection, _of(id, *under_way).values(values))

    @writes
    async def put_back(self, connection: AsyncConnection, id: Id, *, attempt: int, due: int) -> bool:
        """It certainly was not sent: it is pending again."""
        sending = col(DeliveryRow.state) == State.SENDING, col(DeliveryRow.attempt) == attempt
        values = {"state": State.PENDING, "state_rank": State.PENDING.rank, "due": due}
        return await _changed(connection, _of(id, *sending).values(values))

    @writes
    async def cancel_with_its_broadcast(self, connection: AsyncConnection, id: Id) -> bool:
        """Whether it had come back to be sent again after its broadcast was cancelled."""
        cancelled = select(BROADCAST.c.id).where(BROADCAST.c.state == "cancelled")
        pending = _of(
            id, col(DeliveryRow.state) == State.PENDING, col(DeliveryRow.broadcast_id).in_(cancelled)
        )
        return await _changed(connection, pending.values(_cancelled()))

    @writes
    async def cancel(self, connection: AsyncConnection, id: Id) -> bool:
        """Whether it had not gone out, and now never will."""
        pending = _of(id, col(DeliveryRow.state) == State.PENDING)
        return await _changed(connection, pending.values(_cancelled()))

    # Reports

    @writes
    async def receive(self, connection: AsyncConnection, reports: Iterable[Report]) -> None:
        """Keeps them until somebody applies them; one that is there already is no news."""
        new = {"waiting": True, "received_at": now()}
        rows = [msgspec.structs.asdict(report) | new for report in reports]
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

    async def wanted_nothing(self, *addresses: str) -> dict[str, set[str]]:
        """The channels on which an address wants nothing; ANY_CHANNEL for all."""
        return await self._asking_what_is_wanted(addresses)

    @reads
    async def _wanted_nothing(
        self, connection: AsyncConnection, askers: Sequence[tuple[str, ...]]
    ) -> list[dict[str, set[str]]]:
        channels = await _wanted_nothing(connection, [each for addresses in askers for each in addresses])
        return [{each: channels[each] for each in addresses if each in channels} for addresses in askers]


def _new_seq() -> int:
    """By time, and for those of one millisecond by chance."""
    return (int(time() * 1000) << _CHANCE) | secrets.randbits(_CHANCE)


def first_seq_at(moment: datetime) -> int:
    """Of a message that is of no broadcast, if it was added then."""
    return int(moment.timestamp() * 1000) << _CHANCE


def _of(id: Id, *conditions: ColumnElement[bool]) -> Any:
    this = col(DeliveryRow.broadcast_id) == id.broadcast, col(DeliveryRow.seq) == id.seq
    return update(DeliveryRow).where(*this, *conditions)


async def _all_or_each(change: Callable[[Sequence[T]], Awaitable[None]], items: Sequence[T]) -> list[bool]:
    """Whether each could be changed; where not all can, they are tried one by one."""
    with suppress(_NotAll):
        await change(items)
        return [True] * len(items)
    if len(items) == 1:
        return [False]
    return [each for item in items for each in await _all_or_each(change, [item])]


async def _changed(connection: AsyncConnection, change: Any) -> bool:
    return bool((await connection.execute(change)).rowcount)


async def _messages(connection: AsyncConnection, ids: Iterable[Id]) -> dict[Id, Message]:
    seqs = defaultdict[int, list[int]](list)
    for id in ids:
        seqs[id.broadcast].append(id.seq)
    return {
        Id(row.broadcast_id, row.seq): plain(row)
        for broadcast, some in seqs.items()
        for row in await connection.execute(_THOSE, {"broadcast": broadcast, "seqs": some})
    }


async def _with_keys(
    connection: AsyncConnection, keys: Sequence[str]
) -> dict[str, tuple[str | None, Message]]:
    """By key: the hash of its input, and the message."""
    rows = await connection.execute(_OF_KEYS, {"keys": keys}) if keys else ()
    return {row.own_key: (row.input_hash, plain(row)) for row in rows}


async def _wanted_nothing(
    connection: AsyncConnection, addresses: Iterable[str | None]
) -> dict[str, set[str]]:
    channels = defaultdict[str, set[str]](set)
    if asked := {address for address in addresses if address}:
        for row in await connection.execute(_SUPPRESSED, {"addresses": list(asked)}):
            channels[row.address].add(row.channel)
    return channels


def and_then(*events: Event) -> dict[str, Any]:
    """The history with what happened now."""
    return {"history": DELIVERY.c.history.concat(write_events(events))}


def _cancelled() -> dict[str, Any]:
    event = Event(state=State.CANCELLED)
    values = {"state": event.state, "state_rank": event.state.rank, "due": None, "final_at": event.at}
    return values | and_then(event)


def _to_be(new: NewMessage) -> Message:
    """The message as it will be."""
    state, moment = new.events[-1].state, now()
    is_claimed = new.claimed_until is not None
    return Message(
        broadcast_id=ALONE,
        seq=_new_seq(),
        phone=new.phone,
        messenger_id=new.messenger_id,
        state=State.SENDING if is_claimed else state,
        due=new.claimed_until if is_claimed else new.due,
        step=0,
        attempt=1 if is_claimed else 0,
        channel=new.channel,
        vendor_id=None,
        body=new.body,
        history=write_events(new.events),
        failure_code=None,
        failure_text=None,
        vendor_code=None,
        tag=new.tag,
        created_at=moment,
        send_at=new.send_at,
        accepted_at=None,
        final_at=moment if state.is_final else None,
    )


def _row(new: NewMessage, message: Message) -> dict[str, Any]:
    return msgspec.structs.asdict(message) | {
        "body": message.body.decode(),
        "history": message.history.decode(),
        "created_at": _text_of(message.created_at),
        "send_at": message.send_at and _text_of(message.send_at),
        "final_at": message.final_at and _text_of(message.final_at),
        "state_rank": message.state.rank,
        "own_key": new.idempotency_key,
        "input_hash": new.input_hash,
    }


def _claim_values(claim: _Claim) -> dict[str, Any]:
    id = claim.id
    return {"broadcast_id": id.broadcast, "seq": id.seq, "moment": claim.moment, "due": claim.due}


def _hold_values(hold: _Hold) -> dict[str, Any]:
    message = hold.message
    return {
        "broadcast_id": message.broadcast_id,
        "seq": message.seq,
        "attempt": message.attempt,
        "last_due": message.due,
        "due": hold.due,
        "state": message.state,
    }


def _values(each: _Raise) -> dict[str, Any]:
    return {
        "broadcast_id": each.id.broadcast,
        "seq": each.id.seq,
        "only": each.attempt,
        "vendor_id": each.vendor_id,
        **(_columns(each.failure) if each.failure else {}),
        "due": each.due,
        "keeps_due": int(each.keep_due),
        **_told(each.event),
    }


@lru_cache(maxsize=16)
def _told(event: Event) -> dict[str, Any]:
    """Of many messages it is often the same event."""
    said = _text_of(event.at)
    return {
        "state": event.state,
        "state_rank": event.state.rank,
        "channel": event.channel,
        "accepted_at": said if event.state is State.ACCEPTED else None,
        "final_at": said if event.state.is_final else None,
        "history": write_events((event,)).decode(),
    }


def _text_of(moment: datetime) -> str:
    """As SQLAlchemy writes it on SQLite."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


def _columns(failure: Failure) -> dict[str, str | None]:
    return {
        "failure_code": failure.code,
        "failure_text": failure.text[:255],
        "vendor_code": failure.vendor_code and failure.vendor_code[:32],
    }


def plain(row: AnyRow) -> Message:
    named = {name: getattr(row, name) for name in Message.__struct_fields__}
    return Message(**named | addresses_of(row) | {"state": State(row.state)})


def addresses_of(row: AnyRow) -> dict[str, str | None]:
    """The own key of a message of a broadcast is one of them, and is not written down twice."""
    said = {"phone": row.phone, "messenger_id": row.messenger_id}
    if row.broadcast_id != ALONE and row.own_key is not None:
        said["phone" if row.own_key.startswith("+") else "messenger_id"] = row.own_key
    return said


def sent_to(
    phones: Collection[str], messenger_ids: Collection[str], *, and_nobody_else: bool = False
) -> Subquery:
    """The ids of all messages to any of the addresses; where `seq` is null, it is none.

    With `and_nobody_else` none in which another Messenger id stands beside the phone: its owner got that.
    Most are found by their own keys, in one broadcast after the other: an index of all addresses would take
    longer to grow than all else of a broadcast, and the longer, the more there were before.
    """
    row, id = DELIVERY.c, BROADCAST.c.id
    written = or_(row.phone.in_(phones), row.messenger_id.in_(messenger_ids))
    theirs = (_is_to_none_but(messenger_ids),) if and_nobody_else else ()
    # In the list of columns, since databases turn a join round and read all deliveries first.
    of_each = [
        select(
            id, select(row.seq).where(row.broadcast_id == id, row.own_key == key, *theirs).scalar_subquery()
        )
        for key in {*phones, *messenger_ids}
    ]
    return union(select(row.broadcast_id, row.seq).where(written, *theirs), *of_each).subquery("sent")


def _is_to_none_but(messenger_ids: Collection[str]) -> ColumnElement[bool]:
    row = DELIVERY.c
    own_key_is_no_account = or_(row.broadcast_id == ALONE, row.own_key.is_(None), row.own_key.startswith("+"))
    return and_(
        or_(row.messenger_id.is_(None), row.messenger_id.in_(messenger_ids)),
        or_(own_key_is_no_account, row.own_key.in_(messenger_ids)),
    )


def only(rows: Select[Any], ids: Subquery) -> Select[Any]:
    same = (DELIVERY.c.broadcast_id == ids.c.broadcast_id) & (DELIVERY.c.seq == ids.c.seq)
    return rows.select_from(ids.join(DELIVERY, same)).prefix_with("STRAIGHT_JOIN", dialect="mysql")
