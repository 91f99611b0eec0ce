"""Audience: whom a broadcast is for, by which of its channels each is reached, and why somebody is not.

All that is one SELECT over a page of people: planning writes down what it says, a preview counts it.
"""

from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from functools import reduce
from operator import add, or_
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Select, Subquery, and_, case, exists, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import KeyedColumnElement
from sqlalchemy.types import String
from sqlmodel import col

from adapters.storage.database import BATCH, is_mysql
from adapters.storage.identity import SOURCES, Key
from adapters.storage.messages import ANY_CHANNEL
from adapters.storage.people import in_group
from adapters.storage.persons import persons_of
from adapters.storage.tables import ENTRY, SUPPRESSION, LinkRow

NO_PHONE = "There is no phone."
NO_MESSENGER_ID = "There is no Messenger id."
NO_OPT_IN = "The customer has not agreed to WhatsApp."
SUPPRESSED = "The address wants nothing there."
TOO_LONG = "With what is known of the customer the text is too long."

LONGEST_NUMBER = 16
"""Characters of a phone, with its plus; what is longer no vendor takes."""
ALL = 2**63 - 1
ZEROS, BLANKS = "0" * 18, " " * 64

Text_ = ColumnElement[str]


class Address(StrEnum):
    PHONE = "phone"
    MESSENGER_ID = "messenger_id"


class Value(StrEnum):
    """What a text may say of a customer."""

    FIRST_NAME = "firstName"
    LAST_NAME = "lastName"
    PHONE = "phone"
    EMAIL = "email"


_COLUMNS: Mapping[Value, str] = {
    Value.FIRST_NAME: "first_name",
    Value.LAST_NAME: "last_name",
    Value.PHONE: "phone",
    Value.EMAIL: "email",
}
MISSING: Mapping[Value, str] = {
    Value.FIRST_NAME: "There is no first name.",
    Value.LAST_NAME: "There is no last name.",
    Value.PHONE: NO_PHONE,
    Value.EMAIL: "There is no e-mail.",
}


class Way(msgspec.Struct, frozen=True):
    """A channel, and what it takes to be reached there."""

    channel: str
    address: Address
    asks_opt_in: bool = False
    """Not where Mercately says that the customer has not agreed to WhatsApp."""


class Use(msgspec.Struct, frozen=True):
    """A place in a text; without a default, nobody gets the text who has no such value."""

    value: Value
    default: str | None = None


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """How long it becomes is the characters that stand in it, and those that its uses put there."""

    fixed: int
    uses: tuple[Use, ...]
    longest: int | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who gets it, and how; without a group or a list it is everybody."""

    group: Key | None = None
    listed: int | None = None
    """So many customers were named one by one."""
    ways: tuple[Way, ...]
    """In the order of fallback."""
    texts: tuple[Text, ...] = ()
    """All that have a use."""


class Part(msgspec.Struct, frozen=True):
    """What is one recipient's own: the channels that reach them, and what the texts say of them."""

    channels: tuple[str, ...] | None = None
    """None once the recipient was forgotten."""
    values: dict[Value, str | None] = {}


read_part = msgspec.json.Decoder(Part).decode


class Page(NamedTuple):
    """People in the order of their ids, behind one and up to another, or to the end."""

    after: str
    edge: str | None
    listed: tuple[str, ...] | None = None
    """They and nobody else."""


async def page_of(
    connection: AsyncConnection, plan: Plan, listed: Collection[str], after: str, size: int
) -> Page:
    if plan.listed is not None:
        people = set((await persons_of(connection, list(map(Key.parse, listed)))).values())
        ahead = sorted(person for person in people if person > after)
        some = tuple(ahead[:BATCH])
        return Page(after, some[-1] if len(ahead) > BATCH else None, some)
    rows = _persons(plan, Page(after, None))
    person = rows.selected_columns[0]
    # Of entries: to count people takes ten times as long.
    return Page(after, await connection.scalar(rows.order_by(person).offset(size - 1).limit(1)))


