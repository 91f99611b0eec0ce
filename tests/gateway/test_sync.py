"""The directory, kept fresh: by `switchboard sync` as a process, and in the background of a gateway."""

import asyncio
import os
import re
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from adapters.lines import Line
from adapters.mercately import demo
from adapters.mercately.client import API
from adapters.mercately.sandbox import MercatelySandbox
from adapters.poster.sandbox import PosterSandbox
from adapters.rest import Mode
from adapters.storage.client import Storage, open_storage
from adapters.storage.identity import Key
from gateway.server import application_runner
from gateway.settings import load
from tests.gateways import gateway_on, lines_to, serving
from tests.processes import SWITCHBOARD, Ended, environment, run, serve, start
from tests.warm import Command

CUSTOMERS = f"GET {API}/customers"
EVERYBODY = [Key("mercately", customer.id) for customer in demo.customers()]
PEOPLE = 620
PAGES = list(range(1, 9))
"""Of so many people, with the empty one in the end."""

Logged = list[MutableMapping[str, Any]]


def few(count: int = PEOPLE) -> MercatelySandbox:
    """Mercately with so many customers."""
    sandbox = MercatelySandbox()
    sandbox._customers = dict(list(sandbox._customers.items())[:count])
    return sandbox


def vendor(mercately: MercatelySandbox) -> dict[str, str]:
    """The settings that lead to it."""
    return {
        "MERCATELY__URL": mercately.url,
        "MERCATELY__SLUG": mercately.credentials["slug"],
        "MERCATELY__API_KEY": mercately.credentials["api_key"],
    }


def pages(mercately: MercatelySandbox) -> list[int]:
    return [int(asked.query["page"]) for asked in mercately.asked if "page" in asked.query]


@asynccontextmanager
async def stored(folder: Path) -> AsyncIterator[Storage]:
    async with open_storage(f"sqlite+aiosqlite:///{folder / 'data' / 'switchboard.db'}") as storage:
        yield storage


