"""Connections: how much of a long list is asked for, and the page that answers."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from resolvers.ids import NotOurs
from schema.connections import Connection, Edge, PageInfo
from schema.errors import BadInput

T = TypeVar("T")
C = TypeVar("C", bound=Connection[Any])
MOST = 100


def check_first(first: int) -> None:
    if not 0 < first <= MOST:
        raise BadInput({"first": f"Ask for 1 to {MOST} at a time; {first} given."})


def to_cursor(place: str) -> str:
    """Opaque to clients; to us what a page was ordered by."""
    return urlsafe_b64encode(place.encode()).rstrip(b"=").decode()


def from_cursor(text: str) -> str:
    try:
        place = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        raise NotOurs("after", "a cursor") from None
    if to_cursor(place) != text:
        raise NotOurs("after", "a cursor")
    return place


def connection(
    kind: type[C],
    nodes: Sequence[T],
    cursor: Callable[[int], str],
    *,
    has_next: bool,
    after: str | None,
    total: int | Callable[[], Awaitable[int | None]] | None = None,
) -> C:
    """`cursor` tells that of the node at an index."""
    edges = [Edge(cursor=cursor(index), node=node) for index, node in enumerate(nodes)]
    return kind(
        edges=edges,
        page_info=PageInfo(
            has_next_page=has_next,
            # Who gives a cursor has seen what is before it.
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
        total=total,
    )
