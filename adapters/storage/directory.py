"""The directory: the mirror of all customers that the sources have, and who of them is who.

Whoever writes to it decides in the same transaction anew who is who, for everybody whom the change concerns.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from time import time

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from adapters.storage.database import (
    AnyRow,
    Questions,
    batches,
    found,
    found_by_key,
    reads,
    writes,
    writes_identity,
)
from adapters.storage.entries import ROWS, Entry, remove_entries, to_entry, write_entries
from adapters.storage.identity import Key
from adapters.storage.people import EVERYBODY, WINDOW, Filter, People, Walk
from adapters.storage.tables import ENTRY, TAG, DirectoryEntryRow, DirectoryPassRow, DirectoryTagRow

__all__ = ["EVERYBODY", "Directory", "Entry", "Filter", "Pass", "PassLost", "People"]

WRITTEN_AT_ONCE = 100
"""Few enough for many writers, who take turns, to be done within their patience."""
LEASE = 30_000
"""Milliseconds from one page of a pass to the next, after which somebody else may go on with it."""


class Pass(msgspec.Struct, frozen=True):
    """One walk through all of a source's pages; `next` is where it goes on."""

    source: str
    number: int
    next: int
    owner: str
    started_at: int
    finished_at: int | None = None


class PassLost(Exception):
    """Somebody else has taken the pass over, or finished it."""


