"""Strain: how much of its time the event loop works, or would if other processes let it."""

from pathlib import Path
from time import monotonic, thread_time

MUCH = 0.85
"""Of the time: beyond it, all that is done waits for the processor."""
WHILE = 0.25
"""Seconds over which one looks at it."""
SCHEDULED = Path("/proc/self/schedstat")
"""Nanoseconds for which the first thread ran, and for which it was ready to; Linux alone tells."""


class Strain:
    def __init__(self) -> None:
        self._looked_at, self._wanted = monotonic(), _wanted()
        self._is_too_much = False

    @property
    def is_too_much(self) -> bool:
        moment = monotonic()
        if (passed := moment - self._looked_at) >= WHILE:
            wanted = _wanted()
            self._is_too_much = (wanted - self._wanted) / passed > MUCH
            self._looked_at, self._wanted = moment, wanted
        return self._is_too_much


def _wanted() -> float:
    """Seconds so far."""
    try:
        ran, waited, _ = map(int, SCHEDULED.read_bytes().split())
    except (OSError, ValueError):
        return thread_time()
    return (ran + waited) / 1e9
