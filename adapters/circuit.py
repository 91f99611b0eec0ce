"""Circuit: whether a host of a source is asked at all, so that one that is down costs neither time nor calls.

CLOSED      it is asked
OPEN        it is not, for its last five calls failed, two timed out in silence, or it wants a pause; whoever
            asks is told at once
HALF_OPEN   that time is over: the next call tries whether it is back, and nobody else until that is known

Of the libraries there are none lets a single call try under asyncio, or keeps a pause that a vendor wants.
"""

from collections.abc import Callable
from enum import StrEnum
from time import monotonic
from typing import NamedTuple

FAILURES = 5
"""In a row; a source that answers every other call is worth asking."""
SILENCES = 2
"""Calls in a row that timed out while the source answered nobody: these cost the most."""
LONGEST_PAUSE = 60.0
"""Seconds; a vendor that wants more is asked once a minute whether it still does."""


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Ending(StrEnum):
    """What a call says about the source."""

    ANSWERED = "answered"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    GIVEN_UP = "given up"
    """Nothing."""


class Turn(NamedTuple):
    """When a call began."""

    era: int
    answers: int


class Circuit:
    def __init__(self, probe_interval: float, now: Callable[[], float] = monotonic) -> None:
        self.paused = False
        """While it is open: because the source wants it so."""
        self.told: Callable[[], None] | None = None
        """Whoever wants to know that its state is another one, but for what time alone changes."""
        self._probe_interval = probe_interval
        self._now = now
        self._failures = self._silences = self._answers = 0
        self._until: float | None = None
        """When it is tried again; None while it is closed."""
        self._probing = False
        self._era = 0
        """Counts how often it has opened: a call that began before says nothing about now."""

    @property
    def state(self) -> CircuitState:
        if self._until is None:
            return CircuitState.CLOSED
        is_over = self._probing or self._now() >= self._until
        return CircuitState.HALF_OPEN if is_over else CircuitState.OPEN

    @property
    def wait(self) -> float | None:
        """Seconds until the source may be asked, 0 if one call is finding that out; None if it may be now."""
        if self._until is None:
            return None
        if self._probing:
            return 0.0
        left = self._until - self._now()
        return left if left > 0 else None

    def begin(self) -> Turn:
        """A call, when nothing is to be waited for; its end is told with what this answers."""
        if self._until is not None:
            self._probing = True
            self._until = self._now() + self._probe_interval
            self._tell()
        return Turn(self._era, self._answers)

    def end(self, call: Turn, ending: Ending) -> None:
        if call.era != self._era:
            return
        if ending is Ending.ANSWERED:
            self._answers += 1
            was_closed = self._until is None
            self._failures, self._silences, self._until, self._probing = 0, 0, None, False
            if not was_closed:
                self._tell()
        elif ending is not Ending.GIVEN_UP:
            self._failures += 1
            self._silences += ending is Ending.TIMED_OUT and call.answers == self._answers
            if self._until is not None:  # since it was tried, not since that failed
                self._open(self._until, paused=False)
            elif self._failures >= FAILURES or self._silences >= SILENCES:
                self._open(self._now() + self._probe_interval, paused=False)
        elif self._probing:
            self._until, self._probing = self._now(), False

    def pause(self, call: Turn, seconds: float) -> None:
        """The call was answered that the source wants nothing for so long."""
        if call.era == self._era:
            self._open(self._now() + min(seconds, LONGEST_PAUSE), paused=True)

    def _open(self, until: float, *, paused: bool) -> None:
        self._until = until
        self._era += 1
        self._probing = False
        self.paused = paused
        self._tell()

    def _tell(self) -> None:
        if self.told:
            self.told()
