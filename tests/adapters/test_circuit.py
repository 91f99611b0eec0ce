"""A circuit: its table of transitions, and what it spares a source that is down."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from adapters.circuit import FAILURES, LONGEST_PAUSE, SILENCES, Circuit, CircuitState, Ending
from adapters.errors import Busy, SourceError, TimedOut, Unasked, Unavailable
from adapters.mercately.client import Mercately, MercatelySettings
from adapters.mercately.sandbox import MercatelySandbox
from adapters.rest import Mode

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
PROBE = 10.0


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time


class Table:
    """A circuit in a row of the table."""

    def __init__(self, state: CircuitState) -> None:
        self.clock = Clock()
        self.circuit = Circuit(PROBE, self.clock.now)
        if state is not CLOSED:
            self.ends(Ending.FAILED, FAILURES)
        if state is HALF_OPEN:
            self.clock.time += PROBE
        assert self.circuit.state is state

    def ends(self, ending: Ending, times: int = 1) -> None:
        for _ in range(times):
            self.circuit.end(self.circuit.begin(), ending)


TRANSITIONS: dict[str, tuple[CircuitState, Ending, int, CircuitState]] = {
    "an answer changes nothing": (CLOSED, Ending.ANSWERED, 9, CLOSED),
    "a few failures are chance": (CLOSED, Ending.FAILED, FAILURES - 1, CLOSED),
    "many in a row are none": (CLOSED, Ending.FAILED, FAILURES, OPEN),
    "a time-out is chance": (CLOSED, Ending.TIMED_OUT, SILENCES - 1, CLOSED),
    "silence is none": (CLOSED, Ending.TIMED_OUT, SILENCES, OPEN),
    "the one that tries times out": (HALF_OPEN, Ending.TIMED_OUT, 1, OPEN),
    "who gives up says nothing": (CLOSED, Ending.GIVEN_UP, 9, CLOSED),
    "the one that tries is answered": (HALF_OPEN, Ending.ANSWERED, 1, CLOSED),
    "the one that tries fails": (HALF_OPEN, Ending.FAILED, 1, OPEN),
    "the one that tries gives up": (HALF_OPEN, Ending.GIVEN_UP, 1, HALF_OPEN),
}


@pytest.mark.parametrize(("state", "ending", "times", "then"), TRANSITIONS.values(), ids=TRANSITIONS)
def test_the_table(state: CircuitState, ending: Ending, times: int, then: CircuitState) -> None:
    table = Table(state)
    table.ends(ending, times)

    assert table.circuit.state is then
    assert table.circuit.wait == (PROBE if then is OPEN else None)


def test_only_failures_in_a_row_count() -> None:
    table = Table(CLOSED)
    for _ in range(9):
        table.ends(Ending.FAILED, FAILURES - 1)
        table.ends(Ending.ANSWERED)

    assert table.circuit.state is CLOSED


def test_time_outs_of_a_source_that_answers_others_are_failures_like_others() -> None:
    table = Table(CLOSED)
    calls = [table.circuit.begin() for _ in range(FAILURES)]
    table.ends(Ending.ANSWERED)
    for call in calls[1:]:
        table.circuit.end(call, Ending.TIMED_OUT)
    assert table.circuit.state is CLOSED

    table.circuit.end(calls[0], Ending.TIMED_OUT)
    assert table.circuit.state is OPEN


def test_it_is_open_for_the_interval_and_then_one_call_tries_at_a_time() -> None:
    table = Table(OPEN)
    table.clock.time += PROBE - 1
    assert (table.circuit.state, table.circuit.wait) == (OPEN, 1)

    table.clock.time += 1
    assert (table.circuit.state, table.circuit.wait) == (HALF_OPEN, None)
    probe = table.circuit.begin()
    assert (table.circuit.state, table.circuit.wait) == (HALF_OPEN, 0)

    table.circuit.end(probe, Ending.GIVEN_UP)
    assert (table.circuit.state, table.circuit.wait) == (HALF_OPEN, None)

    slow = table.circuit.begin()
    table.clock.time += PROBE - 1
    table.circuit.end(slow, Ending.FAILED)
    assert table.circuit.wait == 1  # since it was tried


def test_calls_from_before_it_opened_say_nothing_afterwards() -> None:
    table = Table(CLOSED)
    late = table.circuit.begin()
    table.ends(Ending.FAILED, FAILURES)
    table.circuit.end(late, Ending.ANSWERED)
    assert table.circuit.state is OPEN

    table.clock.time += PROBE
    probe = table.circuit.begin()
    table.circuit.end(late, Ending.GIVEN_UP)
    table.circuit.pause(late, 99)
    assert table.circuit.wait == 0

    table.circuit.end(probe, Ending.ANSWERED)
    assert table.circuit.state is CLOSED


@pytest.mark.parametrize(("asked_for", "kept"), [(30, 30), (1e9, LONGEST_PAUSE)])
def test_a_pause_is_kept_but_not_for_ever(asked_for: float, kept: float) -> None:
    table = Table(CLOSED)
    call = table.circuit.begin()
    table.circuit.pause(call, asked_for)
    table.circuit.end(call, Ending.ANSWERED)

    assert (table.circuit.state, table.circuit.wait, table.circuit.paused) == (OPEN, kept, True)
    table.clock.time += kept
    table.ends(Ending.ANSWERED)
    assert table.circuit.state is CLOSED


# Over a socket

SOON = 0.3
"""Seconds until it is tried again."""


@asynccontextmanager
async def connected(probe_interval: float = SOON) -> AsyncIterator[tuple[Mercately, MercatelySandbox]]:
    async with MercatelySandbox() as sandbox:
        settings = MercatelySettings(
            timeout=0.6, probe_interval=probe_interval, cache=0, cache_lists=0, stale=0
        )
        async with Mercately.open(settings.pointed_at(sandbox), Mode.REAL) as mercately:
            yield mercately, sandbox


async def fail(mercately: Mercately, times: int = FAILURES) -> None:
    for _ in range(times):
        with pytest.raises(SourceError):
            await mercately.agents()


@pytest.mark.parametrize(
    ("kind", "details"), [("status", {"status": 502}), ("reset", {}), ("hang", {})], ids=lambda it: str(it)
)
async def test_what_keeps_failing_is_asked_no_more_until_it_is_back(
    kind: Any, details: dict[str, Any]
) -> None:
    async with connected() as (mercately, sandbox):
        sandbox.trouble(kind, **details)
        # At once, for a time-out takes its time.
        await asyncio.gather(
            *(mercately.conversations("messenger", page) for page in range(1, FAILURES + 1)),
            return_exceptions=True,
        )
        assert mercately.circuit.state is OPEN
        sandbox.asked.clear()

        started = time.perf_counter()
        with pytest.raises(Unasked, match=r"^Mercately keeps failing and is tried again in 1 s\.$") as read:
            await mercately.agents()
        with pytest.raises(Unasked) as sent:
            await mercately.send_template("+593999999999", "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed", ["1"])
        assert time.perf_counter() - started < 0.05
        assert not sandbox.asked
        assert read.value.extensions == {"code": "SOURCE_UNAVAILABLE", "source": "MERCATELY"}
        assert not sent.value.in_doubt

        sandbox.heal()
        async with asyncio.timeout(5):
            while mercately.circuit.state is not CLOSED:
                await asyncio.sleep(SOON / 10)
                with suppress(Unavailable):
                    assert await mercately.agents()


async def test_while_one_call_tries_nobody_waits_for_it() -> None:
    async with connected() as (mercately, sandbox):
        sandbox.trouble("status", times=FAILURES)
        sandbox.trouble("hang")
        await fail(mercately)
        await asyncio.sleep(SOON)
        sandbox.asked.clear()

        probe = asyncio.create_task(mercately.agents())
        while not sandbox.asked:
            await asyncio.sleep(0.005)
        for question in (mercately.agents, mercately.templates):
            with pytest.raises(Unasked, match=r"^Mercately keeps failing and is being tried again at"):
                await question()
        assert mercately.circuit.state is HALF_OPEN

        with pytest.raises(TimedOut):
            await probe
        assert mercately.circuit.state is not CLOSED
        assert len(sandbox.asked) == 1


async def test_a_no_is_an_answer() -> None:
    async with connected() as (mercately, sandbox):
        for status in (400, 401, 429):
            sandbox.trouble("status", status=status, times=FAILURES)
            await fail(mercately)
        sandbox.trouble("html", times=FAILURES)
        await fail(mercately)

        assert mercately.circuit.state is CLOSED


@pytest.mark.parametrize("status", [429, 503])
async def test_who_wants_a_pause_gets_it_from_reads_and_sends(status: int) -> None:
    async with connected(probe_interval=60) as (mercately, sandbox):
        sandbox.trouble("status", status=status, headers={"Retry-After": "1"}, times=1)
        with pytest.raises(Busy if status == 429 else Unavailable):
            await mercately.agents()
        with pytest.raises(Unasked, match=r"^Mercately asks us to slow down and is tried again in 1 s\.$"):
            await mercately.templates()
        with pytest.raises(Unasked) as sent:
            await mercately.create_customer({"first_name": "Awa"})
        assert not sent.value.in_doubt
        assert len(sandbox.asked) == 1

        await asyncio.sleep(1)
        assert await mercately.templates()
