"""Tokens: what an issuer signs -> who gets in; its keys change, and its host dies."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import time
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway import tokens
from gateway.settings import Settings, WrongSettings, load
from tests.gateways import Gateway, gateway_on
from tests.issuer import CLAIM, Issuer, bearer, settings_for

SOURCES = "{ sources { source } agents { id } }"


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as opened:
        yield opened


@pytest.fixture
async def gateway(settings: Settings, issuer: Issuer) -> AsyncIterator[Gateway]:
    async with gateway_on(settings.model_copy(update=settings_for(issuer.url))) as opened:
        yield opened


async def status_of(gateway: Gateway, token: str) -> int:
    url, body = f"{gateway.url}/graphql", {"query": SOURCES}
    async with gateway.session.post(url, json=body, headers=bearer(token)) as response:
        answer = await response.json()
        if response.status == 401:
            assert "invalid_token" in response.headers["WWW-Authenticate"]
            assert token not in str(answer)
        return response.status


async def test_a_token_lets_in_for_its_scopes_however_its_issuer_writes_them(
    gateway: Gateway, issuer: Issuer
) -> None:
    ways: list[dict[str, Any]] = [
        {"scope": "openid sources:read"},
        {"scope": ["sources:read"]},
        {"scope": None, "scp": "sources:read"},
        {"scope": None, "scp": ["sources:read", 5]},
    ]
    for said in ways:
        answer = await gateway.ask(SOURCES, bearer(issuer.token(**said)))

        assert len(answer["data"]["sources"]) == 5
        assert [error["extensions"]["scope"] for error in answer["errors"]] == ["agents:read"]
    nothings: list[dict[str, Any]] = [{}, {"scope": 5}, {"scope": {"sources:read": True}}]
    for nothing in nothings:
        assert (await gateway.ask(SOURCES, bearer(issuer.token(**nothing))))["data"] is None
    assert issuer.asked == 1


def _unsigned(issuer: Issuer) -> str:
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    return jwt.encode(claims, "", "none", {"kid": "first"})


def _by_the_public_key(issuer: Issuer) -> str:
    """Signed with what everybody knows, as a secret that both sides were to share."""
    public = issuer.private["first"].public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": "first"}, claims)
    )
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        head + b"." + body, secret
    )
    return b".".join([head, body, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def _by_somebody_else(issuer: Issuer, **header: Any) -> str:
    other = Issuer()
    token = other.token()
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, other.private["first"], "ES256", {"kid": "first"} | header)


def _by_an_rsa_key(issuer: Issuer) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    return jwt.encode(claims, key, "RS256", {"kid": "first"})


def _changed(issuer: Issuer) -> str:
    head, body, signature = issuer.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["scope"] = "customers:read"
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.{signature}"


BAD: dict[str, Callable[[Issuer], str]] = {
    "expired": lambda issuer: issuer.token(seconds=-31),
    "not yet": lambda issuer: issuer.token(nbf=time() + 60),
    "from the future": lambda issuer: issuer.token(iat=time() + 60),
    "for ever": lambda issuer: issuer.token(exp=None),
    "no number": lambda issuer: issuer.token(exp="tomorrow"),
    "another issuer": lambda issuer: issuer.token(iss="https://evil.example/"),
    "no issuer": lambda issuer: issuer.token(iss=None),
    "for somebody else": lambda issuer: issuer.token(aud="billing"),
    "for nobody": lambda issuer: issuer.token(aud=None),
    "no customer": lambda issuer: issuer.token(**{CLAIM: "nonsense"}),
    "a customer by number": lambda issuer: issuer.token(**{CLAIM: 5}),
    "a group as a customer": lambda issuer: issuer.token(**{CLAIM: "R3JvdXA6cG9zdGVyOjE"}),
    "unsigned": _unsigned,
    "signed with the public key": _by_the_public_key,
    "signed by somebody else": _by_somebody_else,
    "signed by a key of its own": lambda issuer: _by_somebody_else(
        issuer, jwk=issuer.keys()["keys"][0], jku="https://evil.example/jwks.json"
    ),
    "signed in another way": _by_an_rsa_key,
    "an unknown key": lambda issuer: _by_somebody_else(issuer, kid="second"),
    "changed": _changed,
    "too long": lambda issuer: "x" * 8_100,
    "garbage": lambda issuer: "a.b.c",
    "no header": lambda issuer: "..",
}


async def test_what_the_issuer_did_not_sign_for_us_and_for_now_is_refused(
    settings: Settings, issuer: Issuer
) -> None:
    async with gateway_on(settings.model_copy(update=settings_for(issuer.url))) as gateway:
        assert await status_of(gateway, issuer.token()) == 294
        assert await status_of(gateway, issuer.token(seconds=-15)) == 294, "clocks differ"
        answers = {name: await status_of(gateway, bad(issuer)) for name, bad in BAD.items()}
        assert answers == dict.fromkeys(BAD, 401)
        assert await status_of(gateway, issuer.token()) == 294


async def test_a_new_key_is_found_and_those_who_make_up_keys_ask_for_none(
    settings: Settings, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "AGAIN", 0.0)
    async with gateway_on(settings.model_copy(update=settings_for(issuer.url))) as gateway:
        assert await status_of(gateway, issuer.token()) == 294
        old = issuer.token()
        issuer.new_key("second")
        assert await status_of(gateway, issuer.token()) == 294
        assert await status_of(gateway, old) == 294, "the old one is still among them"

        monkeypatch.setattr(tokens, "AGAIN", 60.0)
        issuer.new_key("third")
        assert await status_of(gateway, issuer.token()) == 294
        fetched = issuer.asked
        made_up = [_by_somebody_else(issuer, kid=f"made up {number}") for number in range(20)]
        assert set(await asyncio.gather(*(status_of(gateway, token) for token in made_up))) == {401}
        assert issuer.asked == fetched


async def test_a_dead_host_of_keys_stops_nobody_whose_key_is_known(
    settings: Settings, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AGAIN", "OLD", "REMEMBERED"):
        monkeypatch.setattr(tokens, name, 0.0)
    monkeypatch.setattr(tokens, "PATIENCE", 0.3)
    troubles = (
        web.Response(status=500),
        web.Response(status=302, headers={"Location": issuer.url}),
        web.Response(text="<html>"),
        web.Response(text="[]"),
        web.Response(text='{"keys": []}'),
        web.Response(
            text='{"keys": [5, {}, {"kty": "oct", "k": "aHVudGVyMg", "kid": "first", "alg": "HS256"}]}'
        ),
        web.Response(body=b"[" * 300_000),
    )
    async with gateway_on(settings.model_copy(update=settings_for(issuer.url))) as gateway:
        assert await status_of(gateway, issuer.token()) == 294
        unknown = _by_somebody_else(issuer, kid="unknown")
        for trouble in troubles:
            issuer.trouble = trouble
            assert await status_of(gateway, issuer.token()) == 294
        assert await status_of(gateway, unknown) == 503
        await issuer.stop()
        assert await status_of(gateway, issuer.token()) == 294
        assert await status_of(gateway, unknown) == 503


async def test_keys_can_be_a_file(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "AGAIN", 0.0)
    issuer, file = Issuer(), tmp_path / "keys.json"
    async with gateway_on(settings.model_copy(update=settings_for(str(file)))) as gateway:
        assert await status_of(gateway, issuer.token()) == 503
        file.write_text(json.dumps(issuer.keys()))
        assert await status_of(gateway, issuer.token()) == 294


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"jwt_audience": None}, "SWITCHBOARD_JWT_AUDIENCE: missing"),
        ({"jwt_issuer": None}, "SWITCHBOARD_JWT_ISSUER: missing"),
        ({"jwt_keys": "http://login.example.com/keys"}, "SWITCHBOARD_JWT_KEYS: must be https"),
        ({"jwt_keys": "ftp://login.example.com/keys"}, "SWITCHBOARD_JWT_KEYS: must be https"),
        ({"jwt_algorithms": "RS256,HS256"}, "SWITCHBOARD_JWT_ALGORITHMS: must be of"),
        ({"jwt_algorithms": "none"}, "SWITCHBOARD_JWT_ALGORITHMS: must be of"),
        ({"jwt_algorithms": ","}, "SWITCHBOARD_JWT_ALGORITHMS: must be of"),
    ],
)
def test_settings_that_would_let_others_in_are_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(WrongSettings, match=says):
        load(**settings_for("https://login.example.com/keys") | changed)
