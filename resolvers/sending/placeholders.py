"""Placeholders: {firstName} in a text that goes to many, each with a value of theirs.

{firstName|friend} says what stands there for who has none; {{ and }} are braces.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from adapters.storage.audience import Use, Value

_MARKS = re.compile(r"\{\{|\}\}|\{([^{}|]*)(?:\|([^{}]*))?\}|[{}]")
_NAMES = {value.value: value for value in Value}

STRAY = "A brace stands alone: write {{ or }} for one that is to be read."
KNOWN = "These there are: " + ", ".join(f"{{{name}}}" for name in _NAMES) + "."


class Pieces(NamedTuple):
    """A text, taken apart where it has braces."""

    said: tuple[str | Use, ...]
    wrong: str | None = None
    """One sentence about the first thing that is."""

    @property
    def uses(self) -> tuple[Use, ...]:
        return tuple(piece for piece in self.said if isinstance(piece, Use))

    @property
    def fixed(self) -> int:
        """How many characters stand in it whoever gets it."""
        return sum(len(piece) for piece in self.said if isinstance(piece, str))


@lru_cache(maxsize=256)
def pieces_of(text: str) -> Pieces:
    try:
        return Pieces(tuple(_pieces(text)))
    except ValueError as wrong:
        return Pieces((text,), str(wrong))


def fill(text: str, values: Mapping[Value, str | None]) -> str:
    """As somebody with these values reads it."""
    return "".join(
        piece if isinstance(piece, str) else values.get(piece.value) or piece.default or ""
        for piece in pieces_of(text).said
    )


def as_it_stands(text: str) -> str:
    """Written so that it is read as it is."""
    return text.replace("{", "{{").replace("}", "}}")


def _pieces(text: str) -> Iterator[str | Use]:
    at = 0
    for mark in _MARKS.finditer(text):
        if mark.start() > at:
            yield text[at : mark.start()]
        at = mark.end()
        if mark[0] in ("{{", "}}"):
            yield mark[0][0]
        elif mark[1] is None:
            raise ValueError(STRAY)
        elif (name := mark[1].strip()) not in _NAMES:
            raise ValueError(f"There is no {{{name}}}. {KNOWN}")
        else:
            yield Use(_NAMES[name], mark[2])
    if at < len(text):
        yield text[at:]
