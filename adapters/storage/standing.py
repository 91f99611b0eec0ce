"""Standing: how the ledger stands, in a few numbers that somebody watches."""

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storage.database import Questions, reads
from adapters.storage.messages import ALONE, State
from adapters.storage.tables import BROADCAST, CHUNK, DELIVERY


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    overdue: float
    """Seconds for which the message has been due that has waited longest to be looked at."""
    unknown: int
    """Messages of which nobody knows whether their vendor has taken them."""
    expired: int
    """Chunks of broadcasts whose sender has gone, and that nobody has taken over."""


class Standings(Questions):
    @reads
    async def now(self, connection: AsyncConnection, moment: int) -> Standing:
        first = await connection.scalar(select(func.min(DELIVERY.c.due)).where(DELIVERY.c.due <= moment))
        those = DELIVERY.c.broadcast_id.in_(select(BROADCAST.c.id)) | (DELIVERY.c.broadcast_id == ALONE)
        unknown = select(func.count()).where(those, DELIVERY.c.state == State.UNKNOWN)
        expired = select(func.count()).where(
            CHUNK.c.broadcast_id.in_(select(BROADCAST.c.id).where(BROADCAST.c.state == "running")),
            CHUNK.c.state == "live",
            CHUNK.c.due < moment,
        )
        return Standing(
            overdue=0 if first is None else (moment - first) / 1000,
            unknown=await connection.scalar(unknown) or 0,
            expired=await connection.scalar(expired) or 0,
        )
