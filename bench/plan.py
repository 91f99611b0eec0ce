"""`python -m bench.plan --people 1000000 --database sqlite`: broadcasts to everybody, planned and previewed.

Every seventh person is also everyprint's and every sixth Poster's; one in twenty has no phone.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from alembic.script import ScriptDirectory

from adapters.storage.audience import Address, Plan, Text, Use, Value, Way
from adapters.storage.broadcasts import NewBroadcast
from adapters.storage.client import Storage, open_storage
from adapters.storage.migrations.run import config
from bench.directory import Kind, Roomy

BOUNDS = {Kind.MARIADB: 20.0, Kind.SQLITE: 10.0}
"""Seconds for a million people."""
MOST = 100
"""MiB that the memory may grow by."""

SMS, MESSENGER = Way("sms", Address.PHONE), Way("messenger", Address.MESSENGER_ID)
WHATSAPP = Way("whatsapp", Address.PHONE, asks_opt_in=True)
GREETING = Text(fixed=60, uses=(Use(Value.FIRST_NAME, "friend"), Use(Value.LAST_NAME)), longest=335)
PLANS = {
    "by SMS": Plan(ways=(SMS,)),
    "by Messenger and SMS, with names": Plan(ways=(MESSENGER, SMS), texts=(GREETING,)),
    "by WhatsApp and SMS": Plan(ways=(WHATSAPP, SMS)),
}

LETTER = "substr('abcdefghijklmnopqrstuvwxyz', 1 + (n % {}) % 26, 1)"
MERCATELY = " || ".join(["'4880'", *map(LETTER.format, (31, 37, 41, 43, 47)), "n"])
MESSENGER_ID = "(2413659892000000 + n) || ''"
PROFILE = (
    """'{"id":"' || n || '","first_name":"Ana","notes":"%s","whatsapp_opt_in":'"""
    """ || CASE WHEN n %% 3 = 0 THEN 'false' ELSE 'true' END || '}'"""
) % ("Prefers to be written to in the afternoon. " * 5)
ENTRIES = f"""
INSERT INTO directory_entry (source, `key`, `row_number`, person, first_name, last_name, email, phone,
    tags, profile, opted_out, words, seen, as_of)
SELECT '{{source}}', {{key}}, n,
    CASE WHEN n % 7 = 0 THEN 'everyprint:' || {MESSENGER_ID} ELSE 'mercately:' || {MERCATELY} END,
    CASE WHEN n % 10 = 1 THEN NULL ELSE 'Nombre' || (n % 1000) END, 'Apellido' || (n % 777),
    'p' || n || '@example.com', CASE WHEN n % 20 = 3 THEN NULL ELSE '+593' || (990000000 + n) END,
    '[]', {{profile}}, {{opted_out}}, '', 1, 1
