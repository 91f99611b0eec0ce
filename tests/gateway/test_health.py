"""Is the process alive, is it ready, and which part is not."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.gate import Gate
from gateway.server import migrate
from gateway.settings import Settings, load
from tests.gateways import Gateway, gateway_on
from tests.services import Mariadb


async def test_a_gateway_that_serves_is_live_and_ready(gateway: Gateway) -> None:
    async with gateway.session.get(f"{gateway.url}/health/live") as live:
        assert (live.status, await live.json()) == (200, {"status": "live"})
    async with gateway.session.get(f"{gateway.url}/health/ready") as ready:
        assert (ready.status, await ready.json()) == (200, {"status": "ready", "parts": {"database": "ok"}})


async def test_a_dead_vendor_does_not_make_the_gateway_unready(gateway: Gateway) -> None:
    gateway.mercately.trouble("reset")

    async with gateway.session.get(f"{gateway.url}/health/ready") as ready:
        assert ready.status == 200


async def test_a_database_that_is_gone_is_named_and_comes_back(
    mariadb_server: Mariadb, our_mariadb_url: str
) -> None:
    settings = load(database_url=our_mariadb_url)
    async with gateway_on(settings) as gateway:
        async with gateway.session.get(f"{gateway.url}/health/ready") as ready:
            assert ready.status == 200
        mariadb_server.stop()
        async with gateway.session.get(f"{gateway.url}/health/ready") as ready:
            assert (ready.status, await ready.json()) == (
                503,
                {
                    "status": "not ready",
                    "parts": {"database": "The database cannot be reached: try again later."},
                },
            )
        mariadb_server.start()
        async with gateway.session.get(f"{gateway.url}/health/ready") as ready:
            assert ready.status == 200


async def test_a_gateway_all_of_whose_connections_are_in_use_is_ready(settings: Settings) -> None:
    one = settings.model_copy(update={"database_connections": 1})
    async with gateway_on(one) as gateway:
        async with gateway.session.get(f"{gateway.url}/health/ready") as ready:
            assert ready.status == 200
        async with gateway.storage._engine.connect():
            with gateway.storage.record.call("page"):  # others have their answers
                pass
            async with asyncio.timeout(1), gateway.session.get(f"{gateway.url}/health/ready") as ready:
                assert ready.status == 200


async def test_a_server_that_started_without_its_database_says_what_that_lacks_when_it_comes(
    mariadb_server: Mariadb, mariadb_url: str
) -> None:
    mariadb_server.stop()
    async with gateway_on(load(database_url=mariadb_url)) as gateway:
        mariadb_server.start()
        async with gateway.session.get(f"{gateway.url}/health/ready") as ready:
            assert ready.status == 503
            assert (await ready.json())["parts"] == {
                "database": "Its schema is old: run `switchboard migrate` with this version."
            }


async def test_a_schema_of_a_newer_version_is_not_for_this_one_to_migrate(mariadb_url: str) -> None:
    settings = load(database_url=mariadb_url)
    await migrate(settings)
    async with gateway_on(settings) as gateway:
        engine = create_async_engine(mariadb_url)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = 'tomorrow'"))
        await engine.dispose()
        assert await told(gateway, 503) == {
            "database": "Its schema is newer than this version: install the one that migrated it."
        }


async def test_where_all_wait_for_the_processor_what_was_found_last_is_said_at_once(
    mariadb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(database_url=mariadb_url)
    await migrate(settings)
    async with gateway_on(settings) as gateway:
        assert await told(gateway, 200) == {"database": "ok"}
        monkeypatch.setattr(Gate, "is_strained", True)
        engine = create_async_engine(mariadb_url)
        async with engine.begin() as connection:
            await connection.execute(text("LOCK TABLES alembic_version WRITE"))
            with gateway.storage.record.call("page"):  # others have their answers
                pass
            async with asyncio.timeout(1), gateway.session.get(f"{gateway.url}/health/ready") as ready:
                assert ready.status == 200
            await connection.execute(text("UPDATE alembic_version SET version_num = 'tomorrow'"))
            await connection.execute(text("UNLOCK TABLES"))
        await engine.dispose()
        assert "newer" in (await told(gateway, 503))["database"]


async def told(gateway: Gateway, status: int) -> dict[str, str]:
    """Asked until it has that status: where the machine is busy, what was found before is said first."""
    async with asyncio.timeout(10):
        while True:
            async with gateway.session.get(f"{gateway.url}/health/ready") as ready:
                if ready.status == status:
                    parts: dict[str, str] = (await ready.json())["parts"]
                    return parts
