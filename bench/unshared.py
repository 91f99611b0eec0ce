"""Unshared: `switchboard` with sharing switched off, so that its speed is not that of calls it did not make.

All that a flight costs is still paid: the task, the deadline, the shield.
"""

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

from adapters import rest
from adapters.flights import Flights
from gateway.cli import main

T = TypeVar("T")


class Alone(Flights):
    async def board(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await super().board(object(), start)


if __name__ == "__main__":
    assert vars(rest)["Flights"] is Flights
    rest.Flights = Alone  # type: ignore[attr-defined]  # imported there, not exported
    main()
