"""Cache: a source's answers, kept for a while; and for longer, in case that the source fails.

One a source and set of credentials, so that nobody ever shares an answer across credentials. An answer is
kept as it came over the wire: so its size is known, and who gets it cannot change it for the next.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import NamedTuple, TypeAlias

ENTRIES = 1_000
BYTES = 8 * 2**20
"""At most, of all answers of a source; those that nobody asked for the longest go first."""


class Keep(NamedTuple):
    """For how many seconds an answer is kept."""

    fresh: float = 0.0
    """So long it is answered without asking."""
    stale: float = 0.0
    """So much longer it is answered should the source fail, to those who can tell that it is stale."""
    is_theirs: bool = False
    """No change of ours concerns it."""


NOT_AT_ALL = Keep()


@dataclass(frozen=True, slots=True)
class Entry:
    body: bytes
    keep: Keep
    asked_at: float
    """On a clock that nobody sets."""
    era: int


class Cache:
    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self.era = 0
        """Counts the times when it expired: what was asked for before is not fresh, nor kept, afterwards."""
        self._now = now
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._bytes = 0

    def fresh(self, key: Hashable, keep: Keep) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None or entry.era != self.era or self._age(entry) >= keep.fresh:
            return None
        self._entries.move_to_end(key)
        return entry.body

    def stale(self, key: Hashable, keep: Keep) -> tuple[bytes, float] | None:
        """The answer, and how many seconds old it is."""
        entry = self._entries.get(key)
        if entry is None or (age := self._age(entry)) >= keep.fresh + keep.stale:
            return None
        return entry.body, age

    def put(self, key: Hashable, body: bytes, keep: Keep, asked_at: float, era: int) -> None:
        if era != self.era or len(body) > BYTES:
            return
        self._drop(key)
        self._entries[key] = Entry(body, keep, asked_at, era)
        self._bytes += len(body)
        while len(self._entries) > ENTRIES or self._bytes > BYTES:
            self._drop(next(iter(self._entries)))

    def expire(self) -> None:
        """Nothing of it is fresh any more."""
        self.era += 1

    def forget(self) -> None:
        """A change of ours was made: what it may concern is not true any more, not even as stale."""
        self.expire()
        for key in [key for key, entry in self._entries.items() if not entry.keep.is_theirs]:
            self._drop(key)

    def __len__(self) -> int:
        return len(self._entries)

    def _age(self, entry: Entry) -> float:
        return self._now() - entry.asked_at

    def _drop(self, key: Hashable) -> None:
        if entry := self._entries.pop(key, None):
            self._bytes -= len(entry.body)


Tell: TypeAlias = Callable[[str, datetime, str], None]
"""Which source's answer is stale, since when, and the code of what it failed with."""

_tell: ContextVar[Tell | None] = ContextVar("stale", default=None)


class stale_answers:
    """Calls made inside this block may be answered with what is stale, and tell it; others never are."""

    __slots__ = ("_tell", "_token")

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def __enter__(self) -> None:
        self._token = _tell.set(self._tell)

    def __exit__(self, *_: object) -> None:
        _tell.reset(self._token)


def teller() -> Tell | None:
    return _tell.get()


def since(age: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=age)
