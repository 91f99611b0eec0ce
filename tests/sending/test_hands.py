"""Many hands: who exactly gets a broadcast while processes, Redis and MariaDB are killed, and how fast."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from typing import Any

import pytest

from adapters.hyber.message import Sms
from adapters.storage.audience import Address, Plan, Way
from adapters.storage.broadcasts import NewBroadcast, State
from adapters.storage.client import Storage, open_storage
from adapters.storage.messages import State as Delivery
from bench.directory import Kind
from bench.plan import fill
from bench.vendor import Vendor, serving, worst_second
from gateway.settings import load
from resolvers.sending.body import Channel, Content
from resolvers.sending.letter import Letter, write_letter
from tests.gateways import CALM
from tests.sending import hand
from tests.sending.forks import FORKS
from tests.services import Mariadb, Redis

PATIENCE = 60
PEOPLE, WITHOUT_PHONE = 2_000, 100
RECIPIENTS = PEOPLE - WITHOUT_PHONE
LETTER = Letter(content=Content(sms=Sms(text="s", ttl=300, alpha_name="GMSU")), channels=(Channel.SMS,))


@dataclass
class Firm:
    """A database full of people, a vendor who loses answers, and any number of processes that send."""

    storage: Storage
    vendor: Vendor
    settings: dict[str, Any]
    hands: list[ForkServerProcess] = field(default_factory=list)

    def hire(self, count: int, rate: float | None = None) -> None:
        said = self.settings | {"hyber": self.settings["hyber"] | {"rate": rate}}
        for _ in range(count):
            process = FORKS.Process(target=hand.run, args=(load(**said),))
            process.start()
            self.hands.append(process)

    def kill_one(self) -> None:
        doomed = random.choice(self.hands)  # noqa: S311
        doomed.kill()
        doomed.join()
        self.hands.remove(doomed)

    def dismiss(self) -> None:
        for process in self.hands:
            process.kill()
            process.join()

    async def announce(self) -> int:
        plan = Plan(ways=(Way("sms", Address.PHONE),))
        new = NewBroadcast(plan=plan, body=write_letter(LETTER))
        broadcast, _ = await self.storage.broadcasts.add(new)
        return broadcast.id

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await asyncio.sleep(0.01)

    async def over(self, id: int) -> dict[Delivery, int]:
        async with asyncio.timeout(PATIENCE):
            while (await self.storage.broadcasts.of([id]))[id].state is not State.COMPLETED:
                await asyncio.sleep(0.05)
        return (await self.storage.broadcasts.counts([id]))[id]

    def everybody_got_it_once(self, counts: dict[Delivery, int]) -> bool:
        assert (len(self.vendor.taken), self.vendor.taken.total()) == (RECIPIENTS, RECIPIENTS)
        assert counts.pop(Delivery.SKIPPED) == WITHOUT_PHONE
        assert sum(counts.values()) == RECIPIENTS
        assert counts.keys() <= {Delivery.ACCEPTED, Delivery.SENT}
        return True


async def firm_on(url: str, kind: Kind, tmp_path: Any, **settings: Any) -> AsyncIterator[Firm]:
    vendor = Vendor(lost=0.02)
    async with serving(vendor) as at, open_storage(url, patience=10) as storage:
        await fill(storage, kind, PEOPLE)
        hyber = {
            "url": at,
            "batch_url": at,
            "reports_url": at,
            "client_id": "1",
            "login": "l",
            "password": "p",
        }
        said = CALM | {"data_dir": tmp_path, "database_url": url, "sandbox": "off", "hyber": hyber}
        firm = Firm(storage, vendor, said | {"log_level": "error"} | settings)
        try:
            yield firm
        finally:
            firm.dismiss()


@pytest.fixture
async def firm(our_mariadb_url: str, redis_url: str, tmp_path: Any) -> AsyncIterator[Firm]:
    """With MariaDB and Redis."""
    async for firm in firm_on(our_mariadb_url, Kind.MARIADB, tmp_path, broker_url=redis_url):
        yield firm


@pytest.fixture
async def small_firm(our_sqlite_url: str, tmp_path: Any) -> AsyncIterator[Firm]:
    """With nothing but a file."""
    async for firm in firm_on(our_sqlite_url, Kind.SQLITE, tmp_path):
        yield firm


async def test_kill_9_of_any_of_three_loses_nobody_and_doubles_nobody(firm: Firm) -> None:
    firm.hire(3, rate=1_000)
    id = await firm.announce()
    for number in range(3):
        await firm.until(lambda: firm.vendor.taken.total() > RECIPIENTS * (number + 1) // 5)  # noqa: B023
        firm.kill_one()
        firm.hire(1, rate=1_000)

    assert firm.everybody_got_it_once(await firm.over(id))


@pytest.mark.parametrize("which", ["redis", "mariadb"])
async def test_nor_does_a_restart_of_redis_or_of_mariadb(
    firm: Firm, which: str, redis_server: Redis, mariadb_server: Mariadb
) -> None:
    firm.hire(2, rate=1_000)
    id = await firm.announce()
    await firm.until(lambda: firm.vendor.taken.total() > RECIPIENTS // 3)
    service = redis_server if which == "redis" else mariadb_server
    service.stop()
    service.start()

    assert firm.everybody_got_it_once(await firm.over(id))


async def test_one_process_with_a_file_goes_on_by_itself_after_each_kill_9(small_firm: Firm) -> None:
    small_firm.hire(1, rate=1_000)
    id = await small_firm.announce()
    for number in range(2):
        await small_firm.until(lambda: small_firm.vendor.taken.total() > RECIPIENTS * (number + 1) // 4)  # noqa: B023
        small_firm.kill_one()
        small_firm.hire(1, rate=1_000)

    assert small_firm.everybody_got_it_once(await small_firm.over(id))


async def test_three_of_them_keep_to_one_limit(firm: Firm) -> None:
    firm.vendor.lost = 0
    firm.hire(3, rate=500)
    id = await firm.announce()

    assert firm.everybody_got_it_once(await firm.over(id))
    worst = worst_second([(at, count) for at, count, _ in firm.vendor.arrivals])
    assert worst <= 500 * 1.05