async def judged(connection: AsyncConnection, plan: Plan, page: Page) -> list[Subquery]:
    """Everybody on the page once, with all that a delivery says of them; `why` is null for who gets one.

    Nearly nobody has two entries in one source: so to tell which of them is the first is asked of those who
    have, for it takes three times as long.
    """
    doubles = await _doubles(connection, plan, page)
    suppressing = await connection.scalar(select(exists(select(SUPPRESSION.c.address)))) or False
    if not doubles:
        people = [_people(connection, plan, page)]
    elif len(doubles) > BATCH:
        people = [_people(connection, plan, page, exactly=True)]
    else:
        these = ENTRY.c.person.in_(doubles)
        people = [
            _people(connection, plan, page, ~these),
            _people(connection, plan, page, these, exactly=True),
        ]
    how = {"suppressing": bool(suppressing), "on_mysql": is_mysql(connection)}
    return [_Judgement(plan, each, **how).of_each() for each in people]


def shared_phones() -> Select[str]:
    """Of all phones that two people have one was unlinked from the other: else they were one person."""
    link = (col(LinkRow.source) == ENTRY.c.source) & (col(LinkRow.key) == ENTRY.c.key)
    phones = select(ENTRY.c.phone).join(LinkRow, link)
    return phones.where(col(LinkRow.apart).is_(True), ENTRY.c.phone.is_not(None))


def _persons(plan: Plan, page: Page) -> Select[str]:
    rows, holds = in_group(*plan.group) if plan.group else (ENTRY.alias(), ())
    persons = select(rows.c.person).where(*holds, rows.c.person > page.after)
    return persons if page.edge is None else persons.where(rows.c.person <= page.edge)


def _on(plan: Plan, page: Page) -> Iterator[ColumnElement[bool]]:
    """Is an entry that of somebody on the page?"""
    if page.listed is not None:
        yield ENTRY.c.person.in_(page.listed)
    elif plan.group is not None:
        yield ENTRY.c.person.in_(_persons(plan, page))
    else:
        yield ENTRY.c.person > page.after
        if page.edge is not None:
            yield ENTRY.c.person <= page.edge


async def _doubles(connection: AsyncConnection, plan: Plan, page: Page) -> list[str]:
    of_source = select(ENTRY.c.person).where(*_on(plan, page)).group_by(ENTRY.c.person, ENTRY.c.source)
    return sorted(set(await connection.scalars(of_source.having(func.count() > 1))))


def _people(
    connection: AsyncConnection,
    plan: Plan,
    page: Page,
    *those: ColumnElement[bool],
    exactly: bool = False,
) -> Subquery:
    """What is known of each person: where entries differ, by the first of them that says something."""
    entry = ENTRY.c
    order: Text_ = case(
        {source: str(rank) for rank, source in enumerate(SOURCES)}, value=entry.source, else_="9"
    )
    width = 1
    if exactly:
        order += func.substr(literal(ZEROS) + _number_at_the_end(connection), -18, type_=String)
        order += func.substr(entry.key + literal(BLANKS), 1, 64, type_=String)
        width += len(ZEROS) + len(BLANKS)

    def first(said: Text_, *when: ColumnElement[bool]) -> Text_:
        said = order + said
        return func.substr(func.min(case((and_(*when), said)) if when else said), width + 1, type_=String)

    is_phone = entry.phone >= "+", entry.phone < ",", func.char_length(entry.phone) <= LONGEST_NUMBER
    columns = {
        "phone": first(entry.phone, *is_phone),
        "messenger_id": first(entry.key, entry.source == "everyprint"),
    }
    if any(way.asks_opt_in for way in plan.ways):
        said = case((entry.opted_out.is_(True), "no"), else_="yes")
        columns["opt_in"] = first(said, entry.source == "mercately")
    for value in _values(plan):
        columns.setdefault(_COLUMNS[value], first(entry[_COLUMNS[value]]))
    named = [column.label(name) for name, column in columns.items()]
    rows = select(entry.person, *named).where(*_on(plan, page), *those)
    return rows.group_by(entry.person).subquery("known")


def _number_at_the_end(connection: AsyncConnection) -> Text_:
    """As identity.order reads it."""
    key = ENTRY.c.key
    if is_mysql(connection):
        return func.regexp_substr(key, "[0-9]{1,18}$", type_=String)
    rest = func.length(func.rtrim(key, "0123456789"))
    return func.substr(func.substr(key, rest + 1), -18, type_=String)


def _values(plan: Plan) -> list[Value]:
    used = {use.value for text in plan.texts for use in text.uses}
    return [value for value in Value if value in used]


