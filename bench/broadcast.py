"""`make bench-broadcast`: who exactly gets a broadcast while processes, Redis and MariaDB are killed."""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from aiohttp import ClientSession

from adapters.hyber.message import Sms
from adapters.storage.audience import Address, Plan, Way
from adapters.storage.broadcasts import NewBroadcast, State
from adapters.storage.client import Storage, open_storage
from adapters.storage.messages import State as Delivery
from bench.brokers import Broker, Nats, Rabbitmq
from bench.directory import Kind, Roomy
from bench.plan import fill
from bench.report import machine
from resolvers.sending.body import Channel, Content
from resolvers.sending.carrier import MOST
from resolvers.sending.letter import Letter, write_letter
from tests.services import Mariadb, Redis

SWITCHBOARD = [sys.executable, "-m", "gateway.cli"]
BY_SMS = Plan(ways=(Way("sms", Address.PHONE),))
LETTER = write_letter(
    Letter(content=Content(sms=Sms(text="Hola", ttl=300, alpha_name="GMSU")), channels=(Channel.SMS,))
)
TAKEN = Delivery.ACCEPTED, Delivery.SENT, Delivery.DELIVERED
BROKERS: dict[str, type[Broker]] = {"rabbitmq": Rabbitmq, "nats": Nats}
LONGEST = 300
"""Seconds after which a run has failed."""


@dataclass
class Run:
    """Everything that one run needs, started for it and ended with it."""

    folder: Path
    stack: ExitStack
    kind: Kind = Kind.MARIADB
    lost: float = 0.02
    people: int = 42_105
    """One in twenty has no phone."""
    mariadb: Mariadb | None = None
    redis: Redis | None = None
    through: str = ""
    """The broker, if it is not Redis."""
    broker: Redis | Broker | None = None
    url: str = ""
    vendor: str = ""
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    async def prepare(self) -> None:
        if self.kind is Kind.MARIADB:
            self.mariadb, self.redis = Roomy(self.folder / "mariadb"), Redis(self.folder / "redis")
            self.broker = BROKERS[self.through](self.folder / self.through) if self.through else self.redis
            for service in {self.mariadb, self.redis, self.broker}:
                service.directory.mkdir(exist_ok=True)
                service.start()
                self.stack.callback(service.stop)
            self.url = self.mariadb.database("broadcasts")
        else:
            self.url = f"sqlite+aiosqlite:///{self.folder / 'switchboard.db'}"
        async with open_storage(self.url, patience=600) as storage:
            await storage.migrate()
            await fill(storage, self.kind, self.people)
        command = [sys.executable, "-m", "bench.vendor", str(self.lost)]
        vendor = self.stack.enter_context(started(command))
        self.stack.callback(vendor.kill)
        assert vendor.stdout
        self.vendor = vendor.stdout.readline().strip()
        self.stack.callback(self.stop)

    def settings(self, rate: float | None) -> dict[str, str]:
        settings = {
            "SWITCHBOARD_DATABASE_URL": self.url,
            "SWITCHBOARD_DATABASE_TIMEOUT": "10",
            "SWITCHBOARD_DATA_DIR": str(self.folder),
            "SWITCHBOARD_SANDBOX": "off",
            "SWITCHBOARD_PORT": "0",
            "SWITCHBOARD_DIRECTORY_INTERVAL": "0",
            "SWITCHBOARD_LOG_LEVEL": "error",
            **{f"SWITCHBOARD_HYBER__{name}URL": self.vendor for name in ("", "BATCH_", "REPORTS_")},
            "SWITCHBOARD_HYBER__CLIENT_ID": "510",
            "SWITCHBOARD_HYBER__LOGIN": "login",
            "SWITCHBOARD_HYBER__PASSWORD": "password",
        }
        if self.redis and self.broker:
            settings["SWITCHBOARD_REDIS_URL"] = self.redis.url
            settings["SWITCHBOARD_BROKER_URL"] = self.broker.url
        if rate:
            settings["SWITCHBOARD_HYBER__RATE"] = str(rate)
        return settings

    def start(self, command: str, rate: float | None = None) -> None:
        output = None if os.environ.get("SHOW") else subprocess.DEVNULL
        self.processes.append(
            subprocess.Popen(
                [*SWITCHBOARD, command], env=os.environ | self.settings(rate), stdout=output, text=True
            )
        )

    def kill_one(self) -> None:
        """kill -9, and another in its place."""
        victim = random.choice(self.processes)
        victim.kill()
        victim.wait()
        self.processes.remove(victim)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()

    async def seen(self) -> dict[str, Any]:
        async with ClientSession() as session, session.get(f"{self.vendor}/") as response:
            answer: dict[str, Any] = await response.json()
            return answer


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def announce(storage: Storage, **said: Any) -> int:
    broadcast, _ = await storage.broadcasts.add(NewBroadcast(plan=BY_SMS, body=LETTER, **said))
    return broadcast.id


