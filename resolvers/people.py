"""People: one person by any of their keys, as every source that knows them says right now."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from adapters import Adapters
from adapters.errors import SourceError
from adapters.rest import Mode
from adapters.storage.directory import Entry
from adapters.storage.everyprint import entry_of
from adapters.storage.identity import SOURCES, Key
from resolvers.merge import ROW, to_customer
from resolvers.mirror import mercately_entry, poster_entry
from resolvers.stale import Stale
from schema.customers import Customer
from schema.errors import BadInput

log = structlog.get_logger("switchboard.people")

ROUNDS = 3
"""What a source says may lead to another of the person's keys, that to a third; so far we follow."""


class By(NamedTuple):
    """What somebody is looked for by: a source and its key, a row of Mercately, a phone or an e-mail."""

    kind: str
    value: str


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
        for _ in range(ROUNDS):
            await self._look_up()
            if not await self._ask() or not await self._pass_on():
                break
        return self._merged()

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
            clients = await self._adapters.poster.clients_by_phone(self._by.value)
            found = (poster_entry(client, self._region) for client in clients)
            self._said.update({Key(entry.source, entry.key): entry for entry in found})
            return bool(clients)
        return bool(new)

    async def _entry(self, key: Key) -> Entry | SourceError | None:
        try:
            if key.source == "everyprint":
                customer = (await self._adapters.storage.everyprint.customers([key.id])).get(key.id)
                return entry_of(customer) if customer else None
            if key.source == "mercately":
                row = await self._adapters.mercately.customer(key.id)
                return mercately_entry(row, self._region) if row else None
            client = await self._adapters.poster.client(int(key.id))
            return poster_entry(client, self._region) if client else None
        except SourceError as error:
            return error

    async def _pass_on(self) -> bool:
        """Tells the directory what it did not know; was there anything?"""
        said = self._said.items()
        news = [entry for key, entry in said if isinstance(entry, Entry) and self._is_news(key, entry)]
        gone = [key for key, entry in said if entry is None and key in self._known]
        if self._gap or not (news or gone):
            return False
        try:
            await self._adapters.storage.directory.upsert(news)
            await self._adapters.storage.directory.remove(gone)
        except SourceError as error:
            log.warning("the directory did not take what passed through", code=error.code)
            return False
        return True

    def _is_news(self, key: Key, entry: Entry) -> bool:
        known = self._known.get(key)
        return known is None or (known.profile, known.phone) != (entry.profile, entry.phone)

    def _merged(self) -> Customer | None:
        own = Key(*self._by)
        entries, since = [], []
        for key in self._known or ([own] if own in self._said else list(self._said)):
            said, known = self._said.get(key), self._known.get(key)
            if isinstance(said, Entry):
                entries.append(replace(said, person=known.person if known else None))
            elif isinstance(said, SourceError) and known is None:
                raise said
            elif isinstance(said, SourceError) and known:
                moment = datetime.fromtimestamp(known.as_of / 1000, UTC)
                self._stale.note(key.source, moment)
                entries.append(known)
                since.append(moment)
        if entries:
            return to_customer(entries, min(since, default=datetime.now(UTC)), self._gap)
        if self._gap:
            raise self._gap
        return None
