"""What is kept of a source's answers: for how long, how much, and what ends it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters import cache
from adapters.cache import BYTES, ENTRIES, Cache, Keep, stale_answers
from adapters.errors import Busy, Malformed, Misconfigured, SourceError, TimedOut, Unasked, Unavailable
from adapters.mercately.client import Mercately, MercatelySettings
from adapters.mercately.sandbox import MercatelySandbox
from adapters.poster.client import PosterSettings
from adapters.rest import Mode

KEEP = Keep(fresh=10, stale=20)
AWA = "4880pbiig3874"


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(clock: Clock) -> Cache:
    return Cache(clock.now)


def put(kept: Cache, key: str, body: bytes = b"{}", keep: Keep = KEEP) -> None:
    kept.put(key, body, keep, kept._now(), kept.era)


def test_an_answer_is_fresh_then_stale_then_nothing(kept: Cache, clock: Clock) -> None:
    put(kept, "key")
    for age, fresh, stale in ((0, True, True), (9.9, True, True), (10, False, True), (30, False, False)):
        clock.time = 100 + age
        assert kept.fresh("key", KEEP) == (b"{}" if fresh else None)
        assert kept.stale("key", KEEP) == ((b"{}", clock.time - 100) if stale else None)
    assert kept.fresh("another", KEEP) is None
    assert kept.stale("another", KEEP) is None


def test_what_expires_is_only_stale_and_what_we_changed_is_not_even_that(kept: Cache) -> None:
    put(kept, "ours")
    put(kept, "theirs", keep=KEEP._replace(is_theirs=True))
    era = kept.era
    kept.expire()
    assert kept.fresh("ours", KEEP) is None
    assert kept.stale("ours", KEEP)

    kept.forget()
    assert kept.stale("ours", KEEP) is None
    assert kept.fresh("theirs", KEEP) is None
    assert kept.stale("theirs", KEEP)

    kept.put("late", b"{}", KEEP, kept._now(), era)  # asked for before
    assert kept.stale("late", KEEP) is None


def test_neither_many_nor_large_answers_take_more_than_their_room(kept: Cache) -> None:
    for number in range(ENTRIES + 5):
        put(kept, str(number))
        assert kept.fresh("0", KEEP)  # who is asked for stays
    assert len(kept) == ENTRIES
    assert kept.fresh("1", KEEP) is None

    put(kept, "large", b" " * BYTES)
    assert (len(kept), kept.fresh("0", KEEP)) == (1, None)
    put(kept, "too large", b" " * (BYTES + 1))
    put(kept, "large", b" ")
    assert len(kept) == 1
    put(kept, "another", b" " * (BYTES - 1))
    assert len(kept) == 2


# Over a socket


@asynccontextmanager
async def connected(**settings: Any) -> AsyncIterator[tuple[Mercately, MercatelySandbox]]:
    async with MercatelySandbox() as sandbox:
        given = MercatelySettings(timeout=0.4, probe_interval=60, **settings).pointed_at(sandbox)
        async with Mercately.open(given, Mode.REAL) as mercately:
            yield mercately, sandbox


async def ask_for_everything(mercately: Mercately) -> None:
    await mercately.agents()
    await mercately.templates()
    await mercately.customer(AWA)
    await mercately.conversations("messenger", 1)
    await mercately.conversations("messenger", 2)


async def test_what_was_answered_is_not_asked_for_again() -> None:
    async with connected() as (mercately, sandbox):
        first = await mercately.agents()
        first.clear()
        assert await mercately.agents()  # nobody changes it for the next
        await ask_for_everything(mercately)
        await ask_for_everything(mercately)
        assert len(sandbox.asked) == 5

        await mercately.ping()  # which has to know
        await mercately.customers(1)
        await mercately.customers(1)  # for whoever walks through all of them
        assert len(sandbox.asked) == 8


@pytest.mark.parametrize(
    ("settings", "calls"), [({"cache": 0}, 8), ({"cache_lists": 0}, 7), ({"cache": 0, "cache_lists": 0}, 10)]
)
async def test_zero_is_off(settings: dict[str, float], calls: int) -> None:
    async with connected(**settings) as (mercately, sandbox):
        await ask_for_everything(mercately)
        await ask_for_everything(mercately)

        assert len(sandbox.asked) == calls


async def test_it_is_asked_again_when_its_time_is_over() -> None:
    async with connected(cache=0.05) as (mercately, sandbox):
        await mercately.customer(AWA)
        await asyncio.sleep(0.05)
        await mercately.customer(AWA)

        assert len(sandbox.asked) == 2


async def test_two_clients_share_nothing() -> None:
    async with connected() as (mercately, sandbox):
        await mercately.agents()
        stranger = MercatelySettings(url=sandbox.url, slug="stranger")
        async with Mercately.open(stranger, Mode.REAL) as other:
            with pytest.raises(Misconfigured):
                await other.agents()


async def test_a_change_is_read_by_whoever_asks_next() -> None:
    async with connected() as (mercately, sandbox):
        before = await mercately.customer(AWA)
        await mercately.update_customer(AWA, {"notes": "new"})
        after = await mercately.customer(AWA)
        assert before
        assert after
        assert (before.notes == "new", after.notes) == (False, "new")

        # One that was under way when the change was made is not kept.
        sandbox.trouble("delay", path=f"GET /retailers/api/v1/customers/{AWA}", seconds=0.2, times=1)
        mercately.read_anew()
        old = asyncio.create_task(mercately.customer(AWA))
        while sandbox.asked[-1].method != "GET":
            await asyncio.sleep(0.005)
        await mercately.update_customer(AWA, {"notes": "newer"})
        await old
        newest = await mercately.customer(AWA)
        assert newest
        assert newest.notes == "newer"


Told = list[tuple[str, datetime, str]]


async def stale_of(mercately: Mercately, told: Told) -> bool:
    """The agents, asked for anew by who can tell that they are stale."""
    mercately.read_anew()
    with stale_answers(lambda *note: told.append(note)):
        return bool(await mercately.agents())


@pytest.mark.parametrize(
    ("kind", "details", "error"),
    [
        ("status", {"status": 500}, Unavailable),
        ("status", {"status": 429}, Busy),
        ("reset", {}, Unavailable),
        ("hang", {}, TimedOut),
        ("html", {}, Malformed),
    ],
    ids=lambda it: str(it),
)
async def test_while_the_source_fails_the_last_answer_is_given_to_who_can_tell(
    kind: Any, details: dict[str, Any], error: type[SourceError]
) -> None:
    async with connected() as (mercately, sandbox):
        asked = datetime.now(UTC)
        await mercately.agents()
        sandbox.trouble(kind, **details)
        told: Told = []

        assert await stale_of(mercately, told)
        ((source, since, reason),) = told
        assert (source, reason) == ("mercately", error.code)
        assert abs(since - asked) < timedelta(seconds=1)

        with pytest.raises(error):  # who cannot
            await mercately.agents()
        with stale_answers(lambda *note: told.append(note)), pytest.raises((error, Unasked)):  # nothing there
            await mercately.templates()


async def test_a_stale_answer_comes_at_once_while_the_circuit_is_open_and_survives_changes() -> None:
    async with connected() as (mercately, sandbox):
        await ask_for_everything(mercately)
        sandbox.trouble("status")
        for _ in range(5):
            with pytest.raises(Unavailable):
                await mercately.create_customer({"first_name": "Awa"})
        sandbox.asked.clear()
        told: Told = []

        assert await stale_of(mercately, told)
        assert [reason for _, _, reason in told] == ["SOURCE_UNAVAILABLE"]
        # What the changes may have changed is not told as it was before.
        with stale_answers(lambda *note: told.append(note)), pytest.raises(Unasked):
            await mercately.conversations("messenger", 1)
        assert len(sandbox.asked) == 0


@pytest.mark.parametrize(
    ("kind", "details", "error"),
    [("status", {"status": 401}, Misconfigured), ("status", {"status": 404}, SourceError)],
    ids=lambda it: str(it),
)
async def test_a_no_is_not_answered_with_what_was(
    kind: Any, details: dict[str, Any], error: type[SourceError]
) -> None:
    async with connected() as (mercately, sandbox):
        await mercately.agents()
        sandbox.trouble(kind, **details)

        with pytest.raises(error):
            await stale_of(mercately, [])


async def test_a_stale_answer_has_its_time_and_people_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(cache=0.05, cache_lists=0, stale=0.05) as (mercately, sandbox):
        await mercately.agents()
        await mercately.customer(AWA)
        await asyncio.sleep(0.1)
        sandbox.trouble("status")

        with pytest.raises(Unavailable):
            await stale_of(mercately, [])
        with stale_answers(lambda *_: None), pytest.raises(Unavailable):
            await mercately.customer(AWA)


def test_among_other_processes_only_what_none_of_them_changes_is_kept() -> None:
    assert PosterSettings().among_others().cache == MercatelySettings().among_others().cache == 0
    assert MercatelySettings().among_others().cache_lists > 0
    assert PosterSettings(cache=1).among_others().cache == 1
    assert Keep(0, 0) == cache.NOT_AT_ALL
