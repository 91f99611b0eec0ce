"""News: whoever waits for a message hears when something became of it, and then reads the ledger."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from adapters.storage.messages import Id


class News:
    """In one process: what another changes is seen when the ledger is read again anyway."""

    def __init__(self) -> None:
        self._waiting: dict[Id, set[asyncio.Event]] = defaultdict(set)

    async def tell(self, id: Id) -> None:
        for event in self._waiting.get(id, ()):
            event.set()

    @contextmanager
    def of(self, id: Id) -> Iterator[asyncio.Event]:
        """An event that is set at each change; who has looked clears it."""
        event = asyncio.Event()
        self._waiting[id].add(event)
        try:
            yield event
        finally:
            self._waiting[id].discard(event)
            if not self._waiting[id]:
                del self._waiting[id]
