"""Who may ask: what is shown -> who gets in, who does not, and when somebody is out again."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, MutableMapping
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import strawberry
from aiohttp import ClientWebSocketResponse, WSMsgType
from pydantic import SecretStr
from typer import BadParameter

from adapters.storage.client import open_storage
from adapters.storage.tables import now
from gateway import api_keys, credentials
from gateway.credentials import new_key
from gateway.graph import Graph
from gateway.server import CannotStart, prepare_database, refuse_to_be_open
from gateway.settings import Settings, UseAuth, UseDoor
from resolvers.query import Query
from schema.scopes import Scope
from tests.gateways import Gateway, gateway_on
from tests.issuer import Issuer, bearer, settings_for
from tests.processes import run

HERE = "{ __typename }"
AGENTS = "{ agents { id } sources { source } }"
NEEDED = {"WWW-Authenticate": 'Bearer realm="switchboard"'}
BAD = {"WWW-Authenticate": 'Bearer realm="switchboard", error="invalid_token"'}


@strawberry.type
class Watching:
    @strawberry.subscription
    async def endless(self) -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.Event().wait()


@asynccontextmanager
async def open_to(settings: Settings, **changed: Any) -> AsyncIterator[Gateway]:
    graph = Graph(query=Query, subscription=Watching)
    async with gateway_on(settings.model_copy(update=changed), graph=graph) as opened:
        yield opened


@pytest.fixture
async def closed(settings: Settings) -> AsyncIterator[Gateway]:
    async with open_to(settings, auth=UseAuth.REQUIRED) as opened:
        yield opened


async def key_of(gateway: Gateway, *scopes: str, lasting: float = 600) -> str:
    id, secret, key = new_key()
    until = now() + timedelta(seconds=lasting)
    await gateway.storage.api_keys.add(id, "a test", secret, scopes or ("sources:read",), until)
    return key


async def asked(
    gateway: Gateway, headers: dict[str, str] | None = None, query: str = HERE
) -> tuple[int, dict[str, str], Any]:
    """The status, what it says of credentials, and the answer."""
    url, said = f"{gateway.url}/graphql", headers or {}
    async with gateway.session.post(url, json={"query": query}, headers=said) as response:
        about = {name: value for name, value in response.headers.items() if name == "WWW-Authenticate"}
        return response.status, about, await response.json(content_type=None)


async def status_of(gateway: Gateway, headers: dict[str, str] | None = None) -> int:
    return (await asked(gateway, headers))[0]


def questions(gateway: Gateway, name: str) -> int:
    calls = gateway.storage.api_keys._database.record.calls
    return sum(count for (question, _), count in calls.items() if question == name)


# Keys


async def test_a_key_lets_in_for_its_scopes_and_is_looked_up_once(
    closed: Gateway, log_lines: list[MutableMapping[str, Any]]
) -> None:
    key = await key_of(closed)
    for headers in (bearer(key), {"Authorization": f"bearer  {key}"}, {"X-Api-Key": key}):
        status, _, answer = await asked(closed, headers, AGENTS)

        assert status == 294
        assert answer["data"]["agents"] is None
        assert len(answer["data"]["sources"]) == 5
        (error,) = answer["errors"]
        assert (error["path"], error["extensions"]) == (
            ["agents"],
            {"code": "FORBIDDEN", "scope": "agents:read"},
        )
        assert "agents:read" in error["message"]

    assert closed.mercately.count("/agents") == 0
    assert questions(closed, "find") == 1
    _, id, secret = key.split("_", 2)
    async with asyncio.timeout(10):
        while (await closed.storage.api_keys.find([id]))[id].used_at is None:
            await asyncio.sleep(0.02)
    assert questions(closed, "was_used") == 1
    assert {line["caller"] for line in log_lines if line["event"] == "request"} == {f"key:{id}"}
    assert secret not in str(log_lines)


async def test_what_is_no_good_is_never_taken_for_nothing(settings: Settings) -> None:
    async with open_to(settings, auth=UseAuth.OPEN) as gateway:
        good, expired, revoked = (
            await key_of(gateway),
            await key_of(gateway, lasting=-1),
            await key_of(gateway),
        )
        await gateway.storage.api_keys.revoke(revoked.split("_")[1])
        wrong_secret = good[:-1] + ("A" if good[-1] != "A" else "B")
        assert await status_of(gateway) == await status_of(gateway, bearer(good)) == 200

        for headers in (
            bearer(expired),
            bearer(revoked),
            bearer(wrong_secret),
            bearer(new_key()[2]),
            bearer("sb_"),
            bearer(""),
            bearer("eyJhbGciOiJub25lIn0.e30."),
            {"Authorization": good},
            {"Authorization": "Basic aHVudGVyOjI="},
            {"X-Api-Key": ""},
            {"X-Api-Key": good, "Authorization": f"Bearer {good}"},
        ):
            status, about, answer = await asked(gateway, headers)
            assert (status, about) == (401, BAD), headers
            assert answer["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}
            assert good not in str(answer)


async def test_an_unknown_key_is_looked_up_once_too(closed: Gateway) -> None:
    key = bearer(new_key()[2])
    assert [await status_of(closed, key) for _ in range(5)] == [401] * 5
    assert [await status_of(closed, bearer("sb_nonsense")) for _ in range(5)] == [401] * 5
    assert questions(closed, "find") == 1


async def test_made_up_keys_do_not_cost_a_question_each_nor_keep_a_new_one_out(closed: Gateway) -> None:
    new = await key_of(closed)
    shown = [*(new_key()[2] for _ in range(60)), new, *(new_key()[2] for _ in range(60))]
    statuses = await asyncio.gather(*(status_of(closed, bearer(key)) for key in shown))

    assert statuses == [401] * 60 + [200] + [401] * 60
    assert questions(closed, "find") < 40


async def test_whoever_shows_nothing_is_told_what_to_show(closed: Gateway) -> None:
    status, about, answer = await asked(closed)

    assert (status, about) == (401, NEEDED)
    assert answer["errors"] == [
        {
            "message": "Say who asks: send an API key or a token as `Authorization: Bearer ...`, or a key as "
            "`X-Api-Key`.",
            "extensions": {"code": "UNAUTHENTICATED"},
        }
    ]
    async with closed.session.get(f"{closed.url}/health/live") as live:
        assert live.status == 200
    async with closed.session.get(f"{closed.url}/graphql", headers={"Accept": "text/html"}) as page:
        assert page.status != 401, "the page itself is no secret"


async def test_the_first_key_closes_an_open_gateway_and_a_revoked_one_is_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "REMEMBERED", 0.05)
    async with open_to(settings) as gateway:
        assert await status_of(gateway) == 200

        key = await key_of(gateway)
        await asyncio.sleep(0.1)
        assert await status_of(gateway) == 401, "nor is the first let in who comes then"
        assert await status_of(gateway, bearer(key)) == 200

        await gateway.storage.api_keys.revoke(key.split("_")[1])
        async with asyncio.timeout(10):
            while await status_of(gateway, bearer(key)) != 401:
                await asyncio.sleep(0.05)
        assert await status_of(gateway) == 401, "a gateway that had keys is not open again without them"


def take_keys_away(settings: Settings) -> None:
    with closing(sqlite3.connect(settings.data_dir / "switchboard.db")) as database:
        database.execute("ALTER TABLE api_key RENAME TO gone")


async def test_while_the_database_is_away_those_it_knew_are_known_and_others_wait(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "REMEMBERED", 0.0)
    async with open_to(settings, auth=UseAuth.REQUIRED) as gateway:
        known, other = await key_of(gateway), await key_of(gateway)
        assert await status_of(gateway, bearer(known)) == 200
        # In a thread: the gateway may be in the middle of noting when the key was used.
        await asyncio.to_thread(take_keys_away, settings)

        assert await status_of(gateway, bearer(known)) == 200
        status, _, answer = await asked(gateway, bearer(other))
        assert (status, answer["errors"][0]["extensions"]["code"]) == (503, "SOURCE_UNAVAILABLE")


# This machine alone


async def test_an_open_gateway_answers_to_the_names_of_this_machine_alone(settings: Settings) -> None:
    """Or a page could lead its own name here, and read what is on the machine of whoever visits it."""
    door = {"messenger_id": "1"}
    async with open_to(settings, public_url="https://shop.example/x") as gateway:
        for host, let_in in {
            "localhost": True,
            "LOCALHOST:8000": True,
            "127.0.0.1": True,
            "[::1]:8000": True,
            "shop.example": True,
            "evil.example": False,
            "localhost.evil.example": False,
            "127.0.0.1.evil.example:8000": False,
            "10.0.0.1": False,
            "[::": False,
        }.items():
            status, _, answer = await asked(gateway, {"Host": host})
            assert status == (200 if let_in else 421), host
            assert let_in or answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
            url = f"{gateway.url}/everyprint/api/customer/balance"
            async with gateway.session.get(url, params=door, headers={"Host": host}) as response:
                assert response.status == (200 if let_in else 421), host
        async with socket(gateway, Host="evil.example") as opened:
            await opened.send_json({"type": "connection_init"})
            assert await closed_with(opened) == 4403
        key = await key_of(gateway)
        assert await status_of(gateway, {"Host": "evil.example"} | bearer(key)) == 200


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"host": "0.0.0.0"}, "SWITCHBOARD_AUTH"),  # noqa: S104
        ({"host": "::"}, "switchboard keys create"),
        ({"host": "10.0.0.1", "door": UseDoor.ON, "auth": UseAuth.REQUIRED}, "SWITCHBOARD_DOOR_SECRET"),
        ({"host": "10.0.0.1", "auth": UseAuth.REQUIRED}, None),
        ({"host": "10.0.0.1", "auth": UseAuth.OPEN, "door": UseDoor.ON}, None),
        ({"host": "10.0.0.1", "jwt_keys": "keys.json"}, None),
        ({"host": "10.0.0.1", "unix": Path("s.sock")}, None),
        ({"host": "localhost"}, None),
        ({"host": "::1"}, None),
    ],
    ids=str,
)
async def test_to_others_it_is_open_only_if_that_is_meant(
    settings: Settings, changed: dict[str, Any], names: str | None
) -> None:
    await prepare_database(settings)
    settings = settings.model_copy(update=changed)
    if names is None:
        await refuse_to_be_open(settings)
        return
    with pytest.raises(CannotStart, match=names):
        await refuse_to_be_open(settings)
    async with open_storage(settings.database) as storage:
        await storage.api_keys.add("1", "shop", "x", (), None)
    await refuse_to_be_open(settings.model_copy(update={"door_secret": SecretStr("x")}))


async def test_the_commands_make_a_key_that_lets_in_and_take_it_back(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    everywhere = ("serve", "--host", "0.0.0.0", "--port", "0", "--workers", "2")  # noqa: S104
    refused, made = await asyncio.gather(
        run(tmp_path, *everywhere, DATA_DIR="of nobody"),
        run(tmp_path, "keys", "create", "shop", "--scope", "all", "--expires", "90d"),
    )
    key = made.out.strip()
    _, id, secret = key.split("_", 2)

    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "SWITCHBOARD_AUTH=open" in refused.err
    assert made.code == 0
    assert "shown once" in made.err

    async with open_to(settings) as gateway:
        assert (await status_of(gateway), await status_of(gateway, bearer(key))) == (401, 200)
        (kept,) = await gateway.storage.api_keys.all()
        assert kept.expires_at is not None
        assert timedelta(days=89) < kept.expires_at - now() < timedelta(days=91)
        assert kept.scopes == {scope.value for scope in Scope}
    await api_keys.list_all(settings)
    await api_keys.revoke(settings, id)
    await api_keys.list_all(settings)
    good, told, revoked = re.split("(Revoked.*\n)", capsys.readouterr().out)
    assert id in good
    assert "good" in good
    assert secret not in good
    assert "five seconds" in told
    assert "revoked" in revoked

    for wrong in (
        api_keys.revoke(settings, "nonsense"),
        api_keys.create(settings, "shop", ["customers:eat"], None),
        api_keys.create(settings, "shop", ["all", "customers:read"], None),
        api_keys.create(settings, "", ["all"], None),
        api_keys.create(settings, "shop", ["all"], "2020-01-01"),
        api_keys.create(settings, "shop", ["all"], "soon"),
    ):
        with pytest.raises(BadParameter):
            await wrong


async def test_the_door_without_a_secret_is_closed_with_the_graph(closed: Gateway) -> None:
    url = f"{closed.url}/everyprint/api/customer/balance"
    async with closed.session.get(url, params={"messenger_id": "1"}) as response:
        assert response.status == 401
        assert "SWITCHBOARD_DOOR_SECRET" in (await response.json())["message"]


# Connections that stay


@asynccontextmanager
async def socket(gateway: Gateway, **headers: str) -> AsyncIterator[ClientWebSocketResponse]:
    async with gateway.session.ws_connect(
        f"{gateway.url}/graphql", protocols=["graphql-transport-ws"], headers=headers
    ) as opened:
        yield opened


async def closed_with(opened: ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(15):
        while (await opened.receive()).type is WSMsgType.TEXT:
            pass
    return opened.close_code


async def subscribe(opened: ClientWebSocketResponse) -> Any:
    payload = {"query": "subscription { endless }"}
    await opened.send_json({"id": "1", "type": "subscribe", "payload": payload})
    return await opened.receive_json(timeout=10)


async def test_a_socket_says_who_asks_in_its_first_message_or_its_handshake(closed: Gateway) -> None:
    key = await key_of(closed)
    ways: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"authorization": f"Bearer {key}"}, {}),
        ({"Authorization": f"bearer {key}"}, {}),
        ({"authorization": key}, {}),
        ({"apiKey": key}, {}),
        ({}, bearer(key)),
    ]
    for payload, headers in ways:
        async with socket(closed, **headers) as opened:
            await opened.send_json({"type": "connection_init", "payload": payload})
            assert await opened.receive_json() == {"type": "connection_ack"}
            await opened.send_json({"id": "1", "type": "subscribe", "payload": {"query": AGENTS}})
            answer = (await opened.receive_json())["payload"]
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]

    unknown = {"authorization": f"Bearer {new_key()[2]}"}
    bad: list[dict[str, Any]] = [{}, unknown, {"apiKey": 5}, {"apiKey": key, "authorization": key}]
    for said in bad:
        async with socket(closed) as opened:
            await opened.send_json({"type": "connection_init", "payload": said})
            assert await closed_with(opened) == 4403
    async with closed.session.get(
        f"{closed.url}/graphql",
        headers=bearer("sb_nonsense") | {"Upgrade": "websocket", "Connection": "Upgrade"},
    ) as response:
        assert response.status == 401


async def test_what_stays_open_ends_with_its_credential(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(credentials, "REMEMBERED", 0.1)
    monkeypatch.setattr(credentials, "LOOKED_AFTER", 0.1)
    async with Issuer() as issuer:
        ours = settings_for(issuer.url) | {"jwt_leeway": 0}
        async with open_to(settings, **ours) as gateway:
            revoked = await key_of(gateway)
            for shown in (issuer.token(seconds=3), revoked):
                async with socket(gateway) as opened, events(gateway, shown) as stream:
                    payload = {"authorization": f"Bearer {shown}"}
                    await opened.send_json({"type": "connection_init", "payload": payload})
                    assert await opened.receive_json() == {"type": "connection_ack"}
                    assert (await subscribe(opened))["payload"] == {"data": {"endless": 1}}
                    assert b"next" in await stream.readline()
                    if shown == revoked:
                        await gateway.storage.api_keys.revoke(revoked.split("_")[1])

                    assert await closed_with(opened) == 4403
                    async with asyncio.timeout(15):
                        assert b"complete" not in await stream.read()
                assert await status_of(gateway, bearer(shown)) == 401


@asynccontextmanager
async def events(gateway: Gateway, shown: str) -> AsyncIterator[Any]:
    body, headers = {"query": "subscription { endless }"}, {"Accept": "text/event-stream"} | bearer(shown)
    async with gateway.session.post(f"{gateway.url}/graphql", json=body, headers=headers) as response:
        assert response.status == 200
        yield response.content
