"""The context of one operation."""

from dataclasses import dataclass, field

from adapters import Adapters
from resolvers.loaders import Loaders


@dataclass(slots=True)
class Context:
    adapters: Adapters
    request_id: str
    timeout: float
    """Seconds the operation may wait for its sources."""
    loaders: Loaders = field(init=False)
    operation: str | None = field(init=False, default=None)
    """The name of what is run, for the log line."""

    def __post_init__(self) -> None:
        self.loaders = Loaders(self.adapters)

    def fresh(self) -> "Context":
        """For the next operation of a connection, or the next event of a subscription."""
        return Context(self.adapters, self.request_id, self.timeout)
