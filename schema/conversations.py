"""Conversation: a thread with one customer on one channel."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from schema.agents import Agent
from schema.connections import Connection
from schema.context import Info
from schema.node import Node
from schema.scopes import Scope, requires

if TYPE_CHECKING:
    from schema.customers import Customer


@strawberry.enum
class ConversationChannel(Enum):
    MESSENGER = "messenger"
    WHATSAPP = "whatsapp"


@strawberry.type(
    description="A thread with one customer on one channel.",
    directives=requires(Scope.CONVERSATIONS_READ, own=True),
)
class Conversation(Node):
    channel: ConversationChannel
    message_count: int
    last_interaction: datetime
    agent_id: strawberry.Private[int | None]
    told: strawberry.Private[Any]
    """The row it was read from: it names its customer, and tells of one whom the directory does not know."""

    @strawberry.field(description="With whom; from the directory, or from what the conversation itself says.")
    async def customer(self, info: Info) -> Annotated["Customer", strawberry.lazy("schema.customers")] | None:
        return await info.context.loaders.customer_in.load(self.told)

    @strawberry.field(
        description="Who answers it; null while nobody does.",
        directives=requires(Scope.AGENTS_READ, own=True),
    )
    async def agent(self, info: Info) -> Agent | None:
        return await info.context.loaders.agent.load(self.agent_id) if self.agent_id else None


@strawberry.type(directives=requires(Scope.CONVERSATIONS_READ))
class ConversationConnection(Connection[Conversation]): ...
