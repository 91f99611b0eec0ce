"""Stopping under load: SIGTERM, as machines do it, while people ask and send all the time."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientConnectionError, ClientSession, TCPConnector

from adapters.chatfuel.sandbox import ChatfuelSandbox
from adapters.demo import PEOPLE
from adapters.hyber.sandbox import HyberSandbox
from adapters.mercately.sandbox import MercatelySandbox
from adapters.poster.sandbox import PosterSandbox
from adapters.storage import demo
from adapters.storage.client import open_storage
from tests.processes import ask, serve

CONNECTIONS = 16
MESSENGER_ID = next(person.everyprint.messenger_id for person in PEOPLE if person.everyprint)
SEND = "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { id status } }"
READ = "{ customers(first: 5) { edges { node { firstName groups { name } balance { amount } } } } }"
SETTLED = {"SUBMITTED", "DELIVERED"}


class Crowd:
    """Sixteen who go on as long as somebody listens."""

    def __init__(self, url: str, session: ClientSession) -> None:
        self.accepted: dict[str, str] = {}
        """The ids of messages, by what they say."""
        self.unanswered: set[str] = set()
        self.broken: list[str] = []
        self.answers = Counter[int]()
        self._url = url
        self._session = session
        self._numbers = count()

    async def one(self) -> None:
        """Sends and reads in turns, until the connection is refused, or closed before a word is answered."""
        while True:
            text = f"key-{next(self._numbers)}"
            try:
                sent = await self._ask(SEND, input=message(text))
                if sent:
                    self.accepted[text] = sent["sendMessage"]["id"]
                await self._ask(READ)
            except ClientConnectionError:
                if text not in self.accepted:
                    self.unanswered.add(text)
                return

    async def _ask(self, query: str, **variables: Any) -> Any:
        body = {"query": query, "variables": variables}
        async with self._session.post(f"{self._url}/graphql", json=body) as response:
            try:
                answer = orjson.loads(await response.read())
            except Exception as error:  # it had begun to answer
                self.broken.append(repr(error))
                return None
        self.answers[response.status] += 1
        if response.status != 503 and ("errors" in answer or response.status != 200):
            self.broken.append(str(answer))
        return answer.get("data")


def message(text: str) -> dict[str, Any]:
    """By SMS; every fourth over Messenger."""
    if int(text.rpartition("-")[2]) % 4:
        return {"to": {"phone": "+593990009102"}, "content": {"sms": {"text": text}}, "idempotencyKey": text}
    content = {"messenger": {"text": text}}
    return {"to": {"messengerId": MESSENGER_ID}, "content": content, "idempotencyKey": text}


async def test_sigterm_under_load_loses_no_message_and_breaks_no_answer(
    tmp_path: Path, database_url: str
) -> None:
    async with open_storage(database_url, patience=10) as storage:
        await demo.move_in(storage.everyprint)
    async with AsyncExitStack() as stack:
        hyber, chatfuel = HyberSandbox(moment=0), ChatfuelSandbox(rate=1_000)
        session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        own: dict[str, Any] = {"SENDING": "on", "CHATFUEL__RATE": 1_000, "DATABASE_TIMEOUT": 10}
        own["DATABASE_URL"] = database_url
        for sandbox in (hyber, chatfuel, MercatelySandbox(), PosterSandbox()):
            await stack.enter_async_context(sandbox)
            own |= {f"{sandbox.name}__{name}".upper(): value for name, value in sandbox.settings.items()}
        for sandbox in (hyber, chatfuel):
            sandbox.trouble("delay", seconds=0.1)
        async with serve(tmp_path, **own) as served:
            crowd = Crowd(served.url, session)
            clients = [asyncio.create_task(crowd.one()) for _ in range(CONNECTIONS)]
            while len(crowd.accepted) < 2 * CONNECTIONS:
                await asyncio.sleep(0.02)
            hyber.trouble("status", status=503)  # some have been taken, and cannot go out any more
            so_far = len(crowd.accepted)
            while len(crowd.accepted) < so_far + CONNECTIONS:
                await asyncio.sleep(0.02)
            ended = await served.end()
            await asyncio.wait_for(asyncio.gather(*clients), 10)
        hyber.heal()
        async with serve(tmp_path, **own) as served:
            ids = list(crowd.accepted.values())
            async with asyncio.timeout(30):
                while (statuses := await statuses_of(served.url, ids)).keys() - SETTLED:
                    await asyncio.sleep(0.2)

    assert (ended.code, crowd.broken) == (0, [])
    assert set(crowd.answers) <= {200, 503}
    assert len(set(ids)) == len(ids) == statuses.total()
    texts = [each.text or each.channel_options["sms"]["text"] for each in hyber.accepted]
    texts += [each.attributes["text"] for each in chatfuel.accepted]
    arrived = Counter(texts)
    assert arrived.total() == len(arrived)
    assert crowd.accepted.keys() <= arrived.keys()
    assert not crowd.unanswered & arrived.keys()
    assert not any(word in ended.err for word in ("Traceback", "never retrieved", '"level":"error"'))


async def statuses_of(url: str, ids: list[str]) -> Counter[str]:
    statuses = Counter[str]()
    for start in range(0, len(ids), 100):
        some = orjson.dumps(ids[start : start + 100]).decode()
        answer = await ask(url, f"{{ nodes(ids: {some}) {{ ... on Message {{ status }} }} }}")
        statuses.update(node["status"] for node in answer["data"]["nodes"])
    return statuses
