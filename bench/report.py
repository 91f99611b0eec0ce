"""The report: the machine, a table of what was measured, and the ratios that the bound is about."""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from os import getloadavg
from pathlib import Path
from statistics import median

from bench.load import Window
from bench.servers import CORES, Plain, Tuned, Unshared

BOUND = 0.90
"""What our context, limits, error handling and logging must leave of the speed of tuned Strawberry."""
LIBRARIES = (
    "strawberry-graphql",
    "graphql-core",
    "aiohttp",
    "uvloop",
    "sqlalchemy",
    "aiosqlite",
    "structlog",
)
COLUMNS = "peer | connections | requests per CPU second | p50 ms | p99 ms | RSS MiB | upstream calls"

Measured = Mapping[tuple[str, int], Sequence[Window]]
"""By peer and connections, a window a round."""


def machine() -> str:
    libraries = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, {len(CORES)} cores (servers on the first, wrk and "
        f"stub on the last), load before {getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {libraries}."
    )


def table(measured: Measured) -> Iterator[str]:
    yield f"| {COLUMNS} |"
    yield "|---|" + "---:|" * COLUMNS.count("|")
    for (peer, connections), windows in measured.items():
        cells = (
            peer,
            str(connections),
            spread([window.per_cpu_second for window in windows], ".0f"),
            _median(windows, lambda window: window.findings.p50, ".2f"),
            _median(windows, lambda window: window.findings.p99, ".2f"),
            _median(windows, lambda window: window.rss_at_start, ".0f")
            + " -> "
            + _median(windows, lambda window: window.rss, ".0f"),
            _median(windows, lambda window: window.calls_per_request, ".2f"),
        )
        yield f"| {' | '.join(cells)} |"


def verdict(measured: Measured, connections: int) -> tuple[bool, str]:
    """Does the bound hold at this many connections? And the sentence that says so."""
    to_tuned, to_plain = (_ratios(measured, base.name, connections) for base in (Tuned, Plain))
    holds = median(to_tuned) >= BOUND
    return holds, (
        f"{connections:>3} connections: {Unshared.name}, is {spread(to_tuned, '.2f')} of {Tuned.name} and "
        f"{spread(to_plain, '.2f')} of {Plain.name}; at least {BOUND:.2f} of {Tuned.name} "
        f"{'holds' if holds else 'DOES NOT HOLD'}."
    )


def _ratios(measured: Measured, base: str, connections: int) -> list[float]:
    """Of the two in the same round."""
    pairs = zip(measured[Unshared.name, connections], measured[base, connections], strict=True)
    return [ours.per_cpu_second / theirs.per_cpu_second for ours, theirs in pairs]


def _median(windows: Sequence[Window], figure: Callable[[Window], float], form: str) -> str:
    return f"{median(map(figure, windows)):{form}}"


def spread(figures: Sequence[float], form: str) -> str:
    return f"**{median(figures):{form}}** [{min(figures):{form}}-{max(figures):{form}}]"


def processor() -> str:
    """As Linux names it; Python does not know."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
