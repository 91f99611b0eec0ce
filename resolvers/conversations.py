"""Conversations: of both channels of Mercately, merged newest first, reading only the pages that it takes."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

import strawberry

from adapters.mercately import client as mercately
from resolvers.connections import MOST, check_first, connection, from_cursor, to_cursor
from resolvers.ids import NotOurs, key_of, number_of, to_id
from resolvers.waiting import all_of
from schema.context import Info
from schema.conversations import Conversation, ConversationChannel, ConversationConnection

PAGE = MOST + 1
"""Rows a call: one more than anybody may ask for, so that one page also tells whether there is a next one."""
WIDE = 500
"""Rows a call where certain customers are looked for: they may stand anywhere."""
AT_ONCE = 4
"""So many pages are read at the same time when the first, the newest, did not have them all."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Order = tuple[int, str, int]
"""Where a conversation stands: newest first, then by channel and customer."""


def to_conversation(row: mercately.Conversation) -> Conversation:
    return Conversation(
        id=to_id("Conversation", f"{row.channel}:{row.customer_row_id}"),
        channel=ConversationChannel(row.channel),
        message_count=row.message_count,
        last_interaction=row.last_interaction,
        agent_id=row.agent_id or None,
        told=row,
    )


def order(row: mercately.Conversation) -> Order:
    since = (row.last_interaction - _EPOCH) // timedelta(microseconds=1)
    return (-since, row.channel, row.customer_row_id or 0)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Behind which conversation, and on which page each channel stood: a place to start looking from."""

    behind: Order
    pages: dict[str, int]

    def __str__(self) -> str:
        since, channel, customer = self.behind
        pages = ",".join(f"{channel}={page}" for channel, page in self.pages.items())
        return to_cursor(f"{-since}:{channel}:{customer}:{pages}")

    @classmethod
    def read(cls, text: str) -> "Cursor":
        try:
            since, channel, customer, pages = from_cursor(text).split(":")
            places = {name: int(page) for name, page in (place.split("=") for place in pages.split(","))}
            cursor = cls((-int(since), ConversationChannel(channel).value, int(customer)), places)
        except ValueError:
            raise NotOurs("after", "a cursor") from None
        if str(cursor) != text or min(places.values()) < 1:
            raise NotOurs("after", "a cursor")
        return cursor


class Page(NamedTuple):
    """One of Mercately's, its rows in order."""

    rows: Sequence[tuple[Order, mercately.Conversation]]
    total: int
    more: bool


PageKey = tuple[mercately.Channel, int, bool]
"""Of which channel, which page; of those alone that no agent has?"""
Read = Callable[[PageKey], Awaitable[Page]]


async def load_pages(source: mercately.Mercately, keys: Sequence[PageKey]) -> list[Page | BaseException]:
    return await asyncio.gather(*(read_page(source, key) for key in keys), return_exceptions=True)


async def read_page(source: mercately.Mercately, key: PageKey) -> Page:
    channel, page, unassigned = key
    found = await source.conversations(channel, page, count=PAGE, unassigned=unassigned)
    named = (row for row in found if row.customer_row_id)  # without a customer it has no id
    rows = sorted(((order(row), row) for row in named), key=itemgetter(0))
    return Page(rows, found.total, more=len(found) == PAGE)


class _Channel:
    """The conversations of one channel that are behind a cursor, read a page at a time."""

    def __init__(
        self,
        read: Read,
        channel: mercately.Channel,
        cursor: Cursor | None = None,
        *,
        unassigned: bool = False,
        agent_id: int | None = None,
    ) -> None:
        self.name = channel
        self.page = cursor.pages.get(channel, 1) if cursor else 1
        self.rows: deque[tuple[Order, mercately.Conversation]] = deque()
        self.more = True
        self.total = 0
        self._read_page = read
        self._unassigned = unassigned
        self._agent_id = agent_id
        self._behind = cursor.behind if cursor else None
        self._begun = False
        self._newest: Order | None = None
        """On the page that was read last, whoever's it is."""

    async def fill(self) -> None:
        """Reads on until there is a row, or nothing more."""
        while self.more and not self.rows:
            await self._read(self.page + 1 if self._begun else self.page)
            # Rows before the cursor may have gone since, and others have moved up to the pages before.
            while not self._begun and self.page > 1 and not self._reaches_back():
                await self._read(self.page - 1)
            self._begun = True
            while self.rows and self._behind and self.rows[0][0] <= self._behind:
                self.rows.popleft()

    def _reaches_back(self) -> bool:
        return self._newest is not None and self._behind is not None and self._newest <= self._behind

    async def _read(self, page: int) -> None:
        found = await self._read_page((self.name, page, self._unassigned))
        agent = self._agent_id
        self.rows = deque(each for each in found.rows if agent is None or each[1].agent_id == agent)
        self._newest = found.rows[0][0] if found.rows else None
        self.page, self.total, self.more = page, found.total, found.more


