"""The mirror: every source's customers, walked page by page into the directory, and who is gone out of it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from time import time
from typing import NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from adapters import Adapters
from adapters.errors import Malformed, Rejected
from adapters.mercately import client as mercately
from adapters.poster import client as poster
from adapters.storage.directory import Directory
from adapters.storage.entries import Entry
from adapters.storage.everyprint import Everyprint, entry_of
from adapters.storage.identity import Key
from resolvers.phones import to_e164

ASKED = 1_000
"""So many of those whom a pass missed the source is asked for; the others wait for the next pass."""
ASKED_AT_ONCE = 5


class Page(NamedTuple):
    entries: list[Entry]
    next: int
    """So many rows were walked: where the walk goes on, should it stop here."""
    total: int | None = None
    """How many people there are, if the source says so."""


class Source(Protocol):
    """What the mirror asks of a source."""

    name: str

    def pages(self, start: int) -> AsyncGenerator[Page, None]:
        """All behind so many rows; a few may be missed, or come twice."""
        ...

    async def find(self, id: str) -> Entry | None:
        """None for whom the source does not know, or not any more."""
        ...


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a pass is, in people."""

    source: str
    done: int
    total: int | None = None
    removed: int = 0


Tell = Callable[[Progress], Awaitable[None]]


async def mirror(
    source: Source, directory: Directory, *, owner: str, tell: Tell, take_over: bool = False
) -> Progress | None:
    """One pass to its end, from where the last one stopped; None while it is somebody else's."""
    current = await directory.begin(source.name, 0, owner=owner, take_over=take_over)
    if current is None:
        return None
    progress = Progress(source=source.name, done=current.next)
    reached = current.next
    async with aclosing(source.pages(current.next)) as pages:
        async for entries, reached, total in pages:
            await directory.mirror(current, entries, reached)
            progress = replace(progress, done=progress.done + len(entries), total=total)
            await tell(progress)
    # Being on no page proves nothing: pages move, and a source may answer none. Who is gone, it says itself.
    missed = await directory.missed(current, ASKED)
    for keys in _some(missed):
        answers = await _asked(source, keys)
        there = [entry for entry in answers.values() if entry]
        gone = [key for key, entry in answers.items() if entry is None]
        await directory.mirror(current, there, reached)
        await directory.remove(gone)
        progress = replace(progress, done=progress.done + len(there), removed=progress.removed + len(gone))
        await tell(progress)
    await directory.finish(current)
    return progress


def sources_of(adapters: Adapters, *, page: int, region: str) -> dict[str, Source]:
    sources: list[Source] = [
        _EveryprintPages(adapters.storage.everyprint, page),
        _MercatelyPages(adapters.mercately, region),
        _PosterPages(adapters.poster, page, region),
    ]
    return {source.name: source for source in sources}


def now() -> int:
    """In milliseconds, as entries have it."""
    return int(time() * 1000)


def mercately_entry(customer: mercately.Customer, region: str, asked_at: int) -> Entry:
    return Entry(
        source="mercately",
        key=customer.id,
        row_number=customer.row_id,
        first_name=customer.first_name,
        last_name=customer.last_name,
        email=customer.email,
        phone=to_e164(customer.phone, region),
        tags=tuple(tag.name for tag in customer.tags or ()),
        profile=msgspec.json.encode(customer),
        as_of=asked_at,
    )


def poster_entry(client: poster.Client, region: str, asked_at: int) -> Entry:
    return Entry(
        source="poster",
        key=str(client.id),
        first_name=client.first_name,
        last_name=client.last_name,
        email=client.email,
        phone=to_e164(f"+{client.phone_number}", region) or to_e164(client.phone, region),
        group_key=str(client.group_id) if client.group_id else None,
        profile=msgspec.json.encode(client),
        as_of=asked_at,
    )


class _EveryprintPages:
    name = "everyprint"

    def __init__(self, everyprint: Everyprint, page: int) -> None:
        self._everyprint = everyprint
        self._page = page

    async def pages(self, start: int) -> AsyncGenerator[Page, None]:
        """Always from the first on: our own tables are quick, and have no number to go on from."""
        found = await self._everyprint.all_customers(self._page)
        while found.rows:
            yield Page([entry_of(customer) for customer in found.rows], next=0)
            found = await self._everyprint.all_customers(self._page, found.rows[-1].messenger_id)

    async def find(self, id: str) -> Entry | None:
        customer = (await self._everyprint.customers([id])).get(id)
        return entry_of(customer) if customer else None


class _MercatelyPages:
    name = "mercately"

    def __init__(self, mercately: mercately.Mercately, region: str) -> None:
        self._mercately = mercately
        self._region = region

    async def pages(self, start: int) -> AsyncGenerator[Page, None]:
        size = mercately.CUSTOMERS_A_PAGE
        asked_at = now()
        async with aclosing(self._mercately.every_customer(start // size + 1)) as pages:
            async for customers in pages:
                start += size
                # By any other id nobody could ask for them, and not even whether they are still there.
                askable = (customer for customer in customers if mercately.WEB_ID.fullmatch(customer.id))
                entries = [mercately_entry(customer, self._region, asked_at) for customer in askable]
                yield Page(entries, next=start, total=customers.total or None)
                asked_at = now()

    async def find(self, id: str) -> Entry | None:
        asked_at = now()
        customer = await self._mercately.customer(id)
        return mercately_entry(customer, self._region, asked_at) if customer else None


class _PosterPages:
    name = "poster"

    def __init__(self, poster: poster.Poster, page: int, region: str) -> None:
        self._poster = poster
        self._page = page
        self._region = region

    async def pages(self, start: int) -> AsyncGenerator[Page, None]:
        asked_at = now()
        async with aclosing(self._poster.all_clients(page=self._page, offset=start)) as pages:
            async for clients in pages:
                start += self._page
                yield Page([poster_entry(client, self._region, asked_at) for client in clients], next=start)
                asked_at = now()

    async def find(self, id: str) -> Entry | None:
        asked_at = now()
        client = await self._poster.client(int(id))
        return poster_entry(client, self._region, asked_at) if client else None


async def _asked(source: Source, keys: list[Key]) -> dict[Key, Entry | None]:
    """Without those of whom the source says neither: they wait for the next pass, and stop no other."""
    asked = (source.find(key.id) for key in keys)
    answers = dict(zip(keys, await asyncio.gather(*asked, return_exceptions=True), strict=True))
    for error in answers.values():
        if isinstance(error, BaseException) and not isinstance(error, Malformed | Rejected):
            raise error
    return {key: answer for key, answer in answers.items() if not isinstance(answer, BaseException)}


def _some(keys: list[Key]) -> Iterator[list[Key]]:
    return (keys[start : start + ASKED_AT_ONCE] for start in range(0, len(keys), ASKED_AT_ONCE))
