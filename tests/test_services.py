"""The services the suite starts for itself are private, and gone afterwards."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis as AsyncRedis
from sqlalchemy import Row, create_engine, make_url
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.services import (
    CHROMIUM,
    MY_PRINT_DEFAULTS,
    REDIS_SERVER,
    Mariadb,
    MissingProgram,
    Program,
    Redis,
    Service,
    mariadb,
    path_of,
    redis,
)

Start = Callable[[], AbstractContextManager[Service]]
each_service = pytest.mark.parametrize("start", [mariadb, redis])


def is_gone(pid: int) -> bool:
    try:
        # A zombie has ended too: its adoptive parent has only not noticed yet.
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def listeners(port: int) -> set[tuple[str, int | None]]:
    """Who listens on the port? Seen from outside, without connecting."""
    connections = psutil.net_connections("tcp")
    return {
        (c.laddr.ip, c.pid) for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.port == port
    }


async def query(url: str, *statements: str) -> list[Row[tuple[object, ...]]]:
    """Run the statements; what did the last one answer?"""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            for statement in statements[:-1]:
                await connection.exec_driver_sql(statement)
            result = await connection.exec_driver_sql(statements[-1])
            return list(result) if result.returns_rows else []
    finally:
        await engine.dispose()


# --- Private, and gone afterwards -----------------------------------------------------------------


@each_service
def test_a_private_server_answers_and_is_gone_afterwards(start: Start) -> None:
    with start() as server:
        assert server.answers()
        assert server.directory.is_dir()
    assert not server.answers()
    assert is_gone(server.pid)
    assert not server.directory.exists()


@each_service
def test_a_private_server_is_heard_on_the_loopback_alone(start: Start) -> None:
    with start() as server:
        assert listeners(server.port) == {("127.0.0.1", server.pid)}


@each_service
def test_a_second_server_runs_beside_the_first(start: Start) -> None:
    with start() as first, start() as second:
        assert first.answers()
        assert second.answers()
        assert first.port != second.port
        assert first.directory != second.directory


@each_service
def test_a_test_that_fails_leaves_no_server_behind(start: Start) -> None:
    block = ExitStack()
    server = block.enter_context(start())
    with pytest.raises(ZeroDivisionError), block:
        raise ZeroDivisionError
    assert is_gone(server.pid)
    assert not server.directory.exists()


@each_service
def test_a_server_that_does_not_listen_to_reason_is_killed(start: Start) -> None:
    with start() as server:
        os.kill(server.pid, signal.SIGSTOP)
        server.stop(patience=0.1)
        assert is_gone(server.pid)


@pytest.mark.parametrize("name", ["mariadb", "redis"])
def test_a_run_killed_with_9_leaves_no_server_behind(name: str, tmp_path: Path) -> None:
    script = f"""
import time
from tests.services import {name}

with {name}() as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent.parent,
        env=os.environ | {"TMPDIR": str(tmp_path)},  # what it cannot clean up any more, pytest does
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout
        pid = int(run.stdout.readline())
        assert not is_gone(pid)
        run.kill()
    deadline = time.monotonic() + 10
    while not is_gone(pid):
        assert time.monotonic() < deadline, f"{name} outlived the run that started it"
        time.sleep(0.01)


# --- The machine's own ----------------------------------------------------------------------------


@pytest.fixture(params=[(Mariadb, 3306, mariadb), (Redis, 6379, redis)], ids=["mariadb", "redis"])
def usual_port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, Start]]:
    """A usual port with a server on it, the machine's own if it has one; and what starts ours."""
    kind, port, start = request.param
    if listeners(port):
        yield port, start
        return
    server: Service = kind(tmp_path)
    server.port = port
    server.start()
    yield port, start
    server.stop()


def test_a_server_already_on_the_machine_is_not_touched(usual_port: tuple[int, Start]) -> None:
    port, start = usual_port
    before = listeners(port)
    assert before
    with start() as server:
        assert server.port != port
        server.restart()
        assert listeners(port) == before
    assert listeners(port) == before


def test_a_private_mariadb_leaves_the_temporary_tables_of_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "#sql-temptable-1-1-1.MAI"
    table.touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with mariadb() as server:
        assert server.answers()
    assert table.exists()


