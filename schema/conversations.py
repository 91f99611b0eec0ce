"""Conversation: a thread with one customer on one channel."""

from datetime import datetime
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from schema.agents import Agent
from schema.connections import Connection
from schema.node import Node
from schema.relations import relation
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

    customer: Annotated["Customer", strawberry.lazy("schema.customers")] | None = relation(
        "told",
        "customer_in",
        same=attrgetter("customer_row_id"),
        description="With whom; from the directory, or from what the conversation itself says.",
    )
    agent: Agent | None = relation(
        "agent_id",
        "agent",
        description="Who answers it; null while nobody does.",
        directives=requires(Scope.AGENTS_READ, own=True),
    )


@strawberry.type(directives=requires(Scope.CONVERSATIONS_READ))
class ConversationConnection(Connection[Conversation]): ...
