"""News among processes: a change that is told in one -> who waits in another hears, whatever Redis does."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis as Client

from adapters.storage.messages import Id, State
from gateway.settings import Settings
from resolvers.messages import message_key
from resolvers.sending import news as module
from resolvers.sending import watch
from resolvers.sending.news import News, SharedNews, open_news
from resolvers.sending.watch import changes
from tests.gateways import gateway_on
from tests.services import Redis

ID, ANOTHER = Id(0, 7), Id(3, 1)
NOWHERE = "redis://127.0.0.1:1/0"
SEND = "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { id } }"
CANCEL = "mutation ($id: ID!) { cancelMessage(id: $id) { status } }"


async def heard(teller: News, hearer: News, id: Id = ID) -> float:
    """Seconds from telling to hearing; told again until both have found Redis."""
    with hearer.of(id) as changed:
        async with asyncio.timeout(20):
            while True:
                started = perf_counter()
                await teller.tell(id)
                try:
                    async with asyncio.timeout(1):
                        await changed.wait()
                    return perf_counter() - started
                except TimeoutError:
                    pass


async def said(log_lines: list[MutableMapping[str, Any]], what: str) -> None:
    async with asyncio.timeout(20):
        while what not in [line["event"] for line in log_lines]:
            await asyncio.sleep(0.01)


async def test_what_is_told_in_one_process_is_heard_in_another_at_once(redis_url: str) -> None:
    async with open_news(redis_url, "test") as here, open_news(redis_url, "test") as there:
        took = [await heard(here, there) for _ in range(5)] + [await heard(there, here) for _ in range(5)]

        assert min(took) < 0.3
        with there.of(ID) as changed, there.of(ANOTHER) as also, there.of(Id(0, 8)) as never:
            await here.tell(ID)
            await here.tell(ANOTHER)
            async with asyncio.timeout(5):
                await asyncio.gather(changed.wait(), also.wait())
            assert not never.is_set()


async def test_who_watches_at_one_gateway_sees_what_another_does(
    settings: Settings, redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TURN", 60)
    urls = {"database_url": SecretStr(database_url), "redis_url": SecretStr(redis_url)}
    settings = settings.model_copy(update=urls)
    async with gateway_on(settings) as here, gateway_on(settings) as there:
        await heard(here.post.news, there.post.news)
        input = {
            "to": {"phone": "+593990000102"},
            "content": {"sms": {"text": "Hola", "ttl": 300, "alphaName": "GMSU"}},
            "sendAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        }
        id = (await here.data(SEND, input=input))["sendMessage"]["id"]
        async with aclosing(changes(there.post, there.storage.messages, message_key(id))) as watched:
            await anext(watched)

            await here.data(CANCEL, id=id)

            async with asyncio.timeout(20):
                assert (await anext(watched)).state is State.CANCELLED


async def test_another_environment_is_not_heard(redis_url: str) -> None:
    async with (
        open_news(redis_url, "prod") as prod,
        open_news(redis_url, "prod") as prod_too,
        open_news(redis_url, "test") as here,
        open_news(redis_url, "test") as there,
    ):
        await heard(here, there)
        with there.of(ID) as changed:
            await heard(prod, prod_too)
            await heard(here, there, ANOTHER)

            assert not changed.is_set()


@asynccontextmanager
async def gone(server: Redis) -> AsyncIterator[None]:
    server.stop()
    yield
    server.start()


@asynccontextmanager
async def hanging(server: Redis) -> AsyncIterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@asynccontextmanager
async def babbling(server: Redis) -> AsyncIterator[None]:
    async with Client.from_url(server.url) as client:
        await client.publish("switchboard:test:messages", "what?")
    yield


@pytest.mark.parametrize("trouble", [gone, hanging, babbling])
async def test_a_redis_in_trouble_costs_nothing_and_is_found_again(
    trouble: Callable[[Redis], AbstractAsyncContextManager[None]],
    redis_url: str,
    redis_server: Redis,
    log_lines: list[MutableMapping[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_PATIENCE", 0.5)
    async with open_news(redis_url, "test") as here, open_news(redis_url, "test") as there:
        await heard(here, there)
        async with trouble(redis_server):
            with here.of(ID) as changed:
                started = perf_counter()
                for _ in range(100):
                    await here.tell(ID)
                assert changed.is_set(), "in the same process it is heard as ever"
                assert perf_counter() - started < 1, "and whoever tells waits for nothing"
            await said(log_lines, "Redis does not answer")

        await heard(here, there)
        await heard(there, here)
        await said(log_lines, "Redis answers again")


@pytest.mark.parametrize("url", [NOWHERE, f"{NOWHERE}?no_option=1"])
async def test_without_redis_it_opens_and_ends_as_ever_and_keeps_nothing(
    url: str, log_lines: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    async with open_news(url, "test") as news:
        assert isinstance(news, SharedNews)
        await news.tell(ID)
        await said(log_lines, "Redis does not answer")
        with news.of(ID) as changed:
            await news.tell(ID)
            assert changed.is_set()
        assert news._untold == set(), "for others there will be the ledger"
        await asyncio.sleep(0.1)  # it tries again, several times

    assert len(log_lines) == 1


async def test_it_ends_while_redis_hangs(
    redis_url: str, redis_server: Redis, log_lines: list[MutableMapping[str, Any]]
) -> None:
    async with AsyncExitStack() as frozen:
        async with open_news(redis_url, "test") as here, open_news(redis_url, "test") as there:
            await heard(here, there)
            await frozen.enter_async_context(hanging(redis_server))
            await here.tell(ID)
            await said(log_lines, "Redis does not answer")
            await there.tell(ID)
            started = perf_counter()

        assert perf_counter() - started < 2
