"""Rates: how often somebody asks, from one address or with one credential -> when they are told to wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse
from pydantic import SecretStr

from adapters.storage.tables import now
from gateway.credentials import new_key
from gateway.settings import REPORTS, Settings, UseAuth
from tests.gateways import Gateway, gateway_on
from tests.issuer import CLAIM, Issuer, bearer, settings_for

QUERY = {"query": "{ __typename }"}
OF_ADDRESS = "At most 0.1 requests a second: come again in "
OF_CREDENTIAL = "At most 0.05 requests a second with one credential: come again in "
SECRET = "hunter2"

_numbers = count(1)


def somewhere() -> str:
    """Where nobody has asked from yet."""
    return f"203.0.113.{next(_numbers)}"


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(params=["in this process", "in Redis"])
def strict(
    request: pytest.FixtureRequest, settings: Settings, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Four requests from one address and two with one credential, and then none for ten seconds.

    Counted here or there; behind a proxy that may speak for anybody.
    """
    monkeypatch.setattr("gateway.gate.BURST", 40)
    keys = settings.data_dir / "keys.json"
    keys.write_text(issuer.public())
    said: dict[str, Any] = settings_for(str(keys)) | {"auth": UseAuth.REQUIRED, "proxies": 1}
    said |= {"rate": 0.1, "credential_rate": 0.05, "door_secret": SecretStr(SECRET)}
    if request.param == "in Redis":
        said["redis_url"] = SecretStr(request.getfixturevalue("redis_url"))
    return settings.model_copy(update=said)


@asynccontextmanager
async def two_gateways(settings: Settings) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """That count together; in one process they are one."""
    async with gateway_on(settings) as one:
        if settings.redis is None:
            yield one, one
        else:
            async with gateway_on(settings) as other:
                yield one, other


async def key_of(gateway: Gateway) -> dict[str, str]:
    id, secret, key = new_key()
    until = now() + timedelta(minutes=10)
    await gateway.storage.api_keys.add(id, "a test", secret, ("sources:read",), until)
    return bearer(key)


async def ask(
    gateway: Gateway, shown: dict[str, str], address: str = "", path: str = "/graphql"
) -> tuple[int, str]:
    """The status, and why it is not 200."""
    headers = {"X-Forwarded-For": address or somewhere()} | shown
    async with gateway.session.post(f"{gateway.url}{path}", json=QUERY, headers=headers) as response:
        answer = await response.json(content_type=None)
        (error,) = answer.get("errors") or [{"message": ""}]
        if response.status == 429:
            after = int(response.headers["Retry-After"])
            assert error["extensions"] == {"code": "RATE_LIMITED", "retryAfter": after}
            assert after >= 1
        return response.status, error["message"]


async def test_one_credential_has_one_limit_wherever_it_comes_from(strict: Settings, issuer: Issuer) -> None:
    awa = {"sub": None, CLAIM: "Q3VzdG9tZXI6cG9zdGVyOjE"}
    async with two_gateways(strict) as (one, other):
        key = await key_of(one)
        for shown, again in (
            (key, key),
            (bearer(issuer.token(sub="a", seconds=60)), bearer(issuer.token(sub="a", seconds=70))),
            (bearer(issuer.token(seconds=60, **awa)), bearer(issuer.token(seconds=70, **awa))),
        ):
            assert await ask(one, shown) == await ask(other, again) == (200, "")
            for each in ((one, shown), (other, again)):
                status, sentence = await ask(*each)
                assert status == 429
                assert sentence.startswith(OF_CREDENTIAL)

        assert (await ask(one, key, "127.0.0.1"))[0] == 429, "from this machine too"
        assert await ask(one, await key_of(one)) == (200, "")
        assert await ask(one, bearer(issuer.token(sub="b"))) == (200, "")
        secret = {"X-Switchboard-Secret": SECRET}
        door = [await ask(one, secret, path="/everyprint/api/customer/save") for _ in range(3)]
        assert [status for status, _ in door] == [200, 200, 429]
        assert door[-1][1].startswith(OF_CREDENTIAL)