def test_what_the_machine_configures_for_its_own_mariadb_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".my.cnf").write_text("[mariadbd]\nno_such_option = 1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with mariadb() as server:
        assert server.answers()


@pytest.mark.parametrize(
    ("program", "name", "package"),
    [
        (REDIS_SERVER, "redis-server", "redis-server"),
        (CHROMIUM, "chromium", "chromium"),
        (MY_PRINT_DEFAULTS, "my_print_defaults", "mariadb-client-core"),
    ],
)
def test_a_missing_program_is_one_clear_sentence_naming_the_package(
    program: Program, name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingProgram) as missing:
        path_of(program, may_install=False)
    assert str(missing.value) == (
        f"Switchboard's tests need {name}: install the package {package} (Debian, Ubuntu) or put it on PATH."
    )


def test_a_program_in_an_sbin_folder_is_found_without_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert Path(path_of(Program(("ldconfig",), "libc-bin"), may_install=False)).is_file()


# --- Stopped, started, restarted ------------------------------------------------------------------


async def test_a_restarted_mariadb_keeps_its_data_and_its_address() -> None:
    with mariadb() as server:
        url = server.database("kept")
        create, insert = "CREATE TABLE words (word TEXT)", "INSERT INTO words VALUES ('señal'), ('сигнал')"
        assert await query(url, create, insert) == []
        server.restart()
        assert await query(url, "SELECT word FROM words") == [("señal",), ("сигнал",)]


async def test_a_restarted_redis_is_empty_at_the_same_address() -> None:
    with redis() as server:
        url = server.url
        async with AsyncRedis.from_url(url) as client:
            await client.set("word", "señal")
        server.restart()
        async with AsyncRedis.from_url(url) as client:
            assert await client.keys() == []


@each_service
def test_a_server_can_be_stopped_and_started_twice(start: Start) -> None:
    with start() as server:
        server.start()
        first = server.pid
        server.stop()
        server.stop()
        assert not server.running
        assert not server.answers()
        server.start()
        assert server.answers()
        assert server.pid != first


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    with redis() as neighbour:
        server = Redis(tmp_path)
        server.port = neighbour.port
        with pytest.raises(RuntimeError, match="Address already in use"):
            server.start()
        assert neighbour.answers()


def test_a_server_is_not_started_from_a_thread_it_would_die_with(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="main thread"):
        pool.submit(Redis(tmp_path).start).result()


# --- What tests get -------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["root", "switchboard", ""])
def test_nobody_enters_mariadb_without_the_password(mariadb_url: str, user: str) -> None:
    url = make_url(mariadb_url).set(drivername="mysql+pymysql", username=user, password="")
    with pytest.raises(OperationalError, match="Access denied"):
        create_engine(url).connect()


@pytest.mark.parametrize("turn", ["first", "second"])
async def test_each_test_gets_an_empty_database_for_all_of_unicode(turn: str, mariadb_url: str) -> None:
    assert await query(mariadb_url, "SHOW TABLES") == []
    create, insert = "CREATE TABLE words (word TEXT)", "INSERT INTO words VALUES ('señal 📨')"
    assert await query(mariadb_url, create, insert, "SELECT word FROM words") == [("señal 📨",)]


@pytest.mark.parametrize("turn", ["first", "second"])
async def test_each_test_gets_an_empty_redis(turn: str, redis_url: str) -> None:
    async with AsyncRedis.from_url(redis_url) as client:
        assert await client.keys() == []
        await client.set("turn", turn)


async def test_a_copy_is_what_its_template_is_whatever_became_of_it(mariadb_server: Mariadb) -> None:
    template = mariadb_server.database("template")
    create = "CREATE TABLE {} (id INT PRIMARY KEY AUTO_INCREMENT, mother INT REFERENCES one (id))"
    insert_one = "INSERT INTO one VALUES (7, 7)"
    await query(template, create.format("one"), create.format("other"), insert_one)
    insert = "INSERT INTO other (mother) VALUES (7) RETURNING id"

    for became in ("INSERT INTO one VALUES (8, 7)", "DELETE FROM other", "DROP TABLE other"):
        url = mariadb_server.copy("template", "copied")
        assert await query(url, "SELECT * FROM one") == [(7, 7)]
        assert await query(url, insert) == [(1,)]
        with pytest.raises(IntegrityError):
            await query(url, "INSERT INTO other (mother) VALUES (9)")
        await query(url, became)

    for name in ("template", "copied"):
        mariadb_server.drop(name)


async def test_a_dropped_database_is_gone() -> None:
    with mariadb() as server:
        url = server.database("brief")
        server.drop("brief")
        with pytest.raises(OperationalError, match="Unknown database"):
            await query(url, "SELECT 1")


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_test_may_leave_the_servers_stopped(
    turn: str, mariadb_url: str, redis_url: str, mariadb_server: Mariadb, redis_server: Redis
) -> None:
    assert mariadb_server.answers()
    assert redis_server.answers()
    mariadb_server.stop()
    redis_server.stop()
