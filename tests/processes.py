"""The command line under test: real processes, started and stopped as people and machines do."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from tests import warm
from tests.leaks import hear
from tests.warm import Command

SWITCHBOARD = (sys.executable, "-m", "gateway.cli")


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str


@dataclass(slots=True)
class Served:
    """A running `switchboard serve`, or `sandbox`."""

    process: Process | Command
    banner: str = ""
    ended: Ended | None = None
    _rest: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        found = re.search(r"(http://\S+?)/graphql", self.banner)
        assert found, self.banner
        return found[1]

    async def end(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        self.process.send_signal(number)
        return await self.result()

    async def result(self) -> Ended:
        out, err = await asyncio.wait_for(self.process.communicate(), 20)
        assert self.process.returncode is not None
        hear("a process", err.decode())
        self.ended = Ended(self.process.returncode, self.banner + out.decode(), err.decode())
        return self.ended


def environment(**settings: object) -> dict[str, str]:
    """This process's, without settings of its own; every warning an error."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHBOARD_")}
    return (
        own
        | {"PYTHONWARNINGS": "error"}
        | {f"SWITCHBOARD_{name}": str(value) for name, value in settings.items()}
    )


async def start(folder: Path, *arguments: str, cold: object = False, **settings: object) -> Process | Command:
    """Cold as people start it, or of one that has all its code imported already, which is much quicker."""
    env = environment(**settings)
    if not cold:
        return await warm.start(folder, *arguments, environment=env)
    return await asyncio.create_subprocess_exec(
        *SWITCHBOARD, *arguments, cwd=folder, env=env, stdout=PIPE, stderr=PIPE
    )


async def run(folder: Path, *arguments: str, cold: object = False, **settings: object) -> Ended:
    """One command, to its end."""
    return await Served(await start(folder, *arguments, cold=cold, **settings)).result()


QUIET = {"DIRECTORY_INTERVAL": 0, "SENDING": "off"}


@asynccontextmanager
async def serve(
    folder: Path, *arguments: str, until: str = "Ctrl-C stops.", cold: object = False, **settings: object
) -> AsyncIterator[Served]:
    """`switchboard serve` on a free port, from its banner on; killed in the end if it still runs.

    Unless told to, it refreshes and sends nothing by itself: what a sandbox is asked, the test asked.
    """
    command = arguments or ("serve", "--port", "0")
    process = await start(folder, *command, cold=cold, **QUIET | settings)
    served = Served(process)
    try:
        assert process.stdout
        while until not in served.banner:
            line = await asyncio.wait_for(process.stdout.readline(), 20)
            if not line:
                raise AssertionError(await served.result())
            served.banner += line.decode()
        yield served
    finally:
        if process.returncode is None:
            process.kill()
            _, err = await process.communicate()
            hear("a process", err.decode())


async def ask(url: str, query: str) -> Any:
    async with ClientSession() as session, session.post(f"{url}/graphql", json={"query": query}) as response:
        return await response.json(content_type=None)
