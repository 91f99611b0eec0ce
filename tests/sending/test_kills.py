"""kill -9 of a gateway between any two steps of sending, and then another: never twice, never lost.

But at a vendor that cannot be asked what it took, unknown, and said so.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import time

import pytest
from pydantic import SecretStr

from adapters.sandbox import Sandbox
from adapters.storage.messages import Id, Message, State
from gateway.settings import Settings
from resolvers.messages import message_key
from resolvers.sending.courier import SETTLE
from tests.gateways import Gateway, gateway_on
from tests.sending import victim
from tests.sending.forks import FORKS

LEFT = "after the request has left"
TIMEOUT = 20
SETTLED = SETTLE + TIMEOUT * 1_000 + 1_000
PATIENCE = 30
"""Seconds in which a process has started and died, on any machine."""


@dataclass
class Office:
    """What stays when a gateway dies, the database and the vendors, and the gateway that comes after it."""

    gateway: Gateway

    def sandbox(self, source: str) -> Sandbox:
        found: Sandbox = getattr(self.gateway, source)
        return found

    async def kill(self, source: str, point: str) -> None:
        """A gateway begins to send, and is killed at the point."""
        sandbox = self.sandbox(source)
        if point == LEFT:  # the vendor takes it, and never answers
            sandbox.trouble("hang", path="POST ", times=1)
        arguments = source, point, self.gateway.settings, self.gateway.lines
        doomed = FORKS.Process(target=victim.send, args=arguments)
        doomed.start()
        if point == LEFT:
            async with asyncio.timeout(PATIENCE):
                while not sandbox.accepted:
                    await asyncio.sleep(0.01)
            doomed.kill()
        await asyncio.to_thread(doomed.join, PATIENCE)
        assert doomed.exitcode == -9
        sandbox.heal()

    async def look(self) -> None:
        """At all that is due, now and when the vendors have settled, until nothing is."""
        courier = self.gateway.post._courier
        for moment in (0, SETTLED, SETTLED):
            for message in await self.gateway.storage.messages.due(int(time() * 1000) + moment, 10):
                await courier.ask(message)

    async def again(self, source: str) -> Message:
        """The client, who has got no answer, says the same with the same key."""
        said = victim.question(source)
        sent = await self.gateway.data(said["query"], **said["variables"])
        return await self.now(message_key(sent["sendMessage"]["id"]))

    async def now(self, id: Id) -> Message:
        return (await self.gateway.storage.messages.messages([id]))[id]


@pytest.fixture
async def office(settings: Settings, database_url: str) -> AsyncIterator[Office]:
    settings = settings.model_copy(update={"database_url": SecretStr(database_url)})
    async with gateway_on(settings, timeout=TIMEOUT) as gateway:
        gateway.hyber.moment = 60  # in which nothing is delivered yet
        yield Office(gateway)


@pytest.mark.parametrize("point", victim.POINTS)
@pytest.mark.parametrize("source", victim.INPUT)
async def test_who_is_killed_sends_once_or_says_that_it_is_unknown(
    office: Office, source: str, point: str
) -> None:
    sandbox = office.sandbox(source)

    await office.kill(source, point)
    taken_before = len(sandbox.accepted)
    await office.look()
    message = await office.again(source)
    await office.look()
    message = await office.now(message.id)

    in_doubt = point in ("after it is claimed", LEFT, "after the answer has come")
    if source == "hyber" or not in_doubt:
        assert len(sandbox.accepted) == 1
        assert message.state is State.ACCEPTED
    else:
        assert len(sandbox.accepted) == taken_before <= 1
        assert message.state is State.UNKNOWN
