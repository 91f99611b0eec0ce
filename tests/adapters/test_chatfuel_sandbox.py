"""The emulated Chatfuel: the documented request, what it refuses and whom it knows, to a plain client."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import ClientSession, ServerDisconnectedError

from adapters.chatfuel.sandbox import MESSAGE_TAGS, Accepted, ChatfuelSandbox
from adapters.demo import PEOPLE

BOT, TOKEN = ChatfuelSandbox.credentials.values()
AWA = "2413659892012345"
OFFER = {"chatfuel_token": TOKEN, "chatfuel_message_tag": "UPDATE", "chatfuel_block_name": "New offer"}
OK = (200, {"result": "ok", "success": True})


class Api:
    """A plain client that gives (status, JSON)."""

    def __init__(self, sandbox: ChatfuelSandbox, session: ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def send(self, user_id: str = AWA, bot: str = BOT, **query: str) -> tuple[int, Any]:
        """Without those that are empty."""
        return await self.post(
            user_id, bot, {name: value for name, value in {**OFFER, **query}.items() if value}
        )

    async def post(
        self,
        user_id: str,
        bot: str,
        query: Mapping[str, str],
        body: object = b"{}",
        kind: str = "application/json",
    ) -> tuple[int, Any]:
        url, headers = f"/bots/{bot}/users/{user_id}/send", {"Content-Type": kind}
        async with self.session.post(url, params=query, data=body, headers=headers) as response:
            return response.status, await response.json()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def api(clock: Clock) -> AsyncIterator[Api]:
    async with ChatfuelSandbox(clock=clock) as sandbox, ClientSession(sandbox.url) as session:
        yield Api(sandbox, session)


async def test_a_documented_request_is_accepted_each_time_and_remembered(api: Api) -> None:
    for _ in range(2):
        assert await api.send(text="Hello, Awa!", **{"first name": "Awa"}) == OK

    accepted = Accepted(AWA, "New offer", {"text": "Hello, Awa!", "first name": "Awa"})
    assert api.sandbox.accepted == [accepted, accepted]
    async with api.session.get("/_sandbox/accepted") as response:
        assert (await response.json())[0] == {
            "user_id": AWA,
            "block": "New offer",
            "attributes": {"text": "Hello, Awa!", "first name": "Awa"},
        }


@pytest.mark.parametrize(
    "name", ["chatfuel_block_name", "chatfuel_block_id", "chatfuel_flow_name", "chatfuel_flow_id"]
)
async def test_a_block_or_a_flow_is_shown_by_its_name_or_id(api: Api, name: str) -> None:
    assert await api.send(**{"chatfuel_block_name": "", name: "5a6d"}) == OK
    assert api.sandbox.accepted == [Accepted(AWA, "5a6d", {})]


async def test_attributes_may_also_come_in_the_body_and_tags_are_none(api: Api) -> None:
    assert await api.post(AWA, BOT, {**OFFER, "tags": "vip"}, b'{"text": "Hello"}') == OK
    assert await api.post(AWA, BOT, OFFER, b"") == OK
    assert [one.attributes for one in api.sandbox.accepted] == [{"text": "Hello"}, {}]


@pytest.mark.parametrize("tag", ["", *sorted(MESSAGE_TAGS)])
async def test_each_known_tag_and_none_are_taken(api: Api, tag: str) -> None:
    assert await api.send(chatfuel_message_tag=tag) == OK


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"chatfuel_token": ""}, 401),
        ({"chatfuel_token": "wrong"}, 401),
        ({"bot": "5a6d"}, 401),
        ({"chatfuel_block_name": ""}, 400),
        ({"chatfuel_flow_name": "Welcome"}, 400),
        ({"chatfuel_message_tag": "PROMOTION"}, 400),
        ({"chatfuel_color": "red"}, 400),
        ({"user_id": "2413659892012404"}, 404),
        ({"user_id": "Awa"}, 404),
        ({"user_id": "2413659892012403"}, 200),
    ],
    ids=str,
)
async def test_what_is_wrong_is_refused_with_a_sentence(api: Api, wrong: dict[str, str], status: int) -> None:
    answered, body = await api.send(**wrong)

    assert (answered, body["success"], type(body["result"])) == (status, False, str)
    assert api.sandbox.accepted == []


@pytest.mark.parametrize(
    ("body", "kind"), [(b"{", "application/json"), (b"[1]", "application/json"), (b"{}", "text/plain")]
)
async def test_a_body_that_is_no_json_is_refused(api: Api, body: bytes, kind: str) -> None:
    assert (await api.post(AWA, BOT, OFFER, body, kind))[0] == 400


async def test_everybody_in_everyprint_has_talked_to_the_bot(api: Api) -> None:
    ids = [person.everyprint.messenger_id for person in PEOPLE if person.everyprint]
    assert [await api.send(id) for id in ids] == [OK] * len(ids)
    assert await api.send("5a6d62657261746573616e65") == OK


async def test_the_26th_request_of_a_second_waits_for_the_next(api: Api, clock: Clock) -> None:
    for _ in range(24):
        assert await api.send() == OK
    clock.now += 0.5
    assert await api.send() == OK
    async with api.session.post(f"/bots/{BOT}/users/{AWA}/send", params=OFFER, json={}) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "1")
        assert (await response.json())["success"] is False

    clock.now += 0.5
    assert [(await api.send())[0] for _ in range(25)] == [200] * 24 + [429]
    assert len(api.sandbox.accepted) == 49


async def test_the_limit_can_be_lower() -> None:
    async with ChatfuelSandbox(rate=0) as sandbox, ClientSession(sandbox.url) as session:
        assert (await Api(sandbox, session).send())[0] == 429


async def test_a_dropped_request_was_accepted_and_one_refused_by_order_was_not(api: Api) -> None:
    api.sandbox.trouble("drop", times=1)
    api.sandbox.trouble("status", status=500, body={}, times=1)
    with pytest.raises(ServerDisconnectedError):
        await api.send()

    assert (await api.send())[0] == 500
    assert len(api.sandbox.accepted) == 1
