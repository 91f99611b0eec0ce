"""Cursor: on SQLite, a statement is one errand to the driver's thread, which comes back with all its rows.

SQLAlchemy's goes there to be opened, to execute, to fetch and to be closed: each way costs more than most of
our statements. A transaction that only reads begins with its first statement, on the same way, and nobody
waits for its end.
"""

import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection, event
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection, AsyncAdapt_aiosqlite_cursor
from sqlalchemy.ext.asyncio import AsyncEngine

READING = "reading"
"""How far a transaction that only reads is, kept with the driver's connection, for SQLAlchemy's
takes no attributes of ours. One that writes has none."""
BEGINS, BEGUN = "begins", "begun"


class _Told(NamedTuple):
    """What is left of the driver's cursor once it is closed."""

    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None
    arraysize: int = 1


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    __slots__ = ()

    def __init__(self, adapted: Any) -> None:
        self._adapt_connection = adapted
        self._connection = adapted._connection
        self._cursor: Any = _Told()
        self._soft_closed_memoized: Any = {}
        self._rows = deque()

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        await self._send(lambda connection: connection.execute(operation, parameters or ()))

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        await self._send(lambda connection: connection.executemany(operation, seq_of_parameters))

    async def _send(self, execute: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> None:
        driver: Any = self._connection
        if begins := vars(driver).get(READING) == BEGINS:
            vars(driver)[READING] = BEGUN

        def execute_and_fetch() -> tuple[_Told, list[Any]]:
            if begins:
                driver._conn.execute("BEGIN")
            cursor = execute(driver._conn)
            try:
                rows = cursor.fetchall() if cursor.description else []
                return _Told(cursor.description, cursor.rowcount, cursor.lastrowid), rows
            finally:
                cursor.close()

        async with self._adapt_connection._execute_mutex:
            self._cursor, rows = await driver._execute(execute_and_fetch)
        self._rows = deque(rows)

    async def _async_soft_close(self) -> None:
        """It is closed already."""

    def close(self) -> None:
        self._rows.clear()


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()
    _cursor_cls = _Cursor  # type: ignore[assignment]

    def rollback(self) -> None:
        driver: Any = self._connection
        reading = vars(driver).pop(READING, None)
        if reading == BEGUN and driver._connection:
            driver._tx.put_nowait((None, driver._conn.rollback))
        elif reading != BEGINS:
            super().rollback()

    def commit(self) -> None:
        if vars(self._connection).pop(READING, None) != BEGINS:
            super().commit()


def begin_to_read(connection: Connection) -> None:
    """With its first statement."""
    adapted: Any = connection.connection.dbapi_connection
    vars(adapted._connection)[READING] = BEGINS


def fetch_at_once(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def adapt(connection: Any, _: object) -> None:
        connection.__class__ = _Connection  # SQLAlchemy asks nobody of which class it is to be
