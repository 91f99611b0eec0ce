"""`python -m bench.hostile`: how long others wait while one caller sends what is made to hurt.

The requests are those of the suite, which counts what each costs the processor; here the clock counts.
"""

import asyncio
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated
from urllib.parse import urlsplit

import typer
from aiohttp import ClientSession, TCPConnector

from bench.process import gateway
from bench.report import machine
from tests.gateway.test_limits_hostile import DEAR, HOSTILE, JSON

BOUND = 0.05
"""Seconds that the slowest but one of a hundred probes may take."""
PAUSE = 0.1
"""Seconds from one hostile request to the next: one at a time is what is measured, not a flood."""
PROBE = json.dumps({"query": "{ __typename }"})
REQUESTS = {name: (body, headers) for name, (body, headers, *_) in HOSTILE.items()} | {
    name: (body, JSON) for name, body in DEAR.items()
}


def probe(url: str, seconds: float) -> None:
    """In a process of its own: what it measures is not how busy the attacker is."""
    took, end = list[float](), time.perf_counter() + seconds
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    while time.perf_counter() < end:
        for method, path, body in (("GET", "/health/live", None), ("POST", "/graphql", PROBE)):
            began = time.perf_counter()
            connection.request(method, path, body, JSON)
            connection.getresponse().read()
            took.append(time.perf_counter() - began)
        time.sleep(0.002)
    connection.close()
    sys.stdout.write(json.dumps(took))


async def beside(url: str, body: bytes, headers: Mapping[str, str], seconds: float) -> tuple[float, ...]:
    """Seconds that a hostile request took, and p50, p99 and the longest of the probes; no document twice."""
    command = [sys.executable, "-m", "bench.hostile", "probe", url, str(seconds)]
    probing = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    told = asyncio.create_task(probing.communicate())
    took, number = list[float](), 0
    async with ClientSession(connector=TCPConnector(force_close=True)) as session:
        while not told.done():
            number += 1
            another = body.replace(b'{"query": "', b'{"query": "#%d\\n' % number)
            began = time.perf_counter()
            async with session.post(f"{url}/graphql", data=another, headers=headers) as response:
                await response.read()
            took.append(time.perf_counter() - began)
            await asyncio.sleep(PAUSE)
    probes: list[float] = json.loads((await told)[0])
    return median(took), median(probes), quantiles(probes, n=100)[98], max(probes)


async def measure(url: str, names: Iterable[str], seconds: float) -> bool:
    holds = True
    for name in names:
        body, headers = REQUESTS[name]
        answered, p50, p99, longest = (1000 * each for each in await beside(url, body, headers, seconds))
        fine = p99 <= 1000 * BOUND
        holds = holds and fine
        verdict = "" if fine else "NO"
        typer.echo(f"| {name} | {answered:.0f} | {p50:.1f} | {p99:.1f} | {longest:.0f} | {verdict} |")
    return holds


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Of the suite's; all, if none is named.")] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each of them.")] = 3,
) -> None:
    """Leaves with status 1 when a bound does not hold."""
    typer.echo(f"{machine()}\n\n| milliseconds beside | answered | probes, p50 | p99 | longest | |")
    typer.echo("|---|---:|---:|---:|---:|---|")
    with (
        tempfile.TemporaryDirectory(prefix="switchboard-bench-") as name,
        gateway(Path(name), {"log_level": "error"}) as served,
    ):
        fine = asyncio.run(measure(served.url, names or REQUESTS, seconds))
    raise typer.Exit(0 if fine else 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["probe"]:
        probe(sys.argv[2], float(sys.argv[3]))
    else:
        typer.run(main)
