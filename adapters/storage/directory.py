"""The directory: the mirror of customers that a source can only page, and the search behind it.

Search knows a text by its grams, every three characters in a row: SQLite indexes them itself (FTS5), MySQL
as words of a full-text index, written in hexadecimal so that none is a stop word, too short or an operator.
An index finds candidates; who is a hit, the entry's own words decide.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from time import time
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    Index,
    Integer,
    Select,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    and_,
    case,
    column,
    delete,
    distinct,
    func,
    insert,
    or_,
    select,
    table,
    update,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped
from sqlmodel import Field, SQLModel, col

from adapters.storage.database import AnyRow, Questions, found, reads, writes
from adapters.storage.links import Key
from adapters.storage.tables import ON_MYSQL

WRITTEN_AT_ONCE = 500
MISSES = 2
"""So many full passes in a row miss an entry before it is gone: one through pages without an order may."""
LONGEST_NAME, LONGEST_EMAIL, LONGEST_PHONE, LONGEST_TAG = 255, 254, 32, 255
LONGEST_WORDS = 4000
LONGEST_SEARCH = 200
"""Of a longer one only the beginning counts."""

WINDOW = 5_000
"""So many rows are looked at in the order of the list before the search index is asked.

What many people have is found at once by looking, what few have by the index, and neither is fast at both:
an index lists all of the many before it can sort them.
"""
SAMPLE = 500
"""So many texts, twice, tell which grams are rare."""
RAREST = 3
"""So many grams the index is asked for: it reads all that has each."""
RARE, COMMON = 0.01, 0.1
"""Parts of the sample: what is counted through the index, and what is not looked for there at all."""

GRAM = 3
GAP = "  "
"""Before every word: so the start of a word is a gram too, even of a word of one letter."""
PHONE = 7
"""So many digits are a phone number, however they are written."""


# Tables


class Json(TypeDecorator[bytes]):
    """JSON as msgspec has it, in bytes; stored as text, since aiomysql passes no bytes on."""

    impl = Text(2**24 - 1)
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else value.decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.encode()


class DirectoryEntryRow(SQLModel, table=True):
    __tablename__ = "directory_entry"
    __table_args__ = (
        UniqueConstraint("source", "key", name="uq_directory_entry_key"),
        Index("ix_directory_entry_row", "source", "row_number"),
        Index("ix_directory_entry_source", "source", "person"),
        Index("ix_directory_entry_group", "source", "group_key", "person"),
        Index("ix_directory_entry_seen", "source", "seen"),
        ON_MYSQL,
    )

    # A number of our own, since full-text indexes know a row by its number.
    id: int = Field(sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True))
    source: str = Field(max_length=16)
    key: str = Field(max_length=64)
    row_number: int | None = Field(sa_type=BigInteger)
    person: str | None = Field(max_length=128, index=True)
    first_name: str | None = Field(max_length=LONGEST_NAME)
    last_name: str | None = Field(max_length=LONGEST_NAME)
    email: str | None = Field(max_length=LONGEST_EMAIL, index=True)
    phone: str | None = Field(max_length=LONGEST_PHONE, index=True)
    group_key: str | None = Field(max_length=64)
    tags: bytes = Field(sa_type=Json)
    profile: bytes = Field(sa_type=Json)
    words: str = Field(max_length=LONGEST_WORDS)
    seen: int
    as_of: int = Field(sa_type=BigInteger)


class DirectoryTagRow(SQLModel, table=True):
    """The person is the entry's: so people with a tag are listed in their order."""

    __tablename__ = "directory_tag"
    __table_args__ = (Index("ix_directory_tag_tag", "tag", "person"), ON_MYSQL)

    entry_id: int = Field(sa_type=BigInteger, primary_key=True)
    tag: str = Field(primary_key=True, max_length=LONGEST_TAG)
    person: str | None = Field(max_length=128)


class DirectoryPassRow(SQLModel, table=True):
    __tablename__ = "directory_pass"
    __table_args__ = (ON_MYSQL,)

    source: str = Field(primary_key=True, max_length=16)
    number: int
    next: int
    started_at: int = Field(sa_type=BigInteger)
    finished_at: int | None = Field(sa_type=BigInteger)


