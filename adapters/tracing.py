"""Tracing: each step of what is done, told to whoever traces it; as long as nobody does, to nobody.

What a span may say are names of ours, numbers and codes: nothing that somebody wrote, no id, no address, and
not the text of an error.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
LONGEST_STATE = 512
"""Characters of a tracestate that have to be passed on; what is longer, or more, is not."""

_TRACEPARENT = re.compile("(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Kind(StrEnum):
    """What a step is to those it has to do with."""

    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    INTERNAL = "internal"


class Trace:
    """Where we are in what began elsewhere, or here: goes on to the sources, as W3C Trace Context has it."""

    __slots__ = ("headers", "id")

    def __init__(self, id: str, headers: Mapping[str, str]) -> None:
        self.id = id
        self.headers = headers


class Span:
    """One step, while it lasts. This one nobody hears of."""

    __slots__ = ()

    is_heard = False
    """What would only be made for it need not be."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def call(self, name: str) -> None:
        """Under this name from now on."""

    def say(self, facts: Mapping[str, str | int]) -> None: ...

    def fail(self, code: str) -> None:
        """What the step ended in, by the code that clients see too."""


class Tracer(Protocol):
    def span(self, name: str, kind: Kind) -> Span: ...


UNHEARD = Span()
_tracer: Tracer | None = None
current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def span(name: str, kind: Kind = Kind.INTERNAL) -> Span:
    """`with span("send") as step: ...` is a step, and what it calls are parts of it."""
    return UNHEARD if _tracer is None else _tracer.span(name, kind)


def headers() -> Mapping[str, str] | None:
    """Those that go along with a call to a source."""
    trace = current.get()
    return trace.headers if trace else None


def trace_id() -> str | None:
    trace = current.get()
    return trace.id if trace else None


@contextmanager
def tracing(tracer: Tracer) -> Iterator[None]:
    """It hears of all spans of this process, as long as the block lasts."""
    global _tracer
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before


@contextmanager
def going_on(trace: Trace | None) -> Iterator[None]:
    """What is done in the block is part of it."""
    token = current.set(trace)
    try:
        yield
    finally:
        current.reset(token)


def alone() -> Context:
    """Of all that is known here the trace alone, for what goes on when nobody waits for it any more."""
    context = Context()
    if trace := current.get():
        context.run(current.set, trace)
    return context


def read(traceparent: str, tracestate: str) -> Trace | None:
    """What a caller says; None if that is no trace."""
    if not (found := _TRACEPARENT.fullmatch(traceparent)):
        return None
    state = {TRACESTATE: tracestate} if 0 < len(tracestate) <= LONGEST_STATE else {}
    return Trace(found[1], {TRACEPARENT: traceparent, **state})
