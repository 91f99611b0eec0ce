"""API keys: who was given one, for what and until when; of the key itself its hash."""

from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest

import msgspec
from sqlalchemy import exists, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storage.database import AnyRow, Questions, reads, writes
from adapters.storage.tables import API_KEY, now

ROUGHLY = timedelta(minutes=10)
"""It is written down at most so often when a key was used last."""


class ApiKey(msgspec.Struct, frozen=True):
    id: str
    name: str
    hash: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None

    def is_opened_by(self, secret: str) -> bool:
        return compare_digest(hashed(secret), self.hash)

    @property
    def is_good(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now() < self.expires_at)

    @property
    def use_is_news(self) -> bool:
        return self.used_at is None or now() - self.used_at > ROUGHLY


def hashed(secret: str) -> str:
    """Fast: a secret of 256 random bits is found by no search, and needs no salt."""
    return sha256(secret.encode()).hexdigest()


class ApiKeys(Questions):
    @reads
    async def any(self, connection: AsyncConnection) -> bool:
        """Whether there has ever been one."""
        return bool(await connection.scalar(select(exists(select(API_KEY.c.id)))))

    @reads
    async def find(self, connection: AsyncConnection, ids: Collection[str]) -> dict[str, ApiKey]:
        rows = await connection.execute(select(API_KEY).where(API_KEY.c.id.in_(ids)))
        return {row.id: _key(row) for row in rows}

    @reads
    async def all(self, connection: AsyncConnection) -> list[ApiKey]:
        """Oldest first."""
        rows = await connection.execute(select(API_KEY).order_by(API_KEY.c.created_at, API_KEY.c.id))
        return [_key(row) for row in rows]

    @writes
    async def add(
        self,
        connection: AsyncConnection,
        id: str,
        name: str,
        secret: str,
        scopes: Collection[str],
        expires_at: datetime | None,
    ) -> None:
        row = {
            "id": id,
            "name": name,
            "hash": hashed(secret),
            "scopes": msgspec.json.encode(sorted(scopes)),
            "created_at": now(),
            "expires_at": expires_at,
        }
        await connection.execute(insert(API_KEY).values(row))

    @writes
    async def revoke(self, connection: AsyncConnection, id: str) -> bool:
        """Whether there is such a key; one that was revoked before stays so since then."""
        this = API_KEY.c.id == id
        change = update(API_KEY).where(this, API_KEY.c.revoked_at.is_(None)).values(revoked_at=now())
        await connection.execute(change)
        return bool(await connection.scalar(select(exists(select(API_KEY.c.id).where(this)))))

    @writes
    async def was_used(self, connection: AsyncConnection, id: str) -> None:
        used_at = API_KEY.c.used_at
        is_news = or_(used_at.is_(None), used_at < now() - ROUGHLY)
        await connection.execute(update(API_KEY).where(API_KEY.c.id == id, is_news).values(used_at=now()))


def _key(row: AnyRow) -> ApiKey:
    scopes = frozenset(msgspec.json.decode(row.scopes, type=list[str]))
    return ApiKey(**{**row._mapping, "scopes": scopes})
