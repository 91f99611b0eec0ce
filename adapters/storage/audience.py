"""Audience: whom a broadcast is for, by which of its channels each is reached, and why somebody is not.

All that is one SELECT over a page of people: planning writes down what it says, a preview counts it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
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
from adapters.storage.identity import Key
from adapters.storage.messages import ANY_CHANNEL
from adapters.storage.people import in_group
from adapters.storage.persons import persons_of
from adapters.storage.tables import ENTRY, RECIPIENT, SUPPRESSION, LinkRow

NO_PHONE = "There is no phone."
NO_MESSENGER_ID = "There is no Messenger id."
NO_OPT_IN = "The customer has not agreed to WhatsApp."
SUPPRESSED = "The address wants nothing there."
TOO_LONG = "With what is known of the customer the text is too long."

ALL = 2**63 - 1

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
    return Page(after, await connection.scalar(rows.order_by(person).offset(size - 1).limit(1)))


async def judged(connection: AsyncConnection, plan: Plan, page: Page) -> Subquery:
    """Everybody on the page, with all that a delivery says of them; `why` is null for who gets one."""
    known = select(RECIPIENT).where(*_on(plan, page)).subquery("known")
    suppressing = await connection.scalar(select(exists(select(SUPPRESSION.c.address)))) or False
    how = {"suppressing": bool(suppressing), "on_mysql": is_mysql(connection)}
    return _Judgement(plan, known, **how).of_each()


def shared_phones() -> Select[str]:
    """Of all phones that two people have one was unlinked from the other: else they were one person."""
    link = (col(LinkRow.source) == ENTRY.c.source) & (col(LinkRow.key) == ENTRY.c.key)
    phones = select(ENTRY.c.phone).join(LinkRow, link)
    return phones.where(col(LinkRow.apart).is_(True), ENTRY.c.phone.is_not(None))


def _persons(plan: Plan, page: Page) -> Select[str]:
    rows, holds = in_group(*plan.group) if plan.group else (RECIPIENT, ())
    persons = select(rows.c.person).where(*holds, rows.c.person > page.after)
    return persons if page.edge is None else persons.where(rows.c.person <= page.edge)


def _on(plan: Plan, page: Page) -> Iterator[ColumnElement[bool]]:
    """Is somebody on the page?"""
    person = RECIPIENT.c.person
    if page.listed is not None:
        yield person.in_(page.listed)
    elif plan.group is not None:
        yield person.in_(_persons(plan, page))
    else:
        yield person > page.after
        if page.edge is not None:
            yield person <= page.edge


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
        return self._known.opted_out.is_(True)

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
        part = self._channels(self._plan.ways)
        if values := _values(self._plan):
            said = [
                literal(f'"{value}":')
                + func.coalesce(func.json_quote(self._known[_COLUMNS[value]], type_=String), "null")
                for value in values
            ]
            part += literal(',"values":{') + reduce(lambda one, next: one + "," + next, said) + "}"
        return part + "}"

    def _channels(self, ways: Sequence[Way], reached: tuple[str, ...] = ()) -> Text_:
        """Whatever they may be stands there whole: to put them together takes thrice as long."""
        if not ways:
            return literal('{"channels":[' + ",".join(f'"{name}"' for name in reached) + "]")
        way, rest = ways[0], ways[1:]
        also = self._channels(rest, (*reached, way.channel))
        return case((self._is_reached(way), also), else_=self._channels(rest, reached))
