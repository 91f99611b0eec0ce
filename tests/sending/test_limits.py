"""Limits: who asks for a turn, and how often -> who gets one when, in one process and through Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from time import monotonic
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from adapters.errors import Unavailable
from resolvers.sending.limits import MARGIN, Limits, Turn, open_limits, portion
from tests.sending import hammer
from tests.sending.forks import FORKS
from tests.sending.hammer import Use
from tests.services import Redis, gone, hanging

NOWHERE = "redis://127.0.0.1:1/0"
A_LITTLE = 0.08
"""Seconds that a busy machine may take for nothing."""


@pytest.fixture(params=["alone", "redis"])
async def offices(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Limits, Limits]]:
    """The limits as two see them who share them: in one process, or in two as far as Redis can tell."""
    if request.param == "alone":
        async with open_limits(None, "test") as limits:
            yield limits, limits
        return
    url = request.getfixturevalue("redis_url")
    async with open_limits(url, "test") as here, open_limits(url, "test") as there:
        yield here, there


def worst_second(used: Iterable[Use]) -> int:
    """The most messages in any second, wherever it begins."""
    ordered, first, within, worst = sorted(used), 0, 0, 0
    for moment, count in ordered:
        within += count
        while ordered[first][0] <= moment - 1:
            within -= ordered[first][1]
            first += 1
        worst = max(worst, within)
    return worst


def mean(used: Sequence[Use]) -> float:
    moments = [moment for moment, _ in used]
    return sum(count for _, count in used) / (max(moments) - min(moments))


async def single(
    limits: Limits, vendor: str = "hyber", rate: float | None = None, patience: float = 9
) -> float:
    """How long a single message has to wait."""
    turn = await limits.turn(vendor, rate=rate, patience=patience, alone=True)
    assert turn.granted
    return turn.wait


def hammered_by_three_processes(redis_url: str, rate: float, seconds: float) -> list[Use]:
    lines = []
    for _ in range(3):
        ours, theirs = FORKS.Pipe()
        process = FORKS.Process(target=hammer.work, args=(redis_url, rate, seconds, theirs), daemon=True)
        process.start()
        lines.append(ours)
    assert [line.recv() for line in lines] == ["ready"] * 3
    for line in lines:
        line.send("go")
    return [use for line in lines for use in line.recv()]


async def hammered_by_one_process(rate: float, seconds: float) -> list[Use]:
    async with open_limits(None, "test") as limits:
        until = monotonic() + seconds
        three = (hammer.hammer(limits, rate, until, None, portion(rate)) for _ in range(3))
        return [use for used in await asyncio.gather(*three) for use in used]


@pytest.mark.parametrize("where", ["alone", "redis"])
async def test_a_vendor_sees_its_rate_and_never_more_whoever_hammers(
    where: str, request: pytest.FixtureRequest
) -> None:
    if where == "redis":
        url = request.getfixturevalue("redis_url")
        used = await asyncio.to_thread(hammered_by_three_processes, url, 2_000, 4)
    else:
        used = await hammered_by_one_process(2_000, 4)

    assert worst_second(used) <= 2_100
    assert mean(used) >= 0.95 * 0.9 * 2_000


async def test_single_messages_find_their_room_beside_a_busy_broadcast(
    offices: tuple[Limits, Limits],
) -> None:
    here, there = offices
    broadcast = asyncio.create_task(hammer.hammer(here, 500, monotonic() + 2, None, 10))
    await asyncio.sleep(0.2)
    used, waits = [], []
    while not broadcast.done():
        waits.append(await single(there, rate=500))
        used.append((monotonic() + waits[-1], 1))
        await asyncio.sleep(0.005)

    assert max(waits) < 0.3
    assert worst_second(used + await broadcast) <= 1.05 * 500
    assert len(used) > 100, "more than what is theirs alone"


async def test_two_broadcasts_share_fairly_and_each_has_its_own_limit_besides(
    offices: tuple[Limits, Limits],
) -> None:
    until = monotonic() + 2
    shares = await asyncio.gather(
        *(hammer.hammer(limits, 1_000, until, (id, 10_000), 5) for limits in offices for id in (1, 2)),
        hammer.hammer(offices[1], 1_000, until, (3, 100), 2),
    )

    first, second, slow = (
        [use for share in some for use in share] for some in (shares[0:4:2], shares[1:4:2], shares[4:])
    )
    assert 0.7 < mean(first) / mean(second) < 1.4
    assert mean(slow) > 50
    assert worst_second(slow) <= 105
    assert worst_second(first + second + slow) <= 1_050


async def test_a_broadcasts_own_limit_is_one_for_all_its_vendors(offices: tuple[Limits, Limits]) -> None:
    here, there = offices

    async def turn(limits: Limits, vendor: str, patience: float) -> Turn:
        return await limits.turn(
            vendor, 10, rate=None, patience=patience, alone=False, broadcast=(1, 20 * MARGIN)
        )

    assert (await turn(here, "hyber", 0)).granted
    assert not (await turn(there, "chatfuel", 0.1)).granted
    started = monotonic()
    assert (await turn(there, "chatfuel", 1)).granted
    assert monotonic() - started == pytest.approx(0.5, abs=A_LITTLE)


async def test_who_comes_too_late_takes_nothing_and_is_told_when_to_ask_again(
    offices: tuple[Limits, Limits],
) -> None:
    here, there = offices
    assert await single(here, rate=MARGIN) == 0
    for limits in offices:
        for alone in (True, False):
            turn = await limits.turn("hyber", rate=MARGIN, patience=0.2, alone=alone)
            assert not turn.granted
            assert turn.wait == pytest.approx(0.85, abs=0.05 + A_LITTLE)

    assert await single(there, rate=MARGIN) == pytest.approx(1, abs=A_LITTLE)


async def test_single_messages_have_the_whole_rate(offices: tuple[Limits, Limits]) -> None:
    waits = [await single(limits, rate=10) for _ in range(5) for limits in offices]

    assert waits == pytest.approx([number * MARGIN / 10 for number in range(10)], abs=A_LITTLE)


async def test_without_a_rate_or_with_a_huge_one_nobody_waits(offices: tuple[Limits, Limits]) -> None:
    for alone in (True, False):
        for limits in offices:
            turn = await limits.turn("hyber", 1_000_000, rate=None, patience=0, alone=alone)
            assert turn == (True, 0)
            turn = await limits.turn("chatfuel", rate=10_000_000, patience=0.1, alone=alone)
            assert turn.granted


async def test_a_pause_holds_everywhere_at_once_and_the_longest_wins(offices: tuple[Limits, Limits]) -> None:
    here, there = offices
    await here.pause("hyber", 5)
    await there.pause("hyber", 60)
    await here.pause("hyber", 1)
    await there.pause("chatfuel", 0)

    for limits in offices:
        for rate in (None, 25.0):
            for alone in (True, False):
                turn = await limits.turn("hyber", rate=rate, patience=1, alone=alone)
                assert not turn.granted
                assert turn.wait == pytest.approx(59.5, abs=1)
        assert await single(limits, "chatfuel", rate=25, patience=0.1) < 0.1


async def test_after_a_pause_it_goes_on_at_the_rate(offices: tuple[Limits, Limits]) -> None:
    here, there = offices
    hammering = asyncio.create_task(hammer.hammer(there, 1_000, monotonic() + 1.5, None, 20))
    await asyncio.sleep(0.3)
    paused = monotonic()
    await here.pause("hyber", 0.6)
    used = await hammering

    before_the_pause, in_the_pause = paused + 0.1 + A_LITTLE, paused + 0.6
    assert [use for use in used if before_the_pause < use[0] < in_the_pause] == []
    assert worst_second(use for use in used if use[0] >= in_the_pause) <= 1_050
    assert max(used)[0] > in_the_pause + 0.5


async def test_who_gives_up_waiting_stands_in_nobodys_way(offices: tuple[Limits, Limits]) -> None:
    here, _ = offices
    await here.pause("hyber", 0.5)
    waiting = asyncio.create_task(here.turn("hyber", rate=100, patience=9, alone=False))
    await asyncio.sleep(0)
    assert not (await here.turn("hyber", rate=100, patience=0.1, alone=False)).granted
    waiting.cancel()

    assert (await here.turn("hyber", rate=100, patience=9, alone=False)).granted


@pytest.mark.parametrize("forget", ["script_flush", "flushall"])
async def test_a_redis_that_has_forgotten_everything_is_no_error(redis_url: str, forget: str) -> None:
    async with open_limits(redis_url, "test") as limits, Client.from_url(redis_url) as client:
        for _ in range(2):
            await getattr(client, forget)()
            assert (await limits.turn("hyber", rate=10, patience=1, alone=False)).granted
            await client.script_flush()
            await limits.pause("hyber", 0.01)


async def test_another_environment_has_limits_of_its_own_and_nothing_stays(redis_url: str) -> None:
    async with open_limits(redis_url, "test") as test, open_limits(redis_url, "prod") as prod:
        await test.pause("chatfuel", 60)
        assert await single(prod, "chatfuel") == 0
        await prod.turn("hyber", 7, rate=20, patience=1, alone=False, broadcast=(1, 20))
        async with Client.from_url(redis_url) as client:
            names = sorted([name async for name in client.scan_iter()])
            assert names == [
                b"switchboard:prod:limits:broadcast:1",
                b"switchboard:prod:limits:hyber:all",
                b"switchboard:prod:limits:hyber:broadcasts",
                b"switchboard:test:limits:chatfuel:pause",
            ]
            left = [await client.pttl(name) for name in names]

    assert all(0 < milliseconds <= 400 for milliseconds in left[:3])
    assert 59_000 < left[3] <= 60_000


@pytest.mark.parametrize("trouble", [gone, hanging])
async def test_without_redis_single_messages_go_on_and_broadcasts_wait_for_it(
    trouble: Callable[[Redis], AbstractContextManager[None]],
    redis_url: str,
    redis_server: Redis,
    log_lines: list[MutableMapping[str, Any]],
) -> None:
    async with open_limits(redis_url, "test") as here, open_limits(redis_url, "test") as there:
        await asyncio.gather(single(here), single(there))
        with trouble(redis_server):
            for limits in (here, there):
                for seconds in (1.0, 0.0):  # it is not asked again at once
                    started = monotonic()
                    with pytest.raises(Unavailable, match="Redis does not answer"):
                        await limits.turn("hyber", rate=10, patience=20, alone=False)
                    assert monotonic() - started < seconds + 3 * A_LITTLE
                waits = [await single(limits, rate=10) for _ in range(3)]
                assert waits == pytest.approx([0, 0.102, 0.204], abs=A_LITTLE)
                await limits.pause("chatfuel", 60)
                assert await single(limits, "chatfuel", patience=90) > 50
            assert [line["event"] for line in log_lines] == ["Redis does not answer"] * 2

        async with asyncio.timeout(20):
            while [line["event"] for line in log_lines].count("Redis answers again") < 2:
                await asyncio.gather(single(here), single(there))
                await asyncio.sleep(0.05)
        for limits in (here, there):
            assert (await limits.turn("hyber", rate=10, patience=5, alone=False)).granted
        assert [await single(limits, rate=1, patience=5) for limits in (here, there)][1] > 0.8


@pytest.mark.parametrize("url", [NOWHERE, f"{NOWHERE}?no_option=1"])
async def test_without_redis_from_the_start_it_is_the_same(
    url: str, log_lines: list[MutableMapping[str, Any]]
) -> None:
    async with AsyncExitStack() as stack:
        limits = await stack.enter_async_context(open_limits(url, "test"))
        assert [await single(limits, rate=10) for _ in range(2)] == pytest.approx([0, 0.1], abs=A_LITTLE)
        with pytest.raises(Unavailable):
            await limits.turn("hyber", rate=10, patience=1, alone=False)

    assert len(log_lines) == 1


@pytest.mark.parametrize(
    ("rate", "most", "rows"),
    [(None, 100, 100), (None, 20, 20), (1, 100, 1), (25, 100, 1), (2_000, 100, 40), (100_000, 100, 100)],
)
def test_a_portion_is_no_burst(rate: float | None, most: int, rows: int) -> None:
    assert portion(rate, most) == rows
