"""Connections: one page of a long list, as Relay's specification has it."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import strawberry

Node = TypeVar("Node")


@strawberry.type
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Edge(Generic[Node]):
    cursor: str
    node: Node


@strawberry.type
class Connection(Generic[Node]):
    edges: list[Edge[Node]]
    page_info: PageInfo
    total: strawberry.Private[int | Callable[[], Awaitable[int | None]] | None]
    """Known already, or how to find out, should anybody ask."""

    @strawberry.field(description="Where the source knows it.")
    async def total_count(self) -> int | None:
        return await self.total() if callable(self.total) else self.total
