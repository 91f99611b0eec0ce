"""Conversation: a thread with one customer on one channel."""

from datetime import datetime
from enum import Enum

import strawberry

from schema.agents import Agent
from schema.connections import Connection
from schema.context import Info
from schema.node import Node


@strawberry.enum
class ConversationChannel(Enum):
    MESSENGER = "messenger"
    WHATSAPP = "whatsapp"


@strawberry.type(description="A thread with one customer on one channel.")
class Conversation(Node):
    channel: ConversationChannel
    message_count: int
    last_interaction: datetime
    agent_id: strawberry.Private[int | None]

    @strawberry.field(description="Who answers it; null while nobody does.")
    async def agent(self, info: Info) -> Agent | None:
        return await info.context.loaders.agent.load(self.agent_id) if self.agent_id else None


@strawberry.type
class ConversationConnection(Connection[Conversation]): ...
