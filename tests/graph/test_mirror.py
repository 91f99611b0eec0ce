"""The mirror: what passes through the sources leave in the directory, and what they take out of it."""

import asyncio
import string
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest

from adapters import Adapters, open_adapters
from adapters.errors import Malformed, Misconfigured, SourceError, Unavailable
from adapters.mercately import client as mercately
from adapters.mercately import demo
from adapters.mercately.sandbox import MercatelySandbox
from adapters.poster import client as poster
from adapters.poster.sandbox import PosterSandbox
from adapters.storage.directory import Directory, PassLost
from adapters.storage.entries import Entry
from adapters.storage.identity import Key
from resolvers.mirror import ASKED, Progress, Source, mercately_entry, mirror, poster_entry, sources_of
from tests.gateways import lines_to

CUSTOMERS = f"GET {mercately.API}/customers"
PEOPLE = 620
EVERYBODY = [Key("mercately", customer.id) for customer in demo.customers()[:PEOPLE]]
PAGES = list(range(1, 9))
"""The last one is empty, which is how they end."""
ONE = mercately.Customer(id="4880vesdc3873", first_name="Pablo", phone="+593 98 765 4321")


@dataclass
class World:
    adapters: Adapters
    mercately: MercatelySandbox
    poster: PosterSandbox
    told: list[Progress] = field(default_factory=list)
    page: int = 200

    @property
    def directory(self) -> Directory:
        return self.adapters.storage.directory

    @property
    def sources(self) -> dict[str, Source]:
        return sources_of(self.adapters, page=self.page, region="EC")

    @property
    def pages(self) -> list[int]:
        """Those that Mercately was asked for."""
        return [int(asked.query["page"]) for asked in self.mercately.asked if "page" in asked.query]

    async def walk(
        self,
        source: str = "mercately",
        *,
        owner: str = "me",
        take_over: bool = False,
        then: Callable[[Progress], Any] | None = None,
    ) -> Progress | None:
        """One pass; `then` is told how far it is, and may wait."""

        async def tell(progress: Progress) -> None:
            self.told.append(progress)
            if then and (waiting := then(progress)):
                await waiting

        return await mirror(self.sources[source], self.directory, owner=owner, tell=tell, take_over=take_over)

    async def known(self, keys: Iterable[Key]) -> set[Key]:
        return set(await self.directory.entries(list(keys)))


@asynccontextmanager
async def world(
    database_url: str, mercately: MercatelySandbox | None = None, poster: PosterSandbox | None = None
) -> AsyncIterator[World]:
    async with (
        mercately or few(PEOPLE) as crm,
        poster or PosterSandbox() as pos,
        open_adapters(lines_to(crm, pos), database_url) as adapters,
    ):
        yield World(adapters, crm, pos)


@pytest.fixture
async def here(database_url: str) -> AsyncIterator[World]:
    async with world(database_url) as opened:
        yield opened


def few(count: int, *, shuffled_pages: bool = False) -> MercatelySandbox:
    """Mercately with so many customers."""
    sandbox = MercatelySandbox(shuffled_pages=shuffled_pages)
    sandbox._customers = dict(list(sandbox._customers.items())[:count])
    return sandbox


def poster_keys(sandbox: PosterSandbox) -> dict[bool, set[Key]]:
    """Of those who are deleted, and of those who are not."""
    keys: dict[bool, set[Key]] = {True: set(), False: set()}
    for client in sandbox._clients.values():
        keys[client.deleted].add(Key("poster", str(client.id)))
    return keys


# A pass


async def test_a_pass_mirrors_everybody_and_asks_for_every_page_once(here: World) -> None:
    walked = await here.walk()

    assert await here.known(EVERYBODY) == set(EVERYBODY)
    assert walked == Progress(source="mercately", done=PEOPLE, total=PEOPLE)
    assert here.pages == PAGES


async def test_clients_whom_poster_deleted_are_not_mirrored(here: World) -> None:
    walked = await here.walk("poster")

    keys = poster_keys(here.poster)
    assert keys[True]
    assert await here.known(keys[True] | keys[False]) == keys[False]
    assert walked == Progress(source="poster", done=len(keys[False]))
    assert [asked.query["offset"] for asked in here.poster.asked] == [str(n) for n in range(0, 1201, 200)]


async def test_everyprints_customers_are_mirrored_from_our_own_tables(here: World) -> None:
    here.page = 20
    ids = [f"messenger-{number:03}" for number in range(45)]
    for id in ids:
        await here.adapters.storage.everyprint.save_customer(id, "Pérez", phone_e164="+593987654321")

    walked = await here.walk("everyprint")

    assert await here.known(Key("everyprint", id) for id in ids) == {Key("everyprint", id) for id in ids}
    assert walked == Progress(source="everyprint", done=45)
    assert [progress.done for progress in here.told] == [20, 40, 45]


