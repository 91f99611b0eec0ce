"""Nouns: the graph of the peers that are made with Strawberry, ours among them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import strawberry
from strawberry.dataloader import DataLoader

from schema.relations import relation


class Loaders(ABC):
    """Who finds them, or rows that have their attributes; those of one operation."""

    @abstractmethod
    async def posts(self) -> list[Any]: ...

    @abstractmethod
    async def customers(self, page: int) -> Any: ...

    @abstractmethod
    async def conversations(self, page: int) -> Any: ...

    @cached_property
    def user(self) -> DataLoader[int, Any]:
        return DataLoader(self._users)

    @cached_property
    def customer(self) -> DataLoader[int, Any]:
        return DataLoader(self._customers)

    @cached_property
    def agent(self) -> DataLoader[int, Any]:
        return DataLoader(self._agents)

    @abstractmethod
    async def _users(self, ids: Sequence[int]) -> list[Any]: ...

    @abstractmethod
    async def _customers(self, ids: Sequence[int]) -> list[Any]: ...

    @abstractmethod
    async def _agents(self, ids: Sequence[int]) -> list[Any]: ...


class HasLoaders(Protocol):
    @property
    def loaders(self) -> Loaders: ...


Info: TypeAlias = strawberry.Info[HasLoaders, None]


@strawberry.type
class User:
    id: int
    name: str
    username: str
    email: str
    phone: str | None
    website: str | None


@strawberry.type
class Post:
    id: int
    user_id: int
    title: str
    body: str
    user: User | None = relation("user_id", "user")


@strawberry.type
class Tag:
    id: int
    tag: str


@strawberry.type
class Customer:
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
    tags: list[Tag]


@strawberry.type
class CustomerPage:
    results: int
    total_pages: int
    customers: list[Customer]


@strawberry.type
class Agent:
    id: int
    first_name: str
    last_name: str
    email: str
    role: str


@strawberry.type
class Conversation:
    id: int
    status: str
    channel: str
    agent_id: int | None
    customer_id: int
    unread: int
    last_message: str
    last_interaction: str
    customer: Customer | None = relation("customer_id", "customer")
    agent: Agent | None = relation("agent_id", "agent")


@strawberry.type
class ConversationPage:
    results: int
    total_pages: int
    conversations: list[Conversation]


@strawberry.type
class Query:
    @strawberry.field
    async def posts(self, info: Info) -> list[Post]:
        return await info.context.loaders.posts()

    @strawberry.field
    async def customers(self, info: Info, page: int = 1) -> CustomerPage:
        found: CustomerPage = await info.context.loaders.customers(page)
        return found

    @strawberry.field
    async def conversations(self, info: Info, page: int = 1) -> ConversationPage:
        found: ConversationPage = await info.context.loaders.conversations(page)
        return found
