"""Identical reads under way are one call, and whoever leaves it leaves alone."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec
import pytest

from adapters.deadline import current, deadline
from adapters.errors import TimedOut, Unavailable
from adapters.flights import Flights
from adapters.mercately.client import Mercately, MercatelySettings
from adapters.mercately.sandbox import MercatelySandbox
from adapters.rest import Mode
from tests.raw import Raw, hang

T = TypeVar("T")

SOON = 1.0
"""Seconds in which what is to happen at once has happened, on any machine."""


@pytest.fixture(autouse=True)
async def quiet() -> AsyncIterator[None]:
    """No test leaves a task behind, or an exception that nobody has heard of."""
    noise: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    gc.freeze()  # what was there before is no question of the test's, and takes seconds to look through
    yield
    gc.collect()
    gc.unfreeze()
    await asyncio.sleep(0)

    assert noise == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Call:
    """A call under way until it is told how to end; every `start` is one."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def start(self) -> str:
        self.started += 1
        try:
            return await asyncio.shield(self.answer)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.fixture
async def call() -> Call:
    return Call()


def board(flights: Flights, call: Call, key: str = "key") -> asyncio.Task[str]:
    return asyncio.create_task(flights.board(key, call.start))


async def turns(count: int = 5) -> None:
    """Let everybody else go on until they wait."""
    for _ in range(count):
        await asyncio.sleep(0)


# Through a client, by what its vendor was asked


