"""The context of one operation."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import strawberry

from adapters import Adapters
from resolvers.caller import Caller
from resolvers.sending.post import Post
from resolvers.stale import Stale

if TYPE_CHECKING:
    from resolvers.loaders import Loaders


class Counts:
    """Whoever counts operations; this one does not."""

    def operation(self, name: str | None, codes: Collection[str], seconds: float | None) -> None:
        """One is over: the codes of its errors, and what it took, unless that was for its client to say."""

    def executed(self, executor: str) -> None:
        """One was run, by whom."""

    def subscriptions(self, more: int) -> None:
        """So many more are open."""


@dataclass(slots=True)
class Context:
    adapters: Adapters
    post: Post
    request_id: str
    timeout: float
    """Seconds the operation may wait for its sources."""
    region: str
    """Whose phones are written without a country."""
    caller: Caller
    """Who asks."""
    counts: Counts = field(default_factory=Counts)
    stale: Stale = field(default_factory=Stale)
    loaders: "Loaders" = field(init=False)
    operation: str | None = field(init=False, default=None)
    """The name of what is run, for the log line."""
    kind: str | None = field(init=False, default=None)
    """Whether that is a query, a mutation or a subscription."""
    compiled: Any = field(init=False, default=None)
    """What the gateway has compiled of the document."""

    def __post_init__(self) -> None:
        self.read_anew()

    def read_anew(self) -> None:
        """What is asked for from now on was not read before now."""
        from resolvers.loaders import Loaders  # late: it has every noun, and these have their Info from here
        from resolvers.own import OwnLoaders
        from resolvers.people import by_id

        shared = self.adapters, self.region, self.stale
        own = self.caller.own
        self.loaders = Loaders(*shared) if own is None else OwnLoaders(*shared, by_id(own, "id"))

    def fresh(self) -> "Context":
        """For the next operation of a connection."""
        return self._again(Stale())

    def event(self) -> "Context":
        """For the next event of a subscription, whose answers the subscription itself completes."""
        return self._again(self.stale)

    def _again(self, stale: Stale) -> "Context":
        return Context(
            self.adapters,
            self.post,
            self.request_id,
            self.timeout,
            self.region,
            self.caller,
            self.counts,
            stale,
        )


Info: TypeAlias = strawberry.Info[Context, None]
"""For resolvers that change something; those that read have `schema.context.Info`, and ask the loaders."""
