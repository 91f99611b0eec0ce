"""Tokens: JWTs that somebody else gives out, believed when one of that somebody's public keys signed them."""

import asyncio
from hashlib import sha256
from pathlib import Path
from time import monotonic, time
from typing import Any

import jwt
import orjson
import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar

from gateway.remembered import Remembered
from gateway.settings import Settings
from resolvers.caller import Caller, Kind
from resolvers.people import by_id
from schema.errors import BadInput

AGAIN = 10.0
"""Seconds at least between two times that the keys are fetched, however many tokens name unknown ones."""
OLD = 300.0
"""Seconds after which they are fetched anew, by the way; until that works, those we have are the keys."""
PATIENCE = 3.0
LARGEST = 256 * 1024
LONGEST = 8000
"""Characters of a token."""
REMEMBERED = 3.0
"""Seconds for which a token is not verified again."""
MOST = 1024

log = structlog.get_logger("switchboard.tokens")


class BadToken(Exception):
    """One sentence, which repeats nothing of the token."""


class NoKeys(Exception):
    """Whether a token is good cannot be told: its key is not here, and where it comes from is silent."""

    def __init__(self) -> None:
        super().__init__("The keys that sign tokens cannot be fetched now: try again later.")


class Tokens:
    def __init__(self, place: str, settings: Settings) -> None:
        self._place = place
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._algorithms = settings.algorithms
        self._leeway = settings.jwt_leeway
        self._customer_claim = settings.jwt_customer_claim
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._not_before = self._old_at = 0.0
        self._answers = False
        self._verified = Remembered[bytes, Caller](REMEMBERED, MOST)

    async def close(self) -> None:
        if self._fetching:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def caller(self, token: str) -> Caller:
        digest = sha256(token.encode(errors="surrogatepass")).digest()
        known = self._verified.get(digest)
        if known and known.until and time() < known.until:
            return known
        caller = self._read(await self._claims(token))
        self._verified.put(digest, caller)
        return caller

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            if len(token) > LONGEST:
                raise BadToken("This token is too long.")
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in self._algorithms:
                raise BadToken("This token is signed in a way that is not allowed here.")
            claims: dict[str, Any] = jwt.decode(
                token,
                await self._key(header.get("kid")),
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError:
            raise BadToken("This token has expired: get a new one.") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise BadToken("This token is not one that is good here.") from None
        return claims

    def _read(self, claims: dict[str, Any]) -> Caller:
        own = self._own(claims)
        # Whom it was given to may be told by a phone or an e-mail.
        given_to = f"{claims['iss']} {claims.get('sub') or own}".encode(errors="replace")
        return Caller(
            Kind.JWT if own is None else Kind.CUSTOMER,
            id=sha256(given_to).hexdigest()[:12],
            scopes=_scopes(claims),
            until=int(claims["exp"]) + self._leeway,
            own=own,
        )

    def _own(self, claims: dict[str, Any]) -> str | None:
        if self._customer_claim is None or self._customer_claim not in claims:
            return None
        id = claims[self._customer_claim]
        try:
            if isinstance(id, str):
                by_id(id, "id")
                return id
        except BadInput:
            pass
        raise BadToken("This token names a customer by what is no customer's id.")

    # Keys

    async def _key(self, id: str | None) -> jwt.PyJWK:
        if monotonic() >= self._old_at:
            self.fetch()
        key = self._known(id)
        if key is None:
            if fetching := self.fetch():
                await asyncio.wait([fetching])
            key = self._known(id)
        if key is None and not self._answers:
            raise NoKeys
        if key is None:
            raise BadToken("This token is not signed by a key that is known here.")
        return key

    def _known(self, id: str | None) -> jwt.PyJWK | None:
        if id is None and len(self._keys) == 1:  # a token that names no key is of the only one
            return next(iter(self._keys.values()))
        return self._keys.get(id)

    def fetch(self) -> asyncio.Task[None] | None:
        """The keys on their way; nothing if they were fetched a moment ago."""
        if self._fetching is None and monotonic() >= self._not_before:
            self._not_before = monotonic() + AGAIN
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            keys = self._usable(orjson.loads(await self._document()))
        except (OSError, ClientError, TimeoutError, ValueError) as error:
            self._answers = False
            log.warning("the keys that sign tokens cannot be fetched", reason=type(error).__name__)
        else:
            self._keys, self._answers, self._old_at = keys, True, monotonic() + OLD
        finally:
            self._fetching = None

    async def _document(self) -> bytes:
        if "://" not in self._place:
            return await asyncio.to_thread(Path(self._place).read_bytes)
        patience = ClientTimeout(total=PATIENCE)
        async with (
            ClientSession(timeout=patience, cookie_jar=DummyCookieJar()) as session,
            session.get(self._place, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError("not 200")
            body = b""
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > LARGEST:
                    raise ValueError("too large")
            return body

    def _usable(self, document: Any) -> dict[str | None, jwt.PyJWK]:
        """Those for signing, by id; a kind of key that we do not know leaves the others alone."""
        if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
            raise ValueError("not a set of keys")
        keys = dict[str | None, jwt.PyJWK]()
        for each in document["keys"]:
            try:
                key = jwt.PyJWK(each)
            except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
                continue
            if key.algorithm_name in self._algorithms and key.public_key_use in (None, "sig"):
                keys[key.key_id] = key
        if not keys:
            raise ValueError("no key that can be used")
        return keys


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    said = claims.get("scope", claims.get("scp"))
    names = said.split() if isinstance(said, str) else said if isinstance(said, list) else ()
    return frozenset(name for name in names if isinstance(name, str))
