"""Storage's client: one method per question, each one transaction; SQL never leaves this folder."""

import asyncio
import sqlite3
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any
from weakref import WeakSet

import aiosqlite
from sqlalchemy import Connection, Dialect, event, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from adapters.storage.api_keys import ApiKeys
from adapters.storage.attic import Attic
from adapters.storage.broadcasts import Broadcasts
from adapters.storage.chunks import Chunks
from adapters.storage.cursor import begin_to_read, fetch_at_once
from adapters.storage.database import PATIENCE, Database, border
from adapters.storage.directory import Directory
from adapters.storage.everyprint import Everyprint
from adapters.storage.links import Links
from adapters.storage.messages import Messages
from adapters.storage.migrations import REVISIONS
from adapters.storage.standing import Standings
from adapters.storage.traces import Traces

CONNECTIONS = 10
IDLE = 0.05
"""Seconds after which a connection is asked whether it is still one."""
LEFT_AT = "left at"


class SchemaState(StrEnum):
    CURRENT = "current"
    OLD = "old"
    NEWER = "newer"


class Storage:
    name = "everyprint"

    def __init__(self, engine: AsyncEngine, patience: float = PATIENCE) -> None:
        self._engine = engine
        database = Database(engine, patience)
        self.record = database.record
        self.everyprint = Everyprint(database)
        self.links = Links(database)
        self.directory = Directory(database)
        self.messages = Messages(database)
        self.broadcasts = Broadcasts(database)
        self.chunks = Chunks(database)
        self.attic = Attic(database)
        self.traces = Traces(database)
        self.standings = Standings(database)
        # With a record of its own: how often keys are looked at says nothing of everyprint.
        self.api_keys = ApiKeys(Database(engine, patience))

    @property
    def embedded(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    async def ping(self) -> None:
        """Fails unless the database answers."""
        with self.record.call("ping"), border():
            async with asyncio.timeout(PATIENCE), self._engine.connect() as connection:
                await connection.execute(text("SELECT 1"))

    async def schema_state(self) -> SchemaState:
        with self.record.call("schema_state"), border():
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
        with border():
            async with asyncio.timeout(PATIENCE) as patience, writes.connect() as connection:
                patience.reschedule(None)  # the steps themselves take what they take
                await connection.run_sync(upgrade)


@asynccontextmanager
async def open_storage(
    url: str, connections: int = CONNECTIONS, patience: float = PATIENCE
) -> AsyncIterator[Storage]:
    """`patience` is how many seconds a question may take."""
    threads = WeakSet[Thread]()
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    engine = _sqlite(url, connections, threads) if is_sqlite else _mysql(url, connections)
    try:
        yield Storage(engine, patience)
    finally:
        await engine.dispose()
        # A connection that failed or was given up ends without us, and not well if the loop is gone by then.
        for thread in [thread for thread in threads if thread.is_alive()]:
            await asyncio.to_thread(thread.join, PATIENCE)


def _sqlite(url: str, connections: int, threads: WeakSet[Thread]) -> AsyncEngine:
    place = make_url(url)
    if path := place.database:
        with suppress(OSError):  # whoever opens it next is told
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    arguments, options = place.get_dialect()().create_connect_args(place)
    options["factory"] = _Connection
    # SQLite's driver opens transactions late and only for some statements. Below we do, so that a writer
    # holds the lock from its first statement instead of failing at its last.
    options["isolation_level"] = None

    async def connect() -> aiosqlite.Connection:
        connection = aiosqlite.connect(*arguments, **options)
        connection._thread.daemon = True
        threads.add(connection._thread)
        opening = _Opening(connection._connector)
        connection._connector = opening.open
        try:
            await connection
        except BaseException:
            opening.give_up()
            raise
        try:
            await _switch_to_wal(connection)
            for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=5000"):
                await connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.stop()
            raise
        return connection

    in_memory = not path or path == ":memory:"  # of such there is one connection, or each has its own
    pool = {} if in_memory else {"pool_size": connections, "max_overflow": 0}
    engine = create_async_engine(url, hide_parameters=True, async_creator=connect, **pool)

    fetch_at_once(engine)

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writes"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            begin_to_read(connection)

    return engine


class _Opening:
    """One connection to SQLite on its way, closed should nobody wait for it any more when it arrives."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        self._connector = connector
        self._opened: sqlite3.Connection | None = None
        self._given_up = False

    def open(self) -> sqlite3.Connection:
        # In aiosqlite's thread; give_up runs in the loop's. Each looks for the other after its own part.
        self._opened = self._connector()
        if self._given_up:
            self._opened.close()
        return self._opened

    def give_up(self) -> None:
        self._given_up = True
        if self._opened:
            self._opened.close()


class _Connection(sqlite3.Connection):
    """Frees its locks when closed: SQLite itself waits until no cursor is left, not even in a traceback."""

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()


async def _switch_to_wal(connection: aiosqlite.Connection) -> None:
    """Only a new file has to change over; SQLite does not wait while somebody else does it, so we do."""
    for attempts_left in reversed(range(100)):
        try:
            await connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or not attempts_left:
                raise
            await asyncio.sleep(0.02)


def _mysql(url: str, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        pool_size=connections,
        max_overflow=0,
        pool_use_lifo=True,
        pool_reset_on_return=None,  # no transaction of ours outlives its block, which ends it
        pool_recycle=300,
        pool_timeout=PATIENCE,
        connect_args={"async_creator_fn": _connect, "charset": "utf8mb4"},
    )

    @event.listens_for(engine.sync_engine, "checkin")
    def leave(_: object, record: ConnectionPoolEntry) -> None:
        record.info[LEFT_AT] = monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def take(connection: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
        # As SQLAlchemy's pre-ping; but where connections are never idle, it would be every third question.
        if monotonic() - record.info.get(LEFT_AT, monotonic()) > IDLE:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise InvalidatePoolError from error

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(dialect: Dialect, _: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        try:
            return dialect.connect(*arguments, **options)
        except (LookupError, ValueError, struct.error) as error:  # the driver, at what is no MySQL server
            raise ConnectionError("it does not speak MySQL") from error

    return engine


async def _connect(*where: Any, **how: Any) -> Any:
    """The driver waits for ever for what a server says first; who asked may have lost count of the time."""
    import aiomysql  # type: ignore[import-untyped] # where the database is SQLite, nobody needs it

    async with asyncio.timeout(PATIENCE):
        return await aiomysql.connect(*where, **how)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