async def test_passes_through_pages_without_order_find_everybody_and_lose_nobody(database_url: str) -> None:
    async with world(database_url, few(PEOPLE, shuffled_pages=True)) as here:
        known = set[Key]()
        for _ in range(4):
            walked = await here.walk()
            before, known = known, await here.known(EVERYBODY)
            assert walked
            assert walked.removed == 0
            assert known >= before

        assert known == set(EVERYBODY)


async def test_a_total_that_lies_ends_no_pass(here: World) -> None:
    lie = {"results": 1, "total_pages": 1, "customers": [{"id": EVERYBODY[0].id}]}
    here.mercately.trouble("wrong_shape", path=CUSTOMERS, body=lie, times=1)

    walked = await here.walk()

    assert walked
    assert len(await here.known(EVERYBODY)) == walked.done == PEOPLE - 99
    assert here.pages == PAGES


async def test_a_second_pass_brings_what_changed(here: World) -> None:
    await here.walk()
    pablo = demo.customers()[0]
    here.mercately._customers[pablo.id] = replace(pablo, first_name="Paula")

    await here.walk()

    (entry,) = (await here.directory.entries([EVERYBODY[0]])).values()
    assert entry.first_name == "Paula"


async def test_the_same_phone_in_two_sources_is_one_person(database_url: str) -> None:
    phone = "+593667357821"
    twin = PosterSandbox()
    twin._clients[1] = replace(twin._clients[1], phone="+593 66 735 7821")
    async with world(database_url, few(1), twin) as here:
        await here.walk("mercately")
        await here.walk("poster")

        entries = await here.directory.of_phones([phone])

    assert {entry.source for entry in entries[phone]} == {"mercately", "poster"}
    assert len({entry.person for entry in entries[phone]}) == 1


# Who is gone


async def test_whom_mercately_does_not_know_any_more_is_gone_after_one_pass(database_url: str) -> None:
    async with world(database_url, few(250)) as here:
        await here.walk()
        gone, *there = EVERYBODY[:250]
        del here.mercately._customers[gone.id]

        walked = await here.walk()

        assert await here.known(EVERYBODY) == set(there)
        assert walked == Progress(source="mercately", done=249, total=249, removed=1)


async def test_whom_poster_deleted_is_gone_after_one_pass(here: World) -> None:
    await here.walk("poster")
    before = poster_keys(here.poster)[False]
    marked, dropped, *_ = sorted(here.poster._clients.values(), key=lambda client: client.deleted)
    here.poster._clients[marked.id] = replace(marked, deleted=True)
    del here.poster._clients[dropped.id]

    walked = await here.walk("poster")

    assert await here.known(before) == before - {Key("poster", str(c.id)) for c in (marked, dropped)}
    assert walked
    assert walked.removed == 2


async def test_a_source_that_suddenly_shows_nobody_loses_nobody(database_url: str) -> None:
    async with world(database_url, few(ASKED + 10)) as here:
        await here.walk()
        here.mercately.asked.clear()
        here.mercately.trouble("wrong_shape", path=CUSTOMERS, body={"results": 0, "customers": []}, times=1)

        walked = await here.walk()

        everybody = {Key("mercately", customer.id) for customer in demo.customers()[: ASKED + 10]}
        assert await here.known(everybody) == everybody
        # The ten others wait for the next pass.
        assert walked == Progress(source="mercately", done=ASKED)
        assert len(here.mercately.asked) == 1 + ASKED


async def test_who_is_asked_for_while_their_source_is_dead_is_kept(database_url: str) -> None:
    async with world(database_url, few(20)) as here:
        await here.walk()
        here.mercately.trouble("wrong_shape", path=CUSTOMERS, body={"customers": []}, times=1)
        here.mercately.trouble("status", path=CUSTOMERS)
        with pytest.raises(Unavailable):
            await here.walk()
        here.mercately.heal()
        del here.mercately._customers[EVERYBODY[7].id]

        walked = await here.walk()

        assert await here.known(EVERYBODY) == set(EVERYBODY[:20]) - {EVERYBODY[7]}
        assert walked
        assert walked.removed == 1


async def test_one_who_cannot_be_read_is_kept_and_keeps_nobody_else(database_url: str) -> None:
    async with world(database_url, few(20)) as here:
        await here.walk()
        odd, gone = EVERYBODY[3], EVERYBODY[4]
        del here.mercately._customers[gone.id]
        here.mercately.trouble("wrong_shape", path=CUSTOMERS, body={"customers": []}, times=1)
        here.mercately.trouble("wrong_shape", path=f"{CUSTOMERS}/{odd.id}")

        walked = await here.walk()

        assert await here.known(EVERYBODY) == set(EVERYBODY[:20]) - {gone}
        assert walked == Progress(source="mercately", done=18, removed=1)


