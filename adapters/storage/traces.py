"""Traces: what the ledger holds of one person, by their addresses, and how it is taken out."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import Text, bindparam, case, false, func, or_, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storage.database import AnyRow, Questions, reads, reads_many, writes
from adapters.storage.messages import (
    ALONE,
    FORGOTTEN,
    Event,
    State,
    only,
    read_events,
    sent_to,
    write_events,
)
from adapters.storage.tables import BROADCAST, DELIVERY, REPORT, SUPPRESSION, now

STEP = 100
"""So many messages are emptied in one transaction, each by a statement of its own."""
REPORTS = 20_000
"""So many reports are looked through at once."""

_CODE = re.compile("-?[0-9]{1,32}")
"""What a vendor calls a reason: such a one says nothing of a person."""


class Addresses(msgspec.Struct, frozen=True):
    phones: frozenset[str] = frozenset()
    messenger_ids: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.phones or self.messenger_ids)


class Emptied(msgspec.Struct, frozen=True):
    messages: int = 0
    cancelled: int = 0
    """Of them, those that had not gone out, and now never will."""


class KeptReport(msgspec.Struct, frozen=True):
    id: int
    body: bytes


class Traces(Questions):
    @reads
    async def messages(self, connection: AsyncConnection, addresses: Addresses) -> int:
        """How many messages are to one of the addresses."""
        rows = select(func.count(sent_to(addresses.phones, addresses.messenger_ids).c.seq))
        return await connection.scalar(rows) or 0

    @reads
    async def suppressions(self, connection: AsyncConnection, addresses: Addresses) -> int:
        """How many say that one of the addresses wants nothing."""
        those = SUPPRESSION.c.address.in_(addresses.phones | addresses.messenger_ids)
        return await connection.scalar(select(func.count()).select_from(SUPPRESSION).where(those)) or 0

    async def empty_messages(self, addresses: Addresses) -> Emptied:
        """All to one of the addresses, but what is going out at this moment; what waits is cancelled."""
        messages = cancelled = 0
        while True:
            step = await self._empty_some(addresses)
            messages, cancelled = messages + step.messages, cancelled + step.cancelled
            if step.messages < STEP:
                return Emptied(messages, cancelled)

    @writes
    async def _empty_some(self, connection: AsyncConnection, addresses: Addresses) -> Emptied:
        row = DELIVERY.c
        columns = row.broadcast_id, row.seq, row.state, row.history, row.final_at
        those = only(select(*columns), sent_to(addresses.phones, addresses.messenger_ids))
        rows = those.where(row.state != State.SENDING).limit(STEP).with_for_update()
        found = (await connection.execute(rows)).all()
        if found:
            await connection.execute(_EMPTY, [_emptied(one) for one in found])
        return Emptied(len(found), sum(one.state == State.PENDING for one in found))

    @reads
    async def last_report(self, connection: AsyncConnection) -> int:
        return await connection.scalar(select(func.max(REPORT.c.id))) or 0

    @reads_many
    async def reports(
        self, connection: AsyncConnection, digits: Collection[str], after: int
    ) -> list[KeptReport]:
        """Of so many behind that one those in which one of the numbers stands."""
        row = REPORT.c
        text = type_coerce(row.body, Text)
        stands = or_(*(text.contains(number, autoescape=True) for number in digits))
        rows = select(row.id, row.body).where(row.id > after, row.id <= after + REPORTS, stands)
        return [KeptReport(one.id, one.body) for one in await connection.execute(rows.order_by(row.id))]

    @writes
    async def replace_reports(self, connection: AsyncConnection, reports: Sequence[KeptReport]) -> None:
        await connection.execute(
            update(REPORT).where(REPORT.c.id == bindparam("this")).values(body=bindparam("new")),
            [{"this": report.id, "new": report.body} for report in reports],
        )

    @reads
    async def lists(self, connection: AsyncConnection, keys: Collection[str]) -> int:
        """How many broadcasts name one of the keys, of those whose people were named one by one."""
        return len(await _without(connection, keys))

    @writes
    async def unlist(self, connection: AsyncConnection, keys: Collection[str]) -> int:
        """Takes the keys out of these lists."""
        left = await _without(connection, keys)
        for id, listed in left.items():
            change = update(BROADCAST).where(BROADCAST.c.id == id)
            await connection.execute(change.values(listed=msgspec.json.encode(listed)))
        return len(left)


_EMPTY = (
    update(DELIVERY)
    .where(DELIVERY.c.broadcast_id == bindparam("of"), DELIVERY.c.seq == bindparam("number"))
    .values(
        phone=None,
        messenger_id=None,
        own_key=case((DELIVERY.c.broadcast_id == ALONE, DELIVERY.c.own_key), else_=None),
        body=FORGOTTEN,
        failure_text=None,
        due=None,
        state=bindparam("new_state"),
        state_rank=bindparam("new_rank"),
        history=bindparam("new_history"),
        final_at=bindparam("new_final_at"),
    )
)


def _emptied(row: AnyRow) -> dict[str, Any]:
    """What happened to it stays, without the sentences; nobody looks at it again."""
    state, final_at, events = State(row.state), row.final_at, read_events(row.history)
    if state is State.PENDING:
        state, final_at = State.CANCELLED, now()
        events.append(Event(state=state, at=final_at))
    return {
        "of": row.broadcast_id,
        "number": row.seq,
        "new_state": state,
        "new_rank": state.rank,
        "new_history": write_events(_without_sentences(events)),
        "new_final_at": final_at,
    }


def _without_sentences(events: Iterable[Event]) -> list[Event]:
    return [
        event if event.reason is None or _CODE.fullmatch(event.reason) else replace(event, reason=None)
        for event in events
    ]


async def _without(connection: AsyncConnection, keys: Collection[str]) -> dict[int, list[str]]:
    """What is left of each list that names one of them."""
    row, gone, left = BROADCAST.c, set(keys), dict[int, list[str]]()
    among = or_(
        false(), *(type_coerce(row.listed, Text).contains(f'"{key}"', autoescape=True) for key in keys)
    )
    for one in await connection.execute(select(row.id, row.listed).where(among).with_for_update()):
        listed = msgspec.json.decode(one.listed, type=list[str])
        if not gone.isdisjoint(listed):
            left[one.id] = [key for key in listed if key not in gone]
    return left
