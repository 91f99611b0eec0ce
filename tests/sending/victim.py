"""Victim: a gateway that is asked over HTTP to send, and is killed, by itself, without a word, at a point."""

import asyncio
import json
import os
import signal
from typing import Any

from aiohttp import ClientSession

from adapters.hyber.sandbox import ALPHA_NAME
from adapters.lines import Lines
from adapters.storage.messages import Added, Message, Messages, NewMessage
from gateway.settings import Settings
from resolvers.sending.courier import Courier
from tests.gateways import serving

INPUT: dict[str, dict[str, Any]] = {
    "hyber": {
        "to": {"phone": "+221770009101"},
        "content": {"sms": {"text": "Hola", "alphaName": ALPHA_NAME}},
    },
    "mercately": {
        "to": {"phone": "+221770009101"},
        "content": {
            "template": {
                "id": "VGVtcGxhdGU6OTk3ZGQ1NTAtYzhkOC00YmY3LWFkOTgtYTVhYzQ4NDRhMWVk",
                "parameters": ["a", "b", "c"],
            }
        },
    },
    "chatfuel": {"to": {"messengerId": "2413659892012345"}, "content": {"messenger": {"text": "Hola"}}},
}
POINTS = (
    "before it is written down",
    "after it is written down",
    "after it is claimed",
    "after the request has left",
    "after the answer has come",
    "after the answer is written down",
)


def question(source: str) -> dict[str, Any]:
    """The same every time, with the same key."""
    return {
        "query": "mutation($input: SendMessageInput!) { sendMessage(input: $input) { id status } }",
        "variables": {"input": INPUT[source] | {"idempotencyKey": "the same"}},
    }


def send(source: str, point: str, settings: Settings, lines: Lines) -> None:
    asyncio.run(_send(source, point, settings, lines))


async def _send(source: str, point: str, settings: Settings, lines: Lines) -> None:
    _doom(point)
    async with serving(settings, lines) as (url, _), ClientSession() as session:
        async with session.post(f"{url}/graphql", json=question(source)) as response:
            print(json.dumps(await response.json(content_type=None)))
        # "after the request has left" waits for an answer that never comes, and for who started us.
        await asyncio.sleep(30)


def _doom(point: str) -> None:
    def here(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    add, ask, accepted = Messages.add, Courier._ask, Courier._accepted

    async def doomed_add(self: Messages, new: NewMessage) -> Added:
        here("before it is written down")
        added = await add(self, new)
        here("after it is written down")
        return added

    async def doomed_ask(self: Courier, *arguments: Any) -> str | None:
        here("after it is claimed")
        answer = await ask(self, *arguments)
        here("after the answer has come")
        return answer

    async def doomed_accepted(self: Courier, *arguments: Any) -> Message | None:
        message = await accepted(self, *arguments)
        here("after the answer is written down")
        return message

    for owner, name, doomed in (
        (Messages, "add", doomed_add),
        (Courier, "_ask", doomed_ask),
        (Courier, "_accepted", doomed_accepted),
    ):
        setattr(owner, name, doomed)
