"""Balances: from our own tables, with their ledger."""

from collections.abc import Sequence
from functools import partial

from adapters.storage import everyprint
from resolvers.connections import check_first, connection, from_cursor, to_cursor
from resolvers.ids import NotOurs, to_id
from schema.balances import Balance, BalanceEntry, BalanceEntryConnection


def to_balance(balance: everyprint.Balance) -> Balance:
    return Balance(
        messenger_id=balance.messenger_id,
        amount=balance.amount,
        currency=balance.currency,
        updated_at=balance.updated_at,
    )


def to_balance_entry(entry: everyprint.Entry) -> BalanceEntry:
    return BalanceEntry(
        id=to_id("BalanceEntry", entry.id),
        amount=entry.amount,
        reason=entry.reason,
        created_at=entry.created_at,
    )


async def load_balances(source: everyprint.Everyprint, messenger_ids: Sequence[str]) -> list[Balance | None]:
    found = await source.balances(messenger_ids)
    return [to_balance(found[id]) if id in found else None for id in messenger_ids]


async def page_of_entries(
    source: everyprint.Everyprint, messenger_id: str, *, first: int, after: str | None
) -> BalanceEntryConnection:
    check_first(first)
    page = await source.entries(messenger_id, first, None if after is None else _behind(after))
    return connection(
        BalanceEntryConnection,
        [to_balance_entry(entry) for entry in page.rows],
        lambda index: to_cursor(str(page.rows[index].id)),
        has_next=page.more,
        after=after,
        total=partial(source.entry_count, messenger_id),
    )


def _behind(cursor: str) -> int:
    place = from_cursor(cursor)
    if not (place.isascii() and place.isdecimal() and len(place) < 19):
        raise NotOurs("after", "a cursor")
    return int(place)