KEPT = {"id", "source", "key", "person"}
ENTRY: Table = SQLModel.metadata.tables["directory_entry"]
TAG: Table = SQLModel.metadata.tables["directory_tag"]
# Not of one kind: on SQLite a virtual table that triggers keep, on MySQL a table with a full-text index.
SEARCH = table("directory_search", column("entry_id"), column("grams"))
SEARCH_ON_SQLITE = table("directory_search", column("rowid"), column("directory_search"))


# What is asked and answered


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as one source has them."""

    source: str
    key: str
    row_number: int | None = None
    """By which Mercately's conversations know them."""
    person: str | None = None
    """The canonical id; None leaves the one that was assigned."""
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
    """UTC, milliseconds."""


class Pass(msgspec.Struct, frozen=True):
    """One walk through all of a source's pages; `next` is where it goes on."""

    source: str
    number: int
    next: int
    started_at: int
    finished_at: int | None = None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said has to hold for a person; each may hold for another of their entries."""

    source: str | None = None
    group: Key | None = None
    tag: str | None = None
    search: str | None = None


EVERYBODY = Filter()


class People(msgspec.Struct, frozen=True):
    persons: list[str]
    has_more: bool


class Directory(Questions):
    window = WINDOW

    # Writing

    async def upsert(self, entries: Iterable[Entry]) -> None:
        """What passed through. Each 500 are a transaction: an entry is right without the next."""
        for some in _chunks(entries):
            await self._write(some)

    async def remove(self, keys: Iterable[Key]) -> None:
        for some in _chunks(keys):
            await self._remove(some)

    async def assign_person(self, pairs: Mapping[Key, str]) -> None:
        """Says who is behind which entry; entries that are not here are nobody's."""
        for some in _chunks(pairs.items()):
            await self._assign(dict(some))

    @writes
    async def begin(self, connection: AsyncConnection, source: str, first: int = 1) -> Pass:
        """The pass that was not finished, or else a new one."""
        mine = col(DirectoryPassRow.source) == source
        rows = select(DirectoryPassRow).where(mine).with_for_update()
        row = (await connection.execute(rows)).first()
        if row and row.finished_at is None:
            return _to_pass(row)
        new = Pass(source, row.number + 1 if row else 1, first, _now())
        values = msgspec.structs.asdict(new)
        statement = update(DirectoryPassRow).where(mine) if row else insert(DirectoryPassRow)
        await connection.execute(statement.values(values))
        return new

    @reads
    async def last_pass(self, connection: AsyncConnection, source: str) -> Pass | None:
        rows = select(DirectoryPassRow).where(col(DirectoryPassRow.source) == source)
        row = (await connection.execute(rows)).first()
        return row and _to_pass(row)

    async def mirror(self, current: Pass, entries: Iterable[Entry], next: int) -> None:
        """One page of the pass, and where it goes on."""
        *before, last = list(_chunks(entries)) or [()]
        for some in before:
            await self._write(some)
        await self._write(last, current, next)

    async def finish(self, current: Pass, misses: int = MISSES) -> int:
        """The pass saw everything there is: how many entries are gone, missed by so many in a row?"""
        await self._finish(current)
        removed = 0
        while gone := await self._sweep(current.source, misses):
            removed += gone
        return removed

    # Asking

    @reads
    async def entries(self, connection: AsyncConnection, keys: Collection[Key]) -> dict[Key, Entry]:
        rows = await _of_each_source(connection, select(DirectoryEntryRow), col(DirectoryEntryRow.key), keys)
        return {Key(row.source, row.key): _to_entry(row) for row in rows}

    @reads
    async def of_rows(
        self, connection: AsyncConnection, numbers: Collection[tuple[str, int]]
    ) -> dict[tuple[str, int], Entry]:
        rows = await _of_each_source(
            connection, select(DirectoryEntryRow), col(DirectoryEntryRow.row_number), numbers
        )
        return {(row.source, row.row_number): _to_entry(row) for row in rows}

    @reads
    async def of_phones(self, connection: AsyncConnection, phones: Collection[str]) -> dict[str, list[Entry]]:
        return await _by(connection, "phone", phones)

    @reads
    async def of_emails(self, connection: AsyncConnection, emails: Collection[str]) -> dict[str, list[Entry]]:
        """E-mails in lower case."""
        return await _by(connection, "email", emails)

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
        persons = await _People(connection, filter, self.window, _sayable(after)).first(count + 1)
        return People(persons[:count], has_more=len(persons) > count)

    @reads
    async def count(self, connection: AsyncConnection, filter: Filter = EVERYBODY) -> int | None:
        """How many people in all; None when to count them would be a walk through too many."""
        return await _People(connection, filter, self.window).count()

    # Parts of the above, each a transaction

    @writes
    async def _write(
        self,
        connection: AsyncConnection,
        entries: Sequence[Entry],
        current: Pass | None = None,
        next: int = 0,
    ) -> None:
        if current:
            this = (col(DirectoryPassRow.source) == current.source, *_unfinished(current))
            await connection.execute(update(DirectoryPassRow).where(*this).values(next=next))
        # One order for all, so that two who write the same entries wait for each other once.
        by_key = {Key(entry.source, entry.key): entry for entry in entries}
        if not by_key:
            return
        passes = await connection.execute(select(DirectoryPassRow))
        seen = {row.source: row.number for row in passes}
        rows = [_to_row(by_key[key], seen.get(key.source, 0)) for key in sorted(by_key)]
        await connection.execute(_upserted(connection), rows)
        written = await _identified(connection, by_key)
        await _index(connection, written, {Key(row["source"], row["key"]): row["words"] for row in rows})
        await _tag(connection, {row.id: (row.person, _to_tags(by_key[key])) for key, row in written.items()})

    @writes
    async def _remove(self, connection: AsyncConnection, keys: Sequence[Key]) -> None:
        rows = await _identified(connection, keys)
        await _forget(connection, [row.id for row in rows.values()])

    @writes
    async def _assign(self, connection: AsyncConnection, pairs: dict[Key, str]) -> None:
        rows = await _identified(connection, pairs)
        persons = {row.id: pairs[key] for key, row in rows.items() if row.person != pairs[key]}
        if persons:
            for stored, id in ((ENTRY, ENTRY.c.id), (TAG, TAG.c.entry_id)):
                chosen = update(stored).where(id.in_(persons))
                await connection.execute(chosen.values(person=case(persons, value=id)))

    @writes
    async def _finish(self, connection: AsyncConnection, current: Pass) -> None:
        this = (col(DirectoryPassRow.source) == current.source, *_unfinished(current))
        await connection.execute(update(DirectoryPassRow).where(*this).values(finished_at=_now()))

    @writes
    async def _sweep(self, connection: AsyncConnection, source: str, misses: int) -> int:
        rows = select(DirectoryPassRow).where(col(DirectoryPassRow.source) == source)
        row = (await connection.execute(rows)).one()
        full = row.number if row.finished_at is not None else row.number - 1
        missed = select(ENTRY.c.id).where(ENTRY.c.source == source, ENTRY.c.seen <= full - misses)
        ids = (await connection.scalars(missed.limit(WRITTEN_AT_ONCE).with_for_update())).all()
        await _forget(connection, ids)
        return len(ids)


