"""The database: a question is one transaction, within our patience, and its errors end at our border."""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import wraps
from itertools import islice
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Row, Select, select
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import Mapped
from sqlmodel import col

from adapters import deadline
from adapters.errors import TimedOut, Unavailable
from adapters.record import Record
from adapters.storage.tables import IdentityLockRow

PATIENCE: float = 2
"""Seconds for a connection or a ping and, unless the settings say otherwise, for a question: aiomysql itself
would wait for ever."""
PATIENCE_WITH_MANY = 30.0
"""Seconds for tens of thousands of rows."""
PATIENCE_IN_TURN = 30.0
"""Seconds for the writers before us; each of them has patience of their own."""
ATTEMPTS = 10
DEADLOCK = 1213
BATCH = 1000
"""So many keys go into one statement: databases bound its length, and SQLite its variables."""

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F")
K = TypeVar("K")
AnyRow = Row[*tuple[Any, ...]]
Rows = Select[*tuple[Any, ...]]

_IDENTITY_LOCK = select(col(IdentityLockRow.id)).with_for_update()


@contextmanager
def border(source: str = "everyprint") -> Iterator[None]:
    """Where the driver's exceptions end."""
    try:
        yield
    except (TimeoutError, NoFreeConnection) as error:
        raise TimedOut(source, "The database did not answer in time.") from error
    except (SQLAlchemyError, OSError) as error:
        raise Unavailable(source, "The database cannot be reached: try again later.") from error


class Database:
    def __init__(self, engine: AsyncEngine, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.record = Record("The database")
        self.reads = engine
        self.writes = engine.execution_options(writes=True)
        # SQLite has one writer at a time, and lets those who wait for it sleep longer than it needs.
        self.has_one_writer = engine.dialect.name == "sqlite"
        self.turns = asyncio.Lock() if self.has_one_writer else nullcontext()
        # Whoever waits for the lock keeps a connection from the others meanwhile: so of us one does.
        self.identity_turns = self.turns if self.has_one_writer else asyncio.Lock()


class Questions:
    """Methods marked `reads`, `writes` or `writes_identity` are transactions and get its connection first."""

    def __init__(self, database: Database) -> None:
        self._database = database


Q = TypeVar("Q", bound=Questions)
Method = Callable[Concatenate[Q, AsyncConnection, P], Awaitable[T]]
Question = Callable[Concatenate[Q, P], Coroutine[Any, Any, T]]


def reads(method: Method[Q, P, T]) -> Question[Q, P, T]:
    return _reads(method)


def reads_many(method: Method[Q, P, T]) -> Question[Q, P, T]:
    """Reads tens of thousands of rows: whoever waits for the answer has a deadline of their own."""
    return _reads(method, least=PATIENCE_WITH_MANY)


def _reads(method: Method[Q, P, T], *, least: float = 0) -> Question[Q, P, T]:
    @wraps(method)
    async def ask(self: Q, /, *args: P.args, **kwargs: P.kwargs) -> T:
        database = self._database
        async with _in_time(database, method.__name__) as patience, database.reads.connect() as connection:
            _prolong(patience, _end(max(database.patience, least)))
            return await method(self, connection, *args, **kwargs)

    return ask


def writes(method: Method[Q, P, T]) -> Question[Q, P, T]:
    """Begins again when another transaction was faster: so what it does besides writing has to bear that."""
    return _writes(method, identity=False)


def writes_identity(method: Method[Q, P, T]) -> Question[Q, P, T]:
    """Writes what says who is who: of all processes one at a time, and each sees what the others did."""
    return _writes(method, identity=True)


def writes_many(method: Method[Q, P, T]) -> Question[Q, P, T]:
    """Writes tens of thousands of rows, for nobody who waits."""
    return _writes(method, identity=False, least=PATIENCE_WITH_MANY)


def _writes(method: Method[Q, P, T], *, identity: bool, least: float = 0) -> Question[Q, P, T]:
    @wraps(method)
    async def ask(self: Q, /, *args: P.args, **kwargs: P.kwargs) -> T:
        database = self._database
        seconds = max(database.patience, least)
        turns = database.identity_turns if identity else database.turns
        async with _in_time(database, method.__name__) as patience:
            last_turn = _end(PATIENCE_IN_TURN)
            for attempts_left in reversed(range(ATTEMPTS)):
                try:
                    _prolong(patience, last_turn)
                    async with turns:
                        if not database.has_one_writer:  # there, to begin is to wait for one's turn
                            _prolong(patience, _end(seconds))
                        async with database.writes.begin() as connection:
                            if identity:
                                _prolong(patience, last_turn)
                                await connection.execute(_IDENTITY_LOCK)
                            _prolong(patience, _end(seconds))
                            return await method(self, connection, *args, **kwargs)
                except DBAPIError as error:
                    if not attempts_left or not _was_too_late(error):
                        raise
            raise AssertionError("unreachable")

    return ask


def _was_too_late(error: DBAPIError) -> bool:
    """Did somebody else write the same row first, lock us out, or did SQLite wait for its turn too long?"""
    code = getattr(error.orig, "sqlite_errorcode", None) or (*getattr(error.orig, "args", ()), None)[0]
    return isinstance(error, IntegrityError) or code in (DEADLOCK, sqlite3.SQLITE_BUSY)


@asynccontextmanager
async def _in_time(database: Database, question: str) -> AsyncIterator[asyncio.Timeout]:
    with database.record.call(question), border():
        async with asyncio.timeout_at(_end(database.patience)) as patience:
            yield patience


def _prolong(patience: asyncio.Timeout, end: float) -> None:
    """Unless it is over: Python 3.11's wait_for, in SQLAlchemy's pool, may swallow that we were told so."""
    if patience.expired():
        raise TimeoutError
    patience.reschedule(end)


def _end(seconds: float) -> float:
    end = asyncio.get_running_loop().time() + seconds
    return min(end, deadline.current() or end)


def is_mysql(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "mysql"


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[tuple[T, ...]]:
    rest = iter(items)
    while some := tuple(islice(rest, size)):
        yield some


async def found(
    connection: AsyncConnection, rows: Rows, column: Mapped[K], keys: Iterable[K]
) -> list[AnyRow]:
    """The rows whose column holds one of the keys."""
    answers: list[AnyRow] = []
    for some in batches(dict.fromkeys(keys)):
        answers += await connection.execute(rows.where(column.in_(some)))
    return answers


async def found_by_key(
    connection: AsyncConnection,
    rows: Rows,
    first: Mapped[F],
    second: Mapped[K],
    keys: Iterable[tuple[F, K]],
) -> list[AnyRow]:
    """The rows whose two columns hold one of the keys."""
    those = defaultdict[F, list[K]](list)
    for one, other in keys:
        those[one].append(other)
    return [
        row
        for one, some in those.items()
        for row in await found(connection, rows.where(first == one), second, some)
    ]
