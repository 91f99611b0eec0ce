"""Leaks: what the gateway logs and traces in a test, here and in processes it starts, held to say nothing.

At the end of each test all its lines are looked through for what belongs to somebody; the test that has
made one fails, and shows it. It works for a single test as for all of them, in whatever order and worker.
"""

import logging
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog._base import BoundLoggerBase
from structlog.contextvars import merge_contextvars

from adapters import RESTS
from adapters.demo import PEOPLE
from gateway.logs import LIBRARIES, without_values

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

ROOT = Path(__file__).parent.parent
MARK = "hostile7mark"
"""In every hostile string of which there is enough for it."""
SECRETS = {
    *("hunter2", "a1B2c3D4e5F6g7H8", "OfPrometheus", "NobodyKnows", "p@ss:/?#", "p%40ss%3A"),
    MARK,
}
"""Those that tests give to the gateway, beside the sandboxes' and the people of the demo."""
SHAPES = re.compile(
    r"""sb_[0-9a-f]{16}_[\w-]{20,}               # our API keys
    | eyJ[\w-]+\.eyJ[\w-]+                      # tokens
    | \+[1-9]\d{8,14}(?!\d)                     # phones
    | [\w.+-]+@[\w-]+\.[a-z]{2,}                # e-mails
    """,
    re.VERBOSE,
)
HARMLESS = 5
"""Names this short are in other words, too."""

_heard: list[tuple[str, str]] = []
"""Where each line comes from, and what it says."""


def hear(where: str, text: str) -> None:
    _heard.append((where, text))


def hear_span(span: "Span") -> None:
    """As it was exported: its name, its attributes, its events and what they say of exceptions."""
    from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

    hear("a span", str(MessageToDict(span)))


def pytest_configure() -> None:
    """Before any logger is made: what they all do in the end, whatever a test has configured."""
    process, record_of = BoundLoggerBase._process_event, logging.getLogRecordFactory()

    def heard(logger: Any, method: str, event: str | None, said: dict[str, Any]) -> Any:
        line = without_values(
            None, method, {**merge_contextvars(None, method, {}), **logger._context, **said}
        )
        hear(_caller(), f"{event} {line}")
        return process(logger, method, event, said)

    def recorded(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = record_of(*args, **kwargs)
        if record.levelno >= LIBRARIES:
            hear(f"{record.pathname}:{record.lineno}", record.getMessage())
        return record

    BoundLoggerBase._process_event = heard  # type: ignore[assignment,method-assign]
    logging.setLogRecordFactory(recorded)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    finally:
        found = [f"{where} logs {leak!r}: {line[:1_000]}" for where, line, leak in leaks()]
        _heard.clear()
        if found:
            pytest.fail("What is somebody's is in a log:\n" + "\n".join(found[:20]), pytrace=False)


def leaks() -> Iterator[tuple[str, str, str]]:
    text = "\n".join(line for _, line in _heard)
    if SHAPES.search(text) or any(secret in text for secret in _secrets()):
        for where, line in _heard:
            told = [secret for secret in _secrets() if secret in line] + SHAPES.findall(line)
            if told:
                yield where, line, told[0]


@cache
def _secrets() -> frozenset[str]:
    ours = {value for rest in RESTS for value in rest.Sandbox.credentials.values() if len(value) > 20}
    return frozenset(SECRETS | ours | {said for said in _of_people() if len(said) >= HARMLESS})


def _of_people() -> Iterator[str]:
    for person in PEOPLE:
        yield from (person.first_name, person.last_name)
        for entry in (person.everyprint, person.mercately, person.poster):
            if entry is None:
                continue
            if entry.phone:
                yield from (entry.phone, re.sub(r"\D", "", entry.phone))
        if person.everyprint:
            yield from (each.reason for each in person.everyprint.ledger)
        if person.mercately:
            said = person.mercately
            yield from filter(
                None, (said.notes, said.address, *(content for _, content in said.custom_fields))
            )


def _caller() -> str:
    """The line of ours that logs."""
    frame = sys._getframe(2)
    while frame.f_back and "structlog" in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{frame.f_code.co_filename.removeprefix(f'{ROOT}/')}:{frame.f_lineno}"