# The list


class _Condition(NamedTuple):
    """Rows of one table in the order of their persons, found by an index."""

    rows: Any
    holds: tuple[ColumnElement[bool], ...]

    def after(self, person: str) -> Select[str]:
        return select(self.rows.c.person).where(*self.holds, self.rows.c.person > person)

    def also_of(self, person: ColumnElement[str]) -> ColumnElement[bool]:
        """Looked up for each person: an EXISTS, MySQL may turn round, and read the whole table first."""
        one = select(self.rows.c.person).where(*self.holds, self.rows.c.person == person).limit(1)
        return one.correlate_except(self.rows).scalar_subquery().is_not(None)


class _People:
    """One question about the list: who, of those after somebody, meets a filter?"""

    def __init__(self, connection: AsyncConnection, filter: Filter, window: int, after: str = "") -> None:
        self._connection = connection
        self._window = window
        self._after = after
        self._conditions = list(_conditions(filter))
        self._readings = readings(filter.search or "")
        self._texts: list[str] = []

    async def first(self, wanted: int) -> list[str]:
        lead, tests, _ = await self._plan()
        after, window, persons = self._after, self._window, list[str]()
        while True:
            edge = await self._edge(lead, after, window) if tests else None
            rows = lead.after(after).where(*tests)
            if edge is not None:
                rows = rows.where(lead.rows.c.person <= edge)
            persons += await self._answer(rows, lead.rows.c.person, wanted - len(persons))
            if edge is None or len(persons) == wanted:
                break
            after, window = edge, window * 2
            if self._readings and await self._rarity() <= COMMON:
                rows, person = await self._through_the_index(after)
                return persons + await self._answer(rows, person, wanted - len(persons))
        return persons

    async def count(self) -> int | None:
        lead, tests, size = await self._plan()
        if tests and size > self._window and not (self._readings and await self._rarity() <= RARE):
            return None
        # A count leaves out those without a person; MySQL takes three times as long if told so.
        person = lead.rows.c.person
        rows = select(person).where(*lead.holds, *tests)
        if tests and size > self._window:
            rows, person = await self._through_the_index(self._after)
        return await self._connection.scalar(rows.with_only_columns(func.count(distinct(person))))

    async def _plan(self) -> tuple[_Condition, tuple[ColumnElement[bool], ...], int]:
        """What to walk along (what the fewest rows meet), what else must hold; how many rows."""
        if not self._conditions:
            everybody = _Condition(ENTRY.alias(), ())
            tests = (says(everybody.rows.c.words, self._readings),) if self._readings else ()
            return everybody, tests, await self._size(everybody) if tests else 0
        sizes = [await self._size(condition) for condition in self._conditions]
        size, at = min((size, at) for at, size in enumerate(sizes))
        lead, others = self._conditions[at], self._conditions[:at] + self._conditions[at + 1 :]
        if self._readings:
            entry = ENTRY.alias()
            others.append(_Condition(entry, (says(entry.c.words, self._readings),)))
        return lead, tuple(other.also_of(lead.rows.c.person) for other in others), size

    async def _size(self, condition: _Condition) -> int:
        """How many rows; one more than the window stands for all that are more."""
        some = condition.after(self._after).limit(self._window + 1).subquery()
        return await self._connection.scalar(select(func.count()).select_from(some)) or 0

    async def _edge(self, lead: _Condition, after: str, window: int) -> str | None:
        """The last person of the window; None when it goes to the end."""
        rows = lead.after(after).order_by(lead.rows.c.person).offset(window - 1).limit(1)
        return await self._connection.scalar(rows)

    async def _answer(self, rows: Select[str], person: ColumnElement[str], wanted: int) -> list[str]:
        ordered = rows.distinct().order_by(person).limit(wanted)
        return list(await self._connection.scalars(ordered))

    async def _through_the_index(self, after: str) -> tuple[Select[str], ColumnElement[str]]:
        sample = await self._sample()
        entry, rarest = ENTRY.alias(), [_rarest(reading, sample) for reading in self._readings]
        rows = select(entry.c.person).select_from(_candidates(self._connection, entry))
        tests = [condition.also_of(entry.c.person) for condition in self._conditions]
        hits = rows.where(entry.c.person > after, says(entry.c.words, self._readings), *tests)
        return hits.where(_matches(self._connection, rarest)), entry.c.person

    async def _rarity(self) -> float:
        """The part of all texts that the index will name as candidates, as far as a sample can tell."""
        sample = await self._sample()
        least = (min(_share(gram, sample) for gram in grams(reading)) for reading in self._readings)
        return sum(least)

    async def _sample(self) -> Sequence[str]:
        """Texts from where the walk begins, and the newest."""
        if not self._texts:
            words = select(ENTRY.c.words)
            ahead = words.where(ENTRY.c.person > self._after).order_by(ENTRY.c.person)
            for rows in (ahead, words.order_by(ENTRY.c.id.desc())):
                self._texts += await self._connection.scalars(rows.limit(SAMPLE))
        return self._texts


