"""Who is who is right after every write, whoever writes at the same time, and whoever is killed meanwhile."""

import asyncio
import random
import signal
import sys
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlmodel import col

from adapters.storage.client import Storage, open_storage
from adapters.storage.directory import Directory, Entry, Filter
from adapters.storage.identity import Contact, Key, assign_people, order
from adapters.storage.tables import ENTRY, MEMBER, RECIPIENT, TAG, IdentityLockRow, LinkRow

SOURCES = ("everyprint", "mercately", "poster")
PHONES = (None, None, "+1", "+2", "+3", "+4")
EMAILS = (None, "a@x", "b@x", "c@x", "d@x", "e@x", "f@x")


@pytest.fixture
def directory(storage: Storage) -> Directory:
    return storage.directory


def entry(source: str, id: str, phone: str | None = None, email: str | None = None, **said: Any) -> Entry:
    return Entry(source=source, key=id, phone=phone, email=email, as_of=1, **said)


async def persons(directory: Directory, *keys: Key) -> list[str | None]:
    found = await directory.entries(keys)
    return [found[key].person for key in keys]


async def assert_persons_are_right(storage: Storage) -> None:
    """In entries, their tags, in groups and among recipients: as the rules say of all that is written."""
    async with storage._engine.connect() as connection:
        # Who was killed may still be about to commit.
        await connection.execute(select(col(IdentityLockRow.id)).with_for_update())
        entries = (await connection.execute(select(ENTRY))).all()
        tags = (await connection.execute(select(TAG))).all()
        members = (await connection.execute(select(MEMBER))).all()
        linked = (await connection.execute(select(LinkRow))).all()
        recipients = (await connection.execute(select(RECIPIENT))).all()

    there = {row.id: Key(row.source, row.key) for row in entries}
    links = defaultdict[str, set[Key]](set)
    for row in linked:
        links[row.person].add(Key(row.source, row.key))
    people = assign_people(
        (Contact(row.source, row.key, row.phone, row.email) for row in entries),
        links.values(),
        {Key(row.source, row.key) for row in linked if row.apart},
    )
    right = {key: str(person) for key, person in people.items() if person in there.values()}
    assert {Key(row.source, row.key): row.person for row in entries} == {
        key: right[key] for key in there.values()
    }
    assert {row.person: row.email for row in recipients} == emails_of(entries)
    assert [row.person for row in tags] == [right[there[row.entry_id]] for row in tags]
    assert {row.member: row.person for row in members} == {
        row.member: right.get(Key.parse(row.member)) for row in members
    }


def emails_of(entries: Iterable[Any]) -> dict[str, str | None]:
    """The first of each person's."""
    emails: dict[str, str | None] = {}
    for row in sorted(entries, key=lambda row: order(Key(row.source, row.key))):
        emails[row.person] = emails.get(row.person) or row.email
    return emails


def some_entry(draw: random.Random) -> Entry:
    return entry(
        draw.choice(SOURCES),
        str(draw.randint(1, 6)),
        draw.choice(PHONES),
        draw.choice(EMAILS),
        tags=("VIP",)[: draw.randint(0, 1)],
    )


def some_keys(draw: random.Random, count: int) -> list[Key]:
    """One of them is in no directory."""
    keys = [Key(source, str(id)) for source in SOURCES for id in range(1, 8)]
    return draw.sample(keys, count)


async def change(storage: Storage, draw: random.Random, group_id: int) -> None:
    kind = draw.choice(("upsert", "upsert", "upsert", "save", "remove", "link", "unlink", "join"))
    if kind == "upsert":
        await storage.directory.upsert(some_entry(draw) for _ in range(draw.randint(1, 4)))
    elif kind == "save":
        phone, email = draw.choice(PHONES), draw.choice(EMAILS)
        await storage.everyprint.save_customer(str(draw.randint(1, 6)), "x", phone_e164=phone, email=email)
    elif kind == "remove":
        await storage.directory.remove(some_keys(draw, 2))
    elif kind == "link":
        await storage.links.link(some_keys(draw, draw.randint(2, 3)))
    elif kind == "unlink":
        await storage.links.unlink(*some_keys(draw, 1))
    else:
        await storage.everyprint.add_members(group_id, some_keys(draw, 3))


