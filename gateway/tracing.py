"""Tracing: what is done goes to the collector that the OTEL_* variables name, as OpenTelemetry has it."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import Token
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog
from aiohttp import web

from adapters import tracing
from adapters.errors import SourceError
from adapters.tracing import Kind, Span, Trace
from gateway import __version__

if TYPE_CHECKING:
    from opentelemetry import trace as api
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOLS = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
FAREWELL = 2.0
"""Seconds in which the last spans have to be gone when the process ends."""

log = structlog.get_logger("switchboard.tracing")


@asynccontextmanager
async def open_tracing() -> AsyncIterator[None]:
    """As long as the block lasts, if it is wanted; a process that cannot do it works all the same."""
    if not _is_wanted():
        yield
        return
    if reason := _hindrance():
        log.warning("traces are not exported", reason=reason)
        yield
        return
    provider = _provider()
    try:
        with tracing.tracing(OpenTelemetry(provider)):
            yield
    finally:
        await _end(provider)


def _is_wanted() -> bool:
    """As users of OpenTelemetry turn it on and off everywhere."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporter:
        return "otlp" in exporter.split(",")
    return any(os.environ.get(name) for name in ENDPOINTS)


def _hindrance() -> str | None:
    protocol = next(filter(None, map(os.environ.get, PROTOCOLS)), "http/protobuf")
    if protocol != "http/protobuf":
        return "They go over HTTP: set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf, or leave it out."
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        return "What exports them is missing: install switchboard-gateway[tracing]."
    return None


def _provider() -> "TracerProvider":
    # Here, so that who traces nothing starts without: importing it takes a good part of a second.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ours = {"service.name": "switchboard", "service.version": __version__}
    resource = Resource.create({**ours, **OTELResourceDetector().detect().attributes})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


async def _end(provider: "TracerProvider") -> None:
    """In a thread that ends with the process: no collector that hangs keeps it."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # nobody waited so long, and the loop is closed
            loop.call_soon_threadsafe(ended.set)

    Thread(target=end, daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL):
            await ended.wait()


class OpenTelemetry:
    """Makes spans of our steps."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.propagator = TraceContextTextMapPropagator()
        self.inside = set_span_in_context
        self._tracer = provider.get_tracer("switchboard", __version__)
        self._kinds = {kind: SpanKind[kind.name] for kind in Kind}
        self._nowhere = Context()

    def span(self, name: str, kind: Kind) -> Span:
        span = self._tracer.start_span(name, context=self._context(), kind=self._kinds[kind])
        return _Span(self, span)

    def _context(self) -> "Context":
        trace = tracing.current.get()
        if trace is None:
            return self._nowhere
        if isinstance(trace, _Here):
            return trace.context
        return self.propagator.extract(trace.headers, self._nowhere)


class _Here(Trace):
    """Within a span of ours."""

    __slots__ = ("context",)

    def __init__(self, id: str, headers: Mapping[str, str], context: "Context") -> None:
        super().__init__(id, headers)
        self.context = context


class _Span(Span):
    __slots__ = ("_has_failed", "_span", "_token", "_tracer")

    def __init__(self, tracer: OpenTelemetry, span: "api.Span") -> None:
        self._tracer = tracer
        self._span = span
        self._has_failed = False

    @property
    def is_heard(self) -> bool:  # type: ignore[override]
        return self._span.is_recording()

    def __enter__(self) -> Self:
        context, headers = self._tracer.inside(self._span), dict[str, str]()
        self._tracer.propagator.inject(headers, context)
        id = f"{self._span.get_span_context().trace_id:032x}"
        self._token: Token[Trace | None] = tracing.current.set(_Here(id, headers, context))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ValueError):  # a stream may be closed by another task than the one that opened it
            tracing.current.reset(self._token)
        if error is not None and not self._has_failed and (code := _code(error)):
            self.fail(code)
        self._span.end()

    def call(self, name: str) -> None:
        self._span.update_name(name)

    def say(self, facts: Mapping[str, str | int]) -> None:
        self._span.set_attributes(facts)

    def fail(self, code: str) -> None:
        from opentelemetry.trace import StatusCode

        self._has_failed = True
        self._span.set_attribute("error.type", code)
        self._span.set_status(StatusCode.ERROR)


def _code(error: BaseException) -> str | None:
    """Never its text: that may repeat anything."""
    if isinstance(error, SourceError):
        return error.code
    if isinstance(error, web.HTTPException):  # an answer like others
        return None
    return "INTERNAL" if isinstance(error, Exception) else "CANCELLED"
