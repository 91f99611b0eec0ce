"""Broadcast: a message to many, a durable job with one delivery a person."""

from datetime import datetime
from enum import Enum
from typing import Any

import strawberry

from schema.connections import Connection
from schema.context import Info
from schema.groups import Group
from schema.messages import Channel, ContentInput, Message, MessageConnection, MessageStatus
from schema.node import Node
from schema.relations import relation
from schema.scopes import Scope, requires


@strawberry.enum(
    description="DRAFTING: its deliveries are being written down, and nothing goes out yet. Where the "
    "gateway paused it itself, `reason` says why."
)
class BroadcastStatus(Enum):
    DRAFTING = "drafting"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


@strawberry.type(description="What was asked for: everybody, a group, or customers named one by one.")
class BroadcastAudience:
    group_key: strawberry.Private[Any]

    all: bool
    customer_count: int | None = strawberry.field(description="How many were named one by one.")

    group: Group | None = relation(
        "group_key", "group", description="Null, too, for one that has been removed since."
    )


@strawberry.type(description="Counted from the deliveries themselves; the others add up to the total.")
class BroadcastCounts:
    total: int
    queued: int = strawberry.field(description="Those that wait, and those that go out at this moment.")
    submitted: int
    delivered: int
    seen: int
    failed: int
    expired: int
    cancelled: int
    skipped: int
    unknown: int


@strawberry.type(
    description="A message to many: a durable job with one delivery a person.",
    directives=requires(Scope.BROADCASTS_READ),
)
class Broadcast(Node):
    key: strawberry.Private[int]
    known_counts: strawberry.Private[BroadcastCounts | None]
    """Where they were read together with the rest."""

    status: BroadcastStatus
    reason: str | None = strawberry.field(description="Why the gateway paused it, where it did.")
    audience: BroadcastAudience
    channels: list[Channel] = strawberry.field(description="In the order of fallback.")
    rate_per_second: float | None
    tag: str | None
    created_at: datetime
    send_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None

    @strawberry.field
    async def counts(self, info: Info) -> BroadcastCounts:
        return self.known_counts or await info.context.loaders.broadcast_counts.load(self.key)

    @strawberry.field(description="Share of recipients in a final or submitted state, 0 to 1.")
    async def progress(self, info: Info) -> float:
        counts = self.known_counts or await info.context.loaders.broadcast_counts.load(self.key)
        if not counts.total:
            return 0 if self.status is BroadcastStatus.DRAFTING else 1
        return (counts.total - counts.queued) / counts.total

    @strawberry.field(description="One a person, as they were planned; those of some statuses, or all.")
    async def deliveries(
        self,
        info: Info,
        status: list[MessageStatus] | None = strawberry.UNSET,
        first: int | None = 50,
        after: str | None = strawberry.UNSET,
    ) -> MessageConnection:
        return await info.context.loaders.deliveries(
            self.key,
            statuses=None if status is strawberry.UNSET else status,
            first=50 if first is None else first,
            after=after or None,
        )


@strawberry.type(directives=requires(Scope.BROADCASTS_READ))
class BroadcastConnection(Connection[Broadcast]): ...


@strawberry.type
class ChannelCount:
    channel: Channel
    recipients: int


@strawberry.type(description="Why nothing goes to some of the recipients.")
class ReasonCount:
    reason: str
    recipients: int


@strawberry.type(
    description="What a broadcast would do, without sending anything.",
    directives=requires(Scope.BROADCASTS_MANAGE),
)
class BroadcastPreview:
    recipients: int = strawberry.field(description="All of its audience, also those who are unreachable.")
    by_channel: list[ChannelCount] = strawberry.field(
        description="Recipients by the first channel that can reach them."
    )
    unreachable: int = strawberry.field(
        description="Those whom no channel can reach, or for whom the text lacks a value or gets too long."
    )
    reasons: list[ReasonCount] = strawberry.field(
        description="Why these are unreachable, most of them first."
    )
    sample: list[Message] = strawberry.field(
        description="The first five as they would be; their ids name nothing."
    )


@strawberry.input(one_of=True, description="Who gets it: each person once, and each address once.")
class AudienceInput:
    all: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Everybody whom a source knows."
    )
    group_id: strawberry.ID | None = strawberry.UNSET
    group: str | None = strawberry.field(default=strawberry.UNSET, description="A group by its exact name.")
    customer_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="At most 10000."
    )


@strawberry.input
class BroadcastInput:
    audience: AudienceInput
    channels: list[Channel] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Order is the order of fallback; left out, the channels the content has, in the order "
        "push, viber, whatsapp, sms, messenger.",
    )
    content: ContentInput = strawberry.field(
        description="Texts and template parameters may hold {firstName}, {lastName}, {phone} and {email}; "
        "{firstName|friend} says what stands there for who has none, and without that they are skipped. "
        "{{ and }} are braces. An SMS with any of these has at most 335 characters."
    )
    send_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="At most a year ahead; what is past is now."
    )
    rate_per_second: float | None = strawberry.field(
        default=strawberry.UNSET, description="Not more than so many a second, whatever the vendors take."
    )
    tag: str | None = strawberry.field(default=strawberry.UNSET, description="At most 64 characters.")
    idempotency_key: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Two calls with one key are one broadcast; the second answers with the first's, CONFLICT "
        "if the inputs differ.",
    )
