"""The services the suite starts for itself: found or installed, private to one run, gone afterwards."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pytest
from redis import ConnectionError as RedisUnreachable
from redis import Redis as RedisClient
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import OperationalError

HOST = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 10.0
# A user's PATH often lacks the folders in which servers are installed.
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
# Linux gives clients the ports from 32768 up. We listen below them, so that no client can be
# handed our port while a test has its server stopped.
PORTS = range(20_000, 32_000)


# --- The programs ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """A program the suite needs: the names it goes by, best first, and the package it comes in."""

    names: tuple[str, ...]
    package: str


# The -core packages hold the programs of mariadb-server without its system service and /var/lib/mysql.
# Nobody looks for "mysqld": where that is not a link to mariadbd, it is MySQL.
MARIADBD = Program(("mariadbd",), "mariadb-server-core")
MARIADB_INSTALL_DB = Program(("mariadb-install-db",), "mariadb-server-core")
MY_PRINT_DEFAULTS = Program(("my_print_defaults",), "mariadb-client-core")  # mariadb-install-db runs it
REDIS_SERVER = Program(("redis-server",), "redis-server")
CHROMIUM = Program(("chromium", "chromium-browser", "google-chrome"), "chromium")
CURL = Program(("curl",), "curl")
WRK = Program(("wrk",), "wrk")
PROGRAMS = (MARIADBD, MARIADB_INSTALL_DB, MY_PRINT_DEFAULTS, REDIS_SERVER, CHROMIUM, CURL, WRK)


class MissingProgram(RuntimeError):
    """A program is neither on this machine nor ours to install; the message says what to do."""


def path_of(program: Program, *, may_install: bool = True) -> str:
    """Where is the program? Installs it first if it is missing and we may."""
    found = _find(program)
    complaint = ""
    if found is None and may_install:
        complaint = _install(program.package)
        found = _find(program)
    if found is None:
        raise MissingProgram(
            f"Switchboard's tests need {program.names[0]}: install the package {program.package} "
            f"(Debian, Ubuntu) or put it on PATH{complaint}."
        )
    return found


def _find(program: Program) -> str | None:
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    path = os.pathsep.join([*folders, *SBIN])
    return next((found for name in program.names if (found := shutil.which(name, path=path))), None)


def _install(package: str) -> str:
    """Have apt-get install the package, starting no service; return its complaint, empty if none."""
    apt_get = shutil.which("apt-get")
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if apt_get is None or (sudo and shutil.which("sudo") is None):
        return ""
    # Two variables keep the package from starting its server, and unlike a policy-rc.d they leave
    # nothing behind: systemctl then talks to no systemd, and an init script finds itself in single-user mode.
    environment = ["env", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_OFFLINE=1", "RUNLEVEL=1"]
    apt = [*sudo, *environment, apt_get, "-o", "DPkg::Lock::Timeout=300"]
    # --no-remove: a MySQL already here would have to go for MariaDB, and that is not ours to decide.
    install = [*apt, "install", "-y", "--no-install-recommends", "--no-remove", package]
    sys.stderr.write(f"Installing {package} with apt-get.\n")
    done = _run(install)
    if done.returncode != 0:  # perhaps the package lists are missing or old
        _run([*apt, "update"])
        done = _run(install)
    return "" if done.returncode == 0 else f" (apt-get: {done.stdout.strip().splitlines()[-1]})"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run to the end, whatever the outcome, with both kinds of output in one."""
    nothing, pipe, same = subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT
    return subprocess.run(command, stdin=nothing, stdout=pipe, stderr=same, text=True, check=False)


# --- The servers ----------------------------------------------------------------------------------


class Service(ABC):
    """One private server: its own directory, its own port on the loopback, its own process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host = HOST
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What starts the server in the foreground?"""

    @abstractmethod
    def answers(self) -> bool:
        """Does the server answer, and is it this one and not a stranger on the same port?"""

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{type(self).__name__} has not been started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers; nothing to do if it is running."""
        if self.running:
            return
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "Start servers from the main thread: they die with the thread that starts them"
            )
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_dying_with_us(), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops the server in order
            )
        try:
            self._wait_for_an_answer()
        except BaseException:
            self.stop()
            raise

    def stop(self, patience: float = STOP_SECONDS) -> None:
        """Ask the server to end, and after so many seconds make it; nothing to do if it is not running."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop and start again, at the same address."""
        self.stop()
        self.start()

    def _wait_for_an_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if not self.running or time.monotonic() > deadline:
                what = f"does not answer after {START_SECONDS:.0f} s" if self.running else "ended at once"
                raise RuntimeError(f"The private {type(self).__name__} {what}. Its log:\n{self._log()}")
            time.sleep(0.01)

    def _log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-2000:]


