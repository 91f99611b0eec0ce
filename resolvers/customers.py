"""Customers: lists of them from the directory; one of them from every source that knows them."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import chain

import strawberry
from strawberry.dataloader import DataLoader

from adapters import RESTS, Adapters
from adapters.errors import Unavailable
from adapters.mercately import client as mercately
from adapters.storage.directory import Entry, Filter
from resolvers.changes import shown
from resolvers.connections import check_first, connection, from_cursor, to_cursor
from resolvers.groups import group_key
from resolvers.merge import ROW, to_customer, to_customer_as_told
from resolvers.people import NUMBER, By, Search, by_id
from resolvers.phones import to_e164
from resolvers.stale import Stale
from schema.context import HasLoaders, Info
from schema.customers import Customer, CustomerConnection, CustomerFilter, CustomerKey
from schema.errors import BadInput, NotFound


async def list_customers(
    info: Info,
    filter: CustomerFilter | None = strawberry.UNSET,
    first: int | None = 50,
    after: str | None = strawberry.UNSET,
) -> CustomerConnection | None:
    return await info.context.loaders.customers(
        filter or CustomerFilter(), first=50 if first is None else first, after=after or None
    )


async def find_customer(info: Info, by: CustomerKey) -> Customer | None:
    wanted = to_by(by, info.context.region)
    return await info.context.loaders.customer.load(wanted) if wanted else None


async def find_customer_by_id(info: Info, id: strawberry.ID) -> Customer | None:
    return await info.context.loaders.customer.load(by_id(id, "id"))


async def as_it_is_now(context: HasLoaders, by: By) -> Customer:
    """Somebody who was written a moment ago, as the graph answers next."""
    found = await shown(context.loaders.customer.load(by))
    if found is None:
        raise NotFound({"id": "This customer has been removed meanwhile."})
    return found


def to_by(key: CustomerKey, region: str) -> By | None:
    """None for what is well written, and nobody's."""
    if key.id is not None and key.id is not strawberry.UNSET:
        return by_id(key.id, "by.id")
    if key.phone is not None and key.phone is not strawberry.UNSET:
        phone = to_e164(key.phone, region)
        if phone is None:
            raise BadInput({"by.phone": "This is no phone number: write it as +593999999999."})
        return By("phone", phone)
    if key.poster_id:
        return By("poster", key.poster_id) if NUMBER.fullmatch(key.poster_id) else None
    for kind, value in (
        ("everyprint", key.messenger_id),
        ("mercately", key.mercately_id),
        ("email", key.email and key.email.strip().lower()),
    ):
        if value:
            return By(kind, value)
    return None


def to_filter(filter: CustomerFilter) -> Filter:
    return Filter(
        source=filter.source.value if filter.source else None,
        group=group_key(filter.group_id, "filter.groupId") if filter.group_id else None,
        tag=filter.tag or None,
        search=filter.search or None,
    )


async def page_of_customers(
    adapters: Adapters, stale: Stale, filter: Filter, *, first: int, after: str | None
) -> CustomerConnection:
    check_first(first)
    directory = adapters.storage.directory
    behind = "" if after is None else from_cursor(after)
    people, theirs = await directory.page_of_entries(filter, behind, first)
    persons = [person for person in people.persons if person in theirs]
    known = _of_directory(adapters, stale, [theirs[person] for person in persons])
    return connection(
        CustomerConnection,
        known,
        lambda index: to_cursor(persons[index]),
        has_next=people.has_more,
        after=after,
        total=partial(directory.count, filter),
    )


async def load_customers(
    adapters: Adapters,
    region: str,
    stale: Stale,
    conversations: DataLoader[int, list[mercately.Conversation]],
    keys: Sequence[By],
) -> list[Customer | BaseException | None]:
    async def find(by: By) -> Customer | None:
        if found := await Search(adapters, region, stale, by).person():
            return found
        rows = await conversations.load(int(by.value)) if by.kind == ROW else []
        return to_customer_as_told(rows[0], region) if rows else None

    return await asyncio.gather(*map(find, keys), return_exceptions=True)


async def load_customers_in(
    adapters: Adapters, region: str, stale: Stale, conversations: Sequence[mercately.Conversation]
) -> list[Customer | None]:
    """Those with whom the conversations are: nobody is asked for whom the directory knows."""
    directory = adapters.storage.directory
    rows = {("mercately", row.customer_row_id) for row in conversations if row.customer_row_id}
    entries = await directory.of_rows(rows)
    theirs = await directory.of_persons({entry.person for entry in entries.values() if entry.person})
    there = {row: theirs[entry.person] for (_, row), entry in entries.items() if entry.person in theirs}
    known = dict(zip(there, _of_directory(adapters, stale, there.values()), strict=True))
    return [known.get(row.customer_row_id or 0) or to_customer_as_told(row, region) for row in conversations]


def _of_directory(adapters: Adapters, stale: Stale, people: Collection[Sequence[Entry]]) -> list[Customer]:
    """As of the last refresh; whoever asks is told should that be because a source is down."""
    for rest in RESTS:
        record = getattr(adapters, rest.name).record
        if not record.down_since:
            continue
        for entry in chain.from_iterable(people):
            if entry.source == rest.name:
                moment = datetime.fromtimestamp(entry.as_of / 1000, UTC)
                stale.note(entry.source, moment, record.last_code or Unavailable.code)
    return [to_customer(entries) for entries in people]
