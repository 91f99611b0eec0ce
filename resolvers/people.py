"""People: one person by any of their keys, as every source that knows them says right now."""

import asyncio
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from adapters import Adapters
from adapters.errors import SourceError
from adapters.rest import Mode
from adapters.storage.directory import Directory, Entry
from adapters.storage.everyprint import entry_of
from adapters.storage.identity import SOURCES, Key, order
from resolvers.context import Context
from resolvers.ids import NotOurs, key_of
from resolvers.merge import ROW, to_customer
from resolvers.mirror import mercately_entry, now, poster_entry
from resolvers.stale import Stale
from schema.customers import Customer
from schema.errors import BadInput, NotFound

log = structlog.get_logger("switchboard.people")

ROUNDS = 3
"""What a source says may lead to another of the person's keys, that to a third; so far we follow."""
NUMBER = re.compile("[1-9][0-9]{0,17}")
MOST_ASKED_FOR = 100
"""Of several people who are not in the directory: each is asked for one by one."""
NOBODY = "There is no such customer."
NOT_MIRRORED = "The directory does not know this customer, as so many of these: see that it is up to date."


class By(NamedTuple):
    """What somebody is looked for by: a source and its key, a row of Mercately, a phone or an e-mail."""

    kind: str
    value: str


def by_id(id: str, argument: str) -> By:
    kind, _, value = key_of(id, "Customer", argument).partition(":")
    is_number = bool(NUMBER.fullmatch(value))
    if kind not in (*SOURCES, ROW) or not value or (kind in ("poster", ROW) and not is_number):
        raise NotOurs(argument)
    return By(kind, value)


class Person(NamedTuple):
    """Somebody whom a change is about."""

    entries: tuple[Entry, ...]
    """In the order of identity."""

    @property
    def key(self) -> Key:
        """By which others know them."""
        first = self.entries[0]
        return Key.parse(first.person) if first.person else Key(first.source, first.key)

    @property
    def keys(self) -> tuple[Key, ...]:
        return tuple(Key(entry.source, entry.key) for entry in self.entries)

    def in_(self, source: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.source == source]


async def person_of(context: Context, id: str, argument: str) -> Person:
    by = by_id(id, argument)
    known = await _known(context.adapters.storage.directory, [by])
    person = known.get(by) or await person_now(context, by)
    if person is None:
        raise NotFound({argument: NOBODY})
    return person


async def people_of(context: Context, ids: Sequence[str], argument: str) -> list[Person]:
    """Who is behind each id: the directory is asked for all at once, the sources for whom it lacks."""
    wanted = []
    wrong = dict[str, str]()
    for index, id in enumerate(ids):
        try:
            wanted.append(by_id(id, f"{argument}.{index}"))
        except BadInput as error:
            wrong |= error.fields
    if wrong:
        raise BadInput(wrong)
    known = await _known(context.adapters.storage.directory, wanted)
    if len(unknown := set(wanted) - known.keys()) > MOST_ASKED_FOR:
        places = (f"{argument}.{index}" for index, by in enumerate(wanted) if by in unknown)
        raise NotFound(dict.fromkeys(places, NOT_MIRRORED))
    found = [known.get(by) or await person_now(context, by) for by in wanted]
    if missing := {f"{argument}.{index}": NOBODY for index, person in enumerate(found) if person is None}:
        raise NotFound(missing)
    return [person for person in found if person]


async def pass_on(adapters: Adapters, news: Iterable[Entry], gone: Iterable[Key] = ()) -> bool:
    """Tells the directory, which may be away: then the next who asks for them, or the next pass, tells it."""
    try:
        await adapters.storage.directory.upsert(news)
        await adapters.storage.directory.remove(gone)
    except SourceError as error:
        log.warning("the directory did not take what passed through", code=error.code)
        return False
    return True


async def person_now(context: Context, by: By) -> Person | None:
    """As the sources say at this moment."""
    return await Search(context.adapters, context.region, Stale(), by).found()


async def _known(directory: Directory, wanted: Collection[By]) -> dict[By, Person]:
    keys = {Key(*by) for by in wanted if by.kind != ROW}
    rows = {("mercately", int(by.value)) for by in wanted if by.kind == ROW}
    entries = {By(*key): entry for key, entry in (await directory.entries(keys)).items()}
    if rows:
        found = await directory.of_rows(rows)
        entries |= {By(ROW, str(number)): entry for (_, number), entry in found.items()}
    persons = await directory.of_persons({entry.person for entry in entries.values() if entry.person})
    return {by: _person(persons[entry.person]) for by, entry in entries.items() if entry.person in persons}


def _person(entries: Iterable[Entry]) -> Person:
    return Person(tuple(sorted(entries, key=lambda entry: order(Key(entry.source, entry.key)))))


