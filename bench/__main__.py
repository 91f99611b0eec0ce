"""`python -m bench [QUERY]...`: alternating rounds of all peers, a table a query, and the verdict."""

from pathlib import Path
from typing import Annotated

import orjson
import typer

from bench.load import Window, measure
from bench.queries import QUERIES
from bench.report import Measured, machine, table, verdict
from bench.servers import PEERS, Peer, Unbatched, Upstream, running, synced

CONNECTIONS = (1, 16, 64)


class Unlike(Exception):
    """A peer does not give the answers of the others."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[QUERY]...", help=", ".join(QUERIES))] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of processor time in one window, about.")] = 1.0,
) -> None:
    """Leaves with status 1 when the bound does not hold."""
    if unknown := set(names or ()) - set(QUERIES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(QUERIES)}.")
    fine = True
    typer.echo(f"{machine()} {rounds} alternating rounds, medians [least-most].")
    with running(Upstream) as stub, synced(stub.url) as data:
        for name in names or QUERIES:
            measured = compare(stub, data, QUERIES[name], rounds, seconds)
            verdicts = [verdict(measured, connections) for connections in CONNECTIONS]
            said = [*(sentence for _, sentence in verdicts), unbatched(stub, data, QUERIES[name], seconds)]
            typer.echo("\n".join(["", f"## {name}", "", *table(measured), "", *said]))
            fine = fine and all(holds for holds, _ in verdicts)
    raise typer.Exit(0 if fine else 1)


def compare(stub: Upstream, data: Path, query: str, rounds: int, seconds: float) -> Measured:
    """Every second round goes the other way, so that nobody always comes after the same neighbour."""
    found: dict[tuple[str, int], list[Window]] = {
        (kind.name, connections): [] for kind in PEERS for connections in CONNECTIONS
    }
    reference = None
    for number in range(rounds):
        for kind in PEERS if number % 2 == 0 else reversed(PEERS):
            with running(kind, stub.url, data) as peer:
                answer = data_of(peer, query)
                reference = reference or answer
                if answer != reference:
                    raise Unlike(f"{peer.name} answers {str(answer)[:500]}")
                windows = measure(peer, stub, query, CONNECTIONS, seconds)
            for connections, window in zip(CONNECTIONS, windows, strict=True):
                found[kind.name, connections].append(window)
    return found


def unbatched(stub: Upstream, data: Path, query: str, seconds: float) -> str:
    """What the loaders are for, in a sentence."""
    with running(Unbatched, stub.url, data) as peer:
        (window,) = measure(peer, stub, query, [1], seconds)
    return (
        f"Tuned without batches, at 1 connection: {window.per_cpu_second:.0f} requests per CPU second, "
        f"{window.calls_per_request:.0f} upstream calls."
    )


def data_of(peer: Peer, query: str) -> object:
    answer = orjson.loads(peer.ask(query))
    if answer.get("errors") or not answer["data"]:
        raise Unlike(f"{peer.name} answers {str(answer)[:500]}")
    return answer["data"]


if __name__ == "__main__":
    app()
