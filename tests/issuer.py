"""Issuer: somebody who gives out tokens, and shows the public keys on a socket of its own."""

import json
from time import time
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

URL = "https://login.example.com/"
AUDIENCE = "switchboard"
CLAIM = "customer_id"


class Issuer:
    """`async with Issuer() as issuer: ...`; without a socket it just signs."""

    def __init__(self) -> None:
        self.private: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.asked = 0
        self.trouble: web.Response | None = None
        self.url = ""
        self.new_key("first")

    def new_key(self, id: str) -> None:
        """From now on it signs with this."""
        self.private[id] = ec.generate_private_key(ec.SECP256R1())
        self.newest = id

    def keys(self) -> dict[str, Any]:
        algorithm = jwt.algorithms.ECAlgorithm
        return {
            "keys": [
                json.loads(algorithm.to_jwk(key.public_key())) | {"kid": id, "alg": "ES256", "use": "sig"}
                for id, key in self.private.items()
            ]
        }

    def public(self) -> str:
        """The same as a file has it."""
        return json.dumps(self.keys())

    def token(self, *scopes: str, seconds: Any = 600, **claims: Any) -> str:
        said = {"iss": URL, "aud": AUDIENCE, "sub": "593999000101", "exp": time() + seconds}
        said |= {"scope": " ".join(scopes)} | claims
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, self.private[self.newest], "ES256", {"kid": self.newest})

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.get("/jwks.json", self._show)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/jwks.json"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _show(self, _: web.Request) -> web.StreamResponse:
        self.asked += 1
        return self.trouble or web.json_response(self.keys())


def settings_for(keys: str) -> dict[str, Any]:
    return {"jwt_keys": keys, "jwt_issuer": URL, "jwt_audience": AUDIENCE, "jwt_customer_claim": CLAIM}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
