"""A message's status: what is sent -> what whoever watches it is told, over SSE and over WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.hyber import sandbox as people
from gateway.settings import Sending, Settings
from resolvers.ids import to_id
from tests.gateways import Gateway, free_port, gateway_on
from tests.watching import WAYS

SEND = "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { id status } }"
CANCEL = "mutation ($id: ID!) { cancelMessage(id: $id) { status } }"
WATCH = """subscription ($id: ID!) {
  messageStatus(id: $id) { status channel failure { code vendorCode } history { status } }
}"""
CONTENT = {"viber": {"text": "Hola", "ttl": 60}, "sms": {"text": "Hola", "ttl": 300, "alphaName": "GMSU"}}


@pytest.fixture
async def gateway(settings: Settings, database_url: str) -> AsyncIterator[Gateway]:
    """One that sends, and that Hyber can reach."""
    with free_port() as listener:
        host, port = listener.getsockname()
        ours = {
            "database_url": SecretStr(database_url),
            "sending": Sending.ON,
            "public_url": f"http://{host}:{port}",
            "reports_secret": SecretStr("a1B2c3D4e5F6g7H8"),
        }
        settings = settings.model_copy(update=ours)
        async with gateway_on(settings, listener=listener) as opened:
            opened.hyber.moment = 0.3  # so that somebody can watch
            yield opened


async def sent(gateway: Gateway, person: str, **said: Any) -> str:
    input = {"to": {"phone": f"+59399000{person}"}, "content": CONTENT} | said
    id: str = (await gateway.data(SEND, input=input))["sendMessage"]["id"]
    return id


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Any:
    return WAYS[request.param]


async def told(answers: AsyncIterator[dict[str, Any]]) -> list[tuple[str, str]]:
    async with asyncio.timeout(10):
        found = [answer["data"]["messageStatus"] async for answer in answers]
    return [(message["status"], message["channel"]) for message in found]


async def test_the_status_arrives_as_hyber_reports_it(gateway: Gateway, way: Any) -> None:
    delivered, failed = await sent(gateway, "0102"), await sent(gateway, people.FAILS)

    delivery, failure = await asyncio.gather(
        told(way(gateway, WATCH, id=delivered)), told(way(gateway, WATCH, id=failed))
    )
    assert delivery == [("SUBMITTED", "VIBER"), ("DELIVERED", "VIBER")]
    assert failure == [("SUBMITTED", "VIBER"), ("FAILED", "SMS")]

    (last,) = [answer async for answer in way(gateway, WATCH, id=failed)]
    assert last["data"]["messageStatus"] == {
        "status": "FAILED",
        "channel": "SMS",
        "failure": {"code": "SOURCE_REJECTED", "vendorCode": "36021"},
        "history": [{"status": "QUEUED"}, {"status": "SUBMITTED"}, {"status": "FAILED"}],
    }


async def test_what_is_cancelled_is_over(gateway: Gateway, way: Any) -> None:
    id = await sent(gateway, "0102", sendAt=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    async with aclosing(way(gateway, WATCH, id=id)) as answers:
        first = await anext(answers)
        assert first["data"]["messageStatus"]["status"] == "SCHEDULED"
        await gateway.data(CANCEL, id=id)
        assert await told(answers) == [("CANCELLED", "VIBER")]


@pytest.mark.parametrize(
    ("id", "code"),
    [
        (to_id("Message", "0:5"), "NOT_FOUND"),
        (to_id("Agent", "1"), "BAD_USER_INPUT"),
        ("?", "BAD_USER_INPUT"),
    ],
)
async def test_what_is_no_message_is_said_once(gateway: Gateway, way: Any, id: str, code: str) -> None:
    (answer,) = [answer async for answer in way(gateway, WATCH, id=id)]

    (error,) = answer["errors"]
    assert error["extensions"]["code"] == code
    assert "data" not in answer or answer["data"] is None
