"""A database that hangs, or was away: what the graph answers meanwhile, and after it is back."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from gateway.settings import Settings
from tests.gateways import gateway_on
from tests.services import Mariadb

QUERY = "{ customers(first: 5) { edges { node { firstName groups { name } balance { amount } } } } }"
PATIENCE, MERCY = 2.0, 0.5
"""Seconds: the setting's default, and those in which a machine that is busy may come late."""


@contextmanager
def hanging(server: Mariadb) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.fixture
def on_mariadb(settings: Settings, peopled_mariadb: str, mariadb_server: Mariadb) -> Settings:
    mariadb_server.start()
    said = {"database_url": SecretStr(peopled_mariadb), "database_timeout": PATIENCE}
    return settings.model_copy(update=said)


async def test_a_black_hole_is_answered_in_time_and_nothing_fails_after_a_restart(
    on_mariadb: Settings, mariadb_server: Mariadb
) -> None:
    async with gateway_on(on_mariadb) as gateway:
        well = await gateway.data(QUERY)
        with hanging(mariadb_server):
            began = time.perf_counter()
            answers = await asyncio.gather(*(gateway.ask(QUERY) for _ in range(30)))
            took = time.perf_counter() - began
        after_it = await asyncio.gather(*(gateway.data(QUERY) for _ in range(30)))
        mariadb_server.restart()
        restarted = await asyncio.gather(*(gateway.data(QUERY) for _ in range(30)))

    assert took < PATIENCE + MERCY
    assert {answer["errors"][0]["extensions"]["code"] for answer in answers} == {"SOURCE_TIMEOUT"}
    assert {answer["data"]["customers"] for answer in answers} == {None}
    assert all(answer == well for answer in (*after_it, *restarted))
