"""What a field may ask of the operation it is part of: the loaders, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import strawberry
from strawberry.dataloader import DataLoader

if TYPE_CHECKING:  # the nouns import this file for their relations
    from schema.agents import Agent
    from schema.conversations import Conversation, ConversationChannel, ConversationConnection
    from schema.groups import Group
    from schema.templates import Template


class Loaders(Protocol):
    """Keys in, nouns out, None for what is not there; they live as long as one operation."""

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

    @property
    def groups(self) -> DataLoader[None, dict[str, Group]]: ...

    @property
    def group(self) -> DataLoader[str, Group | None]: ...

    @property
    def templates(self) -> DataLoader[None, dict[str, Template]]: ...

    @property
    def template(self) -> DataLoader[str, Template | None]: ...


class HasLoaders(Protocol):
    @property
    def loaders(self) -> Loaders: ...


Info: TypeAlias = strawberry.Info[HasLoaders, None]
