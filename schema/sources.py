"""Source: a system the gateway unifies, and how it is doing."""

from datetime import datetime
from enum import Enum

import strawberry

from schema.scopes import Scope, requires


@strawberry.enum(description="A system the gateway unifies.")
class Source(Enum):
    EVERYPRINT = "everyprint"
    MERCATELY = "mercately"
    POSTER = "poster"
    HYBER = "hyber"
    CHATFUEL = "chatfuel"


@strawberry.enum(description="Whether a source answers.")
class SourceState(Enum):
    UP = strawberry.enum_value("up", description="It answers; so is a source that nobody has asked yet.")
    DEGRADED = strawberry.enum_value("degraded", description="A call of the last minute failed.")
    DOWN = strawberry.enum_value(
        "down",
        description="Its last three calls failed, or its last failed with no answer in the minute before; "
        "until it answers again.",
    )
    OFF = strawberry.enum_value("off", description="It is not connected.")


@strawberry.enum(description="Whether we ask a source at all: an open circuit spares one that is down.")
class CircuitState(Enum):
    CLOSED = strawberry.enum_value("closed", description="It is asked.")
    OPEN = strawberry.enum_value("open", description="It is not asked for a while.")
    HALF_OPEN = strawberry.enum_value("half_open", description="One call tries whether it is back.")


@strawberry.type(
    description="How a source is doing, as the process that answers this has seen it since it started. "
    "A call fails when the source is unavailable, too slow, unreadable, or refuses our credentials; a "
    "question that it understood and rejected is answered.",
    directives=requires(Scope.SOURCES_READ),
)
class SourceStatus:
    source: Source
    configured: bool = strawberry.field(description="It is the real one, with credentials of its own.")
    sandbox: bool = strawberry.field(description="Its sandbox answers in its place.")
    state: SourceState
    circuit: CircuitState
    requests: int = strawberry.field(description="Calls made.")
    errors: int = strawberry.field(description="Calls that failed.")
    p50_ms: float | None = strawberry.field(
        description="Half of its recent answers took no longer than this."
    )
    p95_ms: float | None = strawberry.field(description="Of 100 recent answers 95 took no longer than this.")
    last_error: str | None = strawberry.field(description="Why the last call to fail did.")
    last_error_at: datetime | None
