"""The gateway under test: the real application on a socket, its vendors the sandboxes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from aiohttp import ClientSession, web
from pydantic import SecretStr

from adapters import RESTS, open_adapters
from adapters.chatfuel.sandbox import ChatfuelSandbox
from adapters.demo import PEOPLE
from adapters.hyber.sandbox import HyberSandbox
from adapters.lines import Line, Lines
from adapters.mercately.sandbox import MercatelySandbox
from adapters.poster.sandbox import PosterSandbox
from adapters.rest import Mode
from adapters.sandbox import Sandbox
from adapters.storage import demo
from adapters.storage.client import Storage
from gateway.graph import Graph, build_graph
from gateway.keys import ADAPTERS, METRICS, POST
from gateway.refresher import connected
from gateway.server import application_runner, migrate, prepare_database
from gateway.settings import Limits, Settings, UseAuth, UseExecutor, load
from resolvers.mirror import Progress, mirror
from resolvers.sending.post import Post
from tests.leaks import hear
from tests.services import Mariadb

CALM: dict[str, Any] = {"database_timeout": 10}
"""A machine that stands still for seconds is no claim of any test, but for those about patience."""


@dataclass(slots=True)
class Gateway:
    url: str
    session: ClientSession
    mercately: MercatelySandbox
    poster: PosterSandbox
    hyber: HyberSandbox
    chatfuel: ChatfuelSandbox
    settings: Settings
    lines: Lines
    storage: Storage
    """The application's own."""
    post: Post
    """The same."""

    async def ask(
        self, query: str, headers: dict[str, str] | None = None, **variables: Any
    ) -> dict[str, Any]:
        """What the graph answers: data, errors, or both."""
        body = {"query": query, "variables": variables}
        async with self.session.post(f"{self.url}/graphql", json=body, headers=headers) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            return answer

    async def data(self, query: str, **variables: Any) -> Any:
        answer = await self.ask(query, **variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def error(self, query: str, **variables: Any) -> dict[str, Any]:
        """The one error of an answer."""
        (error,) = (await self.ask(query, **variables))["errors"]
        found: dict[str, Any] = error
        return found

    async def sync(self) -> None:
        """One full pass through every source, as `switchboard sync` walks it."""
        async with open_adapters(self.lines, self.settings.database, database_patience=10) as adapters:
            directory = adapters.storage.directory
            for source in connected(adapters, self.settings).values():
                await mirror(source, directory, owner="the test", tell=_nobody, take_over=True)


async def _nobody(_: Progress) -> None: ...


@asynccontextmanager
async def serving(
    settings: Settings, lines: Lines, graph: Graph | None = None, listener: socket.socket | None = None
) -> AsyncIterator[tuple[str, web.Application]]:
    """The application as the server runs it, on a free port if it is given none, and its address."""
    await prepare_database(settings)
    runner = application_runner(settings, lines, graph or _graph(settings))
    await runner.setup()
    site = web.SockSite(runner, listener or free_port())
    await site.start()
    try:
        assert runner.app
        yield site.name, runner.app
        hear("/metrics", runner.app[METRICS].page(None).decode())
    finally:
        await runner.cleanup()


def _graph(settings: Settings) -> Graph | None:
    """One for all who want nothing special of it: it keeps nothing but what it has read before."""
    is_usual = settings.documents is None and (settings.has_introspection or not settings.embedded)
    return _usual_graph(settings.executor) if is_usual and settings.limits == Limits() else None


@cache
def _usual_graph(executor: UseExecutor) -> Graph:
    """Compiles whatever it runs, for in a test most documents come once."""
    return build_graph(compiles_after=0 if executor is UseExecutor.COMPILED else None)


def free_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@asynccontextmanager
async def gateway_on(
    settings: Settings,
    *,
    graph: Graph | None = None,
    lines: Lines | None = None,
    listener: socket.socket | None = None,
    **patience: float,
) -> AsyncIterator[Gateway]:
    """A gateway on sandboxes of its own; `lines` are those that lead elsewhere."""
    async with (
        MercatelySandbox() as mercately,
        PosterSandbox() as poster,
        HyberSandbox(moment=0, seconds_per_ttl_second=0) as hyber,
        ChatfuelSandbox() as chatfuel,
        ClientSession() as session,
    ):
        everywhere = {**lines_to(mercately, poster, hyber, chatfuel, **patience), **(lines or {})}
        async with serving(settings, everywhere, graph, listener) as (url, app):
            yield Gateway(
                url,
                session,
                mercately,
                poster,
                hyber,
                chatfuel,
                settings,
                everywhere,
                app[ADAPTERS].storage,
                app[POST],
            )


def lines_to(*sandboxes: Sandbox, **patience: float) -> Lines:
    """The sources that have none of these sandboxes are off."""
    little: dict[str, Any] = {"timeout": 1.5, "connect_timeout": 1} | patience
    there = {sandbox.name: sandbox for sandbox in sandboxes}
    lines = {}
    for rest in RESTS:
        its = {name: value for name, value in little.items() if name in rest.Settings.model_fields}
        settings, sandbox = rest.Settings(**its), there.get(rest.name)
        lines[rest.name] = (
            Line(Mode.REAL, settings.pointed_at(sandbox)) if sandbox else Line(Mode.OFF, settings)
        )
    return lines


@pytest.fixture
def settings(tmp_path: Path, tables_in_sqlite: Path) -> Settings:
    """On SQLite, where our tables are there and nothing is in them."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    copy(tables_in_sqlite, data_dir)
    return load(data_dir=data_dir, timeout=4, drain=2, directory_interval=0, sending="own", **CALM)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with gateway_on(settings) as opened:
        yield opened


async def _people(settings: Settings) -> None:
    async with gateway_on(settings) as gateway:
        await demo.move_in(gateway.storage.everyprint)
        await gateway.sync()


@pytest.fixture(scope="session")
def peopled_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo people and everybody whom the sandboxes know, mirrored once."""
    settings = load(data_dir=tmp_path_factory.mktemp("peopled"), directory_interval=0, **CALM)
    asyncio.run(_people(settings))
    return settings.data_dir / "switchboard.db"


@pytest.fixture(scope="session")
def peopled_mariadb(mariadb_server: Mariadb) -> str:
    """The same for tests that change nothing."""
    mariadb_server.start()  # the test before may have stopped it
    settings = load(database_url=mariadb_server.database("peopled"), directory_interval=0, **CALM)
    asyncio.run(migrate(settings))
    asyncio.run(_people(settings))
    return settings.database


@pytest.fixture
async def peopled(settings: Settings, peopled_database: Path) -> AsyncIterator[Gateway]:
    """A gateway whose directory knows everybody, and whose sandboxes were asked nothing yet."""
    copy(peopled_database, settings.data_dir)
    async with gateway_on(settings) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "mariadb"])
