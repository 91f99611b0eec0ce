"""The engine: a chunk that is kicked -> somebody with a free slot sends it, whatever its broker does."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from adapters.errors import Unavailable
from resolvers.sending import brokers
from resolvers.sending.engine import Engine, open_engine
from resolvers.tasks import stop
from tests.services import Redis, gone, hanging

QUEUE = "switchboard:test:chunk.v1"
Chunk = tuple[int, int, str]


class Office:
    """What one process sends; while its gate is closed, no chunk comes to its end."""

    def __init__(self) -> None:
        self.begun: list[Chunk] = []
        self.ended: list[Chunk] = []
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.engine: Engine

    async def send(self, broadcast_id: int, n: int, token: str) -> None:
        self.begun.append((broadcast_id, n, token))
        self.most = max(self.most, len(self.begun) - len(self.ended))
        await self.gate.wait()
        self.ended.append((broadcast_id, n, token))
        if token == "bad":
            raise RuntimeError("+593990000102")


@asynccontextmanager
async def office(
    broker_url: str | None, *, slots: int = 4, environment: str = "test", grace: float = 5, works: bool = True
) -> AsyncIterator[Office]:
    opened = Office()
    async with open_engine(
        broker_url, opened.send, slots, environment=environment, grace=grace
    ) as opened.engine:
        worker = asyncio.create_task(opened.engine.work()) if works else None
        try:
            yield opened
        finally:
            if worker:
                await stop(worker)


async def until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.01)


async def idle(server: Redis, takers: int = 1) -> None:
    """Nothing of what was done before is still on its way to Redis."""
    async with Client.from_url(server.url) as client:
        async with asyncio.timeout(20):
            while (await client.info("clients"))["blocked_clients"] < takers:
                await asyncio.sleep(0.01)


async def kicked(engine: Engine, chunk: Chunk) -> None:
    """As the pump does: again, until it is taken."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await engine.kick(*chunk)
            except Unavailable:
                await asyncio.sleep(0.05)


@pytest.fixture(params=["embedded", "redis"])
def broker_url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "embedded":
        return None
    url: str = request.getfixturevalue("redis_url")
    return url


async def test_each_chunk_is_sent_once_and_so_many_at_a_time(broker_url: str | None) -> None:
    chunks = [(2**53 + 1, n, f"token-{n}") for n in range(20)]
    async with office(broker_url, slots=3) as here:
        here.gate.clear()
        started = monotonic()
        for chunk in chunks:
            await here.engine.kick(*chunk)
        assert monotonic() - started < 2
        await until(lambda: len(here.begun) == 3)
        here.gate.set()
        await until(lambda: len(here.ended) == len(chunks))

    assert Counter(here.ended) == Counter(chunks)
    assert here.most == 3


async def test_a_chunk_that_fails_is_told_without_its_words_and_the_next_is_sent(
    broker_url: str | None, log_lines: list[MutableMapping[str, Any]]
) -> None:
    async with office(broker_url, slots=1) as here:
        for n, token in enumerate(("bad", "bad", "good")):
            await here.engine.kick(1, n, token)
        await until(lambda: len(here.ended) == 3)

    failures = [line for line in log_lines if line["event"] == "a chunk was given up"]
    assert [(line["broadcast"], line["chunk"]) for line in failures] == [(1, 0), (1, 1)]
    assert "+593" not in "".join(str(line["event"]) for line in log_lines)


async def test_who_is_told_to_stop_ends_what_is_under_way_and_takes_no_more(broker_url: str | None) -> None:
    async with office(broker_url, slots=2) as here:
        here.gate.clear()
        for n in range(4):
            await here.engine.kick(1, n, "token")
        await until(lambda: len(here.begun) == 2)
        asyncio.get_running_loop().call_later(0.3, here.gate.set)

    assert here.ended == here.begun
    assert len(here.begun) == 2


async def test_what_does_not_end_in_time_is_ended(broker_url: str | None) -> None:
    async with office(broker_url, grace=0.2) as here:
        here.gate.clear()
        await here.engine.kick(1, 1, "token")
        await until(lambda: len(here.begun) == 1)
        started = monotonic()

    assert monotonic() - started < 3
    assert here.ended == []


