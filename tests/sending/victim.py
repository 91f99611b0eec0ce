"""Victim: a process that sends one message and is killed, by itself, without a word, at a certain point."""

import asyncio
import os
import signal
from time import time
from typing import Any

from adapters import open_adapters
from adapters.hyber.message import Sms
from adapters.lines import Lines
from adapters.storage.messages import Event, Id, NewMessage, State
from resolvers.sending.body import Body, Channel, Content, Template, write_body
from resolvers.sending.cascade import steps_of
from resolvers.sending.courier import Courier

CONTENT: dict[str, tuple[Channel, Content]] = {
    "hyber": (Channel.SMS, Content(sms=Sms(text="Hola", ttl=300, alpha_name="GMSU"))),
    "mercately": (
        Channel.WHATSAPP,
        Content(template=Template(id="997dd550-c8d8-4bf7-ad98-a5ac4844a1ed", parameters=("a", "b", "c"))),
    ),
    "chatfuel": (Channel.MESSENGER, Content(messenger="Hola")),
}
POINTS = (
    "before it is written down",
    "after it is written down",
    "after it is claimed",
    "after the request has left",
    "after the answer has come",
    "after the answer is written down",
)


def new_message(source: str) -> NewMessage:
    channel, content = CONTENT[source]
    body = Body(content=content, channels=(channel,), steps=steps_of(content, (channel,)))
    return NewMessage(
        phone="+221770009101",
        messenger_id="2413659892012345",
        body=write_body(body),
        channel=channel,
        due=int(time() * 1000),
        events=(Event(state=State.PENDING, channel=channel),),
        idempotency_key="the same",
        input_hash=source,
    )


async def nobody(_: Id) -> None: ...


def send(source: str, point: str, lines: Lines, database_url: str) -> None:
    asyncio.run(_send(source, point, lines, database_url))


async def _send(source: str, point: str, lines: Lines, database_url: str) -> None:
    async with open_adapters(lines, database_url) as adapters:
        courier = _Doomed(adapters, environment="test", callback_url=None, told=nobody)
        courier.point = point
        courier.here("before it is written down")
        message, _ = await adapters.storage.messages.add(new_message(source))
        courier.here("after it is written down")
        await courier.send(message.id)
        courier.here("after the answer is written down")
        # "after the request has left" waits for an answer that never comes, and for who started us.
        await asyncio.sleep(30)


class _Doomed(Courier):
    point = ""

    def here(self, point: str) -> None:
        if point == self.point:
            os.kill(os.getpid(), signal.SIGKILL)

    async def _ask(self, source: str, *arguments: Any) -> str | None:
        self.here("after it is claimed")
        answer = await super()._ask(source, *arguments)
        self.here("after the answer has come")
        return answer
