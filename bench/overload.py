"""`python -m bench.overload`: a gateway that is offered several times what it can do.

What is too much is refused at once, health is told all the while, memory stays, and as much is done as ever.
"""

import asyncio
import http.client
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Annotated
from urllib.parse import urlsplit

import typer
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from bench.process import Gateway, gateway
from bench.report import machine

TIMES = 4
"""How many times as much is offered as is done at best."""
FEW, MANY = 16, 800
"""Connections: at which it does its best, and over which too much arrives."""
REFUSED, HEALTH = 1.5, 0.5
"""Seconds of the slowest but one of a hundred refusals, some of whom waited a second for their turn, and
answers of health."""
GROWTH = 96
"""MiB."""
KEPT = 0.5
"""Of its best: each refusal costs a little, too, and three of four requests are refused."""
PROBE = 0.05
PATHS = "/health/live", "/health/ready"
BODY = {
    "query": """{ customers(first: 50) {
      edges { node { firstName lastName phone email groups { name } balance { amount } } } } }"""
}


@dataclass
class Seen:
    done: int = 0
    seconds: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By status."""
    wrong: Counter[str] = field(default_factory=Counter)

    async def ask(self, session: ClientSession, url: str) -> None:
        began = time.perf_counter()
        try:
            async with session.post(f"{url}/graphql", json=BODY) as response:
                said = await response.json(content_type=None)
        except (ClientError, TimeoutError, ValueError) as error:
            self.wrong[type(error).__name__] += 1
            return
        self.seconds[response.status].append(time.perf_counter() - began)
        codes = {error["extensions"]["code"] for error in said.get("errors", ())}
        if response.status == 200 and not codes:
            self.done += 1
        elif response.status == 503 and (
            codes != {"RATE_LIMITED"} or not response.headers.get("Retry-After")
        ):
            self.wrong[f"503 {codes} without Retry-After"] += 1
        elif response.status not in (200, 503) or "INTERNAL" in codes:
            self.wrong[f"{response.status} {codes}"] += 1


async def at_best(url: str, seconds: float) -> float:
    """Answers a second."""
    seen, end = Seen(), time.perf_counter() + seconds

    async def client(session: ClientSession) -> None:
        while time.perf_counter() < end:
            await seen.ask(session, url)

    async with ClientSession(connector=TCPConnector(limit=FEW)) as session:
        await asyncio.gather(*(client(session) for _ in range(FEW)))
    return seen.done / seconds


async def too_much(url: str, rate: float, seconds: float) -> Seen:
    """They come when they come, whether those before them were answered or not."""
    seen, began, asking = Seen(), time.perf_counter(), set[asyncio.Task[None]]()
    due = began
    connector = TCPConnector(limit=MANY, keepalive_timeout=60)
    async with ClientSession(connector=connector, timeout=ClientTimeout(total=30)) as session:
        while (now := time.perf_counter()) < began + seconds:
            while due < now and len(asking) < MANY:
                due += random.expovariate(rate)
                task = asyncio.create_task(seen.ask(session, url))
                asking.add(task)
                task.add_done_callback(asking.discard)
            await asyncio.sleep(0.002)
        in_time = seen.done
        await asyncio.gather(*asking)
    seen.done = in_time
    return seen


def probe(url: str, seconds: float) -> None:
    """In a process of its own: what it measures is not how busy those are who ask."""
    taken, end = defaultdict[str, list[float]](list), time.perf_counter() + seconds
    while time.perf_counter() < end:
        for path in PATHS:
            began = time.perf_counter()
            taken[f"{path}{_unwell(url, path)}"].append(time.perf_counter() - began)
        time.sleep(PROBE)
    sys.stdout.write(json.dumps(taken))


def _unwell(url: str, path: str) -> str:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except OSError as error:
        return f", {type(error).__name__}"
    finally:
        connection.close()
    return "" if status == 200 else f", {status}"


async def measure(served: Gateway, seconds: float) -> bool:
    await at_best(served.url, min(seconds, 2))  # warm
    best = await at_best(served.url, seconds)
    before = most = served.process.memory_info().rss / 2**20
    command = [sys.executable, "-m", "bench.overload", "probe", served.url, str(seconds)]
    probing = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    offering = asyncio.create_task(too_much(served.url, best * TIMES, seconds))
    while not offering.done():
        most = max(most, served.process.memory_info().rss / 2**20)
        await asyncio.sleep(0.1)
    seen, (told, _) = await offering, await probing.communicate()
    health: dict[str, list[float]] = json.loads(told)
    offered = sum(map(len, seen.seconds.values())) / seconds
    refused = seen.seconds.get(503, [])
    rows = [
        ("at its best, answers/s", f"{best:.0f}", True),
        ("offered, requests/s", f"{offered:.0f}", bool(refused)),
        ("done, answers/s", f"{seen.done / seconds:.0f}", seen.done / seconds >= best * KEPT),
        ("answers, p50, p99", _percentiles(seen.seconds[200]), True),
        (f"{len(refused):,} refusals, p50, p99", _percentiles(refused), _p99(refused) <= REFUSED),
        *(
            (f"{path}, p50, p99", _percentiles(took), path in PATHS and _p99(took) <= HEALTH)
            for path, took in health.items()
        ),
        ("memory, MiB", f"{before:.0f} -> {most:.0f} at most", most - before <= GROWTH),
        ("anything else", str(dict(seen.wrong) or "nothing"), not seen.wrong),
    ]
    typer.echo("| what | how much | |\n|---|---|---|")
    for what, how_much, holds in rows:
        typer.echo(f"| {what} | {how_much} | {'' if holds else 'NO'} |")
    return all(holds for *_, holds in rows)


def _p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[98] if len(seconds) > 1 else float("inf")


def _percentiles(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return "too few"
    cuts = quantiles(seconds, n=100)
    return f"{cuts[49] * 1000:.0f}, {cuts[98] * 1000:.0f} ms"


def main(seconds: Annotated[float, typer.Option(min=0.5, help="Of each kind of load.")] = 20) -> None:
    """Leaves with status 1 when a bound does not hold."""
    typer.echo(f"{machine()}\n")
    with tempfile.TemporaryDirectory(prefix="switchboard-bench-") as name:
        settings = {"sandbox": "off", "log_level": "error", "directory_interval": "1"}
        with gateway(Path(name), settings) as served:
            fine = asyncio.run(measure(served, seconds))
            log = served.log.read_text()
    if log:
        typer.echo(f"\nIn its log:\n{log[:3000]}")
    raise typer.Exit(0 if fine and not log else 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["probe"]:
        probe(sys.argv[2], float(sys.argv[3]))
    else:
        typer.run(main)
