"""Storage keeps its promises on both databases, and in their trouble is an error of ours, in time."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from adapters.errors import SourceError, TimedOut, Unavailable
from adapters.storage.client import SchemaState, Storage, open_storage
from adapters.storage.database import Database, Questions, reads
from adapters.storage.migrations import REVISIONS
from adapters.storage.migrations.run import config
from tests.raw import Raw, hang
from tests.services import Mariadb

IN_TIME = 3.0

QUESTIONS: dict[str, Callable[[Storage], Awaitable[object]]] = {
    "ping": Storage.ping,
    "schema_state": Storage.schema_state,
    "migrate": Storage.migrate,
}


@pytest.fixture
async def storage(empty_url: str) -> AsyncIterator[Storage]:
    async with open_storage(empty_url) as opened:
        yield opened


@pytest.fixture
async def on_mariadb(mariadb_url: str) -> AsyncIterator[Storage]:
    async with open_storage(mariadb_url) as opened:
        yield opened


@contextmanager
def in_time() -> Iterator[None]:
    started = time.perf_counter()
    yield
    assert time.perf_counter() - started < IN_TIME


async def asked(storage: Storage, statement: str) -> Any:
    """What the first column of the first row says, on a connection as Storage has them."""
    async with storage._engine.connect() as connection:
        return (await connection.execute(text(statement))).scalar()


async def changed(url: str, statement: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


async def failures(storage: Storage) -> list[SourceError]:
    """How every question fails, all asked at once and answered in time."""
    with in_time():
        answers = await asyncio.gather(*(ask(storage) for ask in QUESTIONS.values()), return_exceptions=True)
    assert all(isinstance(answer, SourceError) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, SourceError)]


def assert_fit_to_be_seen(error: SourceError, url: str) -> None:
    address = make_url(url)
    sentence, _, rest = str(error).partition(".")

    assert sentence.startswith("The database ")
    assert rest == ""
    assert error.extensions == {"code": error.code, "source": "EVERYPRINT"}
    assert not any(part and part in str(error) for part in (address.host, address.username, address.database))
    for link in chain(error):
        assert not (address.password and str(address.password) in f"{link!s} {link!r}")


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# On both databases


async def test_a_database_that_is_there_answers(storage: Storage) -> None:
    await storage.ping()


async def test_an_empty_database_is_old_until_it_is_migrated(storage: Storage) -> None:
    assert await storage.schema_state() is SchemaState.OLD
    await storage.migrate()
    assert await storage.schema_state() is SchemaState.CURRENT


async def test_migrating_again_changes_nothing(storage: Storage) -> None:
    await storage.migrate()
    await storage.migrate()

    assert await storage.schema_state() is SchemaState.CURRENT
    assert await asked(storage, "SELECT count(*) FROM alembic_version") == 1


async def test_migrations_at_the_same_time_take_turns(empty_url: str) -> None:
    async with (
        open_storage(empty_url) as one,
        open_storage(empty_url) as other,
        open_storage(empty_url) as third,
    ):
        await asyncio.gather(one.migrate(), other.migrate(), third.ping())

        assert await one.schema_state() is await other.schema_state() is SchemaState.CURRENT
        assert await asked(one, "SELECT count(*) FROM alembic_version") == 1


async def test_a_revision_that_we_do_not_know_is_newer(storage: Storage, empty_url: str) -> None:
    await storage.migrate()
    await changed(empty_url, "UPDATE alembic_version SET version_num = '9999'")

    assert await storage.schema_state() is SchemaState.NEWER


async def test_what_we_migrated_outlives_us(empty_url: str) -> None:
    async with open_storage(empty_url) as storage:
        await storage.migrate()

    async with open_storage(empty_url) as storage:
        assert await storage.schema_state() is SchemaState.CURRENT


async def test_only_sqlite_is_embedded(storage: Storage, empty_url: str) -> None:
    assert storage.embedded is empty_url.startswith("sqlite")


async def test_callers_who_leave_cost_no_connection(storage: Storage) -> None:
    for turns in range(60):
        callers = [asyncio.create_task(storage.ping()) for _ in range(3)]
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)

    await asyncio.gather(*(storage.ping() for _ in range(20)))


@pytest.mark.parametrize("turns", range(0, 40, 4))
async def test_a_call_that_is_given_up_leaves_no_thread_behind(empty_url: str, turns: int) -> None:
    before = set(threading.enumerate())
    async with open_storage(empty_url) as storage:
        caller = asyncio.create_task(storage.ping())
        for _ in range(turns):
            await asyncio.sleep(0)
        caller.cancel()

    assert {thread.name for thread in set(threading.enumerate()) - before} <= {"asyncio_0"}


def test_our_list_of_revisions_is_alembics() -> None:
    history = ScriptDirectory.from_config(config()).walk_revisions()

    assert tuple(script.revision for script in history)[::-1] == REVISIONS


# SQLite


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("foreign_keys", 1), ("busy_timeout", 5000)]
)
async def test_sqlite_waits_checks_and_lets_readers_read(tmp_path: Path, pragma: str, value: object) -> None:
    async with open_storage(f"sqlite+aiosqlite:///{tmp_path / 'own' / 'folder' / 'x.db'}") as storage:
        assert await asked(storage, f"PRAGMA {pragma}") == value


async def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    for file in range(20):
        url = f"sqlite+aiosqlite:///{tmp_path / str(file)}"
        async with AsyncExitStack() as stack:
            storages = [await stack.enter_async_context(open_storage(url)) for _ in range(4)]
            await asyncio.gather(*(storage.migrate() for storage in storages))


async def test_the_folder_of_a_database_is_made_and_private(tmp_path: Path) -> None:
    async with open_storage(f"sqlite+aiosqlite:///{tmp_path / 'own' / 'x.db'}") as storage:
        await storage.ping()

    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700


async def test_no_more_connections_are_open_than_was_said(mariadb_url: str) -> None:
    ours = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()"
    async with open_storage(mariadb_url, connections=3) as storage:
        await asyncio.gather(*(storage.ping() for _ in range(50)))
        assert await asked(storage, ours) == 3


async def test_a_database_in_memory_needs_no_folder() -> None:
    async with open_storage("sqlite+aiosqlite://") as storage:
        await storage.migrate()
        assert await storage.schema_state() is SchemaState.CURRENT


@pytest.mark.parametrize("path", ["", "file", "file/below.db"])
async def test_a_path_that_holds_no_database_is_unavailable(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("This is not a database, and it is long enough to be seen not to be. " * 9)
    url = f"sqlite+aiosqlite:///{tmp_path / path}"
    async with open_storage(url) as storage:
        for error in await failures(storage):
            assert type(error) is Unavailable
            assert_fit_to_be_seen(error, url)


# MariaDB


async def test_a_transaction_on_mariadb_sees_what_others_commit(on_mariadb: Storage) -> None:
    level = await asked(on_mariadb, "SELECT @@tx_isolation")

    assert level == "READ-COMMITTED"


@pytest.mark.parametrize("part", ["client", "connection", "results"])
async def test_all_of_unicode_goes_to_and_from_mariadb(on_mariadb: Storage, part: str) -> None:
    assert await asked(on_mariadb, f"SELECT @@character_set_{part}") == "utf8mb4"
    assert await asked(on_mariadb, "SELECT 'Íñigo 🎁'") == "Íñigo 🎁"


async def test_a_stopped_database_is_unavailable_until_it_is_back(
    on_mariadb: Storage, mariadb_server: Mariadb, mariadb_url: str
) -> None:
    await on_mariadb.ping()
    mariadb_server.stop()
    for error in await failures(on_mariadb):
        assert type(error) is Unavailable
        assert_fit_to_be_seen(error, mariadb_url)

    mariadb_server.start()
    await on_mariadb.ping()


async def test_nobody_notices_that_the_database_was_restarted(
    on_mariadb: Storage, mariadb_server: Mariadb
) -> None:
    await asyncio.gather(*(on_mariadb.ping() for _ in range(5)))
    mariadb_server.restart()

    await asyncio.gather(*(on_mariadb.ping() for _ in range(5)))
    await on_mariadb.migrate()


async def test_a_database_that_hangs_is_given_up_until_it_goes_on(
    on_mariadb: Storage, mariadb_server: Mariadb, mariadb_url: str
) -> None:
    await on_mariadb.ping()
    os.kill(mariadb_server.pid, signal.SIGSTOP)
    try:
        errors = await failures(on_mariadb)
    finally:
        os.kill(mariadb_server.pid, signal.SIGCONT)

    await on_mariadb.ping()
    for error in errors:
        assert type(error) is TimedOut
        assert_fit_to_be_seen(error, mariadb_url)


async def test_a_black_hole_is_given_up_though_nobody_else_looks_at_the_clock() -> None:
    async with Raw(hang) as hole:
        url = f"mysql+aiomysql://gateway:s3cret@127.0.0.1:{hole.port}/switchboard"
        async with open_storage(url) as storage, asyncio.timeout(2 * IN_TIME):
            with in_time(), pytest.raises(TimeoutError):
                await storage._engine.connect()


async def test_a_black_hole_is_given_up_and_left() -> None:
    async with Raw(hang) as hole:
        url = f"mysql+aiomysql://gateway:s3cret@127.0.0.1:{hole.port}/switchboard"
        async with open_storage(url) as storage:
            errors = await failures(storage)
            await asyncio.wait_for(hole.empty.wait(), IN_TIME)

    assert hole.accepted == len(errors)
    for error in errors:
        assert type(error) is TimedOut
        assert_fit_to_be_seen(error, url)


@pytest.mark.parametrize(
    "greeting",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x05\x00\x00\x00\x0b\x08\x05\x1a\x00",  # MySQL's own other protocol, on port 33060
        b"\x01\x00\x00\x00\xff",
        b"\x00\x00\x00\x00",
    ],
)
async def test_who_speaks_no_mysql_is_unavailable(greeting: bytes) -> None:
    async with Raw(hang, greeting=greeting) as raw:
        url = f"mysql+aiomysql://gateway:s3cret@127.0.0.1:{raw.port}/switchboard"
        async with open_storage(url) as storage:
            for error in await failures(storage):
                assert type(error) is Unavailable
                assert_fit_to_be_seen(error, url)


@pytest.mark.parametrize("wrong", [{"password": "s3cret"}, {"database": "nowhere"}, {"username": "nobody"}])
async def test_the_wrong_credentials_are_not_repeated(mariadb_url: str, wrong: dict[str, str]) -> None:
    url = make_url(mariadb_url).set(**wrong).render_as_string(hide_password=False)  # type: ignore[arg-type]
    async with open_storage(url) as storage:
        for error in await failures(storage):
            assert type(error) is Unavailable
            assert_fit_to_be_seen(error, url)


class Slow(Questions):
    @reads
    async def ask(self, _: AsyncConnection) -> None:
        raise AssertionError("Its time is over.")


async def test_a_connection_that_comes_just_when_our_patience_ends_comes_too_late() -> None:
    """The pool's wait_for, as Python 3.11 has it, then hands it over as if nothing were."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[None]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        yield

    database = Database(create_async_engine("sqlite+aiosqlite://"), patience=0.01)
    database.reads = SimpleNamespace(connect=connect)  # type: ignore[assignment]
    with pytest.raises(TimedOut):
        await Slow(database).ask()


async def test_who_finds_no_free_connection_is_told_in_time(mariadb_url: str) -> None:
    engine = create_async_engine(mariadb_url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    storage = Storage(engine)
    async with engine.connect():
        errors = await failures(storage)
    await storage.ping()
    await engine.dispose()

    for error in errors:
        assert type(error) is TimedOut
        assert_fit_to_be_seen(error, mariadb_url)
