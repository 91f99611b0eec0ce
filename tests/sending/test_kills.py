"""kill -9 between any two steps of sending, and a restart: never twice, never lost where it can be asked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing import get_context
from time import time

import pytest

from adapters import Adapters, open_adapters
from adapters.chatfuel.sandbox import ChatfuelSandbox
from adapters.hyber.sandbox import HyberSandbox
from adapters.lines import Lines
from adapters.mercately.sandbox import MercatelySandbox
from adapters.sandbox import Sandbox
from adapters.storage.messages import Message, State
from resolvers.sending.courier import SETTLE, Courier
from tests.gateways import lines_to
from tests.sending import victim

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["tests.sending.victim"])
LEFT = "after the request has left"
TIMEOUT = 20
SETTLED = SETTLE + TIMEOUT * 1_000 + 1_000
PATIENCE = 30
"""Seconds in which a process has started and died, on any machine."""


@dataclass
class Office:
    adapters: Adapters
    lines: Lines
    database_url: str
    sandboxes: dict[str, Sandbox]

    async def kill(self, source: str, point: str) -> None:
        """A process begins to send, and is killed at the point."""
        sandbox = self.sandboxes[source]
        if point == LEFT:  # the vendor takes it, and never answers
            sandbox.trouble("hang", path="POST ", times=1)
        doomed = FORKS.Process(target=victim.send, args=(source, point, self.lines, self.database_url))
        doomed.start()
        if point == LEFT:
            async with asyncio.timeout(PATIENCE):
                while not sandbox.accepted:
                    await asyncio.sleep(0.01)
            doomed.kill()
        await asyncio.to_thread(doomed.join, PATIENCE)
        assert doomed.exitcode == -9
        sandbox.heal()

    async def restart(self) -> None:
        """Somebody looks at all that is due, now and when the vendors have settled, until nothing is."""
        courier = Courier(self.adapters, environment="test", callback_url=None, told=victim.nobody)
        for moment in (0, SETTLED, SETTLED):
            for message in await self.adapters.storage.messages.due(int(time() * 1000) + moment, 10):
                await courier.ask(message)

    async def again(self, source: str) -> Message:
        """The client, who has got no answer, says the same with the same key."""
        ledger = self.adapters.storage.messages
        message, _ = await ledger.add(victim.new_message(source))
        return message


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with (
        MercatelySandbox() as mercately,
        HyberSandbox(moment=60) as hyber,
        ChatfuelSandbox() as chatfuel,
    ):
        lines = lines_to(mercately, hyber, chatfuel, timeout=TIMEOUT)
        async with open_adapters(lines, database_url, database_patience=10) as adapters:
            await adapters.storage.migrate()
            sandboxes: dict[str, Sandbox] = {
                "mercately": mercately,
                "hyber": hyber,
                "chatfuel": chatfuel,
            }
            yield Office(adapters, lines, database_url, sandboxes)


@pytest.mark.parametrize("point", victim.POINTS)
@pytest.mark.parametrize("source", victim.CONTENT)
async def test_who_is_killed_sends_once_or_says_that_it_is_unknown(
    office: Office, source: str, point: str
) -> None:
    sandbox = office.sandboxes[source]

    await office.kill(source, point)
    taken_before = len(sandbox.accepted)
    await office.restart()
    message = await office.again(source)
    await office.restart()
    (message,) = (await office.adapters.storage.messages.messages([message.id])).values()

    in_doubt = point in ("after it is claimed", LEFT, "after the answer has come")
    if source == "hyber" or not in_doubt:
        assert len(sandbox.accepted) == 1
        assert message.state is State.ACCEPTED
    else:
        assert len(sandbox.accepted) == taken_before <= 1
        assert message.state is State.UNKNOWN
