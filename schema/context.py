"""What a field may ask of the operation it is part of: the loaders, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import strawberry
from strawberry.dataloader import DataLoader

if TYPE_CHECKING:  # the nouns import this file for their relations
    from schema.agents import Agent
    from schema.balances import Balance, BalanceEntryConnection
    from schema.broadcasts import Broadcast, BroadcastConnection, BroadcastCounts
    from schema.conversations import Conversation, ConversationChannel, ConversationConnection
    from schema.customers import Customer, CustomerConnection, CustomerFilter
    from schema.groups import Group
    from schema.messages import Message, MessageConnection, MessageStatus
    from schema.sources import Source
    from schema.templates import Template


class Loaders(Protocol):
    """Keys in, nouns out, None for what is not there; they live as long as one operation."""

    @property
    def balance(self) -> DataLoader[str, Balance | None]: ...

    async def balance_entries(
        self, messenger_id: str, *, first: int, after: str | None
    ) -> BalanceEntryConnection: ...

    @property
    def customer_in(self) -> DataLoader[Any, Customer | None]: ...

    @property
    def customer(self) -> DataLoader[Any, Customer | None]: ...

    async def customers(
        self, filter: CustomerFilter, *, first: int, after: str | None
    ) -> CustomerConnection: ...

    @property
    def groups_of(self) -> DataLoader[tuple[tuple[str, ...], tuple[str, ...]], list[Group]]: ...

    @property
    def agent_of(self) -> DataLoader[tuple[int, ...], Agent | None]: ...

    async def conversations_of(
        self, row_ids: Sequence[int], *, channel: ConversationChannel | None, first: int, after: str | None
    ) -> ConversationConnection: ...

    async def members(
        self, group_id: strawberry.ID, *, first: int, after: str | None
    ) -> CustomerConnection: ...

    @property
    def agents(self) -> DataLoader[None, dict[int, Agent]]: ...

    @property
    def agent(self) -> DataLoader[int, Agent | None]: ...

    @property
    def conversation(self) -> DataLoader[tuple[str, int], Conversation | None]: ...

    async def conversations(
        self,
        *,
        channel: ConversationChannel | None,
        unassigned: bool,
        agent_id: int | None,
        first: int,
        after: str | None,
    ) -> ConversationConnection: ...

    async def groups(self, source: Source | None) -> list[Group]: ...

    @property
    def group(self) -> DataLoader[Any, Group | None]: ...

    @property
    def message(self) -> DataLoader[Any, Message | None]: ...

    async def messages_to(
        self, phones: Sequence[str], messenger_ids: Sequence[str], *, first: int, after: str | None
    ) -> MessageConnection: ...

    @property
    def broadcast(self) -> DataLoader[int, Broadcast | None]: ...

    @property
    def broadcast_counts(self) -> DataLoader[int, BroadcastCounts]: ...

    async def broadcasts(self, *, first: int, after: str | None) -> BroadcastConnection: ...

    async def deliveries(
        self, key: int, *, statuses: Sequence[MessageStatus] | None, first: int, after: str | None
    ) -> MessageConnection: ...

    @property
    def customer_at(self) -> DataLoader[tuple[str | None, str | None], Customer | None]: ...

    @property
    def templates(self) -> DataLoader[None, dict[str, Template]]: ...

    @property
    def template(self) -> DataLoader[str, Template | None]: ...


class HasLoaders(Protocol):
    @property
    def region(self) -> str: ...

    @property
    def loaders(self) -> Loaders: ...


Info: TypeAlias = strawberry.Info[HasLoaders, None]
