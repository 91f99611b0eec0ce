"""Key: one source's own name for a person; links between keys will live here."""

from typing import NamedTuple


class Key(NamedTuple):
    """What one source calls a person."""

    source: str
    id: str
