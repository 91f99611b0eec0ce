"""How a source has been answering, told from the calls that were made to it."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.deadline import deadline
from adapters.errors import Malformed, Misconfigured, Rejected, SourceError, TimedOut, Unavailable
from adapters.mercately.client import Mercately
from adapters.mercately.sandbox import MercatelySandbox
from adapters.record import RECENT, WINDOW, Record, State
from adapters.sandbox import Kind
from adapters.storage.client import Storage, open_storage
from adapters.storage.everyprint import NotFound
from tests.services import Mariadb

PERSON = {"message": "ana@example.com, +593 99 999 9999"}


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 10, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def later(self, **time: float) -> datetime:
        self.time += timedelta(**time)
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def record(clock: Clock) -> Record:
    return Record("The source", clock.now)


def answer(record: Record) -> None:
    with record.call("question"):
        pass


def fail(record: Record, error: BaseException | None = None) -> None:
    error = error or Unavailable("source", "The source is away.")
    with pytest.raises(type(error)), record.call("question"):
        raise error


# UP, DEGRADED, DOWN


def test_a_source_that_nobody_has_asked_is_up(record: Record) -> None:
    assert record.state is State.UP
    assert (record.calls.total(), record.errors, record.last_error, record.percentile(50)) == (
        0,
        0,
        None,
        None,
    )


def test_a_failure_among_answers_degrades_for_a_minute(record: Record, clock: Clock) -> None:
    answer(record)
    clock.later(seconds=59)
    fail(record)
    answer(record)

    states = [record.state]
    for seconds in (59, 1):
        clock.later(seconds=seconds)
        states.append(record.state)
    assert states == [State.DEGRADED, State.DEGRADED, State.UP]
    assert record.down_since is None


def test_three_failures_in_a_row_are_down_since_the_first(record: Record, clock: Clock) -> None:
    answer(record)
    first = clock.later(seconds=1)
    for _ in range(2):
        fail(record)
        clock.later(seconds=1)
        assert record.state is State.DEGRADED
    fail(record)

    assert record.state is State.DOWN
    assert record.down_since == first


def test_failures_with_answers_between_them_are_not_down(record: Record) -> None:
    for _ in range(10):
        answer(record)
        fail(record)
        fail(record)

    assert record.state is State.DEGRADED


def test_one_failure_is_down_when_no_answer_is_recent(record: Record, clock: Clock) -> None:
    fail(record)
    assert record.state is State.DOWN

    answer(record)
    later = clock.later(seconds=RECENT.total_seconds())
    fail(record)
    assert (record.state, record.down_since) == (State.DOWN, later)


def test_down_stays_until_an_answer_and_is_then_remembered_for_a_minute(record: Record, clock: Clock) -> None:
    since = clock.time
    fail(record)
    clock.later(hours=5)
    fail(record)
    assert (record.state, record.down_since) == (State.DOWN, since)
    clock.later(hours=5)
    assert (record.state, record.down_since) == (State.DOWN, since)

    clock.later(seconds=30)
    fail(record)
    answer(record)
    assert (record.state, record.down_since) == (State.DEGRADED, None)
    clock.later(minutes=1)
    assert record.state is State.UP
    assert record.last_error == "The source is away."


# What is a failure


@pytest.mark.parametrize("error", [Unavailable, TimedOut, Malformed, Misconfigured])
def test_what_keeps_a_source_from_answering_is_a_failure(
    error: type[SourceError], record: Record, clock: Clock
) -> None:
    fail(record, error("source", "The source is away."))

    assert record.state is State.DOWN
    assert (record.errors, record.last_error, record.last_error_at) == (1, "The source is away.", clock.time)
    assert record.calls == {("question", error.code): 1}
    assert record.percentile(50) is None


def test_a_rejection_is_an_answer(record: Record) -> None:
    fail(record)
    fail(record, Rejected("source", "The source refused.", vendor_code="302"))

    assert record.state is State.DEGRADED
    assert (record.errors, record.last_error) == (1, "The source is away.")
    assert record.calls["question", "SOURCE_REJECTED"] == 1
    assert record.percentile(50) is not None


@pytest.mark.parametrize(
    ("error", "outcome"), [(KeyError("ours"), "KeyError"), (asyncio.CancelledError(), "CANCELLED")]
)
async def test_what_is_not_about_the_source_changes_nothing(
    error: BaseException, outcome: str, record: Record
) -> None:
    fail(record)
    fail(record, error)
    assert (record.state, record.errors) == (State.DOWN, 1)

    answer(record)
    for _ in range(3):
        fail(record, error)
    assert (record.state, record.errors) == (State.DEGRADED, 1)
    assert record.calls["question", outcome] == 4


# Over a socket


@pytest.mark.parametrize(
    ("kind", "details", "sentence"),
    [
        ("status", {"status": 500, "body": PERSON}, "Mercately failed to answer: try again later."),
        ("wrong_shape", {"body": PERSON}, "Mercately answered something we cannot read."),
        (
            "status",
            {"status": 403},
            "Mercately refuses our credentials: `switchboard doctor` says what to set.",
        ),
        ("reset", {}, "Mercately cannot be reached: try again later."),
        ("delay", {"seconds": 30}, "Mercately did not answer in time."),
    ],
)
async def test_the_last_error_is_a_sentence_of_ours_and_outlives_the_trouble(
    kind: Kind,
    details: dict[str, Any],
    sentence: str,
    mercately: Mercately,
    mercately_sandbox: MercatelySandbox,
) -> None:
    mercately_sandbox.trouble(kind, **details)
    with pytest.raises(SourceError):
        await mercately.agents()
    assert (mercately.record.state, mercately.record.last_error) == (State.DOWN, sentence)
    since = mercately.record.down_since
    assert since
    assert timedelta() <= datetime.now(UTC) - since < timedelta(seconds=5)

    mercately_sandbox.heal()
    await mercately.agents()
    assert (mercately.record.state, mercately.record.last_error) == (State.DEGRADED, sentence)
    assert (mercately.record.calls.total(), mercately.record.errors) == (2, 1)


async def test_a_vendor_that_says_no_is_well(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    mercately_sandbox.trouble("redirect_errors", errors=[PERSON["message"]])
    for _ in range(3):
        with pytest.raises(Rejected):
            await mercately.agents()

    assert (mercately.record.state, mercately.record.last_error) == (State.UP, None)


async def test_percentiles_are_of_the_answers(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    mercately_sandbox.trouble("delay", seconds=0.25, times=2)
    mercately_sandbox.trouble("status", status=500, times=1)
    with pytest.raises(Unavailable):
        await mercately.agents()
    for _ in range(19):
        await mercately.agents()

    fastest, middle, most, slowest = (mercately.record.percentile(percent) for percent in (1, 50, 94, 95))
    assert fastest
    assert middle
    assert most
    assert slowest
    assert fastest <= middle <= most < 0.25 <= slowest


async def test_only_recent_answers_are_remembered(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    mercately_sandbox.trouble("delay", seconds=0.1, times=1)
    await mercately.agents()
    for _ in range(WINDOW - 1):
        answer(mercately.record)
    assert (mercately.record.percentile(100) or 0) >= 0.1

    answer(mercately.record)
    assert (mercately.record.percentile(100) or 1) < 0.1


def test_many_calls_take_no_more_memory_than_some(record: Record) -> None:
    def calls(count: int) -> None:
        for _ in range(count):
            answer(record)
            try:
                with record.call("question"):
                    raise Unavailable("source", "The source is away.")
            except Unavailable:
                pass

    calls(WINDOW)
    tracemalloc.start()
    try:
        calls(20 * WINDOW)
        assert tracemalloc.get_traced_memory()[0] < 64 * 1024
    finally:
        tracemalloc.stop()


# Our own deadline


async def ended() -> None:
    """The call itself ends a moment after its last caller."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_source_that_makes_us_miss_our_deadline_has_failed_once_for_all_who_waited(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    mercately_sandbox.trouble("delay", seconds=30)
    with deadline(0.1):
        answers = await asyncio.gather(*(mercately.agents() for _ in range(5)), return_exceptions=True)
    await ended()

    assert {type(answer) for answer in answers} == {TimedOut}
    assert mercately.record.calls == {("agents", "SOURCE_TIMEOUT"): 1}
    assert mercately.record.state is State.DOWN
    assert mercately.record.last_error == "Mercately did not answer in time."


