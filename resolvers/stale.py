"""Stale: since when what is answered from a source may be out of date."""

from datetime import datetime


class Stale(dict[str, datetime]):
    """By source; one operation's."""

    def note(self, source: str, since: datetime) -> None:
        """What is answered from this source is as old as this; of several times the earliest counts."""
        self[source] = min(since, self.get(source, since))
