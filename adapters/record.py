"""Record: how a source has been answering, as this process saw it.

UP         it answers; so is a source that nobody has asked yet
DEGRADED   a call of the last minute failed
DOWN       its last three calls failed, or its last failed with no answer in the minute before;
           until it answers again

A call fails when the source is unavailable, too slow, unreadable, or refuses our credentials. A question
that it understood and rejected is answered. A call that we gave up says nothing about the source, unless our
deadline ended it and left it more time than answers usually take.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil
from time import perf_counter
from types import TracebackType
from typing import Self

from adapters import deadline
from adapters.errors import Rejected, SourceError, TimedOut

RECENT = timedelta(minutes=1)
JUST = timedelta(seconds=1)
STREAK = 3
WINDOW = 256
"""How many answers the percentiles are of."""
EARLY = 0.01
"""Seconds by which the event loop's timers may go off before their time."""


class State(StrEnum):
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


def _now() -> datetime:
    return datetime.now(UTC)


class Record:
    def __init__(self, title: str, now: Callable[[], datetime] = _now) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        """How often each question was asked, by how it ended."""
        self.errors = 0
        self.last_error: str | None = None
        """A sentence of ours, never the vendor's."""
        self.last_code: str | None = None
        self.last_error_at: datetime | None = None
        self.down_since: datetime | None = None
        """While it is DOWN, since the first of the calls that failed."""
        self.told: Callable[[str, str, float], None] | None = None
        """Whoever counts too hears of each call: its question, how it ended, and its seconds."""
        self._title = title
        self._now = now
        self._took: deque[float] = deque(maxlen=WINDOW)
        self._answered_at: datetime | None = None
        self._failing_since: datetime | None = None
        self._failures_in_a_row = 0

    def call(self, question: str) -> "Call":
        """`with record.call("agents"): ...` is one call; the question names no id."""
        return Call(self, question)

    @property
    def state(self) -> State:
        if self.down_since:
            return State.DOWN
        if self.last_error_at and self._now() - self.last_error_at < RECENT:
            return State.DEGRADED
        return State.UP

    @property
    def has_just_answered(self) -> bool:
        return self._answered_at is not None and self._now() - self._answered_at < JUST

    def percentile(self, percent: int) -> float | None:
        """Seconds within which so many of the recent answers came; None before the first."""
        ranked = sorted(self._took)
        return ranked[ceil(len(ranked) * percent / 100) - 1] if ranked else None

    def _ended(self, question: str, seconds: float, error: BaseException | None) -> str:
        """How the call ended, in one word."""
        if error is None:
            outcome = "ok"
            self._answered(seconds)
        elif isinstance(error, Rejected):
            outcome = error.code
            self._answered(seconds)
        elif isinstance(error, TimedOut | asyncio.CancelledError) and (had := _had(seconds)) is not None:
            outcome = "CANCELLED"
            if had > (self.percentile(95) or 0):
                outcome = TimedOut.code
                self._failed(f"{self._title} did not answer in time.", outcome)
        elif isinstance(error, SourceError):
            outcome = error.code
            self._failed(str(error), outcome)
        else:
            outcome = type(error).__name__ if isinstance(error, Exception) else "CANCELLED"
        self.calls[question, outcome] += 1
        if self.told:
            self.told(question, outcome, seconds)
        return outcome

    def _answered(self, seconds: float) -> None:
        self._took.append(seconds)
        self._answered_at = self._now()
        self._failing_since = self.down_since = None
        self._failures_in_a_row = 0

    def _failed(self, sentence: str, code: str) -> None:
        now = self._now()
        self.errors += 1
        self.last_error, self.last_code, self.last_error_at = sentence, code, now
        self._failing_since = self._failing_since or now
        self._failures_in_a_row += 1
        silent = self._answered_at is None or now - self._answered_at >= RECENT
        if silent or self._failures_in_a_row >= STREAK:
            self.down_since = self._failing_since


class Call:
    """One call, while it lasts; when it is over, how it ended and how long that took."""

    __slots__ = ("_question", "_record", "_started", "outcome", "seconds")

    def __init__(self, record: Record, question: str) -> None:
        self._record = record
        self._question = question

    def __enter__(self) -> Self:
        self._started = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = perf_counter() - self._started
        self.outcome = self._record._ended(self._question, self.seconds, error)


def _had(seconds: float) -> float | None:
    """How long a call that took so long could have taken before our deadline; None if that has not come."""
    end = deadline.current()
    left = end - asyncio.get_running_loop().time() if end is not None else None
    return seconds + left if left is not None and left < EARLY else None
