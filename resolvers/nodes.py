"""Nodes: anything by its id alone."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import strawberry

from resolvers.agents import find_agent
from resolvers.broadcasts import find_broadcast
from resolvers.context import Info
from resolvers.conversations import find_conversation
from resolvers.customers import find_customer_by_id
from resolvers.groups import find_group
from resolvers.ids import NotOurs, split_id
from resolvers.messages import find_message
from resolvers.permission import needed_by_type
from resolvers.templates import find_template
from schema.agents import Agent
from schema.broadcasts import Broadcast
from schema.conversations import Conversation
from schema.customers import Customer
from schema.errors import BadInput
from schema.groups import Group
from schema.messages import Message
from schema.node import Node
from schema.templates import Template

MOST = 100

FINDERS: Mapping[type[Node], Callable[[Any, strawberry.ID], Awaitable[Node | None]]] = {
    Agent: find_agent,
    Broadcast: find_broadcast,
    Conversation: find_conversation,
    Customer: find_customer_by_id,
    Group: find_group,
    Message: find_message,
    Template: find_template,
}
_NOUNS = {type.__name__: (needed_by_type(type), find) for type, find in FINDERS.items()}


async def find_node(info: Info, id: strawberry.ID) -> Node | None:
    type_name, _ = split_id(id)
    if type_name not in _NOUNS:
        raise NotOurs("id")
    requires, find = _NOUNS[type_name]
    info.context.caller.need(requires.scope, own=bool(requires.own))
    return await find(info, id)


async def find_nodes(info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
    """In the order asked. What goes wrong with one is an error in its place and leaves the others alone."""
    if len(ids) > MOST:
        raise BadInput({"ids": f"Ask for at most {MOST} at a time; {len(ids)} given."})
    found = await asyncio.gather(*(find_node(info, id) for id in ids), return_exceptions=True)
    return found  # type: ignore[return-value]  # an exception in a list is an error at its path
