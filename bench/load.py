"""Load: so many requests by wrk, and what the server spent on them."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from signal import SIGINT
from tempfile import NamedTemporaryFile

import msgspec
import orjson

from bench.servers import LOAD_CORE, Peer, Upstream, pinned
from tests.services import WRK, path_of

SCRIPT = Path(__file__).with_name("wrk.lua")
WARMING = 32
"""Requests of each of the two small windows before; the second says how long the others have to be."""
TICK = 0.01
"""Seconds, in which the kernel counts processor time."""
LONGEST = 300
"""Seconds, after which answers that still did not come are faults."""

Exchanges = Sequence[tuple[str, bytes]]
"""What is asked, in turns, and the answer to it."""


class Faults(Exception):
    """Requests were refused, broken off or late, or answers were not the one expected."""


class Findings(msgspec.Struct):
    """What wrk.lua reports; the percentiles in milliseconds."""

    requests: int
    p50: float
    p99: float
    faults: int


@dataclass(frozen=True, slots=True)
class Window:
    findings: Findings
    cpu: float
    calls: int
    rss_at_start: float
    rss: float

    @property
    def per_cpu_second(self) -> float:
        return self.findings.requests / self.cpu

    @property
    def calls_per_request(self) -> float:
        return self.calls / self.findings.requests


def measure(
    peer: Peer, stub: Upstream, query: str, levels: Sequence[int], seconds: float, warming: float = 0
) -> list[Window]:
    """A window of about so much processor time for each number of connections, the server once warm.

    Some need more to get warm than a few requests: so much processor time, about.
    """
    rss_at_start = peer.rss
    exchanges = [(query, peer.ask(query))]
    for _ in range(2):
        cpu = peer.cpu
        load(peer, exchanges, max(levels), WARMING)
    per_second = WARMING / max(peer.cpu - cpu, TICK)
    if warming:
        cpu = peer.cpu
        load(peer, exchanges, max(levels), requests := ceil(per_second * warming))
        per_second = requests / max(peer.cpu - cpu, TICK)
    enough = ceil(per_second * seconds)
    windows = []
    for connections in levels:
        cpu, calls = peer.cpu, stub.count
        findings = load(peer, exchanges, connections, max(enough, 2 * connections))
        windows.append(Window(findings, peer.cpu - cpu, stub.count - calls, rss_at_start, peer.rss))
    return windows


def load(peer: Peer, exchanges: Exchanges, connections: int, requests: int) -> Findings:
    """Every request is answered before wrk ends, so that no work is done for requests that do not count."""
    options = ["-t1", f"-c{connections}", f"-d{LONGEST}", "--timeout", "60", "-s", str(SCRIPT)]
    command = pinned(LOAD_CORE, path_of(WRK), *options, peer.url + peer.path(exchanges[0][0]))
    with (
        _written(exchanges) as path,
        subprocess.Popen(
            command,
            env={"BENCH_EXCHANGES": str(path), "BENCH_REQUESTS": str(requests)},
            stdout=subprocess.PIPE,
        ) as wrk,
    ):
        line = b""
        for line in wrk.stdout or ():
            if line == b"enough\n":
                wrk.send_signal(SIGINT)
    findings = msgspec.json.decode(line, type=Findings)
    if findings.faults or findings.requests != requests:
        raise Faults(f"{peer.name}: {findings.requests} of {requests} answers, {findings.faults} wrong")
    return findings


@contextmanager
def _written(exchanges: Exchanges) -> Iterator[Path]:
    """Neither bodies nor answers have zero bytes."""
    with NamedTemporaryFile(prefix="switchboard-bench-") as file:
        for query, answer in exchanges:
            file.write(b"%s\0%s\0" % (orjson.dumps({"query": query}), answer))
        file.flush()
        yield Path(file.name)
