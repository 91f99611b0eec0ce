"""`python -m bench.cancelled`: clients that leave at any moment, on MariaDB, beside some who wait.

Those who wait get no wrong answer, and every connection of the pool comes back.
"""

import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median, quantiles
from time import monotonic
from typing import Annotated

import typer
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from sqlalchemy import Connection, create_engine, make_url

from adapters.storage.client import CONNECTIONS
from bench.process import gateway
from bench.report import machine
from bench.soak import REST, Soak, fill, is_as, prepare, rested, vendors
from bench.truth import Truth
from tests.services import Mariadb

LEAVE, WAIT = 12, 4
"""Clients that leave and that wait, at the same time; the gateway works at so many requests at once."""
LATEST = 1.5
"""Of the time that answers take, until which somebody leaves: some get theirs just before."""
LOOK = 0.5
"""Seconds after which it is asked how many have left."""
PATIENCE = 10.0
"""Seconds in which all connections have to wait for the table that is locked, or to be seen idle."""
GONE = 'switchboard_request_seconds_count{path="/graphql",status="499"}'
LOCKED = "directory_entry"
"""Who is looked for by phone is looked for here."""
HELD = "every connection of the pool can be used"
IDLE = "no connection is in the middle of anything, nor is there one too many"


class Crowd(Soak):
    """Some leave, and some wait."""

    async def come_and_go(self, many: int) -> int:
        """Until the gateway has seen so many leave; how many it has."""
        enough = asyncio.Event()
        clients = [self._leaving(enough) for _ in range(LEAVE)] + [self._waiting(enough) for _ in range(WAIT)]
        async with self.on_connections_of_their_own() as own:
            crowd = asyncio.gather(*clients)
            gone = 0.0
            while gone < many:
                await asyncio.sleep(LOOK)
                gone = await self.gateway.metric(own, GONE)
            enough.set()
            await crowd
        return int(gone)

    @asynccontextmanager
    async def on_connections_of_their_own(self) -> AsyncIterator[ClientSession]:
        """Which are closed in the end; the session that stays."""
        own, connector = self.session, TCPConnector(limit=0)
        async with ClientSession(connector=connector, timeout=ClientTimeout(total=30)) as self.session:
            yield own
        self.session = own

    async def _waiting(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            await self._any_act()

    async def _leaving(self, enough: asyncio.Event) -> None:
        """At any moment from the first byte of the request on to after the answer."""
        while not enough.is_set():
            asking = asyncio.ensure_future(self._any_act())
            usual = median(self.seconds[-100:]) if self.seconds else 0.05
            await asyncio.wait([asking], timeout=random.uniform(0, LATEST * usual))
            if not asking.done():
                self.left += 1
                asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _any_act(self) -> object:
        return await random.choice(
            (self.person, self.person, self.customers, self.conversations, self.send)
        )()


class Database:
    """MariaDB, as one of its own clients sees it."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    def states(self) -> list[str]:
        """What each of the gateway's connections does."""
        question = """SELECT command, state FROM information_schema.processlist
            WHERE db = %s AND id <> CONNECTION_ID()"""
        rows = self._connection.exec_driver_sql(question, (self._name,)).all()
        return [state or command for command, state in rows]

    def transactions(self) -> int:
        question = "SELECT COUNT(*) FROM information_schema.innodb_trx"
        return int(self._connection.exec_driver_sql(question).scalar_one())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else reads it meanwhile."""
        self._connection.exec_driver_sql(f"LOCK TABLES {LOCKED} WRITE")
        try:
            yield
        finally:
            self._connection.exec_driver_sql("UNLOCK TABLES")


async def judge_pool(crowd: Crowd, database: Database) -> str:
    """Whether as many can wait for a table at once as there are connections; and then, whether all rest."""
    async with crowd.on_connections_of_their_own():
        waiting, end = 0, monotonic() + PATIENCE / 2
        with database.locked():
            asked = [asyncio.create_task(crowd.person()) for _ in range(2 * CONNECTIONS)]
            while waiting < CONNECTIONS and monotonic() < end:
                await asyncio.sleep(0.05)
                waiting = max(waiting, sum(state.startswith("Waiting") for state in database.states()))
        await asyncio.gather(*asked)
    crowd.findings.check(waiting == CONNECTIONS, HELD, f"only {waiting} of {CONNECTIONS} waited for a table")
    end = monotonic() + PATIENCE
    while True:
        states, transactions = database.states(), database.transactions()
        fine = states == ["Sleep"] * len(states) and len(states) <= CONNECTIONS and not transactions
        if fine or monotonic() > end:
            break
        await asyncio.sleep(0.1)
    said = (
        f"{len(states)} open, {sum(state != 'Sleep' for state in states)} busy, {transactions} transactions"
    )
    crowd.findings.check(fine, IDLE, f"{said}: {states}")
    return f"{waiting} of {CONNECTIONS} at work at once; then {said}"


async def measure(folder: Path, url: str, many: int) -> bool:
    async with AsyncExitStack() as stack:
        sandboxes, settings = await vendors(stack)
        settings |= {"database_url": url, "directory_interval": "0", "rate": "0"}
        await prepare(url)
        await fill(folder, settings)
        engine = create_engine(make_url(url).set(drivername="mysql+pymysql"), isolation_level="AUTOCOMMIT")
        database = Database(stack.enter_context(engine.connect()), make_url(url).database or "")
        served = stack.enter_context(gateway(folder, settings))
        session = await stack.enter_async_context(ClientSession())
        crowd = Crowd(served, session, Truth(), sandboxes, end=0)
        await crowd.come_and_go(min(many, 100))  # warm
        await judge_pool(crowd, database)
        before, began, asked = await served.state(session), monotonic(), len(crowd.seconds)
        gone = await crowd.come_and_go(many)
        took, waited = monotonic() - began, len(crowd.seconds) - asked
        pool = await judge_pool(crowd, database)
        statuses = await crowd.settle(30)
        after = await rested(crowd, before)
        crowd.findings.check(is_as(after, before), REST, f"{before} before, {after} after")
        crowd.judge_log()
    percentiles = quantiles(crowd.seconds, n=100)
    rows = {
        "cancelled, as the gateway saw it": f"{gone:,}, in {took:.0f} s",
        "answered, and right": f"{waited:,}, p50 {percentiles[49]:.3f} s, p99 {percentiles[98]:.3f} s",
        "errors in them": ", ".join(f"{count:,} {code}" for code, count in crowd.codes.items()) or "none",
        "messages": ", ".join(f"{count:,} {status}" for status, count in statuses.items()),
        "connections to the database": pool,
        "at rest before, after": f"{before}, {after}",
    }
    typer.echo("| what | how much |\n|---|---|")
    for what, how_much in rows.items():
        typer.echo(f"| {what} | {how_much} |")
    for claim, examples in crowd.findings.examples.items():
        typer.echo(f"\n{claim} DOES NOT HOLD, {crowd.findings.counts[claim]:,} times:")
        for example in examples:
            typer.echo(f"  {example}")
    return not crowd.findings.counts


def main(requests: Annotated[int, typer.Option(min=1)] = 10_000) -> None:
    """Leaves with status 1 when a claim does not hold."""
    typer.echo(f"{machine()}\n")
    with tempfile.TemporaryDirectory(prefix="switchboard-bench-") as name:
        folder = Path(name)
        (folder / "mariadb").mkdir()
        mariadb = Mariadb(folder / "mariadb")
        mariadb.start()
        try:
            fine = asyncio.run(measure(folder, mariadb.database("cancelled"), requests))
        finally:
            mariadb.stop()
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    typer.run(main)
