"""Pace: so many calls a second and no more, evenly, whoever in this process makes them."""

from collections.abc import Callable
from time import monotonic

MARGIN = 1.02
"""Clocks, ours and the vendor's, differ a little."""


class Pace:
    def __init__(self, rate: float, clock: Callable[[], float] = monotonic) -> None:
        self._gap = MARGIN / rate
        self._clock = clock
        self._free_at = 0.0

    def turn(self, patience: float) -> tuple[bool, float]:
        """Whether one's turn comes within so many seconds, and in how many; if not, it is not taken."""
        now = self._clock()
        wait = max(self._free_at - now, 0.0)
        if wait > patience:
            return False, wait
        self._free_at = now + wait + self._gap
        return True, wait
