"""Broadcasts: what was sent to many, or is to be, from the ledger."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

import strawberry
from strawberry.dataloader import DataLoader

from adapters.storage import broadcasts as ledger
from adapters.storage import everyprint
from adapters.storage.audience import Plan
from adapters.storage.client import Storage
from adapters.storage.messages import Id, State
from resolvers.connections import check_first, connection, from_cursor, to_cursor
from resolvers.context import Context, Info
from resolvers.ids import NotOurs, number_of, to_id
from resolvers.messages import STATUSES, to_messages
from resolvers.sending.letter import read_letter
from resolvers.sending.progress import progress_of
from schema import context as schema
from schema.broadcasts import (
    Broadcast,
    BroadcastAudience,
    BroadcastConnection,
    BroadcastCounts,
    BroadcastStatus,
)
from schema.errors import Conflict, NotFound
from schema.messages import Channel, MessageConnection, MessageStatus

LARGEST = 2**63 - 1
NONE_SUCH = "There is no such broadcast."


def to_broadcast(row: ledger.Broadcast, counts: Mapping[State, int] | None = None) -> Broadcast:
    letter = read_letter(row.body)
    return Broadcast(
        id=to_id("Broadcast", row.id),
        key=row.id,
        known_counts=None if counts is None else to_counts(counts),
        status=BroadcastStatus(row.state.value),
        reason=row.reason,
        audience=_audience(row.plan),
        channels=[Channel(channel.value) for channel in letter.channels],
        rate_per_second=row.rate_per_second,
        tag=row.tag,
        created_at=row.created_at,
        send_at=row.send_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _audience(plan: Plan) -> BroadcastAudience:
    is_everybody = plan.group is None and plan.listed is None
    return BroadcastAudience(group_key=plan.group, all=is_everybody, customer_count=plan.listed)


def to_counts(states: Mapping[State, int]) -> BroadcastCounts:
    by_status = Counter[MessageStatus]()
    for state, count in states.items():
        by_status[STATUSES[state]] += count
    return BroadcastCounts(
        total=by_status.total(),
        queued=by_status[MessageStatus.QUEUED],
        submitted=by_status[MessageStatus.SUBMITTED],
        delivered=by_status[MessageStatus.DELIVERED],
        seen=by_status[MessageStatus.SEEN],
        failed=by_status[MessageStatus.FAILED],
        expired=by_status[MessageStatus.EXPIRED],
        cancelled=by_status[MessageStatus.CANCELLED],
        skipped=by_status[MessageStatus.SKIPPED],
        unknown=by_status[MessageStatus.UNKNOWN],
    )


def broadcast_key(id: str, argument: str = "id") -> int:
    key = number_of(id, "Broadcast", argument)
    if key > LARGEST:
        raise NotOurs(argument)
    return key


async def load_broadcasts(source: ledger.Broadcasts, ids: Sequence[int]) -> list[Broadcast | None]:
    found = await source.of(ids)
    return [to_broadcast(found[id]) if id in found else None for id in ids]


async def load_counts(source: ledger.Broadcasts, ids: Sequence[int]) -> list[BroadcastCounts]:
    found = await source.counts(ids)
    return [to_counts(found.get(id, {})) for id in ids]


async def find_broadcast(info: schema.Info, id: strawberry.ID) -> Broadcast | None:
    return await info.context.loaders.broadcast.load(broadcast_key(id))


async def list_broadcasts(
    info: schema.Info, first: int | None = 20, after: str | None = strawberry.UNSET
) -> BroadcastConnection:
    return await info.context.loaders.broadcasts(first=20 if first is None else first, after=after or None)


async def page_of_broadcasts(
    source: ledger.Broadcasts, *, first: int, after: str | None
) -> BroadcastConnection:
    check_first(first)
    rows = await source.page(first + 1, None if after is None else _place(after))
    return connection(
        BroadcastConnection,
        [to_broadcast(row) for row in rows[:first]],
        lambda index: to_cursor(str(rows[index].id)),
        has_next=len(rows) > first,
        after=after,
        total=source.count,
    )


async def page_of_deliveries(
    storage: Storage,
    counts: DataLoader[int, BroadcastCounts],
    key: int,
    *,
    statuses: Sequence[MessageStatus] | None,
    first: int,
    after: str | None,
) -> MessageConnection:
    check_first(first)
    seq = 0 if after is None else _place(after)
    wanted = list(MessageStatus) if statuses is None else statuses
    states = [state for state, status in STATUSES.items() if status in wanted]
    rows = await storage.broadcasts.deliveries(key, states, first + 1, seq) if states else []

    async def total() -> int:
        by_status = await counts.load(key)
        return sum(getattr(by_status, status.value) for status in {STATUSES[state] for state in states})

    return connection(
        MessageConnection,
        await to_messages(storage, rows[:first]),
        lambda index: to_cursor(str(rows[index].seq)),
        has_next=len(rows) > first,
        after=after,
        total=total,
    )


def _place(cursor: str) -> int:
    text = from_cursor(cursor)
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST):
        raise NotOurs("after", "a cursor")
    return int(text)


async def broadcast_progress(info: Info, id: strawberry.ID) -> AsyncGenerator[Broadcast, None]:
    context, key, is_there = info.context, broadcast_key(id), False
    ledger = context.adapters.storage.broadcasts
    async with aclosing(progress_of(context.post.news, ledger, key)) as updates:
        async for update in updates:
            is_there = True
            yield to_broadcast(update.broadcast, update.counts)
    if not is_there:
        raise NotFound({"id": NONE_SUCH})


# Changes


async def pause_broadcast(info: Info, id: strawberry.ID) -> Broadcast:
    change = info.context.adapters.storage.broadcasts.pause
    return await _changed(info.context, id, change, "only one that is SCHEDULED or RUNNING can be paused")


async def resume_broadcast(info: Info, id: strawberry.ID) -> Broadcast:
    change = info.context.adapters.storage.broadcasts.resume
    return await _changed(info.context, id, change, "only one that is PAUSED can be resumed")


async def cancel_broadcast(info: Info, id: strawberry.ID) -> Broadcast:
    change = info.context.adapters.storage.broadcasts.cancel
    return await _changed(info.context, id, change, "it is over already")


async def retry_broadcast(info: Info, id: strawberry.ID) -> Broadcast:
    change = info.context.adapters.storage.broadcasts.retry
    return await _changed(info.context, id, change, "only one that is COMPLETED can be retried")


async def _changed(
    context: Context, id: str, change: Callable[[int], Awaitable[ledger.Broadcast]], allowed: str
) -> Broadcast:
    """The broadcast as the change leaves it."""
    key = broadcast_key(id)
    try:
        row = await change(key)
    except everyprint.NotFound:
        raise NotFound({"id": NONE_SUCH}) from None
    except ledger.NothingToRetry:
        status = BroadcastStatus.COMPLETED.name
        raise Conflict({"id": "Nothing of it failed or expired."}, status=status) from None
    except ledger.Forbidden as error:
        status = BroadcastStatus(error.state.value).name
        raise Conflict({"id": f"It is {status}: {allowed}."}, status=status) from None
    await context.post.news.tell(Id(key, 0))
    context.post.wake()
    return to_broadcast(row)
