"""`python -m bench [QUERY]...`: alternating rounds of all peers, a table a query, and the verdict."""

from typing import Annotated

import orjson
import typer

from adapters.mercately.client import API
from bench.load import Window, limit, measure
from bench.peers import PEERS, Peer, Upstream, running
from bench.queries import QUERIES
from bench.report import Measured, machine, table, verdict

CONNECTIONS = (1, 16)


class Unlike(Exception):
    """A peer does not give the answers of the others."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[QUERY]...", help=", ".join(QUERIES))] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="Of one window, at least.")] = 2,
) -> None:
    """Leaves with status 1 when the bound does not hold."""
    if unknown := set(names or ()) - set(QUERIES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(QUERIES)}.")
    fine = True
    with running(Upstream) as stub:
        typer.echo(machine(rounds, seconds, limit(stub, f"{API}/agents")))
        for name in names or QUERIES:
            measured = compare(stub, QUERIES[name], rounds, seconds)
            verdicts = [verdict(measured, connections) for connections in CONNECTIONS]
            typer.echo(
                "\n".join(["", f"## {name}", "", *table(measured), "", *(said for _, said in verdicts)])
            )
            fine = fine and all(holds for holds, _ in verdicts)
    raise typer.Exit(0 if fine else 1)


def compare(stub: Upstream, query: str, rounds: int, seconds: int) -> Measured:
    """Every second round goes the other way, so that nobody always comes after the same neighbour."""
    found: dict[tuple[str, int], list[Window]] = {
        (kind.name, connections): [] for kind in PEERS for connections in CONNECTIONS
    }
    reference = None
    for number in range(rounds):
        for kind in PEERS if number % 2 == 0 else reversed(PEERS):
            with running(kind, stub.url) as peer:
                data = data_of(peer, query)
                reference = reference or data
                if data != reference:
                    raise Unlike(f"{peer.name} answers {str(data)[:500]}")
                windows = measure(peer, stub, query, CONNECTIONS, seconds)
            for connections, window in zip(CONNECTIONS, windows, strict=True):
                found[kind.name, connections].append(window)
    return found


def data_of(peer: Peer, query: str) -> object:
    answer = orjson.loads(peer.ask(query))
    if answer.get("errors") or not answer["data"]:
        raise Unlike(f"{peer.name} answers {str(answer)[:500]}")
    return answer["data"]


if __name__ == "__main__":
    app()
