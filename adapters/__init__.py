"""The sources, one folder each, and the one way to open them; knows nothing of GraphQL."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from typing import TypeVar

from adapters.chatfuel.client import Chatfuel
from adapters.hyber.client import Hyber
from adapters.lines import Lines
from adapters.mercately.client import Mercately
from adapters.poster.client import Poster
from adapters.rest import Rest
from adapters.storage.client import CONNECTIONS, Storage, open_storage
from adapters.storage.database import PATIENCE

# Other distributions use this import name too: gateway/guard.py reads the mark before anything else runs.
DISTRIBUTION = "switchboard-gateway"

R = TypeVar("R", bound=Rest)


@dataclass(frozen=True, slots=True)
class Adapters:
    """Every source, open."""

    storage: Storage
    mercately: Mercately
    poster: Poster
    hyber: Hyber
    chatfuel: Chatfuel


@asynccontextmanager
async def open_adapters(
    lines: Lines,
    database_url: str,
    database_connections: int = CONNECTIONS,
    database_patience: float = PATIENCE,
) -> AsyncIterator[Adapters]:
    """Opens without asking anybody anything, so that a dead source never stops the start."""
    async with AsyncExitStack() as stack:

        async def connect(rest: type[R]) -> R:
            line = lines[rest.name]
            return await stack.enter_async_context(rest.open(line.settings, line.mode))

        yield Adapters(
            storage=await stack.enter_async_context(
                open_storage(database_url, database_connections, database_patience)
            ),
            mercately=await connect(Mercately),
            poster=await connect(Poster),
            hyber=await connect(Hyber),
            chatfuel=await connect(Chatfuel),
        )


RESTS = tuple(
    field.type for field in fields(Adapters) if isinstance(field.type, type) and issubclass(field.type, Rest)
)
