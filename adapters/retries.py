"""Retries: how often a source may be asked once more, so that its trouble is not made worse by us."""

from random import uniform

SHARE = 0.2
"""Of the questions that may be asked twice."""
SAVED = 2.0
"""Second tries at most that come of questions long ago."""
SHORTEST, LONGEST = 0.02, 0.1
"""Seconds until the second try: not all at the same moment."""


class Retries:
    """A bucket that each question fills by a fifth of a try; it begins empty, so the share always holds."""

    def __init__(self) -> None:
        self._left = 0.0

    def asked(self) -> None:
        self._left = min(self._left + SHARE, SAVED)

    def take(self) -> bool:
        """One try, if there is one."""
        # Five fifths are a little less than one.
        if self._left < 1 - 1e-9:
            return False
        self._left -= 1
        return True


def pause() -> float:
    return uniform(SHORTEST, LONGEST)  # noqa: S311 - no secret
