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
FEW, MANY = 16, 64
"""Connections: those who come while the ledger is written go together in the next transaction."""
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
    await asyncio.sleep(1)
    after = process.cpu_times()
    spent: float = after.user + after.system - before.user - before.system
    return requests / spent


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


def main(requests: Annotated[int, typer.Option(min=1)] = 2_000, rounds: int = 5) -> None:
    """Leaves with status 1 below the goal."""
    typer.echo(f"{machine()} {rounds} alternating rounds of {requests} messages.")
    shares = list[float]()
    with tempfile.TemporaryDirectory() as folder:
        mariadb = Mariadb(Path(folder))
        mariadb.start()
        try:
            database = mariadb.database("messages")
            migrated = os.environ | {"SWITCHBOARD_DATABASE_URL": database}
            subprocess.run([*SWITCHBOARD, "migrate"], env=migrated, check=True, stdout=subprocess.DEVNULL)
            with sandboxes() as sources:
                settings = sources | REPORTS | {"SWITCHBOARD_DATABASE_URL": database}
                with server(settings) as (url, process):
                    title = "One process, which also asks Hyber a second later what became of it:"
                    shares += asyncio.run(compare(title, url, process, requests, rounds)).values()
                with server(settings) as (told, _):
                    settings |= {"SWITCHBOARD_PUBLIC_URL": told.rstrip("/")}
                    with server(settings | {"SWITCHBOARD_SENDING": "own"}) as (url, process):
                        title = "One that sends; another one hears the reports:"
                        shares += asyncio.run(compare(title, url, process, requests, rounds)).values()
                    with server(settings | {"SWITCHBOARD_SENDING": "off"}) as (url, process):
                        title = "One that writes down what another one sends:"
                        shares += asyncio.run(compare(title, url, process, requests, rounds)).values()
        finally:
            mariadb.stop()
    held = sum(share >= GOAL for share in shares)
    typer.echo(f"\nThe goal is {GOAL}, of each: {held} of {len(shares)} reach it.")
    raise typer.Exit(0 if held == len(shares) else 1)


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