async def test_several_keys_behind_one_address_are_limited_each_and_the_address_too(strict: Settings) -> None:
    async with gateway_on(strict) as gateway:
        address, key, another = somewhere(), await key_of(gateway), await key_of(gateway)
        of_one = [await ask(gateway, key, address) for _ in range(3)]
        of_other = [await ask(gateway, another, address) for _ in range(2)]

    assert [status for status, _ in of_one] == [200, 200, 429]
    assert of_one[-1][1].startswith(OF_CREDENTIAL)
    assert [status for status, _ in of_other] == [200, 429]
    assert of_other[-1][1].startswith(OF_ADDRESS)


@pytest.mark.parametrize("path", ["/graphql", "/everyprint/api/customer/save"])
async def test_guessing_is_slowed_by_the_address(strict: Settings, path: str) -> None:
    async with gateway_on(strict) as gateway:
        address = somewhere()
        wrong = [bearer(new_key()[2]) | {"X-Switchboard-Secret": f"{n}"} for n in range(8)]
        answers = [await ask(gateway, each, address, path) for each in wrong]

        assert [status for status, _ in answers] == [401] * 4 + [429] * 4
        good = await key_of(gateway)
        assert (await ask(gateway, good, address))[0] == 429, "nor does it learn what is right"
        assert await ask(gateway, good) == (200, "")


async def test_hybers_reports_come_as_fast_as_they_are(strict: Settings) -> None:
    secret = "a1B2c3D4e5F6g7H8"
    async with gateway_on(strict.model_copy(update={"reports_secret": SecretStr(secret)})) as gateway:

        async def push(secret: str, times: int) -> list[int]:
            url, headers = f"{gateway.url}{REPORTS}/{secret}", {"X-Forwarded-For": "198.51.100.7"}
            statuses = []
            for _ in range(times):
                async with gateway.session.post(url, data="[]", headers=headers) as response:
                    statuses.append(response.status)
            return statuses

        assert await push(secret, 9) == [200] * 9
        assert await push(f"{secret}9", 6) == [404] * 4 + [429] * 2
        assert await push(secret, 1) == [200]


@asynccontextmanager
async def socket(
    gateway: Gateway, address: str, payload: dict[str, str]
) -> AsyncIterator[ClientWebSocketResponse]:
    async with gateway.session.ws_connect(
        f"{gateway.url}/graphql",
        protocols=["graphql-transport-ws"],
        headers={"X-Forwarded-For": address},
    ) as opened:
        await opened.send_json({"type": "connection_init", "payload": payload})
        assert await opened.receive_json(timeout=10) == {"type": "connection_ack"}
        yield opened


async def operation(opened: ClientWebSocketResponse, id: str) -> str:
    """Why it was not run."""
    await opened.send_json({"id": id, "type": "subscribe", "payload": QUERY})
    said = await opened.receive_json(timeout=10)
    assert said["id"] == id
    if said["type"] == "next":
        assert (await opened.receive_json(timeout=10))["type"] == "complete"
        return ""
    (error,) = said["payload"]
    assert said["type"] == "error"
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert error["extensions"]["retryAfter"] >= 1
    message: str = error["message"]
    return message


async def test_an_operation_over_a_socket_counts_like_a_request(strict: Settings) -> None:
    async with gateway_on(strict) as gateway:
        key = await key_of(gateway)
        said = {"authorization": key["Authorization"]}
        async with socket(gateway, somewhere(), said) as one, socket(gateway, somewhere(), said) as other:
            assert await operation(one, "1") == await operation(other, "1") == ""
            for opened in (one, other):
                assert (await operation(opened, "2")).startswith(OF_CREDENTIAL)
            assert (await ask(gateway, key))[0] == 429
            await one.send_json({"type": "ping"})
            assert await one.receive_json(timeout=10) == {"type": "pong"}, "it stays open"

    async with gateway_on(strict.model_copy(update={"auth": UseAuth.OPEN})) as gateway:
        address = somewhere()
        async with socket(gateway, address, {}) as opened:
            assert [await operation(opened, str(n)) for n in range(3)] == [""] * 3
            assert (await operation(opened, "3")).startswith(OF_ADDRESS)
            assert (await ask(gateway, {}, address))[0] == 429
        async with socket(gateway, "127.0.0.1", {}) as opened:
            assert [await operation(opened, str(n)) for n in range(9)] == [""] * 9
