"""Sources: how each is doing, by what this process saw; nobody is asked."""

from collections.abc import Iterator

from adapters import Adapters, circuit
from adapters.record import Record
from adapters.rest import Mode, Rest
from resolvers.context import Info
from schema.sources import CircuitState, Source, SourceState, SourceStatus

MOST = 2**31 - 1
"""What GraphQL's Int holds."""


def to_status(
    source: Source,
    record: Record,
    mode: Mode,
    state: circuit.CircuitState = circuit.CircuitState.CLOSED,
) -> SourceStatus:
    return SourceStatus(
        source=source,
        configured=mode is Mode.REAL,
        sandbox=mode is Mode.SANDBOX,
        state=SourceState.OFF if mode is Mode.OFF else SourceState(record.state),
        circuit=CircuitState(state),
        requests=min(record.calls.total(), MOST),
        errors=min(record.errors, MOST),
        p50_ms=_milliseconds(record.percentile(50)),
        p95_ms=_milliseconds(record.percentile(95)),
        last_error=record.last_error,
        last_error_at=record.last_error_at,
    )


def list_sources(info: Info) -> list[SourceStatus]:
    return list(_statuses(info.context.adapters))


def _statuses(adapters: Adapters) -> Iterator[SourceStatus]:
    """By the enum: of a source that it does not name, clients cannot be told."""
    yield to_status(Source.EVERYPRINT, adapters.storage.record, Mode.REAL)
    for source in Source:
        if isinstance(rest := getattr(adapters, source.value, None), Rest):
            yield to_status(source, rest.record, rest.mode, rest.circuit.state)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