async def test_credentials_that_are_refused_remove_nobody(here: World) -> None:
    await here.walk("poster")
    everybody = poster_keys(here.poster)[False]
    here.poster.trouble("wrong_shape", body={"error": {"code": 11, "message": "Bad access token"}})

    with pytest.raises(Misconfigured):
        await here.walk("poster")

    assert await here.known(everybody) == everybody


# A pass that stops


async def test_a_pass_that_fails_goes_on_at_the_page_that_failed(here: World) -> None:
    def fail_after_three(_: Progress) -> None:
        if len(here.told) == 3:
            here.mercately.trouble("status", times=1)

    with pytest.raises(Unavailable):
        await here.walk(then=fail_after_three)
    stopped = await here.directory.last_pass("mercately")
    walked = await here.walk()
    finished = await here.directory.last_pass("mercately")

    assert stopped
    assert finished
    assert (stopped.number, stopped.next, stopped.finished_at) == (1, 300, None)
    assert (finished.number, finished.finished_at is None) == (1, False)
    assert here.pages == [*range(1, 5), *range(4, 9)]
    assert walked == Progress(source="mercately", done=PEOPLE, total=PEOPLE)
    assert await here.known(EVERYBODY) == set(EVERYBODY)


async def test_a_pass_through_poster_goes_on_at_its_row(here: World) -> None:
    def fail_after_three(_: Progress) -> None:
        if len(here.told) == 3:
            here.poster.trouble("status", times=1)

    with pytest.raises(Unavailable):
        await here.walk("poster", then=fail_after_three)
    await here.walk("poster")

    offsets = [int(asked.query["offset"]) for asked in here.poster.asked]
    keys = poster_keys(here.poster)
    assert offsets == [0, 200, 400, 600, 600, 800, 1000, 1200]
    assert await here.known(keys[True] | keys[False]) == keys[False]


async def test_of_two_at_once_one_walks(here: World) -> None:
    walked = await asyncio.gather(here.walk(owner="a"), here.walk(owner="b"))

    assert sorted(walked, key=bool) == [None, Progress(source="mercately", done=PEOPLE, total=PEOPLE)]
    assert here.pages == PAGES


async def test_whoever_takes_over_goes_on_where_the_other_was(here: World) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    def pause(progress: Progress) -> Any:
        if progress.done == 300:
            reached.set()
            return go_on.wait()
        return None

    first = asyncio.create_task(here.walk(owner="first", then=pause))
    await reached.wait()
    second = await here.walk(owner="second", take_over=True)
    go_on.set()

    with pytest.raises(PassLost):
        await first
    assert second == Progress(source="mercately", done=PEOPLE, total=PEOPLE)
    assert here.pages == [*PAGES, 4]


async def test_a_pass_can_be_cancelled_at_any_page(here: World) -> None:
    reached = asyncio.Event()
    walk = asyncio.create_task(here.walk(then=lambda progress: reached.set()))
    await reached.wait()
    walk.cancel()
    with pytest.raises(asyncio.CancelledError):
        await walk

    await here.walk()

    assert await here.known(EVERYBODY) == set(EVERYBODY)


@pytest.mark.parametrize(
    ("trouble", "error"), [("html", Malformed), ("reset", Unavailable), ("truncated", Malformed)]
)
async def test_whatever_a_source_answers_is_an_error_of_a_source(
    here: World, trouble: Any, error: type[SourceError]
) -> None:
    here.mercately.trouble(trouble, path=CUSTOMERS)

    with pytest.raises(error):
        await here.walk()


async def test_ids_that_are_none_of_theirs_are_not_mirrored(here: World) -> None:
    rows = [{"id": "4880vesdc1"}, {"id": "x" * 300}, {"id": "../agents"}]
    here.mercately.trouble("wrong_shape", path=CUSTOMERS, body={"customers": rows}, times=1)

    walked = await here.walk()

    assert walked
    assert await here.known([Key("mercately", row["id"]) for row in rows]) == {Key("mercately", "4880vesdc1")}


# What an entry says


def test_an_entry_of_mercately_says_who_it_is() -> None:
    tags = (mercately.Tag(id="1", name="VIP"), mercately.Tag(id="2", name="Nueva"))
    entry = mercately_entry(msgspec.structs.replace(ONE, email="P@X.ec", tags=tags), "EC", 0)

    assert (entry.source, entry.key, entry.row_number) == ("mercately", "4880vesdc3873", 3873)
    assert (entry.first_name, entry.last_name, entry.email) == ("Pablo", None, "P@X.ec")
    assert (entry.phone, entry.tags, entry.group_key) == ("+593987654321", ("VIP", "Nueva"), None)