FROM {{numbers}} WHERE n % {{every}} = {{rest}}
"""  # noqa: S608
NUMBERS = {
    Kind.MARIADB: "(SELECT seq AS n FROM seq_0_to_{last}) AS numbers",
    Kind.SQLITE: "(WITH RECURSIVE numbers (n) AS"
    " (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) SELECT n FROM numbers)",
}


async def fill(storage: Storage, kind: Kind, people: int) -> None:
    """By the database itself: through the directory it would take minutes."""
    numbers = NUMBERS[kind].format(last=people - 1)
    async with storage._engine.execution_options(writes=True).begin() as connection:
        if kind is Kind.MARIADB:
            await connection.exec_driver_sql("SET sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')")
        for source, key, every, rest, opted_out in (
            ("mercately", MERCATELY, 1, 0, "n % 3 = 0"),
            ("everyprint", MESSENGER_ID, 7, 0, "0"),
            ("poster", "n", 6, 1, "0"),
        ):
            entries = ENTRIES.format(
                source=source,
                key=key,
                profile=PROFILE,
                opted_out=opted_out,
                numbers=numbers,
                every=every,
                rest=rest,
            )
            # MySQL's driver fills in parameters at each percent sign.
            percent = "%%" if kind is Kind.MARIADB else "%"
            await connection.exec_driver_sql(entries.replace("%", percent))
    recipients: Any = ScriptDirectory.from_config(config()).get_revision("0011")
    async with storage._engine.execution_options(writes=True).begin() as connection:
        await connection.exec_driver_sql(recipients.module.summed_up(connection.dialect.name))
    async with storage._engine.execution_options(writes=True).begin() as connection:
        table = "TABLE " if kind is Kind.MARIADB else ""
        await connection.exec_driver_sql(f"ANALYZE {table}directory_entry")
        await connection.exec_driver_sql(f"ANALYZE {table}directory_recipient")


@contextmanager
def told(title: str) -> Iterator[Callable[[str], None]]:
    process = psutil.Process()
    before, started, cpu = process.memory_info().rss, time.perf_counter(), time.process_time()

    def tell(what: str) -> None:
        now = process.memory_info().rss
        typer.echo(
            f"{title}: {what} in {time.perf_counter() - started:.1f} s ({time.process_time() - cpu:.1f} s of "
            f"our processor time); RSS {before / 2**20:.0f} -> {now / 2**20:.0f} MiB"
        )

    yield tell


async def bench(url: str, kind: Kind, people: int) -> bool:
    async with open_storage(url, patience=600) as storage:
        await storage.migrate()
        await fill(storage, kind, people)
    fine = True
    bound = BOUNDS[kind] * people / 1_000_000
    process = psutil.Process()
    for name, plan in PLANS.items():
        async with open_storage(url) as storage:
            broadcasts, before = storage.broadcasts, process.memory_info().rss
            with told(f"previewed {name}") as tell:
                preview = await broadcasts.preview(plan)
                tell(f"{preview.recipients:,} people")
            broadcast, _ = await broadcasts.add(NewBroadcast(plan=plan, body=b"{}"))
            slowest, steps, started = 0.0, 0, time.perf_counter()
            with told(f"planned {name}") as tell:
                more = True
                while more:
                    began = time.perf_counter()
                    more = await broadcasts.step(broadcast.id, "bench", int(time.time() * 1000))
                    slowest, steps = max(slowest, time.perf_counter() - began), steps + 1
                took = time.perf_counter() - started
                planned = (await broadcasts.of([broadcast.id]))[broadcast.id]
                tell(f"{planned.total:,} rows in {steps} steps, the slowest {slowest * 1000:.0f} ms,")
            grown = (process.memory_info().rss - before) / 2**20
            with told("counted") as tell:
                counts = (await broadcasts.counts([broadcast.id]))[broadcast.id]
                tell(", ".join(f"{count:,} {state}" for state, count in counts.items()))
            assert planned.total == preview.recipients == sum(counts.values())
            holds = took <= bound and grown <= MOST
            typer.echo(f"At most {bound:g} s and {MOST} MiB {'holds' if holds else 'DOES NOT HOLD'}.\n")
            fine = fine and holds
    return fine


def main(
    people: Annotated[int, typer.Option(min=1)] = 1_000_000,
    database: Annotated[Kind, typer.Option()] = Kind.SQLITE,
) -> None:
    """Leaves with status 1 when planning takes longer, or more memory, than it may."""
    with tempfile.TemporaryDirectory(prefix="switchboard-") as name:
        folder = Path(name)
        if database is Kind.SQLITE:
            fine = asyncio.run(bench(f"sqlite+aiosqlite:///{folder / 'x.db'}", database, people))
        else:
            server = Roomy(folder)
            server.start()
            try:
                fine = asyncio.run(bench(server.database("plan"), database, people))
            finally:
                server.stop()
    raise typer.Exit(0 if fine else 1)


if __name__ == "__main__":
    typer.run(main)
