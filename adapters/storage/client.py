"""Storage's client: one method per question, each one transaction; SQL never leaves this folder."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from sqlite3 import SQLITE_BUSY, OperationalError
from threading import Thread
from typing import Any
from weakref import WeakSet

import aiosqlite
from sqlalchemy import Connection, Dialect, event, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from adapters.errors import TimedOut, Unavailable
from adapters.storage.migrations import REVISIONS

PATIENCE = 2.0
"""Seconds for a connection or a ping: aiomysql itself would wait for ever."""


class SchemaState(StrEnum):
    CURRENT = "current"
    OLD = "old"
    NEWER = "newer"


class Storage:
    name = "storage"

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @property
    def embedded(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    async def ping(self) -> None:
        """Fails unless the database answers."""
        with self._border():
            async with asyncio.timeout(PATIENCE), self._engine.connect() as connection:
                await connection.execute(text("SELECT 1"))

    async def schema_state(self) -> SchemaState:
        with self._border():
            async with asyncio.timeout(PATIENCE), self._engine.connect() as connection:
                revision = await connection.run_sync(_revision)
        if revision == REVISIONS[-1]:
            return SchemaState.CURRENT
        return SchemaState.OLD if revision is None or revision in REVISIONS else SchemaState.NEWER

    async def migrate(self) -> None:
        """Brings the schema to this version's; two at once take turns."""
        # Alembic costs a tenth of a second to import, and a database that is current has no need of it.
        from adapters.storage.migrations.run import upgrade

        writes = self._engine.execution_options(writes=True)
        with self._border():
            async with asyncio.timeout(PATIENCE) as patience, writes.connect() as connection:
                patience.reschedule(None)  # the steps themselves take what they take
                await connection.run_sync(upgrade)

    @contextmanager
    def _border(self) -> Iterator[None]:
        """Where the driver's exceptions end."""
        try:
            yield
        except (TimeoutError, NoFreeConnection) as error:
            raise TimedOut(self.name, "The database did not answer in time.") from error
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable(self.name, "The database cannot be reached: try again later.") from error


@asynccontextmanager
async def open_storage(url: str) -> AsyncIterator[Storage]:
    threads = WeakSet[Thread]()
    engine = _sqlite(url, threads) if make_url(url).get_backend_name() == "sqlite" else _mysql(url)
    try:
        yield Storage(engine)
    finally:
        await engine.dispose()
        # A connection that failed or was given up ends without us, and not well if the loop is gone by then.
        for thread in [thread for thread in threads if thread.is_alive()]:
            await asyncio.to_thread(thread.join, PATIENCE)


def _sqlite(url: str, threads: WeakSet[Thread]) -> AsyncEngine:
    place = make_url(url)
    if path := place.database:
        with suppress(OSError):  # whoever opens it next is told
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    arguments, options = place.get_dialect()().create_connect_args(place)

    async def connect() -> aiosqlite.Connection:
        connection = aiosqlite.connect(*arguments, **options)
        connection._thread.daemon = True
        threads.add(connection._thread)
        return await connection

    engine = create_async_engine(url, hide_parameters=True, async_creator=connect)

    # SQLite's driver opens transactions late and only for some statements. These two take that over, so that
    # a writer holds the lock from its first statement instead of failing at its last.
    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None
        connection.run_async(_switch_to_wal)
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


async def _switch_to_wal(connection: aiosqlite.Connection) -> None:
    """Only a new file has to change over; SQLite does not wait while somebody else does it, so we do."""
    for attempts_left in reversed(range(100)):
        try:
            await connection.execute("PRAGMA journal_mode=WAL")
            return
        except OperationalError as error:
            if error.sqlite_errorcode != SQLITE_BUSY or not attempts_left:
                raise
            await asyncio.sleep(0.02)


def _mysql(url: str) -> AsyncEngine:
    engine = create_async_engine(
        url,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_recycle=300,
        pool_timeout=PATIENCE,
        connect_args={"connect_timeout": PATIENCE, "charset": "utf8mb4"},
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(dialect: Dialect, _: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        try:
            return dialect.connect(*arguments, **options)
        except (LookupError, ValueError, struct.error) as error:  # the driver, at what is no MySQL server
            raise ConnectionError("it does not speak MySQL") from error

    return engine


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
