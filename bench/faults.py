"""`python -m bench.faults`: what a source costs that is dead, hangs, or comes back."""

import asyncio
import os
import sys
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from aiohttp import ClientSession, TCPConnector

from adapters.mercately.sandbox import MercatelySandbox
from adapters.poster.sandbox import PosterSandbox
from adapters.sandbox import Sandbox
from bench.report import machine
from tests.gateways import free_port

ADDED = 5.0
"""Milliseconds at most that a dead source may add."""
DEADLINE, PROBE = 3.0, 1.0
"""Seconds: the defaults of the settings."""
TENTH = 1.1
CONNECTIONS = 64
WELL, BOTH = "{ groups { id } }", "{ groups { id } agents { id } }"

Answer = dict[str, Any]


class Bench:
    def __init__(self, url: str, session: ClientSession, mercately: MercatelySandbox) -> None:
        self._url = url
        self._session = session
        self.mercately = mercately
        self.fine = True

    async def ask(self, query: str) -> tuple[float, Answer]:
        """Seconds, and the answer."""
        started = time.perf_counter()
        async with self._session.post(f"{self._url}/graphql", json={"query": query}) as response:
            answer: Answer = await response.json(content_type=None)
        return time.perf_counter() - started, answer

    async def circuit(self) -> str:
        _, answer = await self.ask("{ sources { source circuit } }")
        states: dict[str, str] = {each["source"]: each["circuit"] for each in answer["data"]["sources"]}
        return states["MERCATELY"]

    def say(self, holds: bool, sentence: str) -> None:
        self.fine &= holds
        typer.echo(f"{sentence} {'holds' if holds else 'DOES NOT HOLD'}.")

    async def opened(self) -> None:
        while await self.circuit() == "CLOSED":
            await asyncio.gather(
                *(self.ask(f"{{ conversations(first: {n}) {{ totalCount }} }}") for n in range(1, 6))
            )

    async def recovered(self) -> float:
        """Seconds until the first answer without an error."""
        started = time.perf_counter()
        while "errors" in (await self.ask(BOTH))[1]:
            pass
        return time.perf_counter() - started

    async def dead(
        self, requests: int, name: str, break_it: Callable[[], Any], mend: Callable[[], Any]
    ) -> None:
        """In turns with a query that does without it."""
        await _maybe(break_it())
        await self.opened()
        without, with_it = list[float](), list[float]()
        for _ in range(requests):
            without.append((await self.ask(WELL))[0] * 1000)
            took, answer = await self.ask(BOTH)
            assert answer["data"]["groups"], answer
            assert answer["errors"][0]["extensions"]["code"].startswith("SOURCE_"), answer
            with_it.append(took * 1000)
        added = median(with_it) - median(without)
        added_at_99 = quantiles(with_it, n=100)[-1] - quantiles(without, n=100)[-1]
        await _maybe(mend())
        back = await self.recovered()
        self.say(
            added < ADDED and back <= PROBE * TENTH,
            f"{name}: {requests} queries take {median(without):.2f} ms without it, it adds {added:+.2f} ms "
            f"at p50, {added_at_99:+.2f} ms at p99; back after {back:.2f} s; under {ADDED:.0f} ms and within "
            f"{PROBE:.0f} s",
        )

    async def hanging(self, seconds: float) -> None:
        self.mercately.trouble("hang")
        end, took = time.perf_counter() + seconds, list[float]()

        async def client() -> None:
            while time.perf_counter() < end:
                elapsed, answer = await self.ask(BOTH)
                assert answer["data"]["groups"], answer
                took.append(elapsed)

        await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
        held = sum(elapsed > DEADLINE / 10 for elapsed in took)
        self.mercately.heal()
        back = await self.recovered()
        self.say(
            max(took) <= DEADLINE * TENTH and back <= PROBE * TENTH,
            f"hanging: {len(took)} queries over {CONNECTIONS} connections in {seconds:.0f} s, {held} of them "
            f"held, the longest for {max(took):.2f} s; p50 {median(took) * 1000:.1f} ms; back after "
            f"{back:.2f} s; within {DEADLINE:.0f} s + 10 % and {PROBE:.0f} s",
        )


async def _maybe(result: Any) -> None:
    if asyncio.iscoroutine(result):
        await result


@asynccontextmanager
async def serving(mercately: Sandbox, poster: Sandbox, directory: Path) -> AsyncIterator[str]:
    """`switchboard serve`, keeping nothing: an answer that is kept would cost nothing."""
    with free_port() as port:
        number = port.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHBOARD_")}
    for source in (mercately, poster):
        env |= {
            f"SWITCHBOARD_{source.name}__{name}".upper(): value for name, value in source.settings.items()
        }
        env |= {f"SWITCHBOARD_{source.name}__{name}".upper(): "0" for name in ("cache", "stale")}
    env |= {
        "SWITCHBOARD_MERCATELY__CACHE_LISTS": "0",
        "SWITCHBOARD_PORT": str(number),
        "SWITCHBOARD_DATA_DIR": str(directory / "data"),
        "SWITCHBOARD_DIRECTORY_INTERVAL": "0",
        "SWITCHBOARD_LOG_LEVEL": "error",
    }
    command = (sys.executable, "-m", "gateway.cli", "serve")
    process = await asyncio.create_subprocess_exec(
        *command, env=env, cwd=directory, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{number}"
    finally:
        process.terminate()
        await process.wait()


async def answering(url: str, session: ClientSession) -> None:
    for _ in range(600):
        try:
            async with session.get(f"{url}/health/ready") as response:
                if response.status == 200:
                    return
        except OSError:
            pass
        await asyncio.sleep(0.1)
    raise TimeoutError("The gateway did not start within a minute.")


async def measure(requests: int, seconds: float) -> bool:
    with TemporaryDirectory(prefix="switchboard-bench-") as name:
        async with (
            MercatelySandbox() as mercately,
            PosterSandbox() as poster,
            ClientSession(connector=TCPConnector(limit=CONNECTIONS)) as session,
            serving(mercately, poster, Path(name)) as url,
        ):
            await answering(url, session)
            bench = Bench(url, session, mercately)
            for _ in range(50):  # warm
                await bench.ask(BOTH)
            port = int(mercately.url.rpartition(":")[2])
            await bench.dead(
                requests, "refusing connections", mercately.stop, lambda: mercately.start(port=port)
            )
            await bench.dead(
                requests, "failing", lambda: mercately.trouble("status", status=503), mercately.heal
            )
            await bench.dead(requests, "resetting", lambda: mercately.trouble("reset"), mercately.heal)
            await bench.hanging(seconds)
            return bench.fine


def main(
    requests: Annotated[int, typer.Option(min=2, help="Of each kind, in turns.")] = 1_000,
    seconds: Annotated[float, typer.Option(help="For which it hangs.")] = 12.0,
) -> None:
    """Leaves with status 1 when something does not hold."""
    typer.echo(machine())
    raise typer.Exit(0 if asyncio.run(measure(requests, seconds)) else 1)


if __name__ == "__main__":
    typer.run(main)
