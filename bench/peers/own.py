"""Own: what is asked of our own nouns, and the people whom it is asked about."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import orjson

from adapters.storage.client import open_storage
from bench.peers.servers import OwnCore
from bench.peers.upstream import Question
from bench.queries import QUERIES
from bench.servers import Upstream, running, synced
from bench.stub import PEOPLE, phone

ASKED = {
    "Q2": ("Our customers, flat", QUERIES["customers"]),
    "Q3": (
        "Our customers with groups and balance",
        """{ customers(first: 100) { edges { node {
            id firstName lastName groups { id name } balance { amount currency }
        } } } }""",
    ),
    "Q4": ("Our conversations with customer and agent", QUERIES["conversations"]),
}
"""By the question to the peers that it is most like."""


@contextmanager
def questions(stub: Upstream, names: Iterable[str]) -> Iterator[tuple[Path, Mapping[str, Question]]]:
    """With a data directory whose database knows everybody; graphql-core says what is to be answered."""
    with synced(stub.url) as data:
        asyncio.run(_open_accounts(data))
        with running(OwnCore, stub.url, data) as peer:
            yield data, {name: _question(peer, stub, *ASKED[name]) for name in names}


def _question(peer: OwnCore, stub: Upstream, title: str, query: str) -> Question:
    calls, answer = stub.count, orjson.loads(peer.ask(query))
    assert "errors" not in answer, answer
    return Question(title, query, answer["data"], stub.count - calls)


async def _open_accounts(data: Path) -> None:
    """Of everybody, with something on it."""
    async with open_storage(f"sqlite+aiosqlite:///{data / 'switchboard.db'}") as storage:
        for number in range(1, PEOPLE + 1):
            id = str(2_413_659_892_000_000 + number)
            await storage.everyprint.save_customer(id, "Quishpe", phone_e164=phone(number))
            await storage.everyprint.add_entry(id, Decimal(number), "Loyalty", f"bench-{number}")
