"""`python -m bench.memory`: what one process holds in memory, all along a great many requests."""

from typing import Annotated

import typer

from bench.load import load
from bench.queries import MIX
from bench.report import machine
from bench.servers import Switchboard, Upstream, running, synced

MOST = 150
"""MiB in the end."""
GROWTH = 5
"""MiB that may still come after the first fifth of the requests, which fills caches and pools."""
CONNECTIONS = 16


def main(
    requests: Annotated[int, typer.Option(min=5)] = 100_000,
    every: Annotated[int, typer.Option(min=1, help="So many requests between two looks.")] = 5_000,
) -> None:
    """Leaves with status 1 when it is too much, or still grows."""
    typer.echo(f"{machine()} {CONNECTIONS} connections.\n\n| requests | RSS MiB |\n|---:|---:|")
    with (
        running(Upstream) as stub,
        synced(stub.url) as data,
        running(Switchboard, stub.url, data) as peer,
    ):
        exchanges = [(query, peer.ask(query)) for query in MIX]
        sampled = {0: peer.rss}
        for done in range(every, requests + 1, every):
            load(peer, exchanges, CONNECTIONS, every)
            sampled[done] = peer.rss
            typer.echo(f"| {done} | {peer.rss:.1f} |")
    last = sampled[max(sampled)]
    growth = last - next(rss for done, rss in sampled.items() if done >= requests / 5)
    fine = last <= MOST and growth <= GROWTH
    typer.echo(
        f"\nFrom {sampled[0]:.1f} to {last:.1f} MiB, {growth:+.1f} after the first fifth; at most {MOST} "
        f"and {GROWTH:+} {'holds' if fine else 'DOES NOT HOLD'}."
    )
    raise typer.Exit(0 if fine else 1)


if __name__ == "__main__":
    typer.run(main)
