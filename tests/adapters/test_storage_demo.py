"""The demo people move into the database, however often they are interrupted."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from adapters.demo import PEOPLE
from adapters.storage.client import Storage, open_storage
from adapters.storage.demo import has_room, move_in
from adapters.storage.everyprint import Everyprint

Everything = dict[str, Any]

CUSTOMERS = sum(person.everyprint is not None for person in PEOPLE)


@pytest.fixture
async def storage(our_sqlite_url: str) -> AsyncIterator[Storage]:
    async with open_storage(our_sqlite_url) as opened:
        yield opened


class Killed(BaseException): ...


@contextmanager
def killed_before(step: int) -> Iterator[None]:
    """Until then, steps are taken as ever; a step is a transaction."""
    steps = iter(range(1, step))

    def die(_: Connection) -> None:
        if next(steps, None) is None:
            raise Killed

    event.listen(Engine, "commit", die)
    try:
        yield
    finally:
        event.remove(Engine, "commit", die)


async def everything(everyprint: Everyprint) -> Everything:
    """All that moves in."""
    customers = (await everyprint.all_customers(100)).rows
    ids = [customer.messenger_id for customer in customers]
    entries = {id: (await everyprint.entries(id, 100)).rows for id in ids}
    groups = await everyprint.groups()
    return {
        "customers": [
            (one.messenger_id, one.first_name, one.last_name, one.gender, one.phone_e164, one.email)
            for one in customers
        ],
        "balances": {id: balance.amount for id, balance in (await everyprint.balances(ids)).items()},
        "entries": {id: [(entry.amount, entry.reason) for entry in rows] for id, rows in entries.items()},
        "groups": {one.name: (await everyprint.members(one.id, 100)).rows for one in groups},
    }


async def test_they_move_in_with_their_balances_and_groups(storage: Storage) -> None:
    everyprint = storage.everyprint
    assert await has_room(everyprint)

    await move_in(everyprint)

    found = await everything(everyprint)
    assert not await has_room(everyprint)
    assert len(found["customers"]) == CUSTOMERS
    assert {id: sum(amount for amount, _ in rows) for id, rows in found["entries"].items()} == found[
        "balances"
    ]
    assert found["balances"]["2413659892012345"] == 49_500
    assert found["entries"]["2413659892012345"][0] == (-12_000, "Order 1067: banner, 2 m by 1 m")
    assert found["groups"] == {
        name: sorted(person.key for person in PEOPLE if name in person.groups)
        for name in ("Wholesale", "Christmas cards", "Students")
    }
    assert "poster:211" in found["groups"]["Wholesale"]


async def test_twice_is_once(storage: Storage) -> None:
    await move_in(storage.everyprint)
    once = await everything(storage.everyprint)

    await move_in(storage.everyprint)

    assert await everything(storage.everyprint) == once


async def test_killed_at_any_step_the_next_start_goes_on(storage: Storage, tmp_path: Path) -> None:
    everyprint, step = storage.everyprint, 0
    while await has_room(everyprint):
        step += 1
        with killed_before(step), suppress(Killed):
            await move_in(everyprint)
    async with open_storage(f"sqlite+aiosqlite:///{tmp_path / 'undisturbed.db'}") as other:
        await other.migrate()
        await move_in(other.everyprint)
        undisturbed = await everything(other.everyprint)

    assert step > CUSTOMERS
    assert await everything(everyprint) == undisturbed


async def test_two_at_once_do_no_more_than_one(storage: Storage, our_sqlite_url: str) -> None:
    async with open_storage(our_sqlite_url) as other:
        await asyncio.gather(move_in(storage.everyprint), move_in(other.everyprint))
        both = await everything(storage.everyprint)
        await move_in(storage.everyprint)

    assert await everything(storage.everyprint) == both
    assert len(both["customers"]) == CUSTOMERS
    assert both["balances"]["2413659892012345"] == 49_500


async def test_there_is_no_room_beside_a_customer_of_ones_own(storage: Storage) -> None:
    everyprint = storage.everyprint
    await everyprint.save_customer("9", "Own")

    assert not await has_room(everyprint)


async def test_there_is_no_room_beside_one_who_came_after_the_demo_people_were_interrupted(
    storage: Storage,
) -> None:
    everyprint = storage.everyprint
    with killed_before(20), pytest.raises(Killed):
        await move_in(everyprint)
    assert await has_room(everyprint)

    await everyprint.save_customer("9", "Own")

    assert not await has_room(everyprint)
