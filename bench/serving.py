"""Serving: `switchboard` as it is measured. `python -m bench.serving shared|unshared serve`.

Unshared, identical calls in flight are calls of their own, so that its speed is not that of calls it did not
make. All that a flight costs is still paid: the task, the deadline, the shield.
"""

import sys
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

from adapters import rest
from adapters.flights import Flights
from adapters.storage import database
from gateway import gate
from gateway.cli import main

T = TypeVar("T")


class Alone(Flights):
    async def board(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await super().board(object(), start)


def share_nothing() -> None:
    assert vars(rest)["Flights"] is Flights
    vars(rest)["Flights"] = Alone


def be_patient() -> None:
    """64 large requests wait seconds for each other: their work is measured, not how long they may wait."""
    for place in (database, gate):
        assert "PATIENCE" in vars(place)
        vars(place)["PATIENCE"] = 60.0


if __name__ == "__main__":
    be_patient()
    if sys.argv.pop(1) == "unshared":
        share_nothing()
    main()
