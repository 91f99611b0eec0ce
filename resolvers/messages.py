"""Messages: what was sent, or is to be, from the ledger."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import strawberry

from adapters.storage import messages as ledger
from adapters.storage.audience import read_part
from adapters.storage.client import Storage
from adapters.storage.messages import Id, State
from resolvers.changes import shown
from resolvers.connections import check_first, connection, from_cursor, to_cursor
from resolvers.context import Context, Info
from resolvers.ids import NotOurs, key_of, to_id
from resolvers.sending.body import Body, read_body
from resolvers.sending.letter import Letter, read_letter
from resolvers.sending.watch import changes
from schema import context as schema
from schema.errors import Conflict, NotFound
from schema.messages import (
    Channel,
    DeliveryFailure,
    Message,
    MessageConnection,
    MessageEvent,
    MessageStatus,
    Recipient,
)
from schema.scalars import PhoneNumber

_ID = re.compile("(0|[1-9][0-9]{0,18}):(0|[1-9][0-9]{0,18})")
_LARGEST = 2**63 - 1
NONE_SUCH = "There is no such message."
_MILLISECONDS = re.compile("[0-9]{1,14}")

STATUSES = {
    State.PENDING: MessageStatus.QUEUED,
    State.SENDING: MessageStatus.QUEUED,
    State.ACCEPTED: MessageStatus.SUBMITTED,
    State.SENT: MessageStatus.SUBMITTED,
    State.DELIVERED: MessageStatus.DELIVERED,
    State.SEEN: MessageStatus.SEEN,
    State.FAILED: MessageStatus.FAILED,
    State.EXPIRED: MessageStatus.EXPIRED,
    State.CANCELLED: MessageStatus.CANCELLED,
    State.SKIPPED: MessageStatus.SKIPPED,
    State.UNKNOWN: MessageStatus.UNKNOWN,
}

_TOO_LATE = {
    MessageStatus.QUEUED: "It is going out at this moment.",
    MessageStatus.SUBMITTED: "It has gone out already.",
}


def to_message(row: ledger.Message) -> Message:
    """One that is of no broadcast."""
    return _message(row, read_body(row.body), row.events)


def to_delivery(row: ledger.Message, letter: Letter, send_at: datetime | None) -> Message:
    """One of a broadcast, which says the letter at that time."""
    part, events = read_part(row.body), row.events
    if row.attempt or row.state is not State.SKIPPED:  # no line is written for each of those who wait
        first = part.channels[0] if part.channels else None
        events.insert(0, ledger.Event(state=State.PENDING, channel=first, at=row.created_at))
    message = _message(row, letter.to(part), events)
    return replace(message, send_at=send_at)


async def to_messages(storage: Storage, rows: Sequence[ledger.Message]) -> list[Message]:
    """Of whatever kind each is."""
    ids = {row.broadcast_id for row in rows} - {ledger.ALONE}
    of = await storage.broadcasts.of(ids) if ids else {}
    said = {key: (read_letter(broadcast.body), broadcast.send_at) for key, broadcast in of.items()}
    return [
        to_delivery(row, *said[row.broadcast_id]) if row.broadcast_id in said else to_message(row)
        for row in rows
    ]


def _message(row: ledger.Message, body: Body, events: Sequence[ledger.Event]) -> Message:
    return Message(
        id=to_id("Message", _text(row.id)),
        template_id=body.content.template.id if body.content.template else None,
        broadcast_id=row.broadcast_id or None,
        recipient=Recipient(
            phone=PhoneNumber(row.phone) if row.phone else None, messenger_id=row.messenger_id
        ),
        channels=[Channel(channel.value) for channel in body.channels],
        channel=Channel(row.channel) if row.channel else None,
        status=_status(row),
        text=body.text,
        failure=_failure(row),
        tag=row.tag or body.tag,
        created_at=row.created_at,
        send_at=row.send_at,
        history=[_to_event(row, event) for event in events],
    )


def _status(row: ledger.Message) -> MessageStatus:
    waits = row.state is State.PENDING and not row.attempt
    if waits and row.send_at and row.send_at > datetime.now(UTC):
        return MessageStatus.SCHEDULED
    return STATUSES[row.state]


def _failure(row: ledger.Message) -> DeliveryFailure | None:
    """Of a channel that failed before the one that is trying now, nothing."""
    if row.failure_code is None or row.state not in (State.FAILED, State.EXPIRED):
        return None
    return DeliveryFailure(code=row.failure_code, message=row.failure_text or "", vendor_code=row.vendor_code)


def _to_event(row: ledger.Message, event: ledger.Event) -> MessageEvent:
    waits = event.state is State.PENDING and row.send_at and event.at < row.send_at
    return MessageEvent(
        status=MessageStatus.SCHEDULED if waits else STATUSES[event.state],
        channel=Channel(event.channel) if event.channel else None,
        at=event.at,
        reason=event.reason,
    )


def message_key(id: str, argument: str = "id") -> Id:
    found = _read(key_of(id, "Message", argument))
    if found is None:
        raise NotOurs(argument)
    return found


def _text(id: Id) -> str:
    return f"{id.broadcast}:{id.seq}"


def _read(text: str) -> Id | None:
    found = _ID.fullmatch(text)
    id = Id(int(found[1]), int(found[2])) if found else None
    return id if id and max(id) <= _LARGEST else None


async def find_message(info: schema.Info, id: strawberry.ID) -> Message | None:
    return await info.context.loaders.message.load(message_key(id))


async def load_messages(storage: Storage, ids: Sequence[Id]) -> list[Message | None]:
    found = await storage.messages.messages(ids)
    messages = dict(zip(found, await to_messages(storage, list(found.values())), strict=True))
    return [messages.get(id) for id in ids]


async def page_of_messages(
    storage: Storage,
    phones: Sequence[str],
    messenger_ids: Sequence[str],
    *,
    first: int,
    after: str | None,
) -> MessageConnection:
    check_first(first)
    before = None if after is None else _behind(after)
    rows = await storage.messages.to_person(phones, messenger_ids, first + 1, before)
    return connection(
        MessageConnection,
        await to_messages(storage, rows[:first]),
        lambda index: to_cursor(_place(rows[index])),
        has_next=len(rows) > first,
        after=after,
        total=partial(storage.messages.count_to_person, phones, messenger_ids),
    )


def _place(row: ledger.Message) -> str:
    return f"{round(row.created_at.timestamp() * 1000)}:{_text(row.id)}"


def _behind(cursor: str) -> ledger.Place:
    moment, _, rest = from_cursor(cursor).partition(":")
    id = _read(rest)
    if id is None or not _MILLISECONDS.fullmatch(moment):
        raise NotOurs("after", "a cursor")
    return ledger.Place(datetime.fromtimestamp(int(moment) / 1000, UTC), *id)


async def as_it_is_now(context: Context, id: Id) -> Message:
    """A message that was written a moment ago, as the graph answers next."""
    found = await shown(context.loaders.message.load(id))
    if found is None:
        raise NotFound({"id": "This message has been removed meanwhile."})
    return found


async def message_status(info: Info, id: strawberry.ID) -> AsyncGenerator[Message, None]:
    context, key, last = info.context, message_key(id), None
    storage = context.adapters.storage
    if context.caller.own is not None and await context.loaders.message.load(key) is None:
        raise NotFound({"id": NONE_SUCH})
    async with aclosing(changes(context.post, storage.messages, key)) as rows:
        async for row in rows:
            (message,) = await to_messages(storage, [row])
            now = message.status, message.channel
            if now != last:  # the ledger tells more of them apart
                last = now
                yield message
    if last is None:
        raise NotFound({"id": NONE_SUCH})


async def cancel_message(info: Info, id: strawberry.ID) -> Message:
    context, key = info.context, message_key(id)
    source = context.adapters.storage.messages
    if await source.cancel(key):
        await context.post.news.tell(key)
        return await as_it_is_now(context, key)
    found = (await source.messages([key])).get(key)
    if found is None:
        raise NotFound({"id": NONE_SUCH})
    status = STATUSES[found.state]
    raise Conflict({"id": _TOO_LATE.get(status, f"It is over: {status.name}.")}, status=status.name)
