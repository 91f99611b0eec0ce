"""`python -m bench.person`: one person whom three sources know, two of them slow: are they asked at once?"""

import asyncio
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import orjson
import typer

from adapters.storage.client import open_storage
from bench.report import machine
from bench.servers import Switchboard, Upstream, running, synced
from bench.stub import phone

MERCATELY, POSTER = 80, 120
"""Milliseconds until they answer."""
MARGIN = 30
"""Milliseconds that the rest may take: of one after the other it would be too little."""
SOURCES = ["EVERYPRINT", "MERCATELY", "POSTER"]
PERSON = "sources firstName messengerId whatsappName birthday"
QUERY = f'{{ customer(by: {{phone: "{phone(1)}"}}) {{ {PERSON} }} }}'


def main(requests: Annotated[int, typer.Option(min=2)] = 200) -> None:
    """Leaves with status 1 when they are not."""
    typer.echo(machine())
    with (
        running(Upstream, MERCATELY, POSTER) as stub,
        synced(stub.url) as data,
    ):
        asyncio.run(introduce(data))
        with running(Switchboard, stub.url, data) as peer:
            assert orjson.loads(peer.ask(QUERY))["data"]["customer"]["sources"] == SOURCES
            calls, took = stub.count, [elapsed(peer) for _ in range(requests)]
            calls = stub.count - calls
    p50, p99, slowest = median(took), quantiles(took, n=100)[-1], max(MERCATELY, POSTER)
    fine = slowest <= p50 <= slowest + MARGIN and calls == 2 * requests
    typer.echo(
        f"{requests} requests, {calls / requests:.2f} calls each to sources that answer after {MERCATELY} "
        f"and {POSTER} ms: p50 {p50:.1f} ms, p99 {p99:.1f} ms; {slowest} to {slowest + MARGIN} ms "
        f"{'holds' if fine else 'DOES NOT HOLD'}."
    )
    raise typer.Exit(0 if fine else 1)


async def introduce(data: Path) -> None:
    """The person to everyprint, our own tables."""
    async with open_storage(f"sqlite+aiosqlite:///{data / 'switchboard.db'}") as storage:
        await storage.everyprint.save_customer("2418804713350926", "Quishpe", phone_e164=phone(1))


def elapsed(peer: Switchboard) -> float:
    """Milliseconds of one request, on a connection of its own."""
    started = time.perf_counter()
    peer.ask(QUERY)
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    typer.run(main)