def settings_with_people(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    if request.param == "sqlite":
        copy(request.getfixturevalue("peopled_database"), settings.data_dir)
        return settings
    url = SecretStr(request.getfixturevalue("peopled_mariadb"))
    request.getfixturevalue("mariadb_server").start()
    return settings.model_copy(update={"database_url": url})


@pytest.fixture
async def people(settings_with_people: Settings) -> AsyncIterator[Gateway]:
    """As `peopled`, on both databases, for tests that change nothing."""
    async with gateway_on(settings_with_people) as opened:
        yield opened


TOWN = "town"


async def _town(settings: Settings) -> None:
    await migrate(settings)
    async with gateway_on(settings) as gateway:
        await demo.move_in(gateway.storage.everyprint)
        await gateway.data(f"{{ {' '.join(_everybody())} }}")


@pytest.fixture(scope="session")
def town_in_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo people alone, from every source."""
    settings = load(data_dir=tmp_path_factory.mktemp(TOWN), directory_interval=0, **CALM)
    asyncio.run(_town(settings))
    return settings.data_dir / "switchboard.db"


@pytest.fixture(scope="session")
def town_in_mariadb(mariadb_server: Mariadb) -> str:
    """The same; the name of the database."""
    mariadb_server.start()  # the test before may have stopped it
    asyncio.run(_town(load(database_url=mariadb_server.database(TOWN), directory_interval=0, **CALM)))
    return TOWN


@pytest.fixture(params=["sqlite", "mariadb"])
def settings_of_a_town(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    if request.param == "sqlite":
        copy(request.getfixturevalue("town_in_sqlite"), settings.data_dir)
        return settings
    template, server = request.getfixturevalue("town_in_mariadb"), request.getfixturevalue("mariadb_server")
    server.start()
    return settings.model_copy(update={"database_url": SecretStr(server.copy(template, f"{TOWN}_of_a_test"))})


@pytest.fixture
async def town(settings_of_a_town: Settings) -> AsyncIterator[Gateway]:
    """A gateway on a database of each kind that knows the demo people, for tests that change something.

    Open, for without the database nobody knows whether there are API keys.
    """
    async with gateway_on(settings_of_a_town.model_copy(update={"auth": UseAuth.OPEN})) as opened:
        yield opened


def _everybody() -> Iterator[str]:
    """Asking for somebody brings them into the directory, from every source."""
    for number, person in enumerate(PEOPLE):
        if person.mercately:
            yield f'm{number}: customer(by: {{mercatelyId: "{person.mercately.id}"}}) {{ id }}'
        if person.poster:
            yield f'p{number}: customer(by: {{posterId: "{person.poster.id}"}}) {{ id }}'