async def over(storage: Storage, *ids: int) -> dict[int, dict[Delivery, int]]:
    """When nothing of them is left to send."""
    async with asyncio.timeout(LONGEST):
        while True:
            try:
                found = await storage.broadcasts.of(ids)
                if all(each.state is State.COMPLETED for each in found.values()):
                    return await storage.broadcasts.counts(ids)
            except Exception as error:  # the database may be away
                typer.echo(f"  ({type(error).__name__})", err=True)
            await asyncio.sleep(0.2)


async def until(run: Run, share: float, total: float) -> None:
    """So much of it has arrived."""
    async with asyncio.timeout(LONGEST):
        while (await run.seen())["taken"] < share * total:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)


def verdict(counts: dict[Delivery, int], seen: dict[str, Any]) -> tuple[bool, str]:
    recipients = sum(counts.values()) - counts.get(Delivery.SKIPPED, 0)
    doubles, lost = seen["taken"] - seen["unique"], recipients - seen["unique"]
    settled = sum(counts.get(state, 0) for state in TAKEN)
    text = f"{seen['unique']:,} unique of {recipients:,}, {doubles} duplicates, {lost} lost"
    return doubles == lost == 0 and settled == recipients, text


Outcome = tuple[bool, str]


async def kills(run: Run, *, processes: int, command: str, kills: int, rate: float) -> Outcome:
    for _ in range(processes):
        run.start(command, rate)
    started = time.perf_counter()
    async with open_storage(run.url, patience=10) as storage:
        id = await announce(storage)
        for number in range(kills):
            await until(run, (number + 1) / (kills + 2), run.people * 0.95)
            run.kill_one()
            run.start(command, rate)
        counts = (await over(storage, id))[id]
    fine, text = verdict(counts, await run.seen())
    return fine, f"{text}, {time.perf_counter() - started:.0f} s"


async def restart(run: Run, which: str) -> Outcome:
    for _ in range(3):
        run.start("worker", 4_000)
    async with open_storage(run.url, patience=10) as storage:
        id = await announce(storage)
        await until(run, 0.4, run.people * 0.95)
        service = run.redis if which == "redis" else run.mariadb
        assert service
        service.stop()
        await asyncio.sleep(1)
        service.start()
        counts = (await over(storage, id))[id]
    return verdict(counts, await run.seen())


async def fair(run: Run) -> Outcome:
    for _ in range(2):
        run.start("serve", 4_000)
    for _ in range(4):
        run.start("worker", 4_000)
    async with open_storage(run.url, patience=10) as storage:
        together = datetime.now(UTC) + timedelta(seconds=20)
        ids = [await announce(storage, send_at=together) for _ in range(5)]
        counts = await over(storage, *ids)
    seen = await run.seen()
    shares = [seen["by_broadcast"].get(str(id), 0) for id in ids]
    mean = sum(shares) / len(shares)
    spread = max(abs(share / mean - 1) for share in shares)
    recipients = sum(sum(each.values()) - each.get(Delivery.SKIPPED, 0) for each in counts.values())
    doubles = seen["taken"] - recipients
    return spread <= 0.2 and doubles == 0, f"shares within {spread:.0%}, {doubles} duplicates"