class Directory(Questions):
    window = WINDOW

    # Writing

    async def upsert(self, entries: Iterable[Entry]) -> None:
        """What passed through. Each 100 are a transaction: an entry is right without the next."""
        for some in batches(entries, WRITTEN_AT_ONCE):
            await self._write(some)

    async def remove(self, keys: Iterable[Key]) -> None:
        for some in batches(keys, WRITTEN_AT_ONCE):
            await self._remove(some)

    async def remove_group(self, group: Key) -> None:
        """Everybody whom the source has in it."""
        await self.remove(await self._in_group(group))

    # Passes

    @writes
    async def begin(
        self,
        connection: AsyncConnection,
        source: str,
        first: int = 1,
        *,
        owner: str,
        take_over: bool = False,
    ) -> Pass | None:
        """The pass that was not finished, or else a new one; None while it is another owner's."""
        mine = col(DirectoryPassRow.source) == source
        row = (await connection.execute(select(DirectoryPassRow).where(mine).with_for_update())).first()
        if row and row.finished_at is None:
            if row.owner != owner and (row.leased_until or 0) > _now() and not take_over:
                return None
            current = msgspec.structs.replace(_to_pass(row), owner=owner)
        else:
            current = Pass(source, row.number + 1 if row else 1, first, owner, _now())
        values = msgspec.structs.asdict(current) | {"leased_until": _now() + LEASE}
        statement = update(DirectoryPassRow).where(mine) if row else insert(DirectoryPassRow)
        await connection.execute(statement.values(values))
        return current

    async def mirror(self, current: Pass, entries: Iterable[Entry], next: int) -> None:
        """One page of the pass and, with its last 100 entries, where the pass goes on."""
        *before, last = list(batches(entries, WRITTEN_AT_ONCE)) or [()]
        for some in before:
            await self._mirror(current, some)
        await self._mirror(current, last, next)

    @reads
    async def missed(self, connection: AsyncConnection, current: Pass, count: int) -> list[Key]:
        """So many of the source's entries that the pass has not seen: the source may have them or not."""
        entry = ENTRY.c
        rows = select(entry.source, entry.key).where(entry.source == current.source)
        unseen = rows.where(entry.seen < current.number).order_by(entry.seen, entry.id).limit(count)
        return [Key(row.source, row.key) for row in await connection.execute(unseen)]

    @writes
    async def finish(self, connection: AsyncConnection, current: Pass) -> None:
        """The pass saw everything there is."""
        await _go_on(connection, current, finished_at=_now())

    @reads
    async def last_pass(self, connection: AsyncConnection, source: str) -> Pass | None:
        rows = select(DirectoryPassRow).where(col(DirectoryPassRow.source) == source)
        row = (await connection.execute(rows)).first()
        return row and _to_pass(row)

    # Asking

    @reads
    async def entries(self, connection: AsyncConnection, keys: Collection[Key]) -> dict[Key, Entry]:
        entries = map(to_entry, await found_by_key(connection, ROWS, *_KEY, keys))
        return {Key(entry.source, entry.key): entry for entry in entries}

    @reads
    async def of_rows(
        self, connection: AsyncConnection, numbers: Collection[tuple[str, int]]
    ) -> dict[tuple[str, int], Entry]:
        rows = await found_by_key(connection, ROWS, _KEY[0], col(DirectoryEntryRow.row_number), numbers)
        return {(entry.source, entry.row_number or 0): entry for entry in map(to_entry, rows)}

    @reads
    async def of_phones(self, connection: AsyncConnection, phones: Collection[str]) -> dict[str, list[Entry]]:
        return await _by(connection, "phone", phones)

    @reads
    async def of_emails(self, connection: AsyncConnection, emails: Collection[str]) -> dict[str, list[Entry]]:
        """E-mails in lower case."""
        return await _by(connection, "email", emails)

    @reads
    async def tags_among(self, connection: AsyncConnection, names: Collection[str]) -> set[str]:
        """Those of the tags that somebody has."""
        rows = await found(connection, select(TAG.c.tag).distinct(), col(DirectoryTagRow.tag), names)
        return {row.tag for row in rows}

    @reads
    async def of_persons(
        self, connection: AsyncConnection, persons: Collection[str]
    ) -> dict[str, list[Entry]]:
        return await _by(connection, "person", persons)

    @reads
    async def page(
        self, connection: AsyncConnection, filter: Filter = EVERYBODY, after: str = "", count: int = 50
    ) -> People:
        """People in the order of their ids, each once, whatever number of entries they have."""
        return await self._walk(connection, filter, after, count)

    @reads
    async def page_of_entries(
        self, connection: AsyncConnection, filter: Filter, after: str, count: int
    ) -> tuple[People, dict[str, list[Entry]]]:
        """The same people, with the entries of each."""
        people = await self._walk(connection, filter, after, count)
        return people, await _by(connection, "person", people.persons)

    @reads
    async def count(self, connection: AsyncConnection, filter: Filter = EVERYBODY) -> int | None:
        """How many people in all; None when to count them would be a walk through too many."""
        return await Walk(connection, filter, self.window).count()

    async def _walk(self, connection: AsyncConnection, filter: Filter, after: str, count: int) -> People:
        persons = await Walk(connection, filter, self.window, after).first(count + 1)
        return People(persons[:count], has_more=len(persons) > count)

    # Parts of the above, each a transaction

    @writes_identity
    async def _write(self, connection: AsyncConnection, entries: Sequence[Entry]) -> None:
        await write_entries(connection, entries)

    @reads
    async def _in_group(self, connection: AsyncConnection, group: Key) -> list[Key]:
        entry = ENTRY.c
        rows = select(entry.key).where(entry.source == group.source, entry.group_key == group.id)
        return [Key(group.source, row.key) for row in await connection.execute(rows)]

    @writes_identity
    async def _remove(self, connection: AsyncConnection, keys: Sequence[Key]) -> None:
        await remove_entries(connection, keys)

    @writes_identity
    async def _mirror(
        self, connection: AsyncConnection, current: Pass, entries: Sequence[Entry], next: int | None = None
    ) -> None:
        moved = {} if next is None else {"next": next}
        await _go_on(connection, current, leased_until=_now() + LEASE, **moved)
        await write_entries(connection, entries)


_KEY = col(DirectoryEntryRow.source), col(DirectoryEntryRow.key)


def _now() -> int:
    return int(time() * 1000)


def _to_pass(row: AnyRow) -> Pass:
    return Pass(row.source, row.number, row.next, row.owner or "", row.started_at, row.finished_at)


async def _go_on(connection: AsyncConnection, current: Pass, **values: int) -> None:
    row = DirectoryPassRow
    this = (
        col(row.source) == current.source,
        col(row.number) == current.number,
        col(row.owner) == current.owner,
        col(row.finished_at).is_(None),
    )
    gone_on = await connection.execute(update(row).where(*this).values(values))
    if not gone_on.rowcount:
        raise PassLost(f"The pass through {current.source} is not ours any more.")


async def _by(connection: AsyncConnection, name: str, values: Collection[str]) -> dict[str, list[Entry]]:
    answers = defaultdict[str, list[Entry]](list)
    ordered, named = ROWS.order_by(col(DirectoryEntryRow.id)), getattr(DirectoryEntryRow, name)
    for entry in map(to_entry, await found(connection, ordered, named, values)):
        answers[getattr(entry, name)].append(entry)
    return dict(answers)
