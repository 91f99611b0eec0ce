"""Logs: one line an event on standard error, JSON for machines, plain for people; never personal data."""

import logging
import sys
import traceback
from types import TracebackType

import orjson
import structlog
from structlog.typing import EventDict, Processor

from adapters.tracing import trace_id
from gateway.settings import LogFormat, Settings

LIBRARIES = logging.WARNING
"""What our libraries say below this is about them, not about us."""


def configure(settings: Settings, *, quiet: bool = False) -> None:
    """`quiet` keeps the lines of single calls out of a command's own output."""
    text = settings.log_format is LogFormat.TEXT or (
        settings.log_format is LogFormat.AUTO and sys.stderr.isatty()
    )
    level = logging.ERROR if quiet else logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        with_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_values,
    ]
    structlog.configure(
        processors=[*shared, structlog.dev.ConsoleRenderer() if text else _json],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr)
        if text
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.dev.ConsoleRenderer() if text else _json_text,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, LIBRARIES))


def with_trace(_: object, __: str, event: EventDict) -> EventDict:
    if id := trace_id():
        event["trace_id"] = id
    return event


def without_values(_: object, __: str, event: EventDict) -> EventDict:
    """An exception as its type and where it was; its text may repeat a phone, a token or a query."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = type(error).__name__
        event["where"] = _where(error.__traceback__)
    return event


def _where(trace: TracebackType | None, deepest: int = 6) -> list[str]:
    frames = traceback.extract_tb(trace)[-deepest:]
    return [f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} {frame.name}" for frame in frames]


def _json(_: object, __: str, event: EventDict) -> bytes:
    first = {name: event.pop(name, None) for name in ("timestamp", "level", "event")}
    return orjson.dumps({**first, **event}, default=str)


def _json_text(logger: object, name: str, event: EventDict) -> str:
    return _json(logger, name, event).decode()