async def until(holds: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


@asynccontextmanager
async def syncing(folder: Path, **settings: object) -> AsyncIterator[Process | Command]:
    process = await start(folder, "sync", **settings)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def in_a_terminal(folder: Path, *arguments: str, **settings: object) -> Ended:
    """The same as `run`, for a person who looks at it."""
    ours, theirs = os.openpty()
    env = environment(**settings) | {"TERM": "xterm", "COLUMNS": "100"}
    process = await asyncio.create_subprocess_exec(
        *SWITCHBOARD, *arguments, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = bytearray()
    with closing(os.fdopen(ours, "rb", buffering=0)) as screen:

        def read() -> None:
            while True:
                try:
                    some = screen.read(65_536)
                except OSError:  # the other end is closed
                    return
                if not some:
                    return
                said.extend(some)

        await asyncio.wait_for(asyncio.to_thread(read), 30)
    return Ended(await process.wait(), said.decode(), "")


# switchboard sync


async def test_sync_fills_the_directory_from_all_sources_or_those_that_are_named(tmp_path: Path) -> None:
    async with few() as mercately:
        ended = await run(tmp_path, "sync", **vendor(mercately))
        again = await run(tmp_path, "sync", "mercately", **vendor(mercately))

    assert (ended.code, ended.err) == (0, "")
    assert re.search(r"^mercately: [\d,]+ of 620 people$", ended.out, re.M)
    assert re.search(r"^mercately +620 +0 +[\d.]+ *$", ended.out, re.M)
    assert re.search(r"^poster +1,\d\d\d +0 +[\d.]+ *$", ended.out, re.M)
    assert re.search(r"^everyprint +[\d,]+ +0 +[\d.]+ *$", ended.out, re.M)
    assert "\x1b" not in ended.out
    assert re.search(r"^mercately +620 +0 ", again.out, re.M)
    assert "poster" not in again.out
    async with stored(tmp_path) as storage:
        assert len(await storage.directory.entries(EVERYBODY)) == PEOPLE


async def test_a_person_sees_a_bar(tmp_path: Path) -> None:
    async with few() as mercately:
        ended = await in_a_terminal(tmp_path, "sync", "mercately", **vendor(mercately))

    assert ended.code == 0
    assert re.search(r"mercately .*━.*[\d,]+ of 620 people", ended.out)
    assert "mercately: " not in ended.out
    assert re.search(r"mercately +620 +0", ended.out)


async def test_a_source_that_is_dead_is_a_sentence_and_the_others_are_walked(tmp_path: Path) -> None:
    dead = {"MERCATELY__URL": "http://127.0.0.1:9", "MERCATELY__SLUG": "a", "MERCATELY__API_KEY": "hunter2"}
    ended = await run(tmp_path, "sync", **dead)

    assert ended.code == 1
    assert ended.err == "Mercately cannot be reached: try again later.\n"
    assert re.search(r"^poster +1,\d\d\d +0 ", ended.out, re.M)


async def test_sources_that_are_off_are_left_out_unless_they_are_named(tmp_path: Path) -> None:
    left_out = await run(tmp_path, "sync", SANDBOX="off")
    named = await run(tmp_path, "sync", "poster", SANDBOX="off")

    assert (left_out.code, left_out.err) == (0, "")
    assert "poster" not in left_out.out
    assert named.code == 1
    assert named.err == "Poster is not connected: `switchboard doctor` says what to set.\n"


async def test_a_source_that_does_not_exist_is_a_wrong_usage(tmp_path: Path) -> None:
    ended = await run(tmp_path, "sync", "mercatly")

    assert ended.code == 2
    assert "mercatly: there are everyprint, mercately, poster." in " ".join(ended.err.split())


async def test_a_dead_database_is_one_sentence(tmp_path: Path) -> None:
    ended = await run(tmp_path, "sync", DATABASE_URL="mysql+aiomysql://me:hunter2@127.0.0.1:9/x")

    assert ended.code == 1
    assert ended.err == "The database cannot be reached: try again later.\n"


async def test_ctrl_c_says_that_nothing_is_lost(tmp_path: Path) -> None:
    async with few() as mercately:
        mercately.trouble("delay", path=CUSTOMERS, seconds=0.1)
        async with syncing(tmp_path, **vendor(mercately)) as process:
            await until(lambda: len(pages(mercately)) > 3, "it never asked")
            process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
    ended = Ended(process.returncode or 0, out.decode(), err.decode())

    assert ended.code == 130
    assert ended.err == "Stopped: the next sync, or the running gateway, goes on from here.\n"


async def test_a_killed_sync_goes_on_where_it_was(tmp_path: Path) -> None:
    async with few() as mercately:
        mercately.trouble("delay", path=CUSTOMERS, seconds=0.05)
        async with syncing(tmp_path, **vendor(mercately)) as process:
            await until(lambda: len(pages(mercately)) > 3, "it never asked")
            process.kill()
            await process.communicate()
        before = pages(mercately)
        mercately.heal()
        mercately.asked.clear()
        ended = await run(tmp_path, "sync", **vendor(mercately))
        after = pages(mercately)

    # A page that was asked for may not have been stored yet.
    assert before == PAGES[: len(before)]
    assert after == PAGES[-len(after) :]
    assert len(before) + len(after) - len(PAGES) in (0, 1)
    assert ended.code == 0
    assert re.search(r"^mercately +620 +0 ", ended.out, re.M)
    async with stored(tmp_path) as storage:
        assert len(await storage.directory.entries(EVERYBODY)) == PEOPLE


# In the background of a gateway


async def names(storage: Storage, id: str) -> set[str | None]:
    entries = await storage.directory.entries([Key("mercately", id)])
    return {entry.first_name for entry in entries.values()}


async def test_a_gateway_brings_what_changes_at_a_source(tmp_path: Path, database_url: str) -> None:
    pablo, gone = demo.customers()[:2]
    settings = load(database_url=database_url, data_dir=tmp_path, directory_interval=0.2)
    async with open_storage(database_url) as storage, gateway_on(settings) as gateway:
        gateway.mercately._customers = {pablo.id: pablo, gone.id: gone}
        while not await names(storage, gone.id):
            await asyncio.sleep(0.05)
        gateway.mercately._customers = {pablo.id: replace(pablo, first_name="Paula")}
        while await names(storage, pablo.id) != {"Paula"} or await names(storage, gone.id):
            await asyncio.sleep(0.05)


async def test_a_gateway_stops_promptly_in_the_middle_of_a_pass(tmp_path: Path) -> None:
    async with few() as mercately:
        mercately.trouble("delay", path=CUSTOMERS, seconds=0.5)
        async with serve(tmp_path, DIRECTORY_INTERVAL=900, **vendor(mercately)) as served:
            await until(lambda: pages(mercately), "it never asked")
            started = time.monotonic()
            ended = await served.end()

    assert time.monotonic() - started < 5
    assert ended.code == 0
    assert not re.search(r"Traceback|Warning|never retrieved|\"level\":\"(error|warning)\"", ended.err)


def said(log_lines: Logged) -> Logged:
    return [line for line in log_lines if line["event"] == "directory"]


def well(log_lines: Logged) -> set[str]:
    """The sources that were walked to their end."""
    return {line["source"] for line in said(log_lines) if line["outcome"] == "ok"}


async def test_two_gateways_walk_a_source_once(tmp_path: Path, log_lines: Logged) -> None:
    settings = load(data_dir=tmp_path, directory_interval=900)
    async with few() as mercately, PosterSandbox() as poster:
        lines = lines_to(mercately, poster)
        async with serving(settings, lines), serving(settings, lines):
            await until(lambda: len(well(log_lines)) == 3, "the passes never ended")

    assert pages(mercately) == PAGES
    assert [line["people"] for line in said(log_lines) if line["source"] == "mercately"] == [PEOPLE]
    assert {line["removed"] for line in said(log_lines)} == {0}


async def test_a_source_in_trouble_is_one_line_until_it_is_well_again(
    tmp_path: Path, log_lines: Logged
) -> None:
    settings = load(data_dir=tmp_path, directory_interval=900)
    async with few() as mercately, PosterSandbox() as poster:
        mercately.trouble("status")
        async with serving(settings, lines_to(mercately, poster)):
            await until(lambda: mercately.count("/customers") > 1, "it gave up")
            mercately.heal()
            await until(lambda: len(well(log_lines)) == 3, "it never recovered")

    of_mercately = [line for line in said(log_lines) if line["source"] == "mercately"]
    assert [line["outcome"] for line in of_mercately] == ["SOURCE_UNAVAILABLE", "ok"]
    assert set(of_mercately[0]) == {"event", "log_level", "source", "outcome"}


class NoDatabase:
    """Hangs up on whoever comes, and counts them."""

    async def __aenter__(self) -> Self:
        self.came = 0
        self._server = await asyncio.start_server(self._hang_up, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _hang_up(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        writer.close()

    def runner(self) -> web.AppRunner:
        """A gateway without vendors, on this."""
        host, port = self._server.sockets[0].getsockname()
        settings = load(database_url=f"mysql+aiomysql://me@{host}:{port}/x", directory_interval=900)
        return application_runner(
            settings, {name: Line(Mode.OFF, source) for name, source in settings.sources.items()}
        )


async def test_a_dead_database_is_one_line_however_often_it_is_tried(log_lines: Logged) -> None:
    async with NoDatabase() as database:
        runner = database.runner()
        await runner.setup()
        await until(lambda: database.came > 2, "it gave up")
        await runner.cleanup()

    (line,) = said(log_lines)
    assert (line["source"], line["outcome"]) == ("everyprint", "SOURCE_UNAVAILABLE")


async def test_a_gateway_stops_at_whatever_point_of_a_connection_it_is_told_to() -> None:
    async with NoDatabase() as database:
        for turns in range(20):
            runner = database.runner()
            await runner.setup()
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                await runner.cleanup()

        assert database.came
