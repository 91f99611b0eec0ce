"""Load: one window of requests by wrk, and what the server spent on it."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import msgspec
import orjson

from bench.peers import LOAD_CORE, Peer, Upstream, pinned
from tests.services import WRK, path_of

SCRIPT = Path(__file__).with_name("wrk.lua")
LEAST = 12
"""Requests a connection that a window must complete: those that its end cuts off must not count."""
SETTLE = 0.05
"""Seconds for what is under way at the end of a window to be over too."""


class Faults(Exception):
    """Requests were refused, broken off or late, or answers were not the one expected."""


class Findings(msgspec.Struct):
    """What wrk.lua reports; the percentiles in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    faults: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


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


def measure(peer: Peer, stub: Upstream, query: str, levels: Sequence[int], seconds: int) -> list[Window]:
    """A window for each number of connections, after one to warm up at the highest."""
    rss_at_start = peer.rss
    body, expected = orjson.dumps({"query": query}), peer.ask(query)
    url = f"{peer.url}/graphql"
    pace = wrk(url, max(levels), 1, body, expected).rate
    windows = []
    for connections in levels:
        length = max(seconds, ceil(LEAST * connections / pace))
        time.sleep(SETTLE)
        cpu, calls = peer.cpu, stub.count
        findings = wrk(url, connections, length, body, expected)
        time.sleep(SETTLE)
        windows.append(Window(findings, peer.cpu - cpu, stub.count - calls, rss_at_start, peer.rss))
        if findings.faults:
            raise Faults(f"{peer.name}: {findings.faults} of {findings.requests} requests went wrong")
    return windows


def limit(stub: Upstream, path: str) -> Findings:
    """How much the stub can answer, on the core that it shares with wrk."""
    return wrk(stub.url + path, 16, 1)


def wrk(url: str, connections: int, seconds: int, body: bytes = b"", expected: bytes = b"") -> Findings:
    """POSTs the body, or GETs when there is none, and compares every answer with the expected one."""
    options = ["-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "20", "-s", str(SCRIPT), url]
    done = subprocess.run(
        pinned(LOAD_CORE, path_of(WRK), *options),
        env={"BENCH_BODY": body.decode(), "BENCH_ANSWER": expected.decode()},
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Findings)