async def test_a_call_without_time_says_nothing_of_the_source(mercately: Mercately) -> None:
    for _ in range(3):
        with deadline(0), pytest.raises(TimedOut):
            await mercately.agents()
        await ended()

    assert mercately.record.state is State.UP
    assert mercately.record.errors == 0


async def test_a_call_with_less_time_than_usual_says_nothing_of_the_source(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    mercately_sandbox.trouble("delay", seconds=0.2)
    for _ in range(3):
        await mercately.agents()
    for _ in range(3):
        with deadline(0.05), pytest.raises(TimedOut):
            await mercately.agents()
        await ended()

    assert mercately.record.calls == {("agents", "ok"): 3, ("agents", "CANCELLED"): 3}
    assert mercately.record.state is State.UP


async def test_a_caller_who_leaves_says_nothing_of_the_source(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    mercately_sandbox.trouble("delay", seconds=30)
    with deadline(30), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await mercately.agents()
    await ended()

    assert mercately.record.calls == {("agents", "CANCELLED"): 1}
    assert mercately.record.state is State.UP


# The database


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    async with open_storage(database_url) as opened:
        yield opened


async def test_the_questions_to_the_database_are_recorded(storage: Storage) -> None:
    await storage.ping()
    await storage.schema_state()
    await storage.everyprint.balances(["1"])
    with pytest.raises(NotFound):
        await storage.everyprint.add_entry("1", Decimal(1), "paid", "key")

    assert storage.record.calls == {
        ("ping", "ok"): 1,
        ("schema_state", "ok"): 1,
        ("balances", "ok"): 1,
        ("add_entry", "NotFound"): 1,
    }
    assert storage.record.state is State.UP
    assert (storage.record.percentile(50) or 0) > 0


async def test_an_operation_out_of_time_says_nothing_of_the_database(storage: Storage) -> None:
    for _ in range(3):
        with deadline(0), pytest.raises(TimedOut):
            await storage.everyprint.balances(["1"])

    assert storage.record.calls == {("balances", "CANCELLED"): 3}
    assert storage.record.state is State.UP


async def test_a_stopped_database_is_down_until_it_answers_again(
    our_mariadb_url: str, mariadb_server: Mariadb
) -> None:
    async with open_storage(our_mariadb_url) as storage:
        await storage.everyprint.balances(["1"])
        mariadb_server.stop()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await storage.everyprint.balances(["1"])
        assert storage.record.down_since
        assert storage.record.last_error == "The database cannot be reached: try again later."

        mariadb_server.start()
        await storage.everyprint.balances(["1"])
        assert storage.record.state is State.DEGRADED
