"""People: the list of all whom the directory knows, each once, filtered and searched."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Select, distinct, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storage.entries import sayable, tag_name
from adapters.storage.identity import Key
from adapters.storage.search import SAMPLE, candidates, grams, matches, rarest, readings, says, share
from adapters.storage.tables import ENTRY, MEMBER, TAG

WINDOW = 5_000
"""So many rows are looked at in the order of the list before the search index is asked.

What many people have is found at once by looking, what few have by the index, and neither is fast at both:
an index lists all of the many before it can sort them.
"""
RARE, COMMON = 0.01, 0.1
"""Parts of the sample: what is counted through the index, and what is not looked for there at all."""
OWN_GROUPS = "everyprint"


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


_EVERYBODY = _Condition(ENTRY.alias(), ())
"""Once: to name the columns of an alias takes as long as to ask."""


class Walk:
    """One question about the list: who, of those after somebody, meets a filter?"""

    def __init__(self, connection: AsyncConnection, filter: Filter, window: int, after: str = "") -> None:
        self._connection = connection
        self._window = window
        self._after = sayable(after)
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
            tests = (says(_EVERYBODY.rows.c.words, self._readings),) if self._readings else ()
            return _EVERYBODY, tests, await self._size(_EVERYBODY) if tests else 0
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
        entry, rare = ENTRY.alias(), [rarest(reading, sample) for reading in self._readings]
        rows = select(entry.c.person).select_from(candidates(self._connection, entry))
        tests = [condition.also_of(entry.c.person) for condition in self._conditions]
        hits = rows.where(entry.c.person > after, says(entry.c.words, self._readings), *tests)
        return hits.where(matches(self._connection, rare)), entry.c.person

    async def _rarity(self) -> float:
        """The part of all texts that the index will name as candidates, as far as a sample can tell."""
        sample = await self._sample()
        least = (min(share(gram, sample) for gram in grams(reading)) for reading in self._readings)
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
        yield _Condition(entry, (entry.c.source == sayable(filter.source),))
    if filter.group is not None:
        yield in_group(*filter.group)
    if filter.tag is not None:
        tag = TAG.alias()
        yield _Condition(tag, (tag.c.tag == tag_name(filter.tag),))


def in_group(source: str, id: str) -> _Condition:
    if source == OWN_GROUPS:
        member = MEMBER.alias()
        return _Condition(member, (member.c.group_id == _number(id),))
    entry = ENTRY.alias()
    return _Condition(entry, (entry.c.source == sayable(source), entry.c.group_key == sayable(id)))


def _number(id: str) -> int:
    """What names no group is 0, and so does 0."""
    return int(id) if re.fullmatch("[0-9]{1,18}", id) else 0
