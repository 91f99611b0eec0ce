"""`make bench-peers`: requests per CPU second of ours and of the peers in alternating rounds; the verdict."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import orjson
import typer

from bench.load import Window, measure
from bench.peers import chart, own, report
from bench.peers.report import FEW, MANY, At, Measured
from bench.peers.servers import NODES, OWNS, PYTHONS, Node, Sharing
from bench.peers.upstream import QUESTIONS, Question
from bench.servers import Peer, Upstream, running

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Unlike(Exception):
    """A peer does not say what is to be said, or has asked for less than that takes."""


@app.command()
def main(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of processor time in one window, about.")] = 1.0,
    names: Annotated[list[str] | None, typer.Option("--question", help=", ".join(QUESTIONS))] = None,
    node: Annotated[bool, typer.Option(help="With the peers that npm installs.")] = True,
    ours: Annotated[bool, typer.Option(help="With our own nouns, under both executors.")] = True,
    picture: Annotated[Path | None, typer.Option(help="Where to draw it.")] = None,
) -> None:
    """Leaves with status 1 when a bound does not hold."""
    if unknown := set(names or ()) - QUESTIONS.keys():
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(QUESTIONS)}.")
    nodes = list(installed()) if node else []
    kinds: list[type[Peer]] = [*PYTHONS, *nodes]
    machine = report.machine(nodes)
    typer.echo(f"{machine} {rounds} alternating rounds, medians [least-most].")
    questions = {name: QUESTIONS[name] for name in names or QUESTIONS}
    with running(Upstream) as stub:
        found = compare(stub, Path(), kinds, questions, rounds, seconds)
        tell(found, kinds, questions)
        if ours:
            with own.questions(stub, questions) as (data, asked):
                of_our_own = compare(stub, data, OWNS, asked, rounds, seconds)
            tell(of_our_own, OWNS, asked)
            found = {**found, **of_our_own}
    fine, lines = report.verdicts(found, list(questions))
    typer.echo("\n".join(["", *lines]))
    if picture:
        shown = [kind.name for kind in kinds if kind is not Sharing]
        picture.write_text(chart.drawn(found, shown, questions, f"{machine} {rounds} rounds."))
    raise typer.Exit(0 if fine else 1)


def installed() -> Iterator[type[Node]]:
    for kind in NODES:
        if kind.folder.joinpath("node_modules").is_dir():
            yield kind
        else:
            typer.echo(f"{kind.name} is not measured: `npm ci` in {kind.folder} has not installed it.")


def compare(
    stub: Upstream,
    data: Path,
    kinds: Sequence[type[Peer]],
    questions: Mapping[str, Question],
    rounds: int,
    seconds: float,
) -> Measured:
    """Every second round goes the other way, so that nobody always comes after the same neighbour."""
    found = defaultdict[At, list[Window]](list)
    for number in range(rounds):
        for kind in kinds if number % 2 == 0 else reversed(kinds):
            with running(kind, stub.url, data) as peer:
                for name, question in questions.items():
                    check(peer, question)
                    windows = measure(peer, stub, question.query, (FEW, MANY), seconds, kind.warming)
                    for connections, window in zip((FEW, MANY), windows, strict=True):
                        if window.calls_per_request < question.calls and kind is not Sharing:
                            raise Unlike(
                                f"{peer.name} asks the upstream {window.calls_per_request:.2f} times"
                            )
                        found[At(peer.name, name, connections)].append(window)
    return found


def check(peer: Peer, question: Question) -> None:
    """Afterwards, each answer under load is compared with this one, byte by byte."""
    answer = orjson.loads(peer.ask(question.query))
    if answer.get("errors") or answer.get("data") != question.answer:
        raise Unlike(f"{peer.name} answers {str(answer)[:500]}")


def tell(found: Measured, kinds: Sequence[type[Peer]], questions: Mapping[str, Question]) -> None:
    for name, question in questions.items():
        peers = sorted((kind.name for kind in kinds), key=lambda peer: -report.speed(found, peer, name))
        typer.echo("\n".join(["", f"## {question.title}", "", *report.table(found, peers, name)]))


if __name__ == "__main__":
    app()