@pytest.mark.parametrize("seed", range(20))
async def test_persons_are_right_after_every_change(our_sqlite_url: str, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - made-up people, not secrets
    async with open_storage(our_sqlite_url, patience=10) as storage:
        group = await storage.everyprint.create_group("VIP")
        for _ in range(60):
            await change(storage, draw, group.id)
            await assert_persons_are_right(storage)


async def test_persons_are_right_after_changes_at_once(database_url: str) -> None:
    """By several who know nothing of each other, as processes do."""
    draw = random.Random(1)  # noqa: S311 - made-up people, not secrets

    async def changes() -> None:
        async with open_storage(database_url, patience=10) as own:
            for _ in range(3):
                await asyncio.gather(*(change(own, draw, group.id) for _ in range(5)))

    async with open_storage(database_url, patience=10) as storage:
        group = await storage.everyprint.create_group("VIP")
        await asyncio.gather(*(changes() for _ in range(5)))
        await assert_persons_are_right(storage)


async def test_twenty_who_write_the_same_people_at_once_all_succeed(storage: Storage) -> None:
    everybody = [entry(source, str(id), f"+{id}", tags=("VIP",)) for source in SOURCES for id in range(1, 60)]
    draw = random.Random(1)  # noqa: S311 - made-up people, not secrets
    await asyncio.gather(*(storage.directory.upsert(draw.sample(everybody, 90)) for _ in range(20)))
    await storage.directory.upsert(everybody)

    await assert_persons_are_right(storage)
    assert await storage.directory.count(Filter(tag="VIP")) == 59


async def test_two_processes_that_bring_halves_of_a_person_make_one(database_url: str) -> None:
    async with (
        open_storage(database_url, patience=10) as one,
        open_storage(database_url, patience=10) as other,
    ):
        for n in range(1, 21):
            await asyncio.gather(
                one.directory.upsert([entry("mercately", f"{n}", f"+{n}")]),
                other.everyprint.save_customer(f"{n}", "x", phone_e164=f"+{n}"),
            )
        await assert_persons_are_right(one)
        assert await one.directory.count() == 20


async def test_a_person_whose_first_key_goes_has_another(directory: Directory) -> None:
    ours, theirs, client = Key("everyprint", "1"), Key("mercately", "2"), Key("poster", "3")
    await directory.upsert(entry(*key, "+1", tags=("VIP",)) for key in (theirs, client))
    assert await persons(directory, theirs, client) == ["mercately:2"] * 2

    await directory.upsert([entry(*ours, "+1")])
    assert await persons(directory, ours, theirs, client) == ["everyprint:1"] * 3
    assert (await directory.page(Filter(tag="VIP"))).persons == ["everyprint:1"]

    await directory.remove([ours])
    assert await persons(directory, theirs, client) == ["mercately:2"] * 2
    assert (await directory.page(Filter(tag="VIP"))).persons == ["mercately:2"]


async def test_an_email_that_becomes_a_familys_joins_nobody_any_more(directory: Directory) -> None:
    ours, theirs = Key("everyprint", "1"), Key("mercately", "2")
    await directory.upsert(entry(*key, email="a@x") for key in (ours, theirs))
    assert await persons(directory, theirs) == ["everyprint:1"]

    await directory.upsert([entry("mercately", "3", email="A@X ")])
    assert await persons(directory, theirs) == ["mercately:2"]

    await directory.remove([Key("mercately", "3")])
    assert await persons(directory, theirs) == ["everyprint:1"]


async def statements(storage: Storage, entries: Iterable[Entry]) -> list[tuple[str, Any]]:
    """What the database is asked when the entries are written."""
    said: list[tuple[str, Any]] = []

    def hear(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: Any) -> None:
        said.append((statement, parameters))

    event.listen(storage._engine.sync_engine, "before_cursor_execute", hear)
    await storage.directory.upsert(entries)
    event.remove(storage._engine.sync_engine, "before_cursor_execute", hear)
    return said


async def test_a_page_that_says_what_is_known_looks_for_nobody(storage: Storage) -> None:
    page = [entry("mercately", str(n), f"+{n}", f"{n}@x", tags=("VIP",)) for n in range(1, 100)]
    first = await statements(storage, page)
    renamed = [entry("mercately", str(n), f"+{n}", f"{n}@x", first_name="New") for n in range(1, 100)]
    again = await statements(storage, renamed)

    assert any("identity_link" in statement for statement, _ in first)
    assert not any("identity_link" in statement or "UNION" in statement for statement, _ in again)


async def test_neighbours_are_found_by_indexes(storage: Storage) -> None:
    crowd = (entry("mercately", str(n), f"+{n}", f"{n}@x") for n in range(1, 3000))
    await storage.directory.upsert(crowd)
    said = await statements(storage, [entry("poster", str(n), f"+{n}", f"{n + 50}@x") for n in range(1, 50)])
    looked = [
        (statement, parameters)
        for statement, parameters in said
        if statement.startswith("SELECT") and ("directory_entry" in statement or "identity_link" in statement)
    ]
    assert len(looked) >= 5
    how = "EXPLAIN QUERY PLAN " if storage.embedded else "EXPLAIN "
    async with storage._engine.connect() as connection:
        for statement, parameters in looked:
            steps = (await connection.exec_driver_sql(how + statement, parameters)).mappings().all()
            if storage.embedded:
                scans = [step["detail"] for step in steps if step["detail"].startswith("SCAN")]
                assert all(scan.startswith("SCAN entry_") for scan in scans)  # the answers joined
                assert not any("directory_entry" in scan for scan in scans)
            else:
                tables = [step for step in steps if step["table"] in ("entry", "directory_entry")]
                assert not {step["type"] for step in tables} & {"ALL", "index"}, steps


async def test_an_email_of_thousands_is_not_read_whole(storage: Storage) -> None:
    shared = "none@example.com"
    crowd = (entry("mercately", str(n), email=shared) for n in range(1, 5000))
    await storage.directory.upsert(crowd)
    said = await statements(storage, [entry("poster", str(n), f"+{n}", shared) for n in range(1, 101)])

    looked = [asked for asked in said if asked[0].startswith("SELECT *")]
    assert looked
    async with storage._engine.connect() as connection:
        for statement, parameters in looked:
            assert len((await connection.exec_driver_sql(statement, parameters)).all()) < 110
    assert await persons(storage.directory, Key("poster", "7")) == ["poster:7"]


WRITER = """
import asyncio, sys
from adapters.storage.client import open_storage
from adapters.storage.directory import Entry

async def write(url):
    async with open_storage(url) as storage:
        current = await storage.directory.begin("mercately", 0, owner="killed")
        for page in range(current.next + 1, 1000):
            entries = [
                Entry(source="mercately", key=str(n), phone=f"+{n // 2}", email=f"{n % 97}@x", as_of=1)
                for n in range(page * 250, page * 250 + 250)
            ]
            await storage.directory.mirror(current, entries, page)
            print(page, flush=True)

asyncio.run(write(sys.argv[1]))
"""


async def test_who_is_killed_leaves_persons_that_are_right(storage: Storage, database_url: str) -> None:
    page = 0
    for turn in range(4):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, database_url, cwd=Path(__file__).parents[2], stdout=PIPE
        )
        assert writer.stdout
        pages = [await writer.stdout.readline()]
        assert int(pages[0]) > page
        await asyncio.sleep(turn * 0.05)  # somewhere in the middle
        writer.send_signal(signal.SIGKILL)
        pages += (await writer.communicate())[0].split()
        page = int(pages[-1])
        await assert_persons_are_right(storage)

    current = await storage.directory.begin("mercately", owner="another", take_over=True)
    assert current
    assert current.next >= page
    await storage.directory.mirror(current, [entry("mercately", "250", "+126")], current.next + 1)
    await assert_persons_are_right(storage)
