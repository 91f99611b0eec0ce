"""Flights: identical reads that are under way at the same time are one call."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, TypeVar

from adapters.deadline import current

T = TypeVar("T")


class _Flight:
    __slots__ = ("seats", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.seats: set[asyncio.Future[Any]] = set()
        """Of those who wait for it, a future each: it takes neither a time-out nor a shield to leave one."""


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
        loop = asyncio.get_running_loop()
        flight = self._airborne.get(key)
        if flight is None:
            flight = self._airborne[key] = _Flight(loop.create_task(start()))
            flight.task.add_done_callback(partial(self._landed, key, flight))
        seat = loop.create_future()
        flight.seats.add(seat)
        end = current()
        too_late = None if end is None else loop.call_at(end, _say_too_late, seat)
        try:
            return await seat  # type: ignore[no-any-return]
        finally:
            if too_late is not None:
                too_late.cancel()
            flight.seats.discard(seat)
            if not flight.seats and not flight.task.done():
                self._land(key, flight)
                flight.task.cancel()

    def close_doors(self) -> None:
        """Something has changed: who asks from now on gets no answer that was asked for before."""
        self._airborne.clear()

    def _landed(self, key: Hashable, flight: _Flight, task: asyncio.Task[Any]) -> None:
        self._land(key, flight)
        error = None if task.cancelled() else task.exception()
        for seat in flight.seats:
            if seat.done():
                continue
            if task.cancelled():
                seat.cancel()
            elif error is not None:
                seat.set_exception(error)
                seat.exception()  # who leaves at this moment misses it
            else:
                seat.set_result(task.result())

    def _land(self, key: Hashable, flight: _Flight) -> None:
        if self._airborne.get(key) is flight:
            del self._airborne[key]


def _say_too_late(seat: asyncio.Future[Any]) -> None:
    if not seat.done():
        seat.set_exception(TimeoutError())
