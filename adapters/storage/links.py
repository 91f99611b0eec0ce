"""Links: which keys, of all that the sources have, were said to be one person."""

import secrets
from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased
from sqlmodel import col

from adapters.storage.database import AnyRow, Questions, Rows, found, reads, writes_alone
from adapters.storage.tables import LinkRow


class Key(NamedTuple):
    """What one source calls a person."""

    source: str
    id: str


class Person(msgspec.Struct, frozen=True):
    """All the keys that were said to be one person's; alone, a key is said to be nobody else's."""

    id: str
    keys: tuple[Key, ...]


_OTHER = aliased(LinkRow)
_LINKED: Rows = select(  # in one statement: two could see a person before and after a change
    LinkRow,
    col(_OTHER.source).label("other_source"),
    col(_OTHER.key).label("other_key"),
).join(_OTHER, col(_OTHER.person) == col(LinkRow.person))


class Links(Questions):
    @reads
    async def links_of(self, connection: AsyncConnection, keys: Collection[Key]) -> dict[Key, Person]:
        """Who is behind each key, if it was linked."""
        linked = defaultdict[tuple[Key, str], list[Key]](list)
        for row in await _rows(connection, _LINKED, keys):
            linked[Key(row.source, row.key), row.person].append(Key(row.other_source, row.other_key))
        return {key: Person(person, tuple(sorted(all_keys))) for (key, person), all_keys in linked.items()}

    @writes_alone
    async def link(self, connection: AsyncConnection, keys: Collection[Key]) -> Person:
        """Makes one person of everybody who has one of the keys."""
        if len(set(keys)) < 2 or any(id in ("", "0") for _, id in keys):
            raise ValueError("A link takes two keys, and neither empty nor 0: these are nobody's.")
        rows = await _rows(connection, select(LinkRow).with_for_update(), keys)
        person, *others = sorted({row.person for row in rows}) or [_new_id()]
        if others:
            theirs = col(LinkRow.person).in_(others)
            await connection.execute(update(LinkRow).where(theirs).values(person=person))
        if new := sorted(set(keys) - {Key(row.source, row.key) for row in rows}):
            links = [{"source": source, "key": id, "person": person} for source, id in new]
            await connection.execute(insert(LinkRow), links)
        return (await _persons(connection, {person}))[person]

    @writes_alone
    async def unlink(self, connection: AsyncConnection, key: Key) -> Person:
        """Makes the key a person of its own, until it is linked again."""
        rows = await _rows(connection, select(LinkRow).with_for_update(), [key])
        this = (col(LinkRow.source) == key.source, col(LinkRow.key) == key.id)
        person = _new_id()
        await connection.execute(delete(LinkRow).where(*this))
        await connection.execute(insert(LinkRow).values(source=key.source, key=key.id, person=person))
        for left in (await _persons(connection, {row.person for row in rows})).values():
            if len(left.keys) == 1:  # of that one nothing was said
                await connection.execute(delete(LinkRow).where(col(LinkRow.person) == left.id))
        return Person(person, (key,))


def _new_id() -> str:
    """Tells persons apart, and means nothing else."""
    return secrets.token_hex(16)


async def _rows(connection: AsyncConnection, rows: Rows, keys: Collection[Key]) -> list[AnyRow]:
    ids = defaultdict[str, list[str]](list)
    for source, id in keys:
        ids[source].append(id)
    return [
        row
        for source in sorted(ids)
        for row in await found(
            connection, rows.where(col(LinkRow.source) == source), col(LinkRow.key), ids[source]
        )
    ]


async def _persons(connection: AsyncConnection, ids: Collection[str]) -> dict[str, Person]:
    keys = defaultdict[str, list[Key]](list)
    for row in await found(connection, select(LinkRow), col(LinkRow.person), ids):
        keys[row.person].append(Key(row.source, row.key))
    return {id: Person(id, tuple(sorted(theirs))) for id, theirs in keys.items()}
