"""Flights: identical reads that are under way at the same time are one call."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from adapters.deadline import current

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Flight:
    task: asyncio.Task[Any]
    passengers: int = 0


class Flights:
    """One a source and set of credentials, so that nobody ever shares an answer across credentials.

    Nothing is kept once it has landed: this is no cache.
    """

    def __init__(self) -> None:
        self._airborne: dict[Hashable, _Flight] = {}

    async def board(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer of `start`, or of an identical call already under way.

        Who stops waiting, by cancellation or by their own deadline, leaves alone: the others
        keep flying, and only when the last one has left is the call itself cancelled.
        """
        flight = self._airborne.get(key)
        if flight is None:
            flight = self._airborne[key] = _Flight(asyncio.create_task(start()))
            flight.task.add_done_callback(lambda task: self._landed(key, flight, task))
        flight.passengers += 1
        try:
            async with asyncio.timeout_at(current()):
                return await asyncio.shield(flight.task)
        finally:
            flight.passengers -= 1
            if not flight.passengers and not flight.task.done():
                self._land(key, flight)
                flight.task.cancel()

    def close_doors(self) -> None:
        """Something has changed: who asks from now on gets no answer that was asked for before."""
        self._airborne.clear()

    def _landed(self, key: Hashable, flight: _Flight, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # who boarded is told; should all have left at this moment, nobody misses it
        self._land(key, flight)

    def _land(self, key: Hashable, flight: _Flight) -> None:
        if self._airborne.get(key) is flight:
            del self._airborne[key]
