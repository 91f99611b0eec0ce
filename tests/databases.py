"""The databases that tests get: empty, or with our own tables in them, which are made once and copied."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from shutil import copy

import pytest

from adapters.storage.client import Storage, open_storage
from tests.services import Mariadb

FILE = "switchboard.db"


@pytest.fixture(params=["sqlite", "mariadb"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh, empty database of each kind that we support."""
    if request.param == "sqlite":
        return _in(tmp_path)
    url: str = request.getfixturevalue("mariadb_url")
    return url


@pytest.fixture(scope="session")
def tables_in_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own tables, at this version's schema, with nothing in them."""
    folder = tmp_path_factory.mktemp("tables")
    asyncio.run(_migrate(_in(folder)))
    return folder / FILE


@pytest.fixture(scope="session")
def tables_in_mariadb(mariadb_server: Mariadb) -> str:
    """The same; the name of the database."""
    mariadb_server.start()  # the test before may have stopped it
    asyncio.run(_migrate(mariadb_server.database("tables")))
    return "tables"


@pytest.fixture
def our_sqlite_url(tables_in_sqlite: Path, tmp_path: Path) -> str:
    """Our own tables, empty, in a file of the test's own."""
    copy(tables_in_sqlite, tmp_path)
    return _in(tmp_path)


@pytest.fixture
def our_mariadb_url(mariadb_server: Mariadb, tables_in_mariadb: str) -> str:
    """The same on MariaDB, for one test after the other: to make tables takes longer than most tests do."""
    mariadb_server.start()  # the test before may have stopped it
    return mariadb_server.copy(tables_in_mariadb, "ours")


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Our own tables, empty, on a database of each kind that we support."""
    url: str = request.getfixturevalue(f"our_{request.param}_url")
    return url


def _in(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / FILE}"


async def _migrate(url: str) -> None:
    async with open_storage(url) as storage:
        await storage.migrate()


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    async with open_storage(database_url, patience=10) as opened:
        yield opened


@pytest.fixture
async def on_mariadb(our_mariadb_url: str) -> AsyncIterator[Storage]:
    async with open_storage(our_mariadb_url) as opened:
        yield opened
