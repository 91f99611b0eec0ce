"""Messages: what was sent, or is to be, from the ledger."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial

import strawberry

from adapters.storage import messages as ledger
from adapters.storage.messages import Id, State
from resolvers.changes import shown
from resolvers.connections import check_first, connection, from_cursor, to_cursor
from resolvers.context import Context, Info
from resolvers.ids import NotOurs, key_of, to_id
from resolvers.sending.body import read_body
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

_STATUSES = {
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
    body = read_body(row.body)
    return Message(
        id=to_id("Message", _text(row.id)),
        template_id=body.content.template.id if body.content.template else None,
        recipient=Recipient(
            phone=PhoneNumber(row.phone) if row.phone else None, messenger_id=row.messenger_id
        ),
        channels=[Channel(channel.value) for channel in body.channels],
        channel=Channel(row.channel) if row.channel else None,
        status=_status(row),
        text=body.text,
        failure=_failure(row),
        tag=row.tag,
        created_at=row.created_at,
        send_at=row.send_at,
        history=[_to_event(row, event) for event in row.events],
    )


def _status(row: ledger.Message) -> MessageStatus:
    waits = row.state is State.PENDING and not row.attempt
    if waits and row.send_at and row.send_at > datetime.now(UTC):
        return MessageStatus.SCHEDULED
    return _STATUSES[row.state]


def _failure(row: ledger.Message) -> DeliveryFailure | None:
    """Of a channel that failed before the one that is trying now, nothing."""
    if row.failure_code is None or row.state not in (State.FAILED, State.EXPIRED):
        return None
    return DeliveryFailure(code=row.failure_code, message=row.failure_text or "", vendor_code=row.vendor_code)


def _to_event(row: ledger.Message, event: ledger.Event) -> MessageEvent:
    waits = event.state is State.PENDING and row.send_at and event.at < row.send_at
    return MessageEvent(
        status=MessageStatus.SCHEDULED if waits else _STATUSES[event.state],
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


async def load_messages(source: ledger.Messages, ids: Sequence[Id]) -> list[Message | None]:
    found = await source.messages(ids)
    return [to_message(found[id]) if id in found else None for id in ids]


async def page_of_messages(
    source: ledger.Messages,
    phones: Sequence[str],
    messenger_ids: Sequence[str],
    *,
    first: int,
    after: str | None,
) -> MessageConnection:
    check_first(first)
    before = None if after is None else _behind(after)
    rows = await source.to_person(phones, messenger_ids, first + 1, before)
    return connection(
        MessageConnection,
        [to_message(row) for row in rows[:first]],
        lambda index: to_cursor(_text(rows[index].id)),
        has_next=len(rows) > first,
        after=after,
        total=partial(source.count_to_person, phones, messenger_ids),
    )


def _behind(cursor: str) -> Id:
    place = _read(from_cursor(cursor))
    if place is None:
        raise NotOurs("after", "a cursor")
    return place


async def as_it_is_now(context: Context, id: Id) -> Message:
    """A message that was written a moment ago, as the graph answers next."""
    found = await shown(context.loaders.message.load(id))
    if found is None:
        raise NotFound({"id": "This message has been removed meanwhile."})
    return found


async def message_status(info: Info, id: strawberry.ID) -> AsyncGenerator[Message, None]:
    context, key, last = info.context, message_key(id), None
    async with aclosing(changes(context.post, context.adapters.storage.messages, key)) as rows:
        async for row in rows:
            message = to_message(row)
            now = message.status, message.channel
            if now != last:  # the ledger tells more of them apart
                last = now
                yield message
    if last is None:
        raise NotFound({"id": "There is no such message."})


async def cancel_message(info: Info, id: strawberry.ID) -> Message:
    context, key = info.context, message_key(id)
    source = context.adapters.storage.messages
    if await source.cancel(key):
        await context.post.news.tell(key)
        return await as_it_is_now(context, key)
    found = (await source.messages([key])).get(key)
    if found is None:
        raise NotFound({"id": "There is no such message."})
    status = _STATUSES[found.state]
    raise Conflict({"id": _TOO_LATE.get(status, f"It is over: {status.name}.")}, status=status.name)
