"""Peers: the servers that are compared, each a process on a core of its own."""

import os
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
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


class Process(Service):
    """One of our Python processes: it sees nothing of this shell's environment, nor of anybody's .env."""

    core = SERVER_CORE

    @abstractmethod
    def arguments(self) -> list[str]:
        """What Python is to run."""

    def environment(self) -> Mapping[str, str]:
        return {}

    def command(self) -> list[str]:
        variables = {"PYTHONPATH": str(ROOT), **self.environment()}
        given = [f"{name}={value}" for name, value in variables.items()]
        env = [path_of(ENV), "-i", "-C", str(self.directory), *given]
        return [*env, *pinned(self.core, sys.executable, *self.arguments())]

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

    def arguments(self) -> list[str]:
        return ["-m", "bench.stub", str(self.port)]

    def answers(self) -> bool:
        try:
            return self.count >= 0
        except (OSError, HTTPException):
            return False

    @property
    def count(self) -> int:
        return int(self.request("GET", "/_count"))


class Peer(Process):
    name: ClassVar[str]

    def __init__(self, directory: Path, upstream: str) -> None:
        super().__init__(directory)
        self.upstream = upstream

    def answers(self) -> bool:
        try:
            return b"Query" in self.ask("{ __typename }")
        except (OSError, HTTPException):
            return False

    def ask(self, query: str) -> bytes:
        return self.request("POST", "/graphql", orjson.dumps({"query": query}))


class Plain(Peer):
    """Strawberry over aiohttp, out of the box."""

    name = "plain"

    def arguments(self) -> list[str]:
        return ["-m", "bench.plain", str(self.port), self.upstream, self.name]


class Tuned(Plain):
    """The same with uvloop, parser and validation caches, msgspec in and orjson out."""

    name = "tuned"


class Switchboard(Peer):
    """`switchboard serve` as in production, with its lines of JSON in a file."""

    name = "switchboard"

    def arguments(self) -> list[str]:
        return ["-m", "gateway.cli", "serve"]

    def environment(self) -> Mapping[str, str]:
        return {
            "SWITCHBOARD_HOST": self.host,
            "SWITCHBOARD_PORT": str(self.port),
            "SWITCHBOARD_DATA_DIR": str(self.directory),
            "SWITCHBOARD_LOG_FORMAT": "json",
            "SWITCHBOARD_DIRECTORY_INTERVAL": "0",
            "SWITCHBOARD_MERCATELY__URL": self.upstream,
            "SWITCHBOARD_MERCATELY__SLUG": "bench",
            "SWITCHBOARD_MERCATELY__API_KEY": "bench",
        }


class Unshared(Switchboard):
    """The same, but identical calls in flight stay calls of their own."""

    name = "switchboard, unshared"

    def arguments(self) -> list[str]:
        return ["-m", "bench.unshared", "serve"]


PEERS: tuple[type[Peer], ...] = (Plain, Tuned, Unshared, Switchboard)


@contextmanager
def running(kind: Callable[..., S], *arguments: str) -> Iterator[S]:
    """The server, for as long as the block lasts."""
    with TemporaryDirectory(prefix="switchboard-bench-") as directory:
        server = kind(Path(directory), *arguments)
        server.start()
        try:
            yield server
        finally:
            server.stop()
