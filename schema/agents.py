"""Agent: someone who answers customers."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from schema.context import Info
from schema.node import Node
from schema.scopes import Scope, requires

if TYPE_CHECKING:
    from schema.conversations import ConversationChannel, ConversationConnection


@strawberry.type(description="Someone who answers customers.", directives=requires(Scope.AGENTS_READ))
class Agent(Node):
    key: strawberry.Private[int]
    first_name: str | None
    last_name: str | None
    email: str | None
    admin: bool

    @strawberry.field(description="Those that this agent answers, newest first.")
    async def conversations(
        self,
        info: Info,
        channel: Annotated["ConversationChannel", strawberry.lazy("schema.conversations")]
        | None = strawberry.UNSET,
        first: int | None = 20,
        after: str | None = strawberry.UNSET,
    ) -> Annotated["ConversationConnection", strawberry.lazy("schema.conversations")] | None:
        return await info.context.loaders.conversations(
            channel=channel or None,
            unassigned=False,
            agent_id=self.key,
            first=20 if first is None else first,
            after=after or None,
        )