def test_an_entry_of_poster_says_who_it_is() -> None:
    client = poster.Client(id=7, last_name="Иванов", phone_number="79630313844", group_id=2)
    entry = poster_entry(client, "EC", 0)

    assert (entry.source, entry.key, entry.row_number) == ("poster", "7", None)
    assert (entry.last_name, entry.phone, entry.group_key) == ("Иванов", "+79630313844", "2")


@pytest.mark.parametrize(
    ("phone", "region", "e164"),
    [
        ("+593 98 765 4321", "US", "+593987654321"),
        ("098 765 4321", "EC", "+593987654321"),
        ("(212) 555-0123", "US", "+12125550123"),
        ("call me", "EC", None),
        (None, "EC", None),
    ],
)
def test_a_phone_without_a_country_is_one_of_the_region(
    phone: str | None, region: str, e164: str | None
) -> None:
    assert mercately_entry(msgspec.structs.replace(ONE, phone=phone), region, 0).phone == e164
    assert poster_entry(poster.Client(id=1, phone=phone), region, 0).phone == e164


def test_posters_digits_go_before_what_people_write() -> None:
    client = poster.Client(id=1, phone="0987654321", phone_number="79630313844")

    assert poster_entry(client, "EC", 0).phone == "+79630313844"
    assert poster_entry(msgspec.structs.replace(client, phone_number="7"), "EC", 0).phone == "+593987654321"


DRAW = Random("profiles")  # noqa: S311
TEXTS = (
    "",
    " ",
    "María",
    "Ünïcödé 🙂",
    "a\u0000b",
    'quote " back \\ slash',
    "0",
    "null",
    "  +593 1 ",
    "x" * 5_000,
)


def text() -> str | None:
    return DRAW.choice([None, *TEXTS, "".join(DRAW.choices(string.printable, k=20))])


def drawn_customer() -> mercately.Customer:
    texts = [name for name in mercately.Customer.__struct_fields__ if name not in NOT_TEXT]
    wire: dict[str, Any] = {"country_id" if name == "country" else name: text() for name in texts}
    wire["id"] = text() or "4880vesdc1"
    wire["meli_customer_id"] = DRAW.choice([None, 7, "7"])
    wire["whatsapp_opt_in"] = DRAW.choice([None, True, False])
    wire["tags"] = DRAW.choice([None, [], [{"web_id": "1", "tag": "VIP"}]])
    fields = [{"field_name": "a", key: text()} for key in ("field_content:", "field_content")]
    wire["custom_fields"] = DRAW.choice([None, fields])
    return msgspec.convert(wire, mercately.Customer)


NOT_TEXT = {"id", "meli_customer_id", "whatsapp_opt_in", "tags", "custom_fields"}


def drawn_client() -> poster.Client:
    values: dict[str, Any] = {"id": DRAW.randrange(1, 2**60)}
    for name, kind in poster.Client.__annotations__.items():
        if name == "id":
            continue
        if kind == Decimal:
            values[name] = Decimal(DRAW.randrange(-(10**14), 10**14)) / DRAW.choice([1, 3, 100, 10**9])
        elif kind is bool:
            values[name] = DRAW.random() < 0.5
        elif "int" in str(kind):
            values[name] = DRAW.choice([None, 0, 1, 2**53]) if "None" in str(kind) else 1
        else:
            values[name] = text()
    return poster.Client(**values)


def test_a_profile_reads_back_as_the_whole_customer() -> None:
    for _ in range(500):
        customer, client = drawn_customer(), drawn_client()

        assert (
            msgspec.json.decode(mercately_entry(customer, "EC", 0).profile, type=mercately.Customer)
            == customer
        )
        assert msgspec.json.decode(poster_entry(client, "EC", 0).profile, type=poster.Client) == client


async def test_any_profile_survives_the_directory(here: World) -> None:
    customers = [msgspec.structs.replace(drawn_customer(), id=f"4880vesdc{row}") for row in range(1, 200)]
    entries = [mercately_entry(customer, "EC", 0) for customer in customers]
    await here.directory.upsert(entries)

    stored = await here.directory.entries([Key(entry.source, entry.key) for entry in entries])

    def read(entry: Entry) -> mercately.Customer:
        return msgspec.json.decode(entry.profile, type=mercately.Customer)

    assert {entry.key: read(entry) for entry in stored.values()} == {c.id: c for c in customers}
