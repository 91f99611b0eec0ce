"""Entry: a customer as one source has them, kept in the directory beside what search and lists need."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Text, delete, insert, select, type_coerce, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from adapters.storage import search
from adapters.storage.database import AnyRow, Rows, found, found_by_key, is_mysql
from adapters.storage.identity import Contact, Key
from adapters.storage.persons import assign, contact_of
from adapters.storage.recipients import SUMMED_UP, sum_up
from adapters.storage.tables import (
    ENTRY,
    LONGEST_EMAIL,
    LONGEST_NAME,
    LONGEST_PHONE,
    LONGEST_TAG,
    LONGEST_WORDS,
    TAG,
    DirectoryEntryRow,
    DirectoryPassRow,
    DirectoryTagRow,
)

KEPT = {"id", "source", "key", "person"}
"""What stays when an entry comes again."""

_KEY = col(DirectoryEntryRow.source), col(DirectoryEntryRow.key)
_KNOWN: Rows = select(
    ENTRY.c.id,
    ENTRY.c.source,
    ENTRY.c.key,
    ENTRY.c.person,
    ENTRY.c.words,
    ENTRY.c.as_of,
    *(ENTRY.c[name] for name in SUMMED_UP),
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    key: str
    row_number: int | None = None
    """By which Mercately's conversations know them."""
    person: str | None = None
    """The canonical id, only to read: the directory says who is who."""
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    """E.164."""
    group_key: str | None = None
    tags: tuple[str, ...] = ()
    profile: bytes = b"{}"
    """The source's whole answer, as JSON."""
    as_of: int
    """When the source was asked for it: UTC, milliseconds."""


ROWS: Rows = select(
    *(
        type_coerce(ENTRY.c[name], Text) if name in ("tags", "profile") else ENTRY.c[name]
        for name in Entry.__struct_fields__
    )
)
"""What an entry is made of, in the order of its fields; JSON as the text that it is stored as."""

_read_tags = msgspec.json.Decoder(tuple[str, ...]).decode


class _Consent(msgspec.Struct):
    whatsapp_opt_in: Any = None


_read_consent = msgspec.json.Decoder(_Consent).decode


async def write_entries(
    connection: AsyncConnection, entries: Iterable[Entry], *, newest: bool = False
) -> None:
    """Writes them, and anew who is who; the transaction has the identity lock.

    What was asked for before what is there already is not written, unless the caller knows it is the newest.
    """
    by_key = {Key(entry.source, entry.key): entry for entry in entries}
    passes = await connection.execute(select(DirectoryPassRow))
    seen = {row.source: row.number for row in passes}
    before = await _known(connection, by_key)
    if not newest:
        overtaken = {key for key, row in before.items() if row.as_of > by_key[key].as_of}
        await _see(connection, [before[key] for key in overtaken], seen)
        before = {key: row for key, row in before.items() if key not in overtaken}
        by_key = {key: entry for key, entry in by_key.items() if key not in overtaken}
    rows = {key: _to_row(entry, seen.get(key.source, 0)) for key, entry in by_key.items()}
    if rows:
        await connection.execute(_upserted(connection), list(rows.values()))
    here = before | await _known(connection, by_key.keys() - before.keys())
    words = {
        here[key].id: row["words"]
        for key, row in rows.items()
        if key not in before or before[key].words != row["words"]
    }
    await search.index(connection, words)
    changed = [contact for key, row in rows.items() for contact in _changed(before.get(key), _contact(row))]
    persons = await assign(connection, changed) if changed else {}
    others = before.keys() & rows.keys() - {contact.key for contact in changed}
    said_otherwise = [key for key in others if _says_otherwise(before[key], rows[key])]
    await sum_up(connection, {persons.get(key, before[key].person) for key in said_otherwise})
    await _tag(
        connection,
        {row.id: (persons.get(key, row.person), _to_tags(by_key[key])) for key, row in here.items()},
    )


async def remove_entries(connection: AsyncConnection, keys: Collection[Key]) -> None:
    """Forgets them, and says anew who is who of those left behind; the transaction has the identity lock."""
    rows = await _known(connection, keys)
    if not rows:
        return
    ids = [row.id for row in rows.values()]
    await search.forget(connection, ids)
    await connection.execute(delete(TAG).where(TAG.c.entry_id.in_(ids)))
    await connection.execute(delete(ENTRY).where(ENTRY.c.id.in_(ids)))
    await assign(connection, list(map(contact_of, rows.values())))
    await sum_up(connection, {row.person for row in rows.values()})


