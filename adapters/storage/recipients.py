"""Recipient: by what a person is reached and named; where their entries differ, by the first that says it.

Summed up when an entry changes, so that whoever writes to everybody reads one row a person.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from adapters.storage.database import AnyRow, Rows, batches, found
from adapters.storage.identity import Key, order
from adapters.storage.tables import ENTRY, LONGEST_NUMBER, RECIPIENT, DirectoryEntryRow, DirectoryRecipientRow

SUMMED_UP = "first_name", "last_name", "email", "phone", "opted_out"
"""Of an entry."""

_ENTRIES: Rows = select(*(ENTRY.c[name] for name in ("source", "key", "person", *SUMMED_UP)))


async def sum_up(connection: AsyncConnection, persons: Collection[str | None]) -> None:
    """Anew, from all that they have now; the transaction has the identity lock."""
    for some in batches(sorted(filter(None, set(persons)))):
        entries = defaultdict[str, list[AnyRow]](list)
        for row in await found(connection, _ENTRIES, col(DirectoryEntryRow.person), some):
            entries[row.person].append(row)
        should = {person: _summary(person, rows) for person, rows in entries.items()}
        there = await found(connection, select(RECIPIENT), col(DirectoryRecipientRow.person), some)
        are = {row.person: dict(row._mapping) for row in there}
        if gone := [person for person in are if are[person] != should.get(person)]:
            await connection.execute(delete(RECIPIENT).where(RECIPIENT.c.person.in_(gone)))
        if new := [should[person] for person in sorted(should) if are.get(person) != should[person]]:
            await connection.execute(insert(RECIPIENT), new)


def _summary(person: str, entries: Sequence[AnyRow]) -> dict[str, Any]:
    rows = sorted(entries, key=lambda row: order(Key(row.source, row.key)))
    return {
        "person": person,
        "phone": _first(row.phone for row in rows if _takes_messages(row.phone)),
        "messenger_id": _first(row.key for row in rows if row.source == "everyprint"),
        "first_name": _first(row.first_name for row in rows),
        "last_name": _first(row.last_name for row in rows),
        "email": _first(row.email for row in rows),
        "opted_out": _first(row.opted_out for row in rows if row.source == "mercately") or False,
    }


def _first(said: Any) -> Any:
    return next((one for one in said if one is not None), None)


def _takes_messages(phone: str | None) -> bool:
    return phone is not None and phone.startswith("+") and len(phone) <= LONGEST_NUMBER
