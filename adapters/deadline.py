"""The deadline: when whoever waits for an answer stops waiting, known to every call made on their behalf."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class _Block:
    __slots__ = ("outer", "own_end")

    def __init__(self, seconds: float, outer: "_Block | None") -> None:
        self.own_end = asyncio.get_running_loop().time() + seconds
        self.outer = outer

    @property
    def end(self) -> float:
        return self.own_end if self.outer is None else min(self.own_end, self.outer.end)


_block: ContextVar[_Block | None] = ContextVar("deadline", default=None)


class deadline:
    """Calls made inside this block, by it or by tasks it starts, end when `seconds` have passed.

    A block inside another cannot make it longer.
    """

    __slots__ = ("_seconds", "_token")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._token = _block.set(_Block(self._seconds, _block.get()))

    def __exit__(self, *_: object) -> None:
        _block.reset(self._token)


@contextmanager
def clock_stopped(seconds: float) -> Iterator[None]:
    """For what is known to take longer: the blocks around wait for it, which itself has so many seconds."""
    outer, started = _block.get(), asyncio.get_running_loop().time()
    try:
        token = _block.set(_Block(seconds, None))
        try:
            yield
        finally:
            _block.reset(token)
    finally:
        took = asyncio.get_running_loop().time() - started
        while outer is not None:
            outer.own_end, outer = outer.own_end + took, outer.outer


def current() -> float | None:
    """The moment on the event loop's clock, or None when nobody is waiting (background work)."""
    block = _block.get()
    return None if block is None else block.end
