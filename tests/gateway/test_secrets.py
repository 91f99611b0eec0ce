"""Secrets: what is shown at each place that wants one -> who is let in, by comparing in constant time."""

import hmac
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.storage import api_keys
from adapters.storage.tables import now
from gateway.credentials import new_key
from gateway.settings import REPORTS, Settings, UseAuth
from tests.gateways import gateway_on
from tests.issuer import bearer

RIGHT, WRONG = "a1B2c3D4e5F6g7H8", "a1B2c3D4e5F6g7H9"


async def test_whether_a_secret_is_right_is_decided_in_constant_time_and_by_nothing_else(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = SecretStr(RIGHT)
    said: dict[str, Any] = {"door_secret": secret, "reports_secret": secret, "metrics_secret": secret}
    async with gateway_on(settings.model_copy(update=said | {"auth": UseAuth.REQUIRED})) as gateway:
        id, of_key, key = new_key()
        await gateway.storage.api_keys.add(id, "x", of_key, (), now() + timedelta(hours=1))
        other = key[:-1] + ("A" if key[-1] != "A" else "B")

        async def let_in(secret: str, key: str) -> list[bool]:
            asked: list[tuple[str, str, dict[str, str]]] = [
                ("GET", "/everyprint/api/customer/balance", {"X-Switchboard-Secret": secret}),
                ("POST", f"{REPORTS}/{secret}", {}),
                ("GET", "/metrics", bearer(secret)),
                ("GET", "/graphql?query=%7B__typename%7D", bearer(key)),
            ]
            answers = []
            for method, path, headers in asked:
                async with gateway.session.request(method, gateway.url + path, headers=headers) as response:
                    answers.append(response.status not in (401, 404))
            return answers

        assert await let_in(RIGHT, key) == [True] * 4
        assert await let_in(WRONG, other) == [False] * 4
        for answer in (True, False):
            for place in (hmac, api_keys):
                monkeypatch.setattr(place, "compare_digest", lambda *_, answer=answer: answer)
            assert await let_in(WRONG if answer else RIGHT, other if answer else key) == [answer] * 4
