"""Persons: who is behind each entry, decided anew for everybody whom a change may concern."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Column, case, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased
from sqlmodel import col

from adapters.storage.database import AnyRow, Rows, batches, found, found_by_key
from adapters.storage.identity import Contact, Key, Neighbourhood
from adapters.storage.recipients import sum_up
from adapters.storage.tables import ENTRY, MEMBER, TAG, DirectoryEntryRow, LinkRow

EMAILS_AT_ONCE = 100
"""SQLite joins so many answers and no more than 500."""

_ENTRIES: Rows = select(ENTRY.c.id, ENTRY.c.source, ENTRY.c.key, ENTRY.c.phone, ENTRY.c.email, ENTRY.c.person)
_KEY = col(DirectoryEntryRow.source), col(DirectoryEntryRow.key)
_SOME_WITH_EMAIL = (  # each for itself: of what thousands share no more is read than tells enough
    "SELECT * FROM (SELECT entry.id, entry.source, entry.key, entry.phone, entry.email, entry.person "
    "FROM directory_entry AS entry WHERE entry.email = :email_{0} LIMIT :enough) AS entry_{0}"
)
_OTHER = aliased(LinkRow)
_LINKED: Rows = select(  # in one statement: two could see a person before and after a change
    LinkRow,
    col(_OTHER.source).label("other_source"),
    col(_OTHER.key).label("other_key"),
).join(_OTHER, col(_OTHER.person) == col(LinkRow.person))


async def assign(connection: AsyncConnection, changed: Collection[Contact]) -> dict[Key, str]:
    """The persons of all whom the changes may concern, once these are written.

    The changes are the contacts as they were and as they are, and each key that a changed link names or
    named; the caller's transaction has the identity lock.
    """
    around = Neighbourhood(*changed)
    entries: dict[Key, AnyRow] = {}
    apart: set[Key] = set()
    while any(wanted := around.wanted()):
        rows = [
            *await found_by_key(connection, _ENTRIES, *_KEY, wanted.keys - entries.keys()),
            *await found(connection, _ENTRIES, col(DirectoryEntryRow.phone), wanted.phones),
            *await _with_emails(connection, wanted.emails, around.enough),
        ]
        entries |= {Key(row.source, row.key): row for row in rows}
        links = await linked(connection, wanted.keys)
        apart |= {Key(row.source, row.key) for row in links if row.apart}
        around.add(map(contact_of, rows), linked_keys(links).values())
    # Who is known by links alone is in no list, and so no person here.
    people = around.people(apart).items()
    persons = {key: str(person) for key, person in people if person in entries}
    moved = await _write(connection, around.keys, entries, persons)
    await sum_up(connection, {*moved, *(persons.get(contact.key) for contact in changed)})
    return persons


async def persons_of(connection: AsyncConnection, keys: Collection[Key]) -> dict[Key, str]:
    """Who is behind each key, be it known by its links alone; and behind those linked with it."""
    links = linked_keys(await linked(connection, keys))
    rows = await found_by_key(connection, _ENTRIES, *_KEY, {*keys}.union(*links.values()))
    persons = {Key(row.source, row.key): row.person for row in rows if row.person}
    by_link = {key: persons[other] for key in links for other in links[key] if other in persons}
    return by_link | persons


async def linked(connection: AsyncConnection, keys: Iterable[Key]) -> list[AnyRow]:
    """Each key that a link names, once beside each key of its link."""
    return await found_by_key(connection, _LINKED, col(LinkRow.source), col(LinkRow.key), keys)


def linked_keys(rows: Iterable[AnyRow]) -> dict[Key, list[Key]]:
    links = defaultdict[Key, list[Key]](list)
    for row in rows:
        links[Key(row.source, row.key)].append(Key(row.other_source, row.other_key))
    return dict(links)


def contact_of(row: AnyRow) -> Contact:
    return Contact(row.source, row.key, row.phone, row.email)


async def _with_emails(connection: AsyncConnection, emails: Iterable[str], enough: int) -> list[AnyRow]:
    rows: list[AnyRow] = []
    for some in batches(emails, EMAILS_AT_ONCE):
        statement = text(" UNION ALL ".join(map(_SOME_WITH_EMAIL.format, range(len(some)))))
        values: dict[str, Any] = {f"email_{number}": email for number, email in enumerate(some)}
        rows += await connection.execute(statement, values | {"enough": enough})
    return rows


async def _write(
    connection: AsyncConnection, keys: Collection[Key], entries: dict[Key, AnyRow], persons: dict[Key, str]
) -> set[str | None]:
    """Only what is not so already; whom the directory does not know may be in a group nevertheless.

    Tells who somebody was or is now.
    """
    moved = [key for key in keys if key not in entries or entries[key].person != persons[key]]
    here = {entries[key].id: persons[key] for key in moved if key in entries}
    await _set_persons(connection, ENTRY.c.id, here)
    await _set_persons(connection, TAG.c.entry_id, here)
    await _set_persons(connection, MEMBER.c.member, {str(key): persons.get(key) for key in moved})
    return {person for key in moved if key in entries for person in (entries[key].person, persons[key])}


async def _set_persons(
    connection: AsyncConnection, column: Column[Any], persons: Mapping[Any, str | None]
) -> None:
    for some in batches(persons):
        known = {name: person for name in some if (person := persons[name]) is not None}
        of_each = case(known, value=column) if known else None
        await connection.execute(update(column.table).where(column.in_(some)).values(person=of_each))