async def test_fifty_identical_reads_are_one_call(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    answers = await asyncio.gather(*(mercately.agents() for _ in range(50)))

    assert mercately_sandbox.count("/agents") == 1
    assert mercately.record.calls == Counter({("agents", "ok"): 1})
    assert all(answer == answers[0] for answer in answers)


async def test_different_questions_are_different_calls(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    await asyncio.gather(mercately.agents(), mercately.templates(), mercately.agents())

    assert mercately_sandbox.count("/agents") == 1
    assert mercately_sandbox.count("/whatsapp_templates") == 1


class Curious(Mercately):
    async def ask(self, answer: type[T], **parameters: str) -> T:
        return await self._get("agents", "/retailers/api/v1/agents", answer, **parameters)


async def test_the_same_address_with_other_parameters_or_another_model_is_another_call(
    mercately_sandbox: MercatelySandbox,
) -> None:
    settings = MercatelySettings().pointed_at(mercately_sandbox)
    async with Curious.open(settings, Mode.REAL) as curious:
        first, *_ = await asyncio.gather(
            curious.ask(dict, page="1", unassigned="true"),
            curious.ask(dict, unassigned="true", page="1"),
            curious.ask(dict, page="2"),
            curious.ask(msgspec.Raw, page="2"),
        )

    assert list(first) == ["agents"]
    assert [asked.query for asked in mercately_sandbox.asked].count({"page": "2"}) == 2
    assert mercately_sandbox.count("/agents") == 3


async def test_an_answer_is_not_kept(mercately: Mercately, mercately_sandbox: MercatelySandbox) -> None:
    await mercately.agents()
    await mercately.agents()

    assert mercately_sandbox.count("/agents") == 2


async def test_an_answer_that_one_caller_changes_is_whole_for_the_next(mercately: Mercately) -> None:
    first, second = await asyncio.gather(mercately.agents(), mercately.agents())
    first.clear()

    assert 2763 in second


async def test_an_error_reaches_everybody(mercately: Mercately, mercately_sandbox: MercatelySandbox) -> None:
    mercately_sandbox.trouble("status", status=503)
    answers = await asyncio.gather(*(mercately.agents() for _ in range(50)), return_exceptions=True)

    assert mercately_sandbox.count("/agents") == 1
    assert {type(answer) for answer in answers} == {Unavailable}


async def test_two_clients_share_nothing(mercately: Mercately, mercately_sandbox: MercatelySandbox) -> None:
    stranger = MercatelySettings(url=mercately_sandbox.url, slug="stranger")
    async with Mercately.open(stranger, Mode.REAL) as other:
        answers = await asyncio.gather(mercately.agents(), other.agents(), return_exceptions=True)

    assert mercately_sandbox.count("/agents") == 2
    assert isinstance(answers[1], Exception)


async def test_a_cancelled_caller_leaves_alone(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    mercately_sandbox.trouble("delay", seconds=0.1)
    first, second, third = (asyncio.create_task(mercately.agents()) for _ in range(3))
    await turns()
    first.cancel()

    assert 2763 in await second
    assert 2763 in await third
    assert first.cancelled()
    assert mercately.record.calls == Counter({("agents", "ok"): 1})


async def test_when_all_have_left_the_vendor_sees_the_connection_close() -> None:
    async with Raw(hang) as raw:
        settings = MercatelySettings(url=raw.url, timeout=30)
        async with Mercately.open(settings, Mode.REAL) as mercately:
            callers = [asyncio.create_task(mercately.agents()) for _ in range(3)]
            await asyncio.wait_for(raw.asked.wait(), SOON)
            for caller in callers:
                caller.cancel()
            await asyncio.wait_for(raw.empty.wait(), SOON)

            await raw.heal(b'{"agents": []}')
            assert await mercately.agents() == {}

    assert raw.accepted == 2


async def test_a_deadline_ends_only_its_callers_wait(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    mercately_sandbox.trouble("delay", seconds=0.2)
    patient = asyncio.create_task(mercately.agents())
    await turns()
    in_one_sentence = r"^Mercately did not answer within this request's time\.$"
    with deadline(0.05), pytest.raises(TimedOut, match=in_one_sentence):
        await mercately.agents()

    assert 2763 in await patient
    assert mercately_sandbox.count("/agents") == 1


async def test_a_deadline_of_the_first_caller_is_not_the_seconds(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    mercately_sandbox.trouble("delay", seconds=0.2)
    with deadline(0.05):
        hasty = asyncio.create_task(mercately.agents())
    patient = asyncio.create_task(mercately.agents())

    with pytest.raises(TimedOut):
        await hasty
    assert 2763 in await patient
    assert mercately_sandbox.count("/agents") == 1


async def test_a_deadline_that_has_passed_ends_the_call(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    with deadline(0), pytest.raises(TimedOut):
        await mercately.agents()
    await mercately.agents()

    assert mercately.record.calls["agents", "ok"] == 1


# Step by step


async def test_who_boards_late_gets_the_same_answer(call: Call) -> None:
    flights = Flights()
    early = board(flights, call)
    await turns()
    late = board(flights, call)
    call.answer.set_result("landed")

    assert (await early, await late) == ("landed", "landed")
    assert call.started == 1


async def test_another_key_is_another_flight(call: Call) -> None:
    flights = Flights()
    callers = [board(flights, call, "here"), board(flights, call, "there")]
    await turns()
    call.answer.set_result("landed")

    assert await asyncio.gather(*callers) == ["landed", "landed"]
    assert call.started == 2


@pytest.mark.parametrize("error", [None, Unavailable("crm", "Down.")])
async def test_nothing_is_left_after_a_landing(call: Call, error: Exception | None) -> None:
    flights = Flights()
    first = board(flights, call)
    await turns()
    call.answer.set_exception(error) if error else call.answer.set_result("landed")
    await asyncio.wait([first])
    second = board(flights, call)
    await asyncio.wait([second])

    assert call.started == 2
    assert first.exception() is second.exception() is error


async def test_the_call_ends_with_its_last_caller(call: Call) -> None:
    flights = Flights()
    callers = [board(flights, call) for _ in range(3)]
    await turns()
    callers[0].cancel()
    callers[1].cancel()
    await turns()
    assert call.cancelled == 0

    callers[2].cancel()
    await turns()
    assert call.cancelled == 1


async def test_who_comes_after_the_last_has_left_starts_anew(call: Call) -> None:
    flights = Flights()
    gone = board(flights, call)
    await turns()
    gone.cancel()
    await turns(1)
    next_caller = board(flights, call)
    await turns()
    call.answer.set_result("landed")

    assert await next_caller == "landed"
    assert (call.started, call.cancelled) == (2, 1)


async def test_an_error_that_only_leavers_waited_for_makes_no_noise(call: Call) -> None:
    flights = Flights()
    leaver, stayer = board(flights, call), board(flights, call)
    await turns()
    leaver.cancel()
    await turns()
    call.answer.set_exception(Unavailable("crm", "Down."))
    await asyncio.wait([stayer])

    assert isinstance(stayer.exception(), Unavailable)


@pytest.mark.parametrize("later", range(7))
async def test_an_error_around_the_moment_the_last_caller_leaves_makes_no_noise(
    call: Call, later: int
) -> None:
    flights = Flights()
    caller = board(flights, call)
    await turns()
    call.answer.set_exception(Unavailable("crm", "Down."))
    await turns(later)
    caller.cancel()
    await asyncio.wait([caller])

    assert caller.cancelled() or isinstance(caller.exception(), Unavailable)


# Deadlines


async def test_nobody_waits_unless_they_say_so() -> None:
    assert current() is None


async def test_a_deadline_holds_inside_its_block_and_in_the_tasks_it_starts() -> None:
    async def ask() -> float | None:
        return current()

    with deadline(5):
        task = asyncio.create_task(ask())
        inside = current()

    assert current() is None
    assert await task == inside == pytest.approx(asyncio.get_running_loop().time() + 5, abs=SOON)


async def test_a_deadline_within_a_deadline_only_shortens_it() -> None:
    with deadline(5):
        outer = current()
        with deadline(60):
            assert current() == outer
        with deadline(1):
            assert current() == pytest.approx(asyncio.get_running_loop().time() + 1, abs=0.5)
        assert current() == outer


async def test_who_asks_after_a_change_boards_no_flight_from_before_it(
    mercately: Mercately, mercately_sandbox: MercatelySandbox
) -> None:
    mercately_sandbox.trouble("delay", path="GET ", times=1, seconds=0.3)
    before = asyncio.create_task(mercately.customer("4880mylqi3881"))
    while not mercately_sandbox.asked:
        await asyncio.sleep(0)

    assert await mercately.update_customer("4880mylqi3881", {"last_name": "New"})
    after = await mercately.customer("4880mylqi3881")

    assert after
    assert after.last_name == "New"
    assert await before
    assert [one.method for one in mercately_sandbox.asked] == ["GET", "PUT", "GET"]


async def test_nobody_misses_how_a_call_ended_that_all_have_left() -> None:
    """Its own time was over at the same moment: then it fails instead of being cancelled."""

    async def start() -> str:
        try:
            return await asyncio.sleep(60, "too late")
        except asyncio.CancelledError:
            raise TimedOut("mercately", "It did not answer in time.") from None

    boarded = asyncio.create_task(Flights().board("key", start))
    for _ in range(3):
        await asyncio.sleep(0)
    boarded.cancel()
    await asyncio.wait([boarded])
