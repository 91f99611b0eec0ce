"""Stale: since when what is answered from a source may be out of date, and why."""

from datetime import datetime
from typing import NamedTuple


class Staleness(NamedTuple):
    since: datetime
    reason: str
    """The code of the error with which the source failed."""


class Stale(dict[str, Staleness]):
    """By source; one operation's."""

    def note(self, source: str, since: datetime, reason: str) -> None:
        """What is answered from this source is as old as this; of several times the earliest counts."""
        self[source] = min(Staleness(since, reason), self.get(source, Staleness(since, reason)))