class Search:
    """One search for one person.

    The directory tells which keys are theirs, and the sources of all of them are asked at once. What these
    say that the directory did not know is passed on to it, and may join the person to others. Where a source
    does not answer, the directory's word is taken, and noted as stale.
    """

    def __init__(self, adapters: Adapters, region: str, stale: Stale, by: By) -> None:
        self._adapters = adapters
        self._region = region
        self._stale = stale
        self._by = by
        self._known: dict[Key, Entry] = {}
        self._said: dict[Key, Entry | SourceError | None] = {}
        self._gap: SourceError | None = None

    async def person(self) -> Customer | None:
        await self._search()
        entries, since = self._present()
        if entries:
            return to_customer(entries, min(since, default=datetime.now(UTC)), self._gap)
        if self._gap:
            raise self._gap
        return None

    async def found(self) -> Person | None:
        """The same without the merging; nobody is found whose other keys we could not learn."""
        await self._search()
        if self._gap:
            raise self._gap
        entries, _ = self._present()
        return _person(entries) if entries else None

    async def _search(self) -> None:
        for _ in range(ROUNDS):
            await self._look_up()
            if not await self._ask() or not await self._pass_on():
                break

    async def _look_up(self) -> None:
        try:
            self._known = {Key(entry.source, entry.key): entry for entry in await self._of_directory()}
        except SourceError as error:
            self._gap = error

    async def _of_directory(self) -> Iterable[Entry]:
        directory, (kind, value) = self._adapters.storage.directory, self._by
        if kind == "phone":
            found = (await directory.of_phones([value])).get(value, [])
        elif kind == "email":
            found = (await directory.of_emails([value])).get(value, [])
        elif kind == ROW:
            found = list((await directory.of_rows([("mercately", int(value))])).values())
        else:
            found = list((await directory.entries([Key(kind, value)])).values())
        persons = {entry.person for entry in found if entry.person}
        if len(persons) > 1:
            raise BadInput(
                {f"by.{kind}": f"Several customers have this {kind}: find them with `customers`, by search."}
            )
        theirs = await directory.of_persons(persons)
        return [entry for person in persons for entry in theirs.get(person, ())]

    async def _ask(self) -> bool:
        """Asks for every key that was not asked for yet; was there any?"""
        keys = set(self._known) | ({Key(*self._by)} if self._by.kind in SOURCES else set())
        new = list(keys - self._said.keys())
        self._said.update(zip(new, await asyncio.gather(*map(self._entry, new)), strict=True))
        if self._by.kind == "phone" and not self._known and self._adapters.poster.mode is not Mode.OFF:
            asked_at = now()
            clients = await self._adapters.poster.clients_by_phone(self._by.value)
            found = (poster_entry(client, self._region, asked_at) for client in clients)
            self._said.update({Key(entry.source, entry.key): entry for entry in found})
            return bool(clients)
        return bool(new)

    async def _entry(self, key: Key) -> Entry | SourceError | None:
        asked_at = now()
        try:
            if key.source == "everyprint":
                customer = (await self._adapters.storage.everyprint.customers([key.id])).get(key.id)
                return entry_of(customer) if customer else None
            if key.source == "mercately":
                row = await self._adapters.mercately.customer(key.id)
                return mercately_entry(row, self._region, asked_at) if row else None
            client = await self._adapters.poster.client(int(key.id))
            return poster_entry(client, self._region, asked_at) if client else None
        except SourceError as error:
            return error

    async def _pass_on(self) -> bool:
        """Tells the directory what it did not know; was there anything?"""
        said = self._said.items()
        news = [entry for key, entry in said if isinstance(entry, Entry) and self._is_news(key, entry)]
        gone = [key for key, entry in said if entry is None and key in self._known]
        if self._gap or not (news or gone):
            return False
        return await pass_on(self._adapters, news, gone)

    def _is_news(self, key: Key, entry: Entry) -> bool:
        known = self._known.get(key)
        return known is None or (known.profile, known.phone) != (entry.profile, entry.phone)

    def _present(self) -> tuple[list[Entry], list[datetime]]:
        """What is known of the person, and since when, of what is not known from the sources themselves."""
        own = Key(*self._by)
        entries = list[Entry]()
        since = list[datetime]()
        for key in self._known or ([own] if own in self._said else list(self._said)):
            said, known = self._said.get(key), self._known.get(key)
            if isinstance(said, Entry):
                entries.append(replace(said, person=known.person if known else None))
            elif isinstance(said, SourceError) and known is None:
                raise said
            elif isinstance(said, SourceError) and known:
                moment = datetime.fromtimestamp(known.as_of / 1000, UTC)
                self._stale.note(key.source, moment, said.code)
                entries.append(known)
                since.append(moment)
        return entries, since
