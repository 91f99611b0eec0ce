"""`python -m bench.messages`: what sendMessage costs on MariaDB, beside a mutation that does nothing."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import psutil
import strawberry
import typer
from aiohttp import ClientSession, TCPConnector

from adapters.hyber.sandbox import ALPHA_NAME
from bench.report import machine
from schema.messages import Message, MessageStatus, Recipient, SendMessageInput
from tests.services import Mariadb

GOAL = 0.6
FLAT = 8
"""MiB that a process may grow by over a long run."""
FEW, MANY = 16, 64
"""Connections: those who come at about the same time go together in one transaction."""
IDLE = 0.05
"""Of its time that a process is busy which has nothing more to do."""
REPORTS = {"SWITCHBOARD_REPORTS_SECRET": "OfThisBenchmarkOnly"}
SWITCHBOARD = [sys.executable, "-m", "gateway.cli"]
SAID = """(input: {to: {phone: "+593990009102"}, content: {sms: {text: "Your cards are ready"}}}) {
  id status
}"""
NOTHING, SEND = ({"query": f"mutation {{ {field}{SAID} }}"} for field in ("nothing", "sendMessage"))

NOTHING_SENT = Message(
    id=strawberry.ID("TWVzc2FnZTowOjE="),
    template_id=None,
    broadcast_id=None,
    recipient=Recipient(phone=None, messenger_id=None),
    channels=[],
    channel=None,
    status=MessageStatus.SUBMITTED,
    text=None,
    failure=None,
    tag=None,
    created_at=datetime.now(UTC),
    send_at=None,
    history=[],
)


@contextmanager
def sandboxes() -> Iterator[dict[str, str]]:
    """The vendors, in a process of their own; the settings that lead there."""
    with subprocess.Popen([*SWITCHBOARD, "sandbox"], stdout=subprocess.PIPE, text=True) as process:
        settings = {}
        assert process.stdout
        for line in process.stdout:
            name, _, value = line.strip().partition("=")
            settings[name] = value
            if name == "SWITCHBOARD_CHATFUEL__TOKEN":
                break
        try:
            yield settings
        finally:
            process.terminate()


@contextmanager
def server(settings: dict[str, str]) -> Iterator[tuple[str, psutil.Process]]:
    settings = settings | {
        "SWITCHBOARD_SANDBOX": "off",
        "SWITCHBOARD_PORT": "0",
        "SWITCHBOARD_DIRECTORY_INTERVAL": "0",
        "SWITCHBOARD_LOG_LEVEL": "warning",
        "SWITCHBOARD_HYBER__ALPHA_NAME": ALPHA_NAME,
    }
    command = [sys.executable, "-m", "bench.messages", "serve"]
    with subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True) as process:
        url = ""
        assert process.stdout
        for line in process.stdout:
            if "explorer" in line:
                url = line.split()[-1]
            if "Ctrl-C" in line:
                break
        try:
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()


async def per_cpu_second(
    url: str, process: psutil.Process, body: dict[str, str], connections: int, requests: int
) -> float:
    """Requests that the server answers in a second of its processor time, all that it does for them done."""
    left = iter(range(requests))

    async def ask(session: ClientSession) -> None:
        for _ in left:
            async with session.post(url, json=body) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
                assert "errors" not in answer, answer

    before = process.cpu_times()
    async with ClientSession(connector=TCPConnector(limit=connections)) as session:
        await asyncio.gather(*(ask(session) for _ in range(connections)))
    await asyncio.sleep(1)  # that is when it asks what became of the first
    while (busy := process.cpu_percent(interval=0.5) / 100) > IDLE:
        typer.echo(f"... still at work, {busy:.0%} of a core", err=True)
    after = process.cpu_times()
    spent: float = after.user + after.system - before.user - before.system
    return requests / spent


async def grow(url: str, process: psutil.Process, requests: int) -> float:
    """The MiB by which it has grown after so many messages, of which the first sixth warms up."""
    sizes = list[float]()
    for _ in range(6):
        await per_cpu_second(url, process, SEND, MANY, requests // 6)
        sizes.append(process.memory_info().rss / 2**20)
    typer.echo(f"\nRSS over {requests} messages, MiB: {' '.join(f'{size:.0f}' for size in sizes)}")
    return sizes[-1] - sizes[0]


async def compare(
    title: str, url: str, process: psutil.Process, requests: int, rounds: int
) -> dict[int, float]:
    """The shares, by connections."""
    typer.echo(f"\n{title}\n")
    typer.echo("| connections | nothing, per CPU second | sendMessage | share | RSS MiB |")
    typer.echo("|---:|---:|---:|---:|---:|")
    shares = {}
    for connections in (FEW, MANY):
        seen = []
        for _ in range(rounds + 1):  # the first warms up
            nothing = await per_cpu_second(url, process, NOTHING, connections, requests * 3)
            send = await per_cpu_second(url, process, SEND, connections, requests)
            seen.append((nothing, send, send / nothing, process.memory_info().rss / 2**20))
        nothings, sends, each, rss = zip(*seen[1:], strict=True)
        shares[connections] = median(each)
        typer.echo(
            f"| {connections} | {median(nothings):.0f} | {median(sends):.0f} |"
            f" {median(each):.2f} [{min(each):.2f}-{max(each):.2f}] | {rss[0]:.0f} -> {rss[-1]:.0f} |"
        )
    return shares


def main(requests: Annotated[int, typer.Option(min=1)] = 2_000, rounds: int = 5, many: int = 30_000) -> None:
    """Leaves with status 1 below the goal, or where the memory grows.

    The goal is that of a server which leaves the sending to workers, and of one that sends; what it costs to
    ask what became of each besides is shown beside them.
    """
    typer.echo(f"{machine()} {rounds} alternating rounds of {requests} messages.")
    with tempfile.TemporaryDirectory() as folder:
        mariadb = Mariadb(Path(folder))
        mariadb.start()
        try:
            database = mariadb.database("messages")
            migrated = os.environ | {"SWITCHBOARD_DATABASE_URL": database}
            subprocess.run([*SWITCHBOARD, "migrate"], env=migrated, check=True, stdout=subprocess.DEVNULL)
            with sandboxes() as sources:
                settings = sources | REPORTS | {"SWITCHBOARD_DATABASE_URL": database}
                with server(settings) as (told, _):
                    elsewhere = settings | {"SWITCHBOARD_PUBLIC_URL": told.rstrip("/")}
                    with server(elsewhere | {"SWITCHBOARD_SENDING": "off"}) as (url, serving):
                        title = "A server beside workers: it writes down what they send."
                        shares = asyncio.run(compare(title, url, serving, requests, rounds))
                    with server(elsewhere | {"SWITCHBOARD_SENDING": "own"}) as (url, sending):
                        title = "One that sends what it is asked to; another one hears the reports."
                        sent = asyncio.run(compare(title, url, sending, requests, rounds))
                        grown = asyncio.run(grow(url, sending, many))
                with server(settings) as (url, process):
                    title = "One process, which also asks Hyber a second later what became of each."
                    asyncio.run(compare(title, url, process, requests, rounds))
        finally:
            mariadb.stop()
    held = min(*shares.values(), *sent.values()) >= GOAL and grown <= FLAT
    for title, each in (("Beside workers", shares), ("Sending itself", sent)):
        typer.echo(f"\n{title}: {min(each.values()):.2f} at the least, the goal is {GOAL}.")
    typer.echo(f"Memory: {grown:+.1f} MiB, the goal is at most {FLAT}.")
    raise typer.Exit(0 if held else 1)


def serve() -> None:
    """The gateway, with a mutation besides that is asked and answers as sendMessage, and does nothing."""
    from gateway import app
    from gateway.cli import main as command
    from gateway.graph import Graph
    from resolvers.changes import Change
    from resolvers.mutation import Mutation
    from resolvers.query import Query

    async def do_nothing(input: SendMessageInput) -> Message:
        return NOTHING_SENT

    @strawberry.type(name="Mutation")
    class WithNothing(Mutation):
        nothing = strawberry.mutation(resolver=do_nothing, extensions=[Change()])

    vars(app)["build_graph"] = lambda _: Graph(query=Query, mutation=WithNothing)
    sys.argv[1:] = ["serve"]
    command()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        typer.run(main)