class _Judgement:
    def __init__(self, plan: Plan, people: Subquery, *, suppressing: bool, on_mysql: bool) -> None:
        self._plan = plan
        self._known = people.c
        self._suppressing = suppressing
        self._on_mysql = on_mysql

    def of_each(self) -> Subquery:
        known, ways = self._known, self._plan.ways
        channel = case(*((self._is_reached(way), way.channel) for way in ways), else_=None)
        rows = select(
            known.person,
            known.phone,
            known.messenger_id,
            channel.label("channel"),
            self._why().label("why"),
            self._part().label("part"),
        )
        # With a limit SQLite computes each once; without, it does so in all places that name it. What MySQL
        # computes once it writes down, which takes longer.
        columns = (rows if self._on_mysql else rows.limit(ALL)).subquery("reached")
        of_phone = [way.channel for way in ways if way.address is Address.PHONE]
        gets_it = columns.c.why.is_(None)
        by_phone = columns.c.channel.in_(of_phone)
        key = case((gets_it & by_phone, columns.c.phone), (gets_it, columns.c.messenger_id), else_=None)
        return select(*columns.c, key.label("key")).subquery("judged")

    def _address(self, way: Way) -> KeyedColumnElement[Any]:
        return self._known[way.address.value]

    def _is_reached(self, way: Way) -> ColumnElement[bool]:
        reached: list[ColumnElement[bool]] = [self._address(way).is_not(None)]
        if way.asks_opt_in:
            reached.append(~self._said_no())
        if self._suppressing:
            reached.append(~self._is_suppressed(way))
        return and_(*reached)

    def _said_no(self) -> ColumnElement[bool]:
        return func.coalesce(self._known.opt_in, "yes") == "no"

    def _is_suppressed(self, way: Way) -> ColumnElement[bool]:
        row = SUPPRESSION.c
        wants_nothing = row.address == self._address(way), row.channel.in_([ANY_CHANNEL, way.channel])
        return exists(select(row.address).where(*wants_nothing))

    def _why(self) -> ColumnElement[str | None]:
        """All that keeps every channel from them, or else what their text lacks, or that it is too long."""
        reasons = [(~reduce(or_, map(self._is_reached, self._plan.ways)), self._unreached())]
        reasons += [(self._known[_COLUMNS[value]].is_(None), literal(why)) for value, why in self._required()]
        reasons += [(length > longest, literal(TOO_LONG)) for length, longest in self._lengths()]
        return case(*reasons, else_=None)

    def _unreached(self) -> Text_:
        ways = self._plan.ways
        kinds = {way.address for way in ways}
        why: dict[str, ColumnElement[bool]] = {}
        if Address.PHONE in kinds:
            why[NO_PHONE] = self._known.phone.is_(None)
        if Address.MESSENGER_ID in kinds:
            why[NO_MESSENGER_ID] = self._known.messenger_id.is_(None)
        if asking := [way for way in ways if way.asks_opt_in]:
            why[NO_OPT_IN] = self._said_no() & self._address(asking[0]).is_not(None)
        if self._suppressing:
            why[SUPPRESSED] = reduce(or_, map(self._is_suppressed, ways))
        said = [case((holds, f" {sentence}"), else_="") for sentence, holds in why.items()]
        return func.substr(reduce(add, said), 2, type_=String)

    def _required(self) -> list[tuple[Value, str]]:
        bare = {use.value for text in self._plan.texts for use in text.uses if use.default is None}
        return [(value, MISSING[value]) for value in _values(self._plan) if value in bare]

    def _lengths(self) -> Iterator[tuple[ColumnElement[int], int]]:
        for text in self._plan.texts:
            if text.longest is not None:
                yield reduce(add, map(self._length, text.uses), literal(text.fixed)), text.longest

    def _length(self, use: Use) -> ColumnElement[int]:
        value = self._known[_COLUMNS[use.value]]
        return func.coalesce(func.char_length(value), len(use.default or ""))

    def _part(self) -> Text_:
        """As `read_part` reads it."""
        names = [case((self._is_reached(way), f',"{way.channel}"'), else_="") for way in self._plan.ways]
        part = literal('{"channels":[') + func.substr(reduce(add, names), 2, type_=String) + "]"
        if values := _values(self._plan):
            said = [
                literal(f'"{value}":')
                + func.coalesce(func.json_quote(self._known[_COLUMNS[value]], type_=String), "null")
                for value in values
            ]
            part += literal(',"values":{') + reduce(lambda one, next: one + "," + next, said) + "}"
        return part + "}"
