"""Everyprint's customers, balances and our own groups: exact, each once, and the same on both databases."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy import Connection, inspect
from sqlmodel import SQLModel

from adapters.deadline import clock_stopped, current, deadline
from adapters.errors import TimedOut, Unavailable
from adapters.storage.client import SchemaState, Storage, open_storage
from adapters.storage.directory import Entry, Filter
from adapters.storage.everyprint import (
    Balance,
    Customer,
    Everyprint,
    Gender,
    Group,
    NameTaken,
    NotFound,
    OtherSize,
    entry_of,
)
from adapters.storage.identity import Key
from adapters.storage.migrations.run import config
from tests.ledgers import amount_of, ledger_of, rich
from tests.services import Mariadb

TABLES = {
    "customer",
    "balance",
    "balance_entry",
    "customer_group",
    "customer_group_member",
    "identity_link",
    "identity_lock",
    "directory_entry",
    "directory_tag",
    "directory_pass",
    "delivery",
    "report",
    "suppression",
}


def members(*messenger_ids: str) -> list[Key]:
    return [Key("everyprint", id) for id in messenger_ids]


async def sizes(everyprint: Everyprint) -> list[int]:
    return [group.size for group in await everyprint.groups()]


@contextmanager
def hanging(server: Mariadb) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    os.waitpid(server.pid, os.WUNTRACED)  # a moment later it hangs
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


# Customers


async def test_a_customer_comes_back_as_saved(everyprint: Everyprint) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    saved = await everyprint.save_customer(
        "58918EJS",
        "Núñez 🎁",
        first_name="Zoë",
        gender=Gender.FEMALE,
        phone_e164="+593999999999",
        email="Zoe@Example.com",
    )

    assert await everyprint.customers(["58918EJS"]) == {"58918EJS": saved}
    assert before <= saved.created_at == saved.updated_at <= datetime.now(UTC)
    assert saved == Customer(
        "58918EJS",
        "Núñez 🎁",
        "Zoë",
        Gender.FEMALE,
        "+593999999999",
        "zoe@example.com",
        saved.created_at,
        saved.updated_at,
    )


async def test_a_new_customer_has_a_balance_of_zero_in_francs(everyprint: Everyprint) -> None:
    saved = await everyprint.save_customer("58918EJS", "lil kim")

    assert await everyprint.balances(["58918EJS", "nobody"]) == {
        "58918EJS": Balance("58918EJS", Decimal("0"), "XOF", saved.created_at)
    }


async def test_all_but_id_and_last_name_may_be_unknown(everyprint: Everyprint) -> None:
    saved = await everyprint.save_customer("1", "lil kim", first_name="", phone_e164="", email="")

    assert (saved.first_name, saved.gender, saved.phone_e164, saved.email) == (None, None, None, None)
    assert await everyprint.customers_by_phone([""]) == await everyprint.customers_by_email([""]) == {}


async def test_saving_again_updates_what_is_said(everyprint: Everyprint) -> None:
    first = await everyprint.save_customer("1", "Kim", gender=Gender.MALE, phone_e164="+15550001")
    await everyprint.add_entry("1", Decimal(5), "paid", "key")
    again = await everyprint.save_customer("1", "Kimberly", gender=Gender.FEMALE)

    assert (again.last_name, again.gender, again.phone_e164) == ("Kimberly", Gender.FEMALE, "+15550001")
    assert again.created_at == first.created_at <= again.updated_at
    assert await amount_of(everyprint, "1") == 5


async def test_customers_saved_at_once_are_saved_once(everyprint: Everyprint) -> None:
    saves = (everyprint.save_customer(f"id{n % 3}", f"name {n}") for n in range(30))
    saved = await asyncio.gather(*saves)

    assert len(saved) == 30
    page = await everyprint.all_customers(10)
    assert [customer.messenger_id for customer in page.rows] == ["id0", "id1", "id2"]


async def test_ids_that_differ_in_case_or_accents_are_different_customers(everyprint: Everyprint) -> None:
    for id in ("abc", "ABC", "äbc"):
        await everyprint.save_customer(id, id)

    found = await everyprint.customers(["abc", "ABC", "Abc", "äbc"])
    assert {id: customer.last_name for id, customer in found.items()} == {
        "abc": "abc",
        "ABC": "ABC",
        "äbc": "äbc",
    }


async def test_a_phone_or_an_email_finds_all_who_have_it(everyprint: Everyprint) -> None:
    one = await everyprint.save_customer("1", "A", phone_e164="+15550001", email="a@x.com")
    two = await everyprint.save_customer("2", "B", phone_e164="+15550001", email="A@X.COM")
    three = await everyprint.save_customer("3", "C", phone_e164="+15550003", email="á@x.com")

    by_phone = await everyprint.customers_by_phone(["+15550001", "+15550003", "+1"])
    by_email = await everyprint.customers_by_email(["A@x.com", "á@x.com", "nobody@x.com"])
    assert by_phone == {"+15550001": [one, two], "+15550003": [three]}
    assert by_email == {"a@x.com": [one, two], "á@x.com": [three]}


async def test_a_customer_is_an_entry_of_the_directory(storage: Storage) -> None:
    key = Key("everyprint", "58918EJS")
    await storage.everyprint.save_customer("58918EJS", "Kim")
    saved = await storage.everyprint.save_customer(
        "58918EJS", "Kim", first_name="Lil", gender=Gender.MALE, phone_e164="+15550001", email="kim@x.com"
    )
    entry = (await storage.directory.entries([key]))[key]

    assert entry == replace(entry_of(saved), as_of=entry.as_of, person="everyprint:58918EJS")
    assert (entry.first_name, entry.last_name, entry.phone, entry.email) == (
        "Lil",
        "Kim",
        "+15550001",
        "kim@x.com",
    )
    assert msgspec.json.decode(entry.profile, type=Customer) == saved
    assert saved.updated_at.timestamp() * 1000 - 1 <= entry.as_of <= time.time() * 1000


async def test_who_is_saved_joins_whom_others_know(storage: Storage) -> None:
    known = Key("mercately", "2")
    await storage.directory.upsert([Entry(source="mercately", key="2", phone="+15550001", as_of=1)])
    await storage.everyprint.save_customer("1", "Kim", phone_e164="+15550001")
    assert (await storage.directory.entries([known]))[known].person == "everyprint:1"

    await storage.everyprint.save_customer("1", "Kim", phone_e164="+15550002")
    assert (await storage.directory.entries([known]))[known].person == "mercately:2"


async def test_all_customers_come_page_by_page_while_more_are_added(everyprint: Everyprint) -> None:
    for id in ("d", "B", "a"):
        await everyprint.save_customer(id, "x")
    first = await everyprint.all_customers(2)
    await everyprint.save_customer("A", "before where we are")
    await everyprint.save_customer("c", "after where we are")
    rest = await everyprint.all_customers(2, first.rows[-1].messenger_id)

    assert ([customer.messenger_id for customer in first.rows], first.more) == (["B", "a"], True)
    assert ([customer.messenger_id for customer in rest.rows], rest.more) == (["c", "d"], False)


async def test_a_batch_may_be_larger_than_a_statement_can_be(everyprint: Everyprint) -> None:
    await everyprint.save_customer("40000", "last")

    assert list(await everyprint.customers([str(n) for n in range(40_001)])) == ["40000"]
    assert await everyprint.customers([]) == {}


# Groups


async def test_a_group_comes_back_as_created(everyprint: Everyprint) -> None:
    group = await everyprint.create_group("Fête 🎉")

    assert group == Group(group.id, "Fête 🎉", 0, group.created_at)
    assert await everyprint.group(group.id) == group
    assert await everyprint.group(group.id + 1) is None
    assert await everyprint.groups() == [group]


async def test_a_name_is_one_groups_also_at_once(everyprint: Everyprint) -> None:
    answers = await asyncio.gather(
        *(everyprint.create_group(name) for name in ["VIP", "vip", "VIP", "Víp", "VIP"]),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers].count(NameTaken) == 2
    assert sorted(group.name for group in await everyprint.groups()) == ["VIP", "Víp", "vip"]


async def test_members_count_once_also_at_once(everyprint: Everyprint) -> None:
    group = await everyprint.create_group("VIP")
    ids = ["a", "b", *(f"n{n}" for n in range(20))]
    for id in ids:
        await everyprint.save_customer(id, "x")
    crowds = (everyprint.add_members(group.id, members("b", "a", "b", id)) for id in ids[2:])
    answers = await asyncio.gather(*crowds)

    assert sorted(answer.size for answer in answers) == list(range(3, 23))
    assert [found.size for found in await everyprint.groups()] == [22]
    assert (await everyprint.add_members(group.id, members("a", "b"))).size == 22


async def test_a_person_counts_once_and_nobody_not_at_all(storage: Storage) -> None:
    everyprint, group = storage.everyprint, await storage.everyprint.create_group("VIP")
    both = Key("everyprint", "1"), Key("mercately", "2")
    await everyprint.save_customer("1", "x", phone_e164="+1")
    assert (await everyprint.add_members(group.id, both)).size == 1

    await storage.directory.upsert([Entry(source="mercately", key="2", as_of=1)])
    assert await sizes(everyprint) == [2]
    await storage.directory.upsert([Entry(source="mercately", key="2", phone="+1", as_of=1)])
    assert await sizes(everyprint) == [1]
    await storage.directory.remove(both)
    assert await sizes(everyprint) == [0]
    assert (await everyprint.members(group.id, 10)).rows == list(map(str, both))


async def test_who_is_known_by_a_link_counts_too(storage: Storage) -> None:
    everyprint, group = storage.everyprint, await storage.everyprint.create_group("VIP")
    known, linked = Key("everyprint", "1"), Key("mercately", "2")
    await everyprint.save_customer("1", "x")
    await storage.links.link([known, linked])
    assert (await everyprint.add_members(group.id, [linked])).size == 1

    await storage.links.unlink(linked)
    assert await sizes(everyprint) == [0]
    await storage.links.link([known, linked])
    assert await sizes(everyprint) == [1]


async def test_people_are_listed_by_their_own_groups(storage: Storage) -> None:
    everyprint, directory = storage.everyprint, storage.directory
    vip, other = [await everyprint.create_group(name) for name in ("VIP", "other")]
    clients = [Entry(source="poster", key=f"{n}", phone=f"+{n}", group_key="1", as_of=1) for n in range(1, 6)]
    await directory.upsert(clients)
    await everyprint.add_members(vip.id, [Key("poster", f"{n}") for n in (1, 2, 3, 9)])
    await everyprint.add_members(other.id, [Key("poster", "4")])
    await everyprint.save_customer("a", "x", phone_e164="+3")

    in_vip = Key("everyprint", str(vip.id))
    assert (await directory.page(Filter(group=in_vip))).persons == ["everyprint:a", "poster:1", "poster:2"]
    assert (await directory.page(Filter(group=in_vip, source="everyprint"))).persons == ["everyprint:a"]
    assert await directory.count(Filter(group=in_vip)) == 3
    for nobodys in ("0", "999", "", "vip", "١", "-1", "9" * 30):
        group = Filter(group=Key("everyprint", nobodys))
        assert ((await directory.page(group)).persons, await directory.count(group)) == ([], 0)


async def test_members_come_page_by_page_in_their_order(everyprint: Everyprint) -> None:
    group = await everyprint.create_group("VIP")
    await everyprint.add_members(group.id, members("c", "B", "a", "é"))
    first = await everyprint.members(group.id, 2)
    rest = await everyprint.members(group.id, 2, first.rows[-1])

    assert (first.rows, first.more) == (["everyprint:B", "everyprint:a"], True)
    assert (rest.rows, rest.more) == (["everyprint:c", "everyprint:é"], False)


async def test_a_person_knows_the_groups(everyprint: Everyprint) -> None:
    ana, bea, another = members("ana", "bea", "Ana")
    one, two, _ = [await everyprint.create_group(name) for name in ("one", "two", "three")]
    one = await everyprint.add_members(one.id, [ana, bea])
    two = await everyprint.add_members(two.id, [ana])

    assert await everyprint.groups_of([str(ana), str(bea), str(another)]) == {
        str(ana): [one, two],
        str(bea): [one],
    }


async def test_a_group_is_renamed_as_long_as_the_name_is_nobodys(everyprint: Everyprint) -> None:
    vip, other = [await everyprint.create_group(name) for name in ("VIP", "other")]
    await everyprint.add_members(vip.id, members("ana"))
    renamed = replace(await everyprint.rename_group(vip.id, "Fête 🎉"), size=0)

    assert renamed == replace(vip, name="Fête 🎉")
    assert await everyprint.rename_group(vip.id, "Fête 🎉") == await everyprint.group(vip.id)
    with pytest.raises(NameTaken):
        await everyprint.rename_group(vip.id, "other")
    assert [group.name for group in await everyprint.groups()] == ["Fête 🎉", "other"]
    assert await everyprint.rename_group(other.id, "VIP")


async def test_one_of_those_who_want_a_name_at_once_gets_it(everyprint: Everyprint) -> None:
    groups = [await everyprint.create_group(name) for name in "abcde"]
    answers = await asyncio.gather(
        *(everyprint.rename_group(group.id, "VIP") for group in groups), return_exceptions=True
    )

    assert [type(answer) for answer in answers].count(NameTaken) == 4
    assert [group.name for group in await everyprint.groups()].count("VIP") == 1


async def test_a_group_is_removed_while_it_has_the_size_that_is_said(everyprint: Everyprint) -> None:
    vip, other = [await everyprint.create_group(name) for name in ("VIP", "other")]
    await everyprint.save_customer("ana", "x")
    for group in (vip, other):
        await everyprint.add_members(group.id, members("ana", "nobody"))

    with pytest.raises(OtherSize) as caught:
        await everyprint.remove_group(vip.id, 0)
    assert caught.value.size == 1
    assert await sizes(everyprint) == [1, 1]
    await everyprint.remove_group(vip.id, 1)
    assert [group.id for group in await everyprint.groups()] == [other.id]
    assert (await everyprint.members(vip.id, 10)).rows == []
    assert await sizes(everyprint) == [1]
    assert (await everyprint.create_group("VIP")).id not in (vip.id, other.id)


async def test_who_is_added_at_once_with_the_removal_stops_it_or_comes_too_late(
    everyprint: Everyprint,
) -> None:
    await everyprint.save_customer("ana", "x")
    for number in range(5):
        group = await everyprint.create_group(f"{number}")
        added, removed = await asyncio.gather(
            everyprint.add_members(group.id, members("ana")),
            everyprint.remove_group(group.id, 0),
            return_exceptions=True,
        )

        outcome = type(added), type(removed), await everyprint.group(group.id) is None
        assert outcome in {(Group, OtherSize, False), (NotFound, type(None), True)}


async def test_who_is_taken_out_is_so_by_whichever_key_they_are_in(storage: Storage) -> None:
    everyprint, group = storage.everyprint, await storage.everyprint.create_group("VIP")
    other = await everyprint.create_group("other")
    awa, ana, unknown = members("awa", "ana", "unknown")
    in_poster = Key("poster", "1")
    for id in ("awa", "ana"):
        await everyprint.save_customer(id, "x")
    await storage.links.link([awa, in_poster])
    await storage.directory.upsert([Entry(source="poster", key="1", as_of=1)])
    for each in (group, other):
        await everyprint.add_members(each.id, [awa, in_poster, ana, unknown])

    assert (await everyprint.remove_members(group.id, [in_poster])).size == 1
    assert (await everyprint.members(group.id, 10)).rows == [str(ana), str(unknown)]
    assert (await everyprint.remove_members(group.id, [in_poster, unknown])).size == 1
    assert (await everyprint.members(group.id, 10)).rows == [str(ana)]
    assert (await everyprint.members(other.id, 10)).rows == sorted(map(str, (awa, in_poster, ana, unknown)))


async def test_no_group_has_no_members(everyprint: Everyprint) -> None:
    for change in (
        everyprint.add_members(7, members("ana")),
        everyprint.remove_members(7, members("ana")),
        everyprint.rename_group(7, "VIP"),
        everyprint.remove_group(7, 0),
    ):
        with pytest.raises(NotFound):
            await change

    assert (await everyprint.members(7, 10)).rows == []


# Callers who leave, and databases that do


async def test_two_hundred_callers_who_leave_keep_no_connection(storage: Storage) -> None:
    everyprint = storage.everyprint
    customer = await rich(everyprint, "1000")
    for turns in range(0, 100, 20):
        entries = (everyprint.add_entry(customer, Decimal(-1), "x", f"{turns}.{n}") for n in range(15))
        links = (
            storage.links.link([Key("poster", "1"), Key("poster", f"{turns + n}")]) for n in range(2, 12)
        )
        questions = [*entries, *links, *(everyprint.balances([customer]) for _ in range(15))]
        callers = [asyncio.create_task(question) for question in questions]
        await asyncio.wait(callers, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(turns):
            await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert not [answer for answer in answers if isinstance(answer, Exception)]

    assert storage._engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    await asyncio.gather(*(everyprint.balances([customer]) for _ in range(20)))
    assert await amount_of(everyprint, customer) == sum(await ledger_of(everyprint, customer))


async def test_the_deadline_of_the_request_is_ours(everyprint: Everyprint) -> None:
    with deadline(0), pytest.raises(TimedOut):
        await everyprint.groups()

    assert await everyprint.groups() == []


async def test_a_deadline_waits_for_what_is_known_to_take_longer(everyprint: Everyprint) -> None:
    with deadline(60), deadline(0):
        with clock_stopped(30):
            assert await everyprint.groups() == []
        with pytest.raises(TimedOut):
            await everyprint.groups()

    with deadline(60), deadline(30):
        before = current()
        with clock_stopped(5):
            assert before
            assert (current() or 0) < before
            await asyncio.sleep(0.01)
        assert before < (current() or 0) < before + 5


async def test_a_database_that_hangs_is_given_up_in_time(
    on_mariadb: Storage, mariadb_server: Mariadb
) -> None:
    everyprint = on_mariadb.everyprint
    customer = await rich(everyprint, "1")
    started = time.perf_counter()
    with hanging(mariadb_server):
        answers = await asyncio.gather(
            everyprint.balances([customer]),
            everyprint.add_entry(customer, Decimal(1), "paid", "key"),
            on_mariadb.links.unlink(Key("poster", "1")),
            return_exceptions=True,
        )

    assert [type(answer) for answer in answers] == [TimedOut] * 3
    assert time.perf_counter() - started < 3
    assert (await everyprint.add_entry(customer, Decimal(1), "paid", "key")).amount == 2


# The schema


async def test_a_database_without_tables_is_unavailable(empty_url: str) -> None:
    async with open_storage(empty_url) as storage:
        with pytest.raises(Unavailable):
            await storage.everyprint.save_customer("1", "x")


async def test_the_migrated_tables_are_those_we_ask(storage: Storage) -> None:
    def ours(_: object, name: str | None, kind: str, *__: object) -> bool:
        return kind != "table" or name in TABLES

    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"include_object": ours})
        return list(compare_metadata(context, SQLModel.metadata))

    async with storage._engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        names = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
        assert names >= TABLES


async def test_our_tables_can_be_taken_back_and_made_again(storage: Storage) -> None:
    def downgrade(connection: Connection) -> None:
        steps = config()
        steps.attributes["connection"] = connection
        command.downgrade(steps, "0001")

    async with storage._engine.begin() as connection:
        await connection.run_sync(downgrade)
        names = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
        assert not names & TABLES

    await storage.migrate()
    assert await storage.schema_state() is SchemaState.CURRENT
    await rich(storage.everyprint, "1")
