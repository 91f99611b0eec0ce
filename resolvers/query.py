"""Query: what can be asked, as a table of contents."""

import strawberry

from resolvers.agents import find_agent, list_agents
from resolvers.broadcasting import broadcast_preview
from resolvers.broadcasts import find_broadcast, list_broadcasts
from resolvers.conversations import list_conversations
from resolvers.customers import find_customer, list_customers
from resolvers.groups import find_group, list_groups
from resolvers.messages import find_message
from resolvers.nodes import find_node, find_nodes
from resolvers.sources import list_sources
from resolvers.templates import find_template, list_templates
from schema.agents import Agent
from schema.broadcasts import Broadcast, BroadcastConnection, BroadcastPreview
from schema.conversations import ConversationConnection
from schema.customers import Customer, CustomerConnection
from schema.groups import Group
from schema.messages import Message
from schema.node import Node
from schema.sources import SourceStatus
from schema.templates import Template


@strawberry.type
class Query:
    node: Node | None = strawberry.field(
        resolver=find_node, description="Anything by its id; it takes the scope of what the id names."
    )
    nodes: list[Node | None] = strawberry.field(
        resolver=find_nodes,
        description="Up to 100 things by their ids, in that order, null for what is not there.",
    )
    customer: Customer | None = strawberry.field(
        resolver=find_customer,
        description="One person, by any of their keys, as every source that knows them says now.",
    )
    customers: CustomerConnection | None = strawberry.field(
        resolver=list_customers,
        description="People across sources, each once, as of the directory's last refresh.",
    )
    agents: list[Agent] | None = strawberry.field(
        resolver=list_agents, description="Everyone who answers customers."
    )
    agent: Agent | None = strawberry.field(resolver=find_agent)
    conversations: ConversationConnection | None = strawberry.field(
        resolver=list_conversations,
        description="Newest first, of both channels or one; those that nobody answers; those of one agent.",
    )
    groups: list[Group] | None = strawberry.field(
        resolver=list_groups, description="The groups of every source, or of one."
    )
    group: Group | None = strawberry.field(resolver=find_group)
    templates: list[Template] | None = strawberry.field(
        resolver=list_templates, description="The WhatsApp templates, all of them or those of one status."
    )
    template: Template | None = strawberry.field(resolver=find_template)
    message: Message | None = strawberry.field(resolver=find_message)
    broadcast: Broadcast | None = strawberry.field(resolver=find_broadcast)
    broadcasts: BroadcastConnection = strawberry.field(resolver=list_broadcasts, description="Newest first.")
    broadcast_preview: BroadcastPreview = strawberry.field(
        resolver=broadcast_preview,
        description="What a broadcast would do now, planned in the same way and forgotten again.",
    )
    sources: list[SourceStatus] = strawberry.field(
        resolver=list_sources,
        description="How every source of this version is doing. Asks none of them, and never fails.",
    )
