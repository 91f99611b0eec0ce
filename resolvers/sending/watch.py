"""Watch: a message as it changes, until nothing more will be heard of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from msgspec.structs import replace

from adapters.storage.messages import Id, Message, Messages, State
from resolvers.sending.post import Post

TURN = 1.0
"""Seconds after which the ledger is read anyway: another process may have changed the message."""


async def changes(post: Post, ledger: Messages, id: Id) -> AsyncGenerator[Message, None]:
    """As it is now, and then as each change leaves it; nothing if there is no such message.

    Nothing is kept for those who are slow: the ledger is read when they come for the next.
    """
    seen: Message | None = None
    with post.news.of(id) as changed:
        while True:
            changed.clear()
            message = (await ledger.messages([id])).get(id)
            if message is None:
                return
            if (now := _without_its_turns(message)) != seen:
                seen = now
                yield message
            if _is_over(message):
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN):
                    await changed.wait()


def _without_its_turns(message: Message) -> Message:
    """That it is looked at again, and how often it was, is no news."""
    return replace(message, due=None, attempt=0)


def _is_over(message: Message) -> bool:
    return message.state.is_final or (message.due is None and message.state.rank >= State.ACCEPTED.rank)
