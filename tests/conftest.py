"""What every test may ask for."""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from adapters import rest
from adapters.mercately.client import Mercately, MercatelySettings
from adapters.mercately.sandbox import MercatelySandbox
from adapters.rest import Mode
from adapters.storage.client import Storage
from adapters.storage.everyprint import Everyprint

pytest_plugins = ["tests.leaks", "tests.services", "tests.databases", "tests.gateways"]


@pytest.fixture
async def mercately_sandbox() -> AsyncIterator[MercatelySandbox]:
    async with MercatelySandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def mercately(mercately_sandbox: MercatelySandbox) -> AsyncIterator[Mercately]:
    """The real client on the sandbox, of little patience, and keeping nothing."""
    settings = MercatelySettings(
        timeout=0.5, connect_timeout=0.3, cache=0, cache_lists=0, stale=0
    ).pointed_at(mercately_sandbox)
    async with Mercately.open(settings, Mode.REAL) as client:
        yield client


@pytest.fixture
def everyprint(storage: Storage) -> Everyprint:
    return storage.everyprint


@pytest.fixture
def log_lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """What our own code logs during the test."""
    # A test before may have configured the logger, which then keeps that configuration.
    structlog.reset_defaults()
    vars(rest.log).pop("bind", None)
    with capture_logs() as lines:
        yield lines
