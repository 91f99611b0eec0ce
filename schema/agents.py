"""Agent: someone who answers customers."""

import strawberry

from schema.node import Node


@strawberry.type(description="Someone who answers customers.")
class Agent(Node):
    first_name: str | None
    last_name: str | None
    email: str | None
    admin: bool