async def test_who_has_no_slot_leaves_chunks_to_others_and_what_is_sent_is_gone(redis_url: str) -> None:
    async with office(redis_url, slots=1) as busy:
        busy.gate.clear()
        await busy.engine.kick(1, 0, "token")
        await until(lambda: len(busy.begun) == 1)
        async with office(redis_url) as other, office(redis_url, works=False) as giver:
            for n in range(1, 20):
                await giver.engine.kick(1, n, "token")
            await until(lambda: len(other.ended) == 19)
            busy.gate.set()
        await until(lambda: len(busy.ended) == 1)

    assert Counter(busy.ended + other.ended) == Counter((1, n, "token") for n in range(20))
    async with Client.from_url(redis_url) as client:
        assert (await client.xpending(QUEUE, QUEUE))["pending"] == 0


async def test_another_environment_sends_nothing_of_ours(redis_url: str) -> None:
    async with office(redis_url, environment="prod") as prod, office(redis_url) as here:
        await here.engine.kick(1, 1, "token")
        await until(lambda: len(here.ended) == 1)

    assert prod.begun == []


async def test_a_stream_never_grows_beyond_its_bound(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "KEPT", 100)
    async with office(redis_url, works=False) as giver, Client.from_url(redis_url) as client:
        for n in range(500):
            await giver.engine.kick(1, n, "token")

        assert await client.xlen(QUEUE) <= 300


@pytest.mark.parametrize("trouble", [gone, hanging])
async def test_a_broker_in_trouble_is_told_at_once_and_found_again(
    trouble: Callable[[Redis], AbstractContextManager[None]],
    redis_url: str,
    redis_server: Redis,
    log_lines: list[MutableMapping[str, Any]],
) -> None:
    async with office(redis_url) as here, office(redis_url, works=False) as giver:
        await kicked(giver.engine, (1, 1, "before"))
        await until(lambda: len(here.ended) == 1)
        here.gate.clear()
        await kicked(giver.engine, (1, 2, "meanwhile"))
        await until(lambda: len(here.begun) == 2)
        await idle(redis_server)
        with trouble(redis_server):
            for _ in range(2):
                started = monotonic()
                with pytest.raises(Unavailable, match="The broker does not take chunks"):
                    await giver.engine.kick(1, 3, "lost")
                assert monotonic() - started < 2.2
            await until(lambda: "the broker does not answer" in [line["event"] for line in log_lines])
            here.gate.set()  # what is under way goes on

        await kicked(giver.engine, (1, 4, "after"))
        await until(lambda: (1, 4, "after") in here.ended)

    assert {(1, 1, "before"), (1, 2, "meanwhile")} <= set(here.ended)


async def test_what_was_given_to_an_empty_redis_before_anybody_takes_is_sent(
    redis_url: str, redis_server: Redis
) -> None:
    async with office(redis_url) as here, Client.from_url(redis_url) as client:
        await here.engine.kick(1, 1, "token")
        await until(lambda: len(here.ended) == 1)
        for n in (2, 3):
            await client.flushall()
            await here.engine.kick(1, n, "token")
            await until(lambda n=n: len(here.ended) == n)  # type: ignore[misc]


async def test_it_opens_without_a_broker_and_begins_when_it_is_there(
    redis_url: str, redis_server: Redis
) -> None:
    async with AsyncExitStack() as stack:
        with gone(redis_server):
            here = await stack.enter_async_context(office(redis_url))
            with pytest.raises(Unavailable):
                await here.engine.kick(1, 1, "lost")
        await kicked(here.engine, (1, 2, "token"))
        await until(lambda: here.ended == [(1, 2, "token")])


async def test_it_ends_while_its_broker_hangs(redis_url: str, redis_server: Redis) -> None:
    async with AsyncExitStack() as frozen:
        async with office(redis_url, grace=1) as here:
            await here.engine.kick(1, 1, "token")
            await until(lambda: len(here.ended) == 1)
            await idle(redis_server)
            frozen.enter_context(hanging(redis_server))
            started = monotonic()

        assert monotonic() - started < 3