async def paused(run: Run, workers: int, slots: int) -> Outcome:
    """At full speed: what still goes out after the pause was answered, and for how long."""
    os.environ["SWITCHBOARD_SLOTS"] = str(slots)
    for _ in range(workers):
        run.start("worker")
    async with open_storage(run.url, patience=10) as storage:
        id = await announce(storage)
        await until(run, 0.2, run.people * 0.95)
        await storage.broadcasts.pause(id)
        answered, before = time.monotonic(), (await run.seen())["taken"]
        await asyncio.sleep(3)
        still = await run.seen()
        await storage.broadcasts.resume(id)
        counts = (await over(storage, id))[id]
    late, seconds = still["taken"] - before, max(still["last"] - answered, 0)
    fine, text = verdict(counts, await run.seen())
    fine = fine and late <= workers * slots * MOST
    return fine, f"{late:,} went out after it was answered, the last {seconds:.2f} s later; resumed: {text}"


async def throughput(run: Run, workers: int, slots: int) -> Outcome:
    os.environ["SWITCHBOARD_SLOTS"] = str(slots)
    async with open_storage(run.url, patience=10) as storage:
        id = await announce(storage)
        while await storage.broadcasts.step(id, "bench", int(time.time() * 1000)):
            pass
        for _ in range(workers):
            run.start("worker")
        counts = (await over(storage, id))[id]
    seen = await run.seen()
    rate = seen["taken"] / (seen["last"] - seen["first"])
    fine, text = verdict(counts, seen)
    return fine and rate >= 8_000, f"{rate:,.0f}/s; {text}"


async def limited(run: Run) -> Outcome:
    for _ in range(3):
        run.start("worker", 2_000)
    async with open_storage(run.url, patience=10) as storage:
        id = await announce(storage)
        counts = (await over(storage, id))[id]
    seen = await run.seen()
    fine, text = verdict(counts, seen)
    return fine and seen["worst"] <= 2_100, f"worst second {seen['worst']:,}; {text}"


RUNS: dict[str, tuple[str, dict[str, Any], Callable[[Run], Awaitable[Outcome]]]] = {
    "kills": (
        "40,000 recipients, 3 workers, 10 x kill -9",
        {},
        lambda run: kills(run, processes=3, command="worker", kills=10, rate=4_000),
    ),
    "redis": ("the same, Redis restarted empty in the middle", {}, lambda run: restart(run, "redis")),
    "mariadb": ("the same, MariaDB restarted in the middle", {}, lambda run: restart(run, "mariadb")),
    **{
        name: (
            f"20,000 recipients through {title}, 3 workers, 3 x kill -9",
            {"through": name, "people": 21_053},
            lambda run: kills(run, processes=3, command="worker", kills=3, rate=4_000),
        )
        for name, title in (("rabbitmq", "RabbitMQ"), ("nats", "NATS JetStream"))
    },
    "embedded": (
        "embedded: SQLite, one process, 20,000 recipients, 3 x kill -9",
        {"kind": Kind.SQLITE, "people": 21_053},
        lambda run: kills(run, processes=1, command="serve", kills=3, rate=4_000),
    ),
    "fair": ("2 servers, 4 workers, 5 broadcasts at a time", {"people": 21_053, "lost": 0}, fair),
    "limited": ("limit of 2,000/s, 3 workers", {"lost": 0}, limited),
    "paused": (
        "200,000 recipients, no limit, 3 workers of 4 slots, paused and resumed",
        {"people": 210_526, "lost": 0},
        lambda run: paused(run, workers=3, slots=4),
    ),
    "throughput": (
        "300,000 recipients, no limit, 2 workers",
        {"people": 315_789, "lost": 0},
        lambda run: throughput(run, workers=2, slots=4),
    ),
}


async def one(name: str) -> Outcome:
    _, options, measure = RUNS[name]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        run = Run(Path(folder), stack, **options)
        await run.prepare()
        return await measure(run)


def main(only: Annotated[list[str] | None, typer.Argument(help=", ".join(RUNS))] = None) -> None:
    """Leaves with status 1 if anybody got it twice, or not at all."""
    typer.echo(f"{machine()}\n\n| run | outcome | |\n|---|---|---|")
    fine = True
    for name in only or RUNS:
        try:
            is_fine, text = asyncio.run(one(name))
        except TimeoutError:
            is_fine, text = False, f"not over after {LONGEST} s"
        fine = fine and is_fine
        typer.echo(f"| {RUNS[name][0]} | {text} | {'yes' if is_fine else 'NO'} |")
    raise typer.Exit(0 if fine else 1)


if __name__ == "__main__":
    typer.run(main)
