"""Links: which keys were said to be one person, and which to be nobody else's."""

import secrets
from collections.abc import Collection

import msgspec
from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from adapters.storage.database import AnyRow, Questions, found_by_key, reads, writes_identity
from adapters.storage.identity import Contact, Key
from adapters.storage.persons import assign, linked, linked_keys
from adapters.storage.tables import LinkRow


class Person(msgspec.Struct, frozen=True):
    """All the keys that were said to be one person's; alone, a key is said to be nobody else's."""

    id: str
    keys: tuple[Key, ...]


class Links(Questions):
    @reads
    async def links_of(self, connection: AsyncConnection, keys: Collection[Key]) -> dict[Key, Person]:
        """Who is behind each key, if it was linked or unlinked."""
        rows = await linked(connection, keys)
        persons = {Key(row.source, row.key): row.person for row in rows}
        groups = linked_keys(rows)
        return {key: Person(persons[key], tuple(sorted(groups[key]))) for key in groups}

    @writes_identity
    async def link(self, connection: AsyncConnection, keys: Collection[Key]) -> Person:
        """Makes one person of everybody who has one of the keys."""
        if len(set(keys)) < 2 or any(id in ("", "0") for _, id in keys):
            raise ValueError("A link takes two keys, and neither empty nor 0: these are nobody's.")
        rows = await _rows(connection, keys)
        person, *others = sorted({row.person for row in rows}) or [_new_id()]
        if others:
            theirs = col(LinkRow.person).in_(others)
            await connection.execute(update(LinkRow).where(theirs).values(person=person))
        if new := sorted(set(keys) - {Key(row.source, row.key) for row in rows}):
            links = [{"source": source, "key": id, "person": person, "apart": False} for source, id in new]
            await connection.execute(insert(LinkRow), links)
        await assign(connection, [Contact(*key) for key in keys])
        return Person(person, await _keys_of(connection, person))

    @writes_identity
    async def unlink(self, connection: AsyncConnection, key: Key) -> Person:
        """Makes the key a person of its own, whom nothing but another link makes one with others."""
        left: list[Key] = []
        for row in await _rows(connection, [key]):
            left = [other for other in await _keys_of(connection, row.person) if other != key]
            await connection.execute(delete(LinkRow).where(*_is(key)))
        person = _new_id()
        alone = {"source": key.source, "key": key.id, "person": person, "apart": True}
        await connection.execute(insert(LinkRow).values(alone))
        if len(left) == 1:  # of that one nothing is said any more, unless it was unlinked itself
            await connection.execute(delete(LinkRow).where(*_is(left[0]), col(LinkRow.apart).is_(False)))
        await assign(connection, [Contact(*key) for key in (key, *left)])
        return Person(person, (key,))


def _new_id() -> str:
    """Tells persons apart, and means nothing else."""
    return secrets.token_hex(16)


def _is(key: Key) -> tuple[ColumnElement[bool], ...]:
    return col(LinkRow.source) == key.source, col(LinkRow.key) == key.id


async def _rows(connection: AsyncConnection, keys: Collection[Key]) -> list[AnyRow]:
    return await found_by_key(connection, select(LinkRow), col(LinkRow.source), col(LinkRow.key), keys)


async def _keys_of(connection: AsyncConnection, person: str) -> tuple[Key, ...]:
    rows = await connection.execute(select(LinkRow).where(col(LinkRow.person) == person))
    return tuple(sorted(Key(row.source, row.key) for row in rows))
