"""Report: what was measured of the peers, in tables, and which bounds hold."""

import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.load import Window
from bench.peers.servers import NODES, Handler, Node, Ours, OwnCompiled, OwnCore, Tuned
from bench.report import processor, spread
from bench.servers import CORES

FEW, MANY = 16, 64
"""Connections: at the few the ratios are taken, at the many the p99."""
LIBRARIES = "strawberry-graphql", "graphql-core", "aiohttp", "uvloop", "msgspec", "orjson"
PLACES = "peer | requests per CPU second | p50 ms | p99 ms at 64 | RSS MiB | upstream calls"
QUESTIONS = "Q2", "Q3", "Q4"


class At(NamedTuple):
    """Where a window was measured."""

    peer: str
    question: str
    connections: int


Measured = Mapping[At, Sequence[Window]]
"""A window a round."""


class Ratio(NamedTuple):
    """Of each round's own two, for the machine may be another one in the next."""

    figures: Sequence[float]
    at_least: float

    @property
    def holds(self) -> bool:
        return median(self.figures) >= self.at_least

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return f"{spread(self.figures, '.2f')}, at least {self.at_least:g}: {verdict}"


class Row(NamedTuple):
    title: str
    ours: str
    base: Callable[[Measured, str], str | None]
    at_least: Mapping[str, float]


def _is(name: str) -> Callable[[Measured, str], str | None]:
    return lambda measured, question: name if At(name, question, FEW) in measured else None


def best_node(measured: Measured, question: str) -> str | None:
    there = [kind.name for kind in NODES if At(kind.name, question, FEW) in measured]
    return max(there, key=lambda name: speed(measured, name, question), default=None)


ROWS = (
    Row("to tuned Strawberry", Ours.name, _is(Tuned.name), {"Q2": 8, "Q3": 6, "Q4": 5}),
    Row("to the handler by hand", Ours.name, _is(Handler.name), {"Q2": 0.8, "Q3": 0.8, "Q4": 0.6}),
    Row("to the best Node peer", Ours.name, best_node, {"Q2": 1.1, "Q3": 0.8, "Q4": 0.6}),
    Row(
        "on our own nouns, to the same under graphql-core",
        OwnCompiled.name,
        _is(OwnCore.name),
        {"Q2": 6, "Q3": 4, "Q4": 4},
    ),
)


def machine(nodes: Sequence[type[Node]]) -> str:
    libraries = [f"{library} {version(library)}" for library in LIBRARIES]
    packages = [f"{package} {_version(node.folder, package)}" for node in nodes for package in node.packages]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, {len(CORES)} cores (servers on the first, wrk and "
        f"upstream on the last), Python {platform.python_version()}, {', '.join([*libraries, *packages])}."
    )


def _version(folder: Path, package: str) -> str:
    found: str = json.loads((folder / "node_modules" / package / "package.json").read_text())["version"]
    return found


def speed(measured: Measured, peer: str, question: str) -> float:
    return median(window.per_cpu_second for window in measured[At(peer, question, FEW)])


def table(measured: Measured, peers: Sequence[str], question: str) -> Iterator[str]:
    yield f"| {PLACES} |"
    yield "|---|" + "---:|" * PLACES.count("|")
    for peer in peers:
        few, many = (measured[At(peer, question, connections)] for connections in (FEW, MANY))
        cells = (
            peer,
            spread([window.per_cpu_second for window in few], ".0f"),
            f"{median(window.findings.p50 for window in few):.1f}",
            f"{median(window.findings.p99 for window in many):.1f}",
            f"{median(window.rss for window in many):.0f}",
            f"{median(window.calls_per_request for window in few):.2f}",
        )
        yield f"| {' | '.join(cells)} |"


def ratios(measured: Measured, row: Row) -> Iterator[tuple[str, Ratio]]:
    """By question, where both were measured."""
    for question, at_least in row.at_least.items():
        base = row.base(measured, question)
        if base and At(row.ours, question, FEW) in measured:
            pairs = zip(measured[At(row.ours, question, FEW)], measured[At(base, question, FEW)], strict=True)
            figures = [ours.per_cpu_second / theirs.per_cpu_second for ours, theirs in pairs]
            yield question, Ratio(figures, at_least)


def verdicts(measured: Measured, questions: Sequence[str]) -> tuple[bool, list[str]]:
    """Do all the bounds hold? And the table that says so."""
    fine, lines = True, [f"| requests per CPU second at {FEW} connections | {' | '.join(questions)} |"]
    lines.append("|---|" + "---|" * len(questions))
    for row in ROWS:
        found = dict(ratios(measured, row))
        if found:
            fine = fine and all(ratio.holds for ratio in found.values())
            cells = [str(found[question]) if question in found else "" for question in questions]
            lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return fine, lines
