"""Ours: `switchboard serve` as in production, but its nouns are the peers' and its source is their upstream.

`python -m bench.peers.ours shared|unshared UPSTREAM serve`
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from adapters import Adapters, open_adapters
from adapters.rest import Mode, Path, Rest, Source
from bench.peers import nouns
from bench.peers.nouns import Query
from bench.serving import be_patient, share_nothing
from gateway import app
from gateway.cli import main
from gateway.executor import AFTER
from gateway.graph import Graph
from gateway.settings import Settings, UseExecutor
from resolvers import loaders, own
from resolvers.waiting import all_of


class UserRow(msgspec.Struct, frozen=True):
    id: int
    name: str
    username: str
    email: str
    phone: str | None = None
    website: str | None = None


class PostRow(msgspec.Struct, frozen=True, rename="camel"):
    id: int
    user_id: int
    title: str
    body: str


class TagRow(msgspec.Struct, frozen=True):
    id: int
    tag: str


class CustomerRow(msgspec.Struct, frozen=True, rename="camel"):
    id: int
    first_name: str
    last_name: str
    email: str
    phone: str
    id_type: str
    id_number: str
    address: str
    city: str
    state: str
    zip_code: str
    notes: str
    agent_id: int | None
    whatsapp_opt_in: bool
    created_at: str
    tags: list[TagRow]


class AgentRow(msgspec.Struct, frozen=True, rename="camel"):
    id: int
    first_name: str
    last_name: str
    email: str
    role: str


class ConversationRow(msgspec.Struct, frozen=True, rename="camel"):
    id: int
    status: str
    channel: str
    agent_id: int | None
    customer_id: int
    unread: int
    last_message: str
    last_interaction: str


class _One(msgspec.Struct, frozen=True):
    customer: CustomerRow


class _Agents(msgspec.Struct, frozen=True):
    agents: list[AgentRow]


class Customers(msgspec.Struct, frozen=True, rename="camel"):
    results: int
    total_pages: int
    customers: list[CustomerRow]


class Conversations(msgspec.Struct, frozen=True, rename="camel"):
    results: int
    total_pages: int
    conversations: list[ConversationRow]


class Upstream(Rest):
    name = "upstream"
    title = "The upstream"
    Settings = Source

    async def ping(self) -> None:
        await self.agents()

    async def posts(self) -> list[PostRow]:
        return await self._get("posts", "/posts", list[PostRow])

    async def user(self, id: int) -> UserRow:
        return await self._get("user", Path("/users/{id}", id=id), UserRow)

    async def customers(self, page: int) -> Customers:
        return await self._get("customers", "/customers", Customers, page=str(page))

    async def customer(self, id: int) -> CustomerRow:
        return (await self._get("customer", Path("/customers/{id}", id=id), _One)).customer

    async def agents(self) -> list[AgentRow]:
        return (await self._get("agents", "/agents", _Agents)).agents

    async def conversations(self, page: int) -> Conversations:
        return await self._get("conversations", "/conversations", Conversations, page=str(page))


class Loaders(nouns.Loaders):
    """What the upstream says has the attributes of the nouns, and the graph reads no more: so it is one.

    The peers in Node do the same with what they have parsed.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def posts(self) -> list[PostRow]:
        return await self._upstream.posts()

    async def customers(self, page: int) -> Customers:
        return await self._upstream.customers(page)

    async def conversations(self, page: int) -> Conversations:
        return await self._upstream.conversations(page)

    async def _users(self, ids: Sequence[int]) -> list[UserRow]:
        return await all_of(self._upstream.user(id) for id in ids)

    async def _customers(self, ids: Sequence[int]) -> list[CustomerRow]:
        return await all_of(self._upstream.customer(id) for id in ids)

    async def _agents(self, ids: Sequence[int]) -> list[AgentRow | None]:
        found = {row.id: row for row in await self._upstream.agents()}
        return [found.get(id) for id in ids]


def serve_their_nouns(url: str) -> None:
    """In place of our own; all that is around them stays."""

    @asynccontextmanager
    async def opened(*arguments: Any) -> AsyncIterator[Adapters]:
        source = Source(url=url, timeout=60, connections=256)
        async with open_adapters(*arguments) as adapters, Upstream.open(source, Mode.REAL) as upstream:
            vars(loaders)["Loaders"] = lambda *_: Loaders(upstream)
            yield adapters

    def their_graph(settings: Settings) -> Graph:
        compiles_after = AFTER if settings.executor is UseExecutor.COMPILED else None
        return Graph(query=Query, limits=settings.limits, compiles_after=compiles_after)

    assert issubclass(own.OwnLoaders, loaders.Loaders)  # it derives from ours, and was imported before
    assert vars(app)["open_adapters"] is open_adapters
    assert "build_graph" in vars(app)
    vars(app).update(open_adapters=opened, build_graph=their_graph)


if __name__ == "__main__":
    be_patient()
    kind, upstream = sys.argv.pop(1), sys.argv.pop(1)
    if kind == "unshared":
        share_nothing()
    serve_their_nouns(upstream)
    main()
