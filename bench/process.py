"""Process: a `switchboard serve` of its own, and what can be seen of it from outside."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from aiohttp import ClientSession

SWITCHBOARD = [sys.executable, "-m", "gateway.cli"]


@dataclass(frozen=True, slots=True)
class State:
    rss: float
    """MiB."""
    files: int
    """Sockets among them."""
    tasks: int

    def __str__(self) -> str:
        return f"{self.rss:.0f} MiB, {self.files} files, {self.tasks} tasks"


@dataclass(frozen=True, slots=True)
class Gateway:
    url: str
    process: psutil.Process
    log: Path

    async def state(self, session: ClientSession) -> State:
        tasks = int(await self.metric(session, "switchboard_tasks"))
        return State(self.process.memory_info().rss / 2**20, self.process.num_fds(), tasks)

    async def metric(self, session: ClientSession, name: str) -> float:
        """What was never counted is 0; who is told to come again does."""
        while True:
            async with session.get(f"{self.url}/metrics") as response:
                lines = (await response.text()).splitlines()
            if response.status == 200:
                break
            await asyncio.sleep(0.1)
        return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)


@contextmanager
def gateway(folder: Path, settings: dict[str, str]) -> Iterator[Gateway]:
    """With no setting but these, by their names without the prefix."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHBOARD_")}
    env |= {f"SWITCHBOARD_{name.upper()}": value for name, value in settings.items()}
    log = folder / "gateway.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*SWITCHBOARD, "serve", "--port", "0"],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout
            url = ""
            for line in process.stdout:
                if "explorer" in line:
                    url = line.split()[-1].removesuffix("/graphql")
                if "Ctrl-C" in line:
                    break
            assert url, log.read_text()
            yield Gateway(url, psutil.Process(process.pid), log)
        finally:
            process.terminate()
            process.wait()
