"""Health: is this process alive, and which part of it is not ready."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import orjson
from aiohttp import web

from adapters import Adapters
from adapters.errors import SourceError
from adapters.storage.client import SchemaState
from gateway.keys import ADAPTERS, GATE

FINE = "ok"
STATES = {
    SchemaState.CURRENT: FINE,
    SchemaState.OLD: "Its schema is old: run `switchboard migrate` with this version.",
    SchemaState.NEWER: "Its schema is newer than this version: install the one that migrated it.",
}


PATIENCE = 0.1
"""Seconds for the database, where it answers others: then it is only that they are many."""


class Health:
    """Asks the database once at a time, for as long as it takes, even if whoever asks is gone by then."""

    def __init__(self) -> None:
        self._database = ""
        self._looking: asyncio.Task[None] | None = None

    async def opened(self, app: web.Application) -> AsyncIterator[None]:
        self._look(app[ADAPTERS])
        yield
        if self._looking:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def live(self, _: web.Request) -> web.Response:
        return _answer(200, {"status": "live"})

    async def ready(self, request: web.Request) -> web.Response:
        """Vendors do not count: without one of them the gateway still serves everything else."""
        adapters = request.app[ADAPTERS]
        looking = self._look(adapters)
        if not (self._database == FINE and adapters.storage.record.has_just_answered):
            await asyncio.wait([looking])
        # Where all wait for the processor, what was found before is said again while this look is under way.
        elif not request.app[GATE].is_strained:
            await asyncio.wait([looking], timeout=PATIENCE)
        parts = {"database": self._database}
        if self._database == FINE:
            return _answer(200, {"status": "ready", "parts": parts})
        return _answer(503, {"status": "not ready", "parts": parts})

    def _look(self, adapters: Adapters) -> asyncio.Task[None]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._ask(adapters))
        return self._looking

    async def _ask(self, adapters: Adapters) -> None:
        try:
            self._database = STATES[await adapters.storage.schema_state()]
        except SourceError as error:
            self._database = str(error)


def _answer(status: int, body: dict[str, object]) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
