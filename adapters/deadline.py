"""The deadline: when whoever waits for an answer stops waiting, known to every call made on their behalf."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Calls made inside this block, by it or by tasks it starts, end when `seconds` have passed.

    A block inside another cannot make it longer.
    """
    outer = _deadline.get()
    own = asyncio.get_running_loop().time() + seconds
    token = _deadline.set(own if outer is None else min(own, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


def current() -> float | None:
    """The moment on the event loop's clock, or None when nobody is waiting (background work)."""
    return _deadline.get()