def _conditions(filter: Filter) -> Iterator[_Condition]:
    if filter.source is not None:
        entry = ENTRY.alias()
        yield _Condition(entry, (entry.c.source == _sayable(filter.source),))
    if filter.group is not None:
        entry, (source, key) = ENTRY.alias(), filter.group
        yield _Condition(entry, (entry.c.source == _sayable(source), entry.c.group_key == _sayable(key)))
    if filter.tag is not None:
        tag = TAG.alias()
        yield _Condition(tag, (tag.c.tag == _tag_name(filter.tag),))


# Search

Reading = tuple[str, ...]
"""What a text has to hold, all of it, to be a hit; no part is shorter than a gram."""

_PLAIN = str.maketrans({"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})
_DIGITS_OF_A_PHONE = re.compile(r"[+()\d.\-/]*\d[+()\d.\-/]*")


def folded(text: str) -> str:
    """Without case, accents and what cannot be seen."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kinds = ((letter, unicodedata.category(letter)) for letter in letters.translate(_PLAIN))
    return "".join(" " if kind[0] in "CZ" else letter for letter, kind in kinds if kind != "Mn")


def words_of(entry: Entry) -> str:
    """All that search looks at: each word after a gap; one that begins another is found as that."""
    whole = folded(f"{entry.first_name or ''} {entry.last_name or ''} {entry.email or ''}").split()
    parts = [part for word in whole for part in re.findall(r"[^\W_]+", word)]
    phone = re.sub(r"\D", "", entry.phone or "")
    kept: list[str] = []
    for word in sorted({*whole, *parts, phone} - {""}, reverse=True):
        if not (kept and kept[-1].startswith(word)):
            kept.append(word)
    return "".join(GAP + word for word in reversed(kept))[:LONGEST_WORDS]


def readings(search: str) -> list[Reading]:
    """A search as its words and, if there may be a phone in it, with that as its digits."""
    words = folded(search[:LONGEST_SEARCH]).split()
    as_phone = [word for is_phone, run in groupby(words, _like_a_phone) for word in _joined(is_phone, run)]
    both = (tuple(dict.fromkeys(map(_needle, reading))) for reading in (words, as_phone))
    return [reading for reading in dict.fromkeys(both) if reading]


def says(words: ColumnElement[str], alternatives: Sequence[Reading]) -> ColumnElement[bool]:
    return or_(*(and_(*(func.instr(words, needle) > 0 for needle in reading)) for reading in alternatives))


def grams(texts: Iterable[str]) -> set[str]:
    return {text[at : at + GRAM] for text in texts for at in range(len(text) - GRAM + 1)}


def _needle(word: str) -> str:
    """A short word is the beginning of one."""
    return word if len(word) >= GRAM else GAP + word


def _like_a_phone(word: str) -> bool:
    return _DIGITS_OF_A_PHONE.fullmatch(word) is not None


def _joined(is_phone: bool, words: Iterable[str]) -> list[str]:
    """People write phones with gaps, and with zeros in front that are not part of E.164."""
    run = list(words)
    digits = re.sub(r"\D", "", "".join(run))
    if is_phone and (len(digits) >= PHONE or run[0].startswith("+")):
        return [digits.lstrip("0") or digits]
    return run


def _share(gram: str, sample: Sequence[str]) -> float:
    return sum(gram in text for text in sample) / max(len(sample), 1)


def _rarest(reading: Reading, sample: Sequence[str]) -> list[str]:
    """One that is much more common than the rarest costs more to read than it spares."""
    shares = sorted((_share(gram, sample), gram) for gram in grams(reading))
    enough = max(2 * shares[0][0], 1 / SAMPLE)
    return [gram for share, gram in shares[:RAREST] if share <= enough]


def _token(gram: str) -> str:
    return gram.encode().hex()


# What the two databases say differently


def _is_mysql(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "mysql"


def _upserted(connection: AsyncConnection) -> Any:
    """Replaces an entry that is there, all but its number and, unless it is said, its person."""
    replaced = [name for name in DirectoryEntryRow.model_fields if name not in KEPT]
    if _is_mysql(connection):
        mine = mysql.insert(ENTRY)
        person = {"person": func.coalesce(mine.inserted.person, ENTRY.c.person)}
        return mine.on_duplicate_key_update({name: mine.inserted[name] for name in replaced} | person)
    lite = sqlite.insert(ENTRY)
    person = {"person": func.coalesce(lite.excluded.person, ENTRY.c.person)}
    return lite.on_conflict_do_update(
        index_elements=["source", "key"], set_={name: lite.excluded[name] for name in replaced} | person
    )


async def _index(
    connection: AsyncConnection, written: Mapping[Key, AnyRow], words: Mapping[Key, str]
) -> None:
    if _is_mysql(connection):
        statement = mysql.insert(SEARCH)
        tokens = [
            {"entry_id": row.id, "grams": " ".join(map(_token, sorted(grams([words[key]]))))}
            for key, row in written.items()
        ]
        await connection.execute(statement.on_duplicate_key_update(grams=statement.inserted.grams), tokens)


def _candidates(connection: AsyncConnection, entry: Any) -> Any:
    if _is_mysql(connection):
        return SEARCH.join(entry, entry.c.id == SEARCH.c.entry_id)
    return SEARCH_ON_SQLITE.join(entry, entry.c.id == SEARCH_ON_SQLITE.c.rowid)


def _matches(connection: AsyncConnection, rarest: Sequence[Sequence[str]]) -> ColumnElement[bool]:
    if _is_mysql(connection):
        terms = (" ".join(f"+{_token(gram)}" for gram in some) for some in rarest)
        return mysql.match(SEARCH.c.grams, against=" ".join(f"({term})" for term in terms)).in_boolean_mode()
    quoted = ([f'"{gram.replace(chr(34), chr(34) * 2)}"' for gram in some] for some in rarest)
    return SEARCH_ON_SQLITE.c.directory_search.match(
        " OR ".join(f"({' AND '.join(some)})" for some in quoted)
    )


# Rows


def _chunks(items: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    rest = iter(items)
    while some := tuple(islice(rest, WRITTEN_AT_ONCE)):
        yield some


def _now() -> int:
    return int(time() * 1000)


def _sayable(text: str) -> str:
    """Without what no database takes: half of a character."""
    return text.encode(errors="replace").decode()


def _cut(text: str | None, longest: int) -> str | None:
    return _sayable(text.strip())[:longest] or None if text else None


def _whole(text: str | None, longest: int) -> str | None:
    """What is too long for an address is none."""
    return cut if (cut := _cut(text, longest + 1)) and len(cut) <= longest else None


def _tag_name(tag: str) -> str:
    return _cut(tag, LONGEST_TAG) or ""


def _to_tags(entry: Entry) -> frozenset[str]:
    return frozenset(map(_tag_name, entry.tags)) - {""}


def _to_row(entry: Entry, seen: int) -> dict[str, Any]:
    email = _whole(entry.email, LONGEST_EMAIL)
    kept = msgspec.structs.replace(
        entry,
        first_name=_cut(entry.first_name, LONGEST_NAME),
        last_name=_cut(entry.last_name, LONGEST_NAME),
        email=email and email.lower(),
        phone=_whole(entry.phone, LONGEST_PHONE),
    )
    row = msgspec.structs.asdict(kept) | {"tags": msgspec.json.encode(entry.tags)}
    return row | {"words": words_of(kept), "seen": seen}


def _to_entry(row: AnyRow) -> Entry:
    named = {name: getattr(row, name) for name in Entry.__struct_fields__}
    return Entry(**named | {"tags": msgspec.json.decode(row.tags, type=tuple[str, ...])})


def _to_pass(row: AnyRow) -> Pass:
    return Pass(row.source, row.number, row.next, row.started_at, row.finished_at)


def _unfinished(current: Pass) -> tuple[ColumnElement[bool], ...]:
    return (
        col(DirectoryPassRow.number) == current.number,
        col(DirectoryPassRow.finished_at).is_(None),
    )


async def _by(connection: AsyncConnection, name: str, values: Collection[str]) -> dict[str, list[Entry]]:
    answers = defaultdict[str, list[Entry]](list)
    rows, named = (
        select(DirectoryEntryRow).order_by(col(DirectoryEntryRow.id)),
        getattr(DirectoryEntryRow, name),
    )
    for row in await found(connection, rows, named, values):
        answers[getattr(row, name)].append(_to_entry(row))
    return dict(answers)


async def _of_each_source(
    connection: AsyncConnection, rows: Any, named: Mapped[Any], keys: Iterable[tuple[str, Any]]
) -> list[AnyRow]:
    by_source = defaultdict[str, list[Any]](list)
    for source, key in keys:
        by_source[source].append(key)
    return [
        row
        for source, theirs in by_source.items()
        for row in await found(connection, rows.where(col(DirectoryEntryRow.source) == source), named, theirs)
    ]


async def _identified(connection: AsyncConnection, keys: Iterable[Key]) -> dict[Key, AnyRow]:
    rows = select(ENTRY.c.id, ENTRY.c.source, ENTRY.c.key, ENTRY.c.person)
    there = await _of_each_source(connection, rows, col(DirectoryEntryRow.key), keys)
    return {Key(row.source, row.key): row for row in there}


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


async def _forget(connection: AsyncConnection, ids: Sequence[int]) -> None:
    if ids:
        if _is_mysql(connection):
            await connection.execute(delete(SEARCH).where(SEARCH.c.entry_id.in_(ids)))
        await connection.execute(delete(TAG).where(TAG.c.entry_id.in_(ids)))
        await connection.execute(delete(ENTRY).where(ENTRY.c.id.in_(ids)))
