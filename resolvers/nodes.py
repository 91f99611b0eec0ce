"""Nodes: anything by its id alone."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import strawberry

from resolvers.agents import find_agent
from resolvers.broadcasts import find_broadcast
from resolvers.conversations import find_conversation
from resolvers.customers import find_customer_by_id
from resolvers.groups import find_group
from resolvers.ids import NotOurs, split_id
from resolvers.messages import find_message
from resolvers.templates import find_template
from schema.context import Info
from schema.errors import BadInput
from schema.node import Node

MOST = 100

FINDERS: Mapping[str, Callable[[Info, strawberry.ID], Awaitable[Node | None]]] = {
    "Agent": find_agent,
    "Broadcast": find_broadcast,
    "Conversation": find_conversation,
    "Customer": find_customer_by_id,
    "Group": find_group,
    "Message": find_message,
    "Template": find_template,
}


async def find_node(info: Info, id: strawberry.ID) -> Node | None:
    type_name, _ = split_id(id)
    if type_name not in FINDERS:
        raise NotOurs("id")
    return await FINDERS[type_name](info, id)


async def find_nodes(info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
    """In the order asked. What goes wrong with one is an error in its place and leaves the others alone."""
    if len(ids) > MOST:
        raise BadInput({"ids": f"Ask for at most {MOST} at a time; {len(ids)} given."})
    found = await asyncio.gather(*(find_node(info, id) for id in ids), return_exceptions=True)
    return found  # type: ignore[return-value]  # an exception in a list is an error at its path
