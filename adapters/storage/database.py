"""The database: a question is one transaction, within our patience, and its errors end at our border."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Row, Select
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import Mapped

from adapters import deadline
from adapters.errors import TimedOut, Unavailable

PATIENCE = 2.0
"""Seconds for a connection, a ping or a question: aiomysql itself would wait for ever."""
ATTEMPTS = 10
DEADLOCK = 1213
ALONE = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
"""Only for the transaction that it begins. The engine's own option loses connections when callers leave."""
BATCH = 1000
"""So many keys go into one statement: databases bound its length, and SQLite its variables."""

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K")
AnyRow = Row[*tuple[Any, ...]]
Rows = Select[*tuple[Any, ...]]


@contextmanager
def border(source: str = "storage") -> Iterator[None]:
    """Where the driver's exceptions end."""
    try:
        yield
    except (TimeoutError, NoFreeConnection) as error:
        raise TimedOut(source, "The database did not answer in time.") from error
    except (SQLAlchemyError, OSError) as error:
        raise Unavailable(source, "The database cannot be reached: try again later.") from error


class Database:
    def __init__(self, engine: AsyncEngine) -> None:
        self.reads = engine
        self.writes = engine.execution_options(writes=True)
        # SQLite has one writer at a time, and lets those who wait for it sleep longer than it needs.
        self.has_one_writer = engine.dialect.name == "sqlite"
        self.turns = asyncio.Lock() if self.has_one_writer else nullcontext()


class Questions:
    """Methods marked as `reads`, `writes` or `writes_alone` are transactions and get its connection first."""

    def __init__(self, database: Database) -> None:
        self._database = database


Q = TypeVar("Q", bound=Questions)
Method = Callable[Concatenate[Q, AsyncConnection, P], Awaitable[T]]
Question = Callable[Concatenate[Q, P], Coroutine[Any, Any, T]]


def reads(method: Method[Q, P, T]) -> Question[Q, P, T]:
    @wraps(method)
    async def ask(self: Q, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async with _in_time(), self._database.reads.connect() as connection:
            return await method(self, connection, *args, **kwargs)

    return ask


def writes(method: Method[Q, P, T]) -> Question[Q, P, T]:
    """Begins again when another transaction was faster: so what it does besides writing has to bear that."""
    return _writes(method, alone=False)


def writes_alone(method: Method[Q, P, T]) -> Question[Q, P, T]:
    """Writes as if nobody else did: for what follows from rows that are not there, and cannot be locked."""
    return _writes(method, alone=True)


def _writes(method: Method[Q, P, T], *, alone: bool) -> Question[Q, P, T]:
    @wraps(method)
    async def ask(self: Q, /, *args: P.args, **kwargs: P.kwargs) -> T:
        database = self._database
        async with _in_time():
            for attempts_left in reversed(range(ATTEMPTS)):
                try:
                    async with database.turns, database.writes.begin() as connection:
                        if alone and not database.has_one_writer:
                            await connection.exec_driver_sql(ALONE)
                        return await method(self, connection, *args, **kwargs)
                except DBAPIError as error:
                    if not attempts_left or not _was_too_late(error):
                        raise
            raise AssertionError("unreachable")

    return ask


def _was_too_late(error: DBAPIError) -> bool:
    """Did somebody else write the same row first, or did we lock each other out?"""
    return isinstance(error, IntegrityError) or getattr(error.orig, "args", ())[:1] == (DEADLOCK,)


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    end = asyncio.get_running_loop().time() + PATIENCE
    with border():
        async with asyncio.timeout_at(min(end, deadline.current() or end)):
            yield


async def found(
    connection: AsyncConnection, rows: Rows, column: Mapped[K], keys: Iterable[K]
) -> list[AnyRow]:
    """The rows whose column holds one of the keys."""
    asked = list(dict.fromkeys(keys))
    answers: list[AnyRow] = []
    for start in range(0, len(asked), BATCH):
        some = rows.where(column.in_(asked[start : start + BATCH]))
        answers += await connection.execute(some)
    return answers