def to_entry(row: AnyRow) -> Entry:
    """Of a row of `ROWS`."""
    values: dict[str, Any] = dict(zip(Entry.__struct_fields__, row, strict=True))
    values["tags"] = () if values["tags"] == "[]" else _read_tags(values["tags"])
    values["profile"] = values["profile"].encode()
    return Entry(**values)


def words_of(entry: Entry) -> str:
    return search.words_of(entry.first_name, entry.last_name, entry.email, phone=entry.phone)


def sayable(text: str) -> str:
    """Without what no database takes: half of a character."""
    return text.encode(errors="replace").decode()


def tag_name(tag: str) -> str:
    return _cut(tag, LONGEST_TAG) or ""


def _changed(before: AnyRow | None, now: Contact) -> Sequence[Contact]:
    """The contact as it was and as it is, unless it says who they are as before."""
    if before is None:
        return (now,)
    was = contact_of(before)
    return () if before.person and was == now else (was, now)


def _says_otherwise(before: AnyRow, now: Mapping[str, Any]) -> bool:
    return any(getattr(before, name) != now[name] for name in SUMMED_UP)


def _contact(row: Mapping[str, Any]) -> Contact:
    return Contact(row["source"], row["key"], row["phone"], row["email"])


def _to_row(entry: Entry, seen: int) -> dict[str, Any]:
    email = _whole(entry.email, LONGEST_EMAIL)
    kept = msgspec.structs.replace(
        entry,
        person=None,
        first_name=_cut(entry.first_name, LONGEST_NAME),
        last_name=_cut(entry.last_name, LONGEST_NAME),
        email=email and email.lower(),
        phone=_whole(entry.phone, LONGEST_PHONE),
    )
    row = msgspec.structs.asdict(kept) | {"tags": msgspec.json.encode(entry.tags)}
    row["opted_out"] = entry.source == "mercately" and _read_consent(entry.profile).whatsapp_opt_in is False
    return row | {"words": words_of(kept)[:LONGEST_WORDS], "seen": seen}


def _to_tags(entry: Entry) -> frozenset[str]:
    return frozenset(map(tag_name, entry.tags)) - {""}


def _cut(text: str | None, longest: int) -> str | None:
    return sayable(text.strip())[:longest] or None if text else None


def _whole(text: str | None, longest: int) -> str | None:
    """What is too long for an address is none."""
    return cut if (cut := _cut(text, longest + 1)) and len(cut) <= longest else None


def _upserted(connection: AsyncConnection) -> Any:
    """Replaces an entry that is there, all but its number and its person."""
    replaced = [name for name in DirectoryEntryRow.model_fields if name not in KEPT]
    if is_mysql(connection):
        mine = mysql.insert(ENTRY)
        return mine.on_duplicate_key_update({name: mine.inserted[name] for name in replaced})
    lite = sqlite.insert(ENTRY)
    return lite.on_conflict_do_update(
        index_elements=["source", "key"], set_={name: lite.excluded[name] for name in replaced}
    )


async def _known(connection: AsyncConnection, keys: Collection[Key]) -> dict[Key, AnyRow]:
    rows = await found_by_key(connection, _KNOWN, *_KEY, keys)
    return {Key(row.source, row.key): row for row in rows}


async def _see(connection: AsyncConnection, rows: Iterable[AnyRow], seen: Mapping[str, int]) -> None:
    """They were on a page, whatever it said of them."""
    ids = defaultdict[str, list[int]](list)
    for row in rows:
        ids[row.source].append(row.id)
    for source, some in ids.items():
        here = update(ENTRY).where(ENTRY.c.id.in_(some))
        await connection.execute(here.values(seen=seen.get(source, 0)))


async def _tag(connection: AsyncConnection, wanted: Mapping[int, tuple[str | None, frozenset[str]]]) -> None:
    """Writes only what is not so already: from pass to pass that is next to nothing."""
    there = defaultdict[int, set[tuple[str | None, str]]](set)
    for row in await found(connection, select(DirectoryTagRow), col(DirectoryTagRow.entry_id), wanted):
        there[row.entry_id].add((row.person, row.tag))
    should = {id: {(person, tag) for tag in tags} for id, (person, tags) in wanted.items()}
    if others := [id for id in should if should[id] != there[id]]:
        if gone := [id for id in others if there[id]]:
            await connection.execute(delete(TAG).where(TAG.c.entry_id.in_(gone)))
        rows = [{"entry_id": id, "person": person, "tag": tag} for id in others for person, tag in should[id]]
        if rows:
            await connection.execute(insert(TAG), sorted(rows, key=itemgetter("entry_id", "tag")))