async def page_of_conversations(
    read: Read,
    *,
    channel: ConversationChannel | None,
    unassigned: bool,
    agent_id: int | None,
    first: int,
    after: str | None,
) -> ConversationConnection:
    check_first(first)
    cursor = Cursor.read(after) if after is not None else None
    channels = [
        _Channel(read, each.value, cursor, unassigned=unassigned, agent_id=agent_id)
        for each in ConversationChannel
        if channel in (None, each)
    ]
    taken: dict[tuple[str, int | None], tuple[Conversation, Cursor]] = {}
    has_next = False
    while not has_next and (row := await _newest(channels)):
        name = (row.channel, row.customer_row_id)
        if name in taken:  # a customer with two agents stands there twice
            continue
        if len(taken) == first:
            has_next = True
        else:
            pages: dict[str, int] = {each.name: each.page for each in channels}
            taken[name] = (to_conversation(row), Cursor(order(row), pages))
    cursors = [str(cursor) for _, cursor in taken.values()]
    return connection(
        ConversationConnection,
        [node for node, _ in taken.values()],
        cursors.__getitem__,
        has_next=has_next,
        after=after,
        total=sum(each.total for each in channels) if agent_id is None else None,
    )


async def _newest(channels: list[_Channel]) -> mercately.Conversation | None:
    """The newest row that is left; the pages that are needed for it are read at the same time."""
    if needy := [each.fill() for each in channels if each.more and not each.rows]:
        await all_of(needy)
    left = [each for each in channels if each.rows]
    if not left:
        return None
    return min(left, key=lambda each: each.rows[0][0]).rows.popleft()[1]


async def list_conversations(
    info: Info,
    channel: ConversationChannel | None = strawberry.UNSET,
    unassigned: bool | None = strawberry.UNSET,
    agent_id: strawberry.ID | None = strawberry.UNSET,
    first: int | None = 50,
    after: str | None = strawberry.UNSET,
) -> ConversationConnection | None:
    return await info.context.loaders.conversations(
        channel=channel or None,
        unassigned=bool(unassigned),
        agent_id=number_of(agent_id, "Agent", "agentId") if agent_id else None,
        first=50 if first is None else first,
        after=after or None,
    )


async def find_conversation(info: Info, id: strawberry.ID) -> Conversation | None:
    """Mercately cannot be asked for one: its pages are read until it is there."""
    channel, _, customer = key_of(id, "Conversation").partition(":")
    if channel not in {each.value for each in ConversationChannel} or not customer.isdecimal():
        raise NotOurs("id")
    return await info.context.loaders.conversation.load((channel, int(customer)))


async def load_conversations(
    source: mercately.Mercately, keys: Sequence[tuple[str, int]]
) -> list[Conversation | None]:
    wanted, found = set(keys), dict[tuple[str, int], Conversation]()
    for each in ConversationChannel:
        channel = _Channel(partial(read_page, source), each.value)
        while any(name == each.value for name, _ in wanted) and (row := await _newest([channel])):
            key = (row.channel, row.customer_row_id or 0)
            if key in wanted:
                wanted.discard(key)
                found[key] = to_conversation(row)
    return [found.get(key) for key in keys]


Rows = list[mercately.Conversation]


async def load_rows_of(source: mercately.Mercately, customers: Sequence[int]) -> list[Rows]:
    """The conversations with each customer, newest first. Mercately cannot be asked for those of one."""
    wanted = frozenset(customers)
    channels = await all_of(_rows_of(source, each.value, wanted) for each in ConversationChannel)
    return [
        sorted((found[customer] for found in channels if customer in found), key=order)
        for customer in customers
    ]


async def _rows_of(
    source: mercately.Mercately, channel: mercately.Channel, wanted: frozenset[int]
) -> dict[int, mercately.Conversation]:
    """Reads from the newest on until everybody was there, or to the end."""
    found: dict[int, mercately.Conversation] = {}
    page, count, more = 1, 1, True
    while more and len(found) < len(wanted):
        pages = await all_of(
            source.conversations(channel, page + ahead, count=WIDE) for ahead in range(count)
        )
        for row in chain.from_iterable(pages):
            if row.customer_row_id in wanted:
                found.setdefault(row.customer_row_id, row)
        page, count, more = page + count, AT_ONCE, len(pages[-1]) == WIDE
    return found


def page_of_rows(
    rows: Rows, *, channel: ConversationChannel | None, first: int, after: str | None
) -> ConversationConnection:
    """Of the few conversations with one customer."""
    check_first(first)
    behind = Cursor.read(after).behind if after is not None else None
    wanted = [row for row in rows if channel is None or row.channel == channel.value]
    left = [row for row in wanted if behind is None or order(row) > behind]
    return connection(
        ConversationConnection,
        [to_conversation(row) for row in left[:first]],
        lambda index: str(Cursor(order(left[index]), {left[index].channel: 1})),
        has_next=len(left) > first,
        after=after,
        total=len(wanted),
    )
