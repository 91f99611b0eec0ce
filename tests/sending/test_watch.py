"""A message that is watched: what happens to it -> what whoever watches is told, and until when."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from time import time
from typing import Any

import pytest

from adapters import Adapters, open_adapters
from adapters.errors import SourceError
from adapters.storage.client import Storage
from adapters.storage.messages import Event, Id, Message, Messages, NewMessage, State
from resolvers.sending import watch
from resolvers.sending.limits import Limits
from resolvers.sending.news import News
from resolvers.sending.post import Post, Sending
from resolvers.sending.watch import changes
from tests.gateways import lines_to
from tests.services import Mariadb


@pytest.fixture
async def adapters(database_url: str) -> AsyncIterator[Adapters]:
    async with open_adapters(lines_to(), database_url) as opened:
        yield opened


@pytest.fixture
def post(adapters: Adapters) -> Post:
    return Post(adapters, News(), Limits(), Sending(environment="test"))


@pytest.fixture
async def other(database_url: str, ledger: Messages) -> AsyncIterator[Messages]:
    """The same ledger, as another process has it."""
    async with open_adapters(lines_to(), database_url) as adapters:
        yield adapters.storage.messages


@pytest.fixture
def ledger(adapters: Adapters) -> Messages:
    return adapters.storage.messages


async def queued(ledger: Messages, **said: Any) -> Id:
    whole: dict[str, Any] = {
        "phone": "+593990009102",
        "body": b"{}",
        "channel": "sms",
        "due": int(time() * 1000),
        "events": (Event(state=State.PENDING, channel="sms"),),
    }
    message = (await ledger.add(NewMessage(**whole | said))).message
    return message.id


async def everything(watched: AsyncIterator[Message]) -> list[State]:
    async with asyncio.timeout(10):
        return [message.state async for message in watched]


async def following(watched: AsyncIterator[Message]) -> State:
    async with asyncio.timeout(10):
        return (await anext(watched)).state


async def raised(ledger: Messages, id: Id, state: State, *, due: int | None = 1) -> None:
    assert await ledger.raise_to(id, Event(state=state, channel="sms"), due=due)


async def test_it_is_told_as_it_is_and_then_each_change_once_to_its_end(
    post: Post, ledger: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TURN", 60)
    id = await queued(ledger)
    watched = changes(post, ledger, id)

    assert await following(watched) is State.PENDING
    assert await ledger.claim(id, int(time() * 1000), due=1)
    await post.news.tell(id)
    assert await following(watched) is State.SENDING
    await raised(ledger, id, State.ACCEPTED)
    await post.news.tell(id)
    assert await following(watched) is State.ACCEPTED
    for _ in range(3):  # nothing has changed
        await post.news.tell(id)
    (message,) = (await ledger.messages([id])).values()
    assert await ledger.hold(message, due=2), "only that somebody looked at it"
    still_waiting = asyncio.create_task(everything(watched))
    await post.news.tell(id)
    await raised(ledger, id, State.DELIVERED, due=None)
    await post.news.tell(id)

    assert await still_waiting == [State.DELIVERED]
    assert post.news._waiting == {}, "and nobody waits any more"


async def test_what_another_process_changes_is_seen_as_well(
    post: Post, ledger: Messages, other: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "TURN", 0.05)
    id = await queued(ledger)
    watched = changes(post, ledger, id)
    assert await following(watched) is State.PENDING

    assert await other.cancel(id)

    assert await everything(watched) == [State.CANCELLED]


@pytest.mark.parametrize(
    ("state", "due"),
    [
        (State.DELIVERED, None),
        (State.SEEN, None),
        (State.FAILED, None),
        (State.EXPIRED, None),
        (State.SKIPPED, None),
        (State.UNKNOWN, None),
        (State.ACCEPTED, None),
    ],
)
async def test_of_what_is_over_one_hears_once(post: Post, ledger: Messages, state: State, due: int) -> None:
    id = await queued(ledger)
    await raised(ledger, id, state, due=due)

    assert await everything(changes(post, ledger, id)) == [state]


async def test_of_what_never_was_one_hears_nothing(post: Post, ledger: Messages) -> None:
    assert await everything(changes(post, ledger, Id(0, 5))) == []


async def test_who_is_slow_hears_the_latest_and_who_leaves_is_forgotten(post: Post, ledger: Messages) -> None:
    id = await queued(ledger)
    async with aclosing(changes(post, ledger, id)) as gone:
        assert await following(gone) is State.PENDING
    assert post.news._waiting == {}

    slow = changes(post, ledger, id)
    assert await following(slow) is State.PENDING
    for state in (State.SENDING, State.ACCEPTED, State.SENT, State.DELIVERED):
        await raised(ledger, id, state, due=None)
        await post.news.tell(id)

    assert await everything(slow) == [State.DELIVERED]


async def test_many_who_watch_one_hear_the_same(post: Post, ledger: Messages) -> None:
    id = await queued(ledger)
    watching = [changes(post, ledger, id) for _ in range(20)]
    assert {await following(each) for each in watching} == {State.PENDING}
    rest = [asyncio.create_task(everything(each)) for each in watching]

    await raised(ledger, id, State.FAILED, due=None)
    await post.news.tell(id)

    assert await asyncio.gather(*rest) == [[State.FAILED]] * 20


async def test_without_the_database_whoever_watches_is_told(
    on_mariadb: Storage, mariadb_server: Mariadb
) -> None:
    ledger = on_mariadb.messages
    async with open_adapters(lines_to(), "sqlite+aiosqlite://") as nobody:
        post = Post(nobody, News(), Limits(), Sending(environment="test"))
    watched = changes(post, ledger, await queued(ledger))
    assert await following(watched) is State.PENDING

    mariadb_server.stop()
    try:
        with pytest.raises(SourceError):
            await following(watched)
    finally:
        mariadb_server.start()
    assert post.news._waiting == {}
