"""Servers: what is compared and what it asks, each a process on a core of its own."""

import os
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, TypeVar

import orjson
import psutil

from tests.services import Program, Service, path_of

S = TypeVar("S", bound=Service)

ROOT = Path(__file__).parent.parent
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
TASKSET = Program(("taskset",), "util-linux")
ENV = Program(("env",), "coreutils")


def pinned(core: int, *command: str) -> list[str]:
    return [path_of(TASKSET), "-c", str(core), *command]


def python(core: int, directory: Path, arguments: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """One of our commands: it sees nothing of this shell's environment, nor of anybody's .env."""
    given = [f"{name}={value}" for name, value in {"PYTHONPATH": str(ROOT), **variables}.items()]
    env = [path_of(ENV), "-i", "-C", str(directory), *given]
    return [*env, *pinned(core, sys.executable, *arguments)]


class Process(Service):
    """One of our Python processes."""

    core = SERVER_CORE

    @abstractmethod
    def arguments(self) -> list[str]:
        """What Python is to run."""

    def environment(self) -> Mapping[str, str]:
        return {}

    def command(self) -> list[str]:
        return python(self.core, self.directory, self.arguments(), self.environment())

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def cpu(self) -> float:
        """CPU seconds so far, of the process and its children."""
        times = [process.cpu_times() for process in self._tree()]
        return float(sum(time.user + time.system for time in times))

    @property
    def rss(self) -> float:
        """MiB."""
        return float(sum(process.memory_info().rss for process in self._tree()) / 2**20)

    def _tree(self) -> list[psutil.Process]:
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            return connection.getresponse().read()
        finally:
            connection.close()


class Upstream(Process):
    """The stub, on the core of the load."""

    core = LOAD_CORE

    def __init__(self, directory: Path, *delays: int) -> None:
        super().__init__(directory)
        self.delays = delays

    def arguments(self) -> list[str]:
        return ["-m", "bench.stub", str(self.port), *map(str, self.delays)]

    def answers(self) -> bool:
        try:
            return self.count >= 0
        except (OSError, HTTPException):
            return False

    @property
    def count(self) -> int:
        return int(self.request("GET", "/_count"))


class Peer(Process):
    """A server of the graph: its sources are the stub, its directory one that was filled before."""

    name: ClassVar[str]
    warming: ClassVar[float] = 0
    """Seconds of processor time until it is as fast as it gets, where a few requests are not enough."""

    def __init__(self, directory: Path, upstream: str, data: Path) -> None:
        super().__init__(directory)
        self.upstream = upstream
        self.data = data

    def environment(self) -> Mapping[str, str]:
        here = {"SWITCHBOARD_HOST": self.host, "SWITCHBOARD_PORT": str(self.port)}
        return here | settings(self.upstream, self.data)

    def answers(self) -> bool:
        try:
            return b"Query" in self.ask("{ __typename }")
        except (OSError, HTTPException):
            return False

    def ask(self, query: str) -> bytes:
        return self.request("POST", self.path(query), orjson.dumps({"query": query}))

    def path(self, query: str) -> str:
        """Where it is asked."""
        return "/graphql"


class Plain(Peer):
    """Our resolvers under Strawberry over aiohttp, out of the box."""

    name = "plain"

    def arguments(self) -> list[str]:
        return ["-m", "bench.plain", self.name]


class Tuned(Plain):
    """The same with uvloop, parser and validation caches, orjson, and what stays kept from the collector."""

    name = "tuned"


class Unbatched(Plain):
    """The same again, but its loaders ask for one key at a time, and for each as often as it is wanted."""

    name = "unbatched"


class Switchboard(Peer):
    """`switchboard serve` as in production, with its lines of JSON in a file."""

    name = "switchboard"

    def arguments(self) -> list[str]:
        return ["-m", "bench.serving", "shared", "serve"]


class Unshared(Switchboard):
    """The same, but identical calls in flight stay calls of their own, as they do in the peers before."""

    name = "switchboard, unshared"

    def arguments(self) -> list[str]:
        return ["-m", "bench.serving", "unshared", "serve"]


PEERS: tuple[type[Peer], ...] = (Plain, Tuned, Unshared, Switchboard)


def settings(upstream: str, data: Path) -> dict[str, str]:
    """The gateway's, with patience; nothing is refreshed, or spared, while it is measured."""
    return {
        "SWITCHBOARD_DATA_DIR": str(data),
        "SWITCHBOARD_DIRECTORY_INTERVAL": "0",
        "SWITCHBOARD_LOG_FORMAT": "json",
        "SWITCHBOARD_TIMEOUT": "60",
        "SWITCHBOARD_MERCATELY__URL": upstream,
        "SWITCHBOARD_MERCATELY__TIMEOUT": "60",
        "SWITCHBOARD_MERCATELY__CACHE": "0",
        "SWITCHBOARD_MERCATELY__CACHE_LISTS": "0",
        "SWITCHBOARD_MERCATELY__SLUG": "bench",
        "SWITCHBOARD_MERCATELY__API_KEY": "bench",
        "SWITCHBOARD_POSTER__URL": upstream,
        "SWITCHBOARD_POSTER__CACHE": "0",
        "SWITCHBOARD_POSTER__TOKEN": "bench",
    }


@contextmanager
def synced(upstream: str) -> Iterator[Path]:
    """A data directory whose database knows everybody whom the stub does."""
    with TemporaryDirectory(prefix="switchboard-bench-") as name:
        data = Path(name)
        sync = python(SERVER_CORE, data, ["-m", "gateway.cli", "sync"], settings(upstream, data))
        subprocess.run(sync, stdout=subprocess.DEVNULL, check=True)
        yield data


@contextmanager
def running(kind: Callable[..., S], *arguments: object) -> Iterator[S]:
    """The server, for as long as the block lasts."""
    with TemporaryDirectory(prefix="switchboard-bench-") as directory:
        server = kind(Path(directory), *arguments)
        server.start()
        try:
            yield server
        finally:
            server.stop()
