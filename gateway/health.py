"""Health: is this process alive, and which part of it is not ready."""

import asyncio

import orjson
from aiohttp import web

from adapters import Adapters
from adapters.errors import SourceError
from adapters.storage.client import SchemaState
from gateway.keys import ADAPTERS, GATE

STATES = {
    SchemaState.CURRENT: "ok",
    SchemaState.OLD: "Its schema is old: run `switchboard migrate` with this version.",
    SchemaState.NEWER: "Its schema is newer than this version: install the one that migrated it.",
}


PATIENCE = 0.1
"""Seconds for the database, where it answers others: then it is only that they are many."""


async def live(_: web.Request) -> web.Response:
    return _answer(200, {"status": "live"})


async def ready(request: web.Request) -> web.Response:
    """Vendors do not count: without one of them the gateway still serves everything else."""
    adapters = request.app[ADAPTERS]
    # Where all wait for the processor, what the database has just answered others tells as much.
    known = request.app[GATE].is_strained and adapters.storage.record.has_just_answered
    database = "ok" if known else await _database(adapters)
    parts = {"database": database}
    if database == "ok":
        return _answer(200, {"status": "ready", "parts": parts})
    return _answer(503, {"status": "not ready", "parts": parts})


async def _database(adapters: Adapters) -> str:
    storage = adapters.storage
    try:
        try:
            async with asyncio.timeout(PATIENCE):
                return STATES[await storage.schema_state()]
        except TimeoutError:
            if storage.record.has_just_answered:
                return "ok"
            return STATES[await storage.schema_state()]
    except SourceError as error:
        return str(error)


def _answer(status: int, body: dict[str, object]) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
