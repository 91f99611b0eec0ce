"""`switchboard serve`, as a process: it starts, says what it runs on, and stops without losing an answer."""

import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession, TCPConnector, UnixConnector

from tests.processes import Served, ask, run, serve

AGENTS = "{ agents { id } }"
BY_OTHERS = "import aiohttp.web, alembic.command, pydantic_settings, sqlalchemy.ext.asyncio, strawberry"
USUAL = 1.0
"""Seconds of processor time that importing these takes where a start takes less than two."""


def sandbox_of(served: Served) -> str:
    found = re.search(r"mercately +sandbox +(http://[\d.:]+)", served.banner)
    assert found, served.banner
    return found[1]


async def make_slow(served: Served, seconds: float) -> None:
    trouble = {"kind": "delay", "path": "/agents", "seconds": seconds}
    async with ClientSession() as session:
        await session.post(f"{sandbox_of(served)}/_sandbox/trouble", json=trouble)


async def until_asked(served: Served) -> None:
    async with ClientSession() as session:
        while "/agents" not in await (await session.get(f"{sandbox_of(served)}/_sandbox/asked")).text():
            await asyncio.sleep(0.02)


def slowness() -> float:
    """How many times the usual this machine takes at this moment; one that is shared has its hours."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", BY_OTHERS], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return max(spent / USUAL, 1)


def has_trouble(log: str) -> bool:
    return any(word in log for word in ("Traceback", "Warning", "never retrieved", '"level":"error"'))


async def test_it_starts_embedded_within_two_seconds_and_says_what_it_runs_on(tmp_path: Path) -> None:
    for start in range(3):
        folder = tmp_path / str(start)
        folder.mkdir()
        async with serve(folder, cold=True) as served:
            answer = await ask(served.url, AGENTS)
            # Of processor time: the tests beside this one take their share of any clock on the wall, and of
            # the caches too; so it is the least of three starts, each beside how fast the machine is then.
            spent = psutil.Process(served.process.pid).cpu_times()
            ended = await served.end()
        if fast := spent.user + spent.system < 2 * slowness():
            break

    assert isinstance(answer, dict)
    assert len(answer["data"]["agents"]) == 40
    assert fast, spent
    assert re.search(r"database +real +sqlite\+aiosqlite:///data/switchboard.db", served.banner)
    assert re.search(r"mercately +sandbox +http://127.0.0.1:\d+\n", served.banner)
    assert "`switchboard doctor` says what to set for the real ones." in served.banner
    assert re.search(r"explorer +http://127.0.0.1:\d+/graphql", served.banner)
    assert (folder / "data" / "switchboard.db").exists()
    assert ended.code == 0
    assert not has_trouble(ended.err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_requests_in_flight_are_answered_before_it_stops(
    tmp_path: Path, number: signal.Signals, workers: str
) -> None:
    async with serve(tmp_path, "serve", "--port", "0", "--workers", workers) as served:
        await make_slow(served, 1)
        asking = asyncio.create_task(ask(served.url, AGENTS))
        await until_asked(served)
        ended = await served.end(number)
        answer = await asking

    assert isinstance(answer, dict)
    assert len(answer["data"]["agents"]) == 40
    assert ended.code == 0
    assert not has_trouble(ended.err)


async def test_two_hundred_sockets_are_told_and_what_is_asked_is_answered(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, serve(tmp_path) as served:
        session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        url = f"{served.url}/graphql"
        sockets = [
            await stack.enter_async_context(session.ws_connect(url, protocols=["graphql-transport-ws"]))
            for _ in range(200)
        ]
        for opened in sockets:
            await opened.send_json({"type": "connection_init"})
            assert (await opened.receive_json())["type"] == "connection_ack"
        told = [asyncio.create_task(opened.receive(timeout=15)) for opened in sockets]
        await make_slow(served, 1)
        asked = [asyncio.create_task(ask(served.url, AGENTS)) for _ in range(20)]
        await until_asked(served)
        began = time.monotonic()
        ended = await served.end()
        answers = await asyncio.gather(*asked)
        await asyncio.gather(*told)

    assert time.monotonic() - began < 10
    assert {opened.close_code for opened in sockets} == {1001}
    assert all(len(answer["data"]["agents"]) == 40 for answer in answers)
    assert ended.code == 0
    assert not has_trouble(ended.err)


async def test_it_waits_for_them_only_so_long(tmp_path: Path) -> None:
    async with serve(tmp_path, DRAIN=0.2, TIMEOUT=30, MERCATELY__TIMEOUT=30) as served:
        await make_slow(served, 20)
        asking = asyncio.create_task(ask(served.url, AGENTS))
        await until_asked(served)
        started = time.monotonic()
        ended = await served.end()
        asking.cancel()

    assert time.monotonic() - started < 3
    assert ended.code == 0
    assert not has_trouble(ended.err)


async def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    async with serve(tmp_path, TIMEOUT=30, MERCATELY__TIMEOUT=30) as served:
        await make_slow(served, 20)
        asking = asyncio.create_task(ask(served.url, AGENTS))
        await until_asked(served)
        served.process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
        ended = await served.end(signal.SIGINT)
        asking.cancel()

    assert ended.code == 130
    assert "Traceback" not in ended.err


async def test_several_workers_share_one_port_and_one_sandbox(tmp_path: Path) -> None:
    async with serve(tmp_path, "serve", "--port", "0", "--workers", "3") as served:
        answers = await asyncio.gather(*(ask(served.url, AGENTS) for _ in range(30)))
        async with ClientSession() as session:
            asked = await (await session.get(f"{sandbox_of(served)}/_sandbox/asked")).json()
        ended = await served.end()

    assert all(isinstance(answer, dict) and len(answer["data"]["agents"]) == 40 for answer in answers)
    assert asked
    assert not has_trouble(ended.err)


async def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    async with serve(tmp_path, "serve", "--port", "0", "--workers", "2") as served:
        await ask(served.url, AGENTS)
        workers = await two_workers(served)
        os.kill(workers[0].pid, signal.SIGKILL)
        while workers[0] in await two_workers(served):
            await asyncio.sleep(0.05)
        answer = await ask(served.url, AGENTS)
        ended = await served.end()

    assert isinstance(answer, dict)
    assert len(answer["data"]["agents"]) == 40
    assert "a worker died and is replaced" in ended.err


async def two_workers(served: Served) -> list[psutil.Process]:
    while True:
        children = psutil.Process(served.process.pid).children()
        with suppress(psutil.Error):  # one of them has just ended
            workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
            if len(workers) == 2:
                return workers
        await asyncio.sleep(0.05)


async def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    async with serve(tmp_path, "serve", "--port", "0", "--workers", "2") as served:
        await ask(served.url, AGENTS)
        workers = await two_workers(served)
        served.process.kill()
        gone, alive = await asyncio.to_thread(psutil.wait_procs, workers, 10)

    assert (len(gone), alive) == (2, [])


async def test_it_listens_on_a_unix_socket_and_takes_over_one_that_was_left(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    for _ in range(2):
        async with serve(tmp_path, "serve", "--unix", str(path)) as served:
            async with (
                ClientSession(connector=UnixConnector(str(path))) as session,
                session.get("http://switchboard/health/ready") as ready,
            ):
                assert ready.status == 200
            served.process.kill()
            await served.process.wait()
    assert path.exists()


async def test_a_unix_socket_is_removed_when_it_stops(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with serve(tmp_path, "serve", "--unix", str(path)) as served:
        in_use = await run(tmp_path, "serve", "--unix", str(path))
        ended = await served.end()

    assert in_use.code == 1
    assert in_use.err.startswith(f"Cannot listen on {path} (Address already in use)")
    assert ended.code == 0
    assert not path.exists()


async def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    async with serve(tmp_path) as served:
        port = served.url.rpartition(":")[2]
        second = await run(tmp_path, "serve", "--port", port)

    assert second.code == 1
    assert second.err.strip() == (
        f"Cannot listen on 127.0.0.1:{port} (Address already in use): choose another address with "
        "SWITCHBOARD_HOST and SWITCHBOARD_PORT, or --host and --port."
    )


async def test_a_data_directory_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    ended = await run(tmp_path, "serve", "--port", "0")

    assert ended.code == 1
    assert "SWITCHBOARD_DATA_DIR" in ended.err
    assert "Traceback" not in ended.err


async def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "switchboard.db").write_text("nonsense " * 1000)

    ended = await run(tmp_path, "serve", "--port", "0")

    assert ended.code == 1
    assert "cannot be used" in ended.err
    assert "Traceback" not in ended.err
