"""`python -m bench.differential [CASES]`: both executors beside each other, and the memory of many documents.

Of a schema made to be nasty and of our own, a case of each. The suite compares some hundreds that hypothesis
draws; here they are drawn from their number, one after the other, and who differs can be drawn again by it.
"""

import asyncio
import gc
import warnings
from collections import Counter
from time import perf_counter
from typing import Annotated

import psutil
import typer
from graphql import parse

from gateway.documents import Cache
from gateway.execution import Operation, compile
from gateway.graph import PREPARED
from tests.execution import own
from tests.execution.differential import compare
from tests.execution.nasty import describe, schema

SHOWN = 5
"""Differences that are told in full."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    cases: Annotated[int, typer.Argument(min=1)] = 10_000,
    documents: Annotated[
        int, typer.Option(min=0, help="Distinct ones, compiled one after the other.")
    ] = 100_000,
    begin: Annotated[int, typer.Option(help="The number of the first case.")] = 0,
) -> None:
    """Leaves with status 1 when a case differs, or memory grows."""
    # Of what is lost graphql-core leaves coroutines behind that nobody has awaited.
    warnings.simplefilter("ignore", RuntimeWarning)
    different = asyncio.run(compared(range(begin, begin + cases)))
    grown = many(documents) if documents else 0.0
    raise typer.Exit(1 if different or grown > 0.1 else 0)


async def compared(numbers: range) -> int:
    kinds: Counter[str] = Counter()
    started = perf_counter()
    for done, number in enumerate(numbers, 1):
        try:
            kinds[await compare(number)] += 1
            await own.compare(number)
        except AssertionError as difference:
            kinds["different"] += 1
            if kinds["different"] <= SHOWN:
                typer.echo(difference)
        if done % 1_000 == 0 or done == len(numbers):
            said = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            typer.echo(f"{done} of {len(numbers)} cases after {perf_counter() - started:.0f} s: {said}.")
    return kinds["different"]


def many(documents: int) -> float:
    """By how much the process grows while the second half of them is compiled and forgotten again."""
    kept: Cache[Operation] = Cache(*PREPARED)
    process, half = psutil.Process(), 0
    for number in range(documents):
        text = f"{{ int1 a{number}: string1 ant0 {{ bee2 {{ id float0 }} node0 {{ id }} }} }}"
        operation = compile(schema(), parse(text), None, describe)
        operation({})
        kept.put(text, operation, 1_000 + operation.size)
        if number + 1 in (documents // 2, documents):
            gc.collect()
            now = process.memory_info().rss
            half = half or now
            typer.echo(f"{number + 1} documents: {now / 2**20:.1f} MB.")
    return float(now / half - 1)


if __name__ == "__main__":
    app()