Kind = TypeVar("Kind", bound=Service)


def _free_port() -> int:
    """Which port is free on the loopback?"""
    while True:
        port = secrets.choice(PORTS)  # not random.choice: pytest-randomly seeds that alike in every worker
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def _dying_with_us() -> list[str]:
    """What to put before a command so that it dies even if we are killed with -9 and can stop nothing?

    The kernel then sends the signal when the thread that started the process ends, so that has to be the
    main thread. util-linux's setpriv sets this for us: doing it in Python would take a preexec_fn, which is
    not safe beside the threads of pytest-xdist. Where there is no such call (macOS) we do without.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


class Mariadb(Service):
    """A private MariaDB with one account, which may do everything and has a password."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.user = "switchboard"
        # Unguessable, so a login proves the server is ours; and a URL holding it unquoted does not work.
        self.password = f"p@ss:/?#[%41]&+={secrets.token_hex(8)}"
        self._data = directory / "data"
        self._accounts = directory / "accounts.sql"
        self._prepare()

    def command(self) -> list[str]:
        return [
            path_of(MARIADBD),
            *self._own_files(),
            f"--init-file={self._accounts}",
            f"--pid-file={self.directory / 'pid'}",
            "--socket=socket",  # in the data directory: a full path may exceed the 107 characters allowed
            f"--bind-address={self.host}",
            f"--port={self.port}",
            "--skip-name-resolve",
            # For speed: little memory to set aside, and nothing that has to survive a power cut.
            "--performance-schema=OFF",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-dump-at-shutdown=OFF",
            "--innodb-buffer-pool-load-at-startup=OFF",
        ]

    def stop(self, patience: float = STOP_SECONDS) -> None:
        self._engine.dispose()
        super().stop(patience)

    def answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except OperationalError:
            return False
        return True

    def database(self, name: str) -> str:
        """Create an empty database; where is it, for SQLAlchemy?"""
        self._execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return self._url_of(name)

    def copy(self, template: str, name: str) -> str:
        """Make a database of the tables of another, and what is in them; where is it, for SQLAlchemy?

        Where there is a copy already, it is emptied and filled again: to make tables costs much more.
        """
        with self._connected() as connection:
            ask = connection.exec_driver_sql
            ask("SET foreign_key_checks = 0")
            tables, there = self._tables(connection, template), self._tables(connection, name)
            if tables.keys() == there.keys():
                for table, has_counted in there.items():
                    ask(f"DELETE FROM `{name}`.`{table}`")  # noqa: S608
                    if has_counted:
                        ask(f"ALTER TABLE `{name}`.`{table}` AUTO_INCREMENT = 1")
            else:
                ask(f"DROP DATABASE IF EXISTS `{name}`")
                ask(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
                ask(f"USE `{name}`")
                for table in tables:
                    _, statement = ask(f"SHOW CREATE TABLE `{template}`.`{table}`").one()
                    ask(statement.replace("%", "%%"))
            for table in tables:
                ask(f"INSERT INTO `{name}`.`{table}` SELECT * FROM `{template}`.`{table}`")  # noqa: S608
        return self._url_of(name)

    def drop(self, name: str) -> None:
        """Drop a database. Fails if somebody still holds a transaction open in it."""
        self._execute(f"DROP DATABASE IF EXISTS `{name}`")

    def _prepare(self) -> None:
        path_of(MY_PRINT_DEFAULTS)
        done = _run(
            [
                path_of(MARIADB_INSTALL_DB),
                *self._own_files(),
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
            ]
        )
        if done.returncode != 0:
            raise RuntimeError(f"mariadb-install-db failed:\n{done.stdout[-2000:]}")
        # The server runs this at each start, before it listens: no account is ever open without a password.
        self._accounts.write_text(
            f"CREATE OR REPLACE USER {self.user} IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO {self.user} WITH GRANT OPTION;\n"
            "DROP USER IF EXISTS root@localhost, root@'127.0.0.1', root@'::1';\n"
        )

    def _own_files(self) -> list[str]:
        return [
            "--no-defaults",  # first, or it does not count: /etc/mysql is for the machine's own server
            f"--datadir={self._data}",
            # A MariaDB that starts deletes the temporary tables it finds here, also those of its neighbours.
            f"--tmpdir={self.directory}",
            "--innodb-log-file-size=16M",
            *(["--user=root"] if os.geteuid() == 0 else []),  # root has to say that it means to be root
        ]

    def _url(self, driver: str, name: str | None = None) -> URL:
        return URL.create(driver, self.user, self.password, self.host, self.port, name)

    def _url_of(self, name: str) -> str:
        return self._url("mysql+aiomysql", name).render_as_string(hide_password=False)

    def _tables(self, connection: Connection, name: str) -> dict[str, bool]:
        """Their names, and whether they have given out numbers."""
        question = """SELECT table_name, COALESCE(auto_increment, 1) > 1 FROM information_schema.tables
            WHERE table_schema = %s"""
        return {name: bool(counted) for name, counted in connection.exec_driver_sql(question, (name,))}

    def _execute(self, statement: str) -> None:
        with self._connected() as connection:
            connection.exec_driver_sql(statement)

    def _connected(self) -> Connection:
        return self._engine.connect()

    @cached_property
    def _engine(self) -> Engine:
        """Keeps its connection: a TLS context costs more than all that is asked over it."""
        # What waits for transactions left open waits for seconds, instead of MariaDB's whole day.
        patience = "SET lock_wait_timeout = 5, innodb_lock_wait_timeout = 5"
        return create_engine(
            self._url("mysql+pymysql"),
            pool_pre_ping=True,  # the server may have been restarted
            connect_args={"init_command": patience, "connect_timeout": 5},
            isolation_level="AUTOCOMMIT",
        )


class Redis(Service):
    """A private Redis that keeps nothing: it comes back empty from a restart."""

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def command(self) -> list[str]:
        # No configuration file is named, so none is read.
        return [
            path_of(REDIS_SERVER),
            *("--bind", self.host),
            *("--port", str(self.port)),
            *("--dir", str(self.directory)),
            *("--save", ""),
            *("--appendonly", "no"),
        ]

    def answers(self) -> bool:
        with self._client() as client:
            try:
                return bool(client.ping()) and client.info("server")["process_id"] == self.pid
            except RedisUnreachable:
                return False

    def flush(self) -> None:
        """Forget every key."""
        with self._client() as client:
            client.flushall()

    def _client(self) -> RedisClient:
        return RedisClient.from_url(self.url, retry=Retry(NoBackoff(), 0), socket_timeout=5)


@contextmanager
def mariadb() -> Iterator[Mariadb]:
    """A private MariaDB, for as long as the block lasts."""
    with _private(Mariadb) as server:
        yield server


@contextmanager
def redis() -> Iterator[Redis]:
    """A private Redis, for as long as the block lasts."""
    with _private(Redis) as server:
        yield server


@contextmanager
def gone(server: Redis) -> Iterator[None]:
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    yield
    server.start()


@contextmanager
def hanging(server: Redis) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@contextmanager
def _private(kind: type[Kind]) -> Iterator[Kind]:
    with tempfile.TemporaryDirectory(prefix="switchboard-") as directory:
        server = kind(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()


# --- For the tests --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Mariadb]:
    """The MariaDB of this run (with pytest-xdist: of this worker)."""
    with mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """The Redis of this run (with pytest-xdist: of this worker)."""
    with redis() as server:
        yield server


@pytest.fixture
def mariadb_url(mariadb_server: Mariadb) -> Iterator[str]:
    """The URL of a fresh, empty database, dropped afterwards."""
    name = f"test_{secrets.token_hex(4)}"
    mariadb_server.start()  # the test before may have stopped it
    yield mariadb_server.database(name)
    mariadb_server.start()  # and so may this one
    mariadb_server.drop(name)


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The URL of an empty Redis."""
    redis_server.start()  # the test before may have stopped it
    redis_server.flush()
    return redis_server.url


def main() -> None:
    """Install what is missing; say where everything is."""
    try:
        for program in PROGRAMS:
            sys.stdout.write(f"{program.names[0]}: {path_of(program)}\n")
    except MissingProgram as missing:
        sys.exit(str(missing))


if __name__ == "__main__":
    main()
