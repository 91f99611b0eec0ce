"""`switchboard serve` fills an empty embedded database with demo people, and leaves every other one alone."""

import asyncio
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapters.demo import PEOPLE
from adapters.storage.client import open_storage
from tests.processes import Ended, run, serve

SAID = f'"the database was empty: {len(PEOPLE)} demo people moved in; SWITCHBOARD_DEMO=off keeps it empty"'
IDS = [person.everyprint.messenger_id for person in PEOPLE if person.everyprint]
LEDGERS = [person.everyprint.ledger for person in PEOPLE if person.everyprint]


async def started(folder: Path, **settings: str) -> Ended:
    """A server that came up and went down again."""
    async with serve(folder, **settings) as served:
        return await served.end()


def database_in(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'data' / 'switchboard.db'}"


def rows(folder: Path, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "data" / "switchboard.db")) as database:
        return database.execute(question).fetchall()


def everything(folder: Path) -> list[list[tuple[Any, ...]]]:
    """Every row that moves in, to the letter."""
    questions = (
        "SELECT * FROM customer ORDER BY messenger_id",
        "SELECT * FROM balance ORDER BY messenger_id",
        "SELECT * FROM balance_entry ORDER BY id",
        "SELECT * FROM customer_group ORDER BY id",
        "SELECT group_id, member FROM customer_group_member ORDER BY group_id, member",
    )
    return [rows(folder, question) for question in questions]


def assert_all_are_there_once(folder: Path) -> None:
    assert rows(folder, "SELECT messenger_id FROM customer ORDER BY 1") == [(id,) for id in IDS]
    entries = rows(folder, "SELECT messenger_id, amount FROM balance_entry")
    assert len(entries) == sum(map(len, LEDGERS))
    for id, amount in rows(folder, "SELECT messenger_id, amount FROM balance"):
        assert Decimal(amount) == sum(Decimal(entry) for whose, entry in entries if whose == id)
    assert rows(
        folder,
        "SELECT name, count(*) FROM customer_group JOIN customer_group_member ON group_id = id GROUP BY name",
    ) == [("Christmas cards", 3), ("Students", 3), ("Wholesale", 3)]


def nobody_is_there(folder: Path) -> bool:
    return everything(folder) == [[]] * 5


async def test_an_empty_database_is_filled_once(tmp_path: Path) -> None:
    first = await started(tmp_path)
    before = everything(tmp_path)
    second = await started(tmp_path)

    assert_all_are_there_once(tmp_path)
    assert everything(tmp_path) == before
    assert (first.err.count(SAID), SAID in second.err) == (1, False)
    assert not any(word in first.err + second.err for word in ("Traceback", "could not move in"))


async def test_off_keeps_it_empty(tmp_path: Path) -> None:
    ended = await started(tmp_path, DEMO="off")

    assert nobody_is_there(tmp_path)
    assert "demo" not in ended.err


async def test_two_servers_at_once_fill_it_once(tmp_path: Path) -> None:
    await asyncio.gather(started(tmp_path), started(tmp_path))

    assert_all_are_there_once(tmp_path)


async def test_what_a_killed_server_left_out_the_next_one_brings(tmp_path: Path) -> None:
    await started(tmp_path, DEMO="off")
    first = PEOPLE[0]
    assert first.everyprint
    async with open_storage(database_in(tmp_path)) as storage:
        everyprint, id = storage.everyprint, first.everyprint.messenger_id
        await everyprint.save_customer(id, first.last_name)
        entry = first.everyprint.ledger[0]
        await everyprint.add_entry(id, Decimal(entry.amount), entry.reason, f"demo 1 of {id}")
        await everyprint.create_group(first.groups[0])
    ended = await started(tmp_path)

    assert_all_are_there_once(tmp_path)
    assert SAID in ended.err


async def test_a_database_with_a_customer_of_its_own_stays_as_it_is(tmp_path: Path) -> None:
    await started(tmp_path, DEMO="off")
    async with open_storage(database_in(tmp_path)) as storage:
        await storage.everyprint.save_customer("9", "Own")
    before = everything(tmp_path)
    await started(tmp_path)

    assert everything(tmp_path) == before


async def test_nobody_moves_in_beside_a_real_source(tmp_path: Path) -> None:
    async with serve(tmp_path, "sandbox", until="API_KEY=") as sandbox:
        real = dict(line.removeprefix("SWITCHBOARD_").split("=") for line in sandbox.banner.splitlines())
        ended = await started(tmp_path, **real)

    assert "mercately   real" in ended.out
    assert "poster      sandbox" in ended.out
    assert nobody_is_there(tmp_path)


async def test_nobody_moves_into_a_database_that_others_share(tmp_path: Path, mariadb_url: str) -> None:
    await run(tmp_path, "migrate", DATABASE_URL=mariadb_url)
    ended = await started(tmp_path, DATABASE_URL=mariadb_url, SANDBOX="on")
    async with open_storage(mariadb_url) as storage:
        customers = await storage.everyprint.all_customers(1)

    assert "mercately   sandbox" in ended.out
    assert customers.rows == []
