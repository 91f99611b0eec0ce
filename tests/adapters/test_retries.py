"""Second tries: of reads, for what may pass, in time, and of every five questions one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from adapters.deadline import deadline
from adapters.errors import SourceError, TimedOut, Unavailable
from adapters.mercately.client import Mercately
from adapters.mercately.sandbox import MercatelySandbox
from adapters.poster.client import Poster, PosterSettings
from adapters.poster.sandbox import PosterSandbox
from adapters.rest import Mode

QUIET = 5
"""Questions after which one may be asked twice."""


async def save_up(mercately: Mercately, sandbox: MercatelySandbox, questions: int = QUIET - 1) -> None:
    for _ in range(questions):
        await mercately.agents()
    sandbox.asked.clear()


@pytest.mark.parametrize(
    ("kind", "details"),
    [("status", {"status": 503}), ("reset", {}), ("drop", {}), ("short", {})],
    ids=lambda it: str(it),
)
async def test_a_trouble_that_passes_is_not_seen(
    mercately: Mercately, mercately_sandbox: MercatelySandbox, kind: Any, details: dict[str, Any]
) -> None:
    await save_up(mercately, mercately_sandbox)
    mercately_sandbox.trouble(kind, times=1, **details)

    assert await mercately.agents()
    assert len(mercately_sandbox.asked) == 2


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("status", {"status": 404}),
        ("status", {"status": 401}),
        ("status", {"status": 429}),
        ("status", {"status": 503, "headers": {"Retry-After": "1"}}),
        ("html", {}),
        ("truncated", {}),
        ("hang", {}),
    ],
    ids=lambda it: str(it),
)
async def test_what_does_not_pass_in_time_is_asked_once(
    mercately: Mercately, mercately_sandbox: MercatelySandbox, kind: Any, details: dict[str, Any]
) -> None:
    await save_up(mercately, mercately_sandbox)
    mercately_sandbox.trouble(kind, times=1, **details)

    with pytest.raises(SourceError):
        await mercately.agents()
    assert len(mercately_sandbox.asked) == 1


@pytest.mark.parametrize("kind", ["reset", "drop", "hang", "status"])
async def test_no_trouble_makes_more_than_a_fifth_more_calls(
    mercately: Mercately, mercately_sandbox: MercatelySandbox, kind: Any
) -> None:
    """Over connections that are kept, which aiohttp by itself would try again."""
    await mercately.agents()
    mercately_sandbox.trouble(kind)
    asked = 1
    for _ in range(4):
        answers = await asyncio.gather(
            *(mercately.conversations("messenger", page) for page in range(1, 6)), return_exceptions=True
        )
        asked += len(answers)

    assert len(mercately_sandbox.asked) <= 1.2 * asked
    assert mercately.record.calls.total() == len(mercately_sandbox.asked)


async def test_a_source_that_fails_every_other_time_is_asked_a_fifth_more(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    well = 0
    for number in range(50):
        if number % 2:
            mercately_sandbox.trouble("reset", times=1)
        try:
            await mercately.agents()
            well += 1
        except Unavailable:
            mercately_sandbox.heal()

    assert len(mercately_sandbox.asked) == 60
    assert well == 35


async def test_the_second_try_keeps_to_the_time_of_the_first(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    await save_up(mercately, mercately_sandbox)
    mercately_sandbox.trouble("reset", times=1)
    mercately_sandbox.trouble("hang")
    started = time.perf_counter()
    with deadline(0.3), pytest.raises(TimedOut):
        await mercately.agents()
    took = time.perf_counter() - started

    assert len(mercately_sandbox.asked) == 2
    assert took < 0.3 * 1.1 + 0.25


async def test_a_short_pause_is_waited_for() -> None:
    settings = PosterSettings(cache=0, stale=0)
    async with PosterSandbox() as sandbox, Poster.open(settings.pointed_at(sandbox), Mode.REAL) as poster:
        for _ in range(QUIET - 1):
            await poster.groups()
        sandbox.trouble("status", status=429, headers={"Retry-After": "1"}, times=1)
        started = time.perf_counter()

        assert await poster.groups()
        assert time.perf_counter() - started > 1


async def test_a_change_is_never_asked_twice(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    await save_up(mercately, mercately_sandbox, 20)
    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: mercately.create_customer({"first_name": "Awa"}),
        lambda: mercately.update_customer("1abcde1", {"first_name": "Awa"}),
    ]
    for change in changes:
        mercately_sandbox.asked.clear()
        mercately_sandbox.trouble("reset", times=1)
        with pytest.raises(Unavailable) as caught:
            await change()
        assert caught.value.in_doubt
        assert len(mercately_sandbox.asked) == 1
