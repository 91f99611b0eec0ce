"""Message: one message to one person, tried channel by channel until one delivers."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from schema.connections import Connection
from schema.node import Node
from schema.relations import relation
from schema.scalars import PhoneNumber
from schema.scopes import Scope, requires
from schema.templates import Template

if TYPE_CHECKING:
    from schema.broadcasts import Broadcast
    from schema.customers import AddressInput, Customer


@strawberry.enum
class Channel(Enum):
    PUSH = "push"
    VIBER = "viber"
    SMS = "sms"
    WHATSAPP = "whatsapp"
    MESSENGER = "messenger"


@strawberry.enum(
    description="UNKNOWN: the vendor may have taken it (the connection broke after the request was sent) and "
    "offers no way to ask; never sent again by itself."
)
class MessageStatus(Enum):
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SUBMITTED = "submitted"
    DELIVERED = "delivered"
    SEEN = "seen"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


@strawberry.type
class Recipient:
    phone: PhoneNumber | None
    messenger_id: str | None

    customer: Annotated["Customer", strawberry.lazy("schema.customers")] | None = relation(
        "address", "customer_at", description="Null where these are nobody's, or of several."
    )

    @property
    def address(self) -> tuple[str | None, str | None] | None:
        return (self.phone, self.messenger_id) if self.phone or self.messenger_id else None


@strawberry.type
class DeliveryFailure:
    code: str
    message: str
    vendor_code: str | None


@strawberry.type
class MessageEvent:
    status: MessageStatus
    channel: Channel | None
    at: datetime
    reason: str | None


@strawberry.type(
    description="One message to one person, tried channel by channel until one delivers.",
    directives=requires(Scope.MESSAGES_READ, own=True),
)
class Message(Node):
    template_id: strawberry.Private[str | None]
    broadcast_id: strawberry.Private[int | None]

    recipient: Recipient
    channels: list[Channel] = strawberry.field(description="In the order of fallback.")
    channel: Channel | None = strawberry.field(description="The channel that delivered, or is trying now.")
    status: MessageStatus
    text: str | None
    failure: DeliveryFailure | None = strawberry.field(description="Why it failed, when it did.")
    tag: str | None
    created_at: datetime
    send_at: datetime | None
    history: list[MessageEvent] = strawberry.field(
        description="Every status the message went through, oldest first."
    )

    template: Template | None = relation(
        "template_id", "template", directives=requires(Scope.TEMPLATES_READ, own=True)
    )
    broadcast: Annotated["Broadcast", strawberry.lazy("schema.broadcasts")] | None = relation(
        "broadcast_id", "broadcast", description="What it is a delivery of."
    )


@strawberry.type(directives=requires(Scope.MESSAGES_READ))
class MessageConnection(Connection[Message]): ...


@strawberry.type(description="An address to which nothing is sent, on one channel or, without one, on any.")
class Suppression:
    address: str
    channel: Channel | None
    reason: str
    created_at: datetime


@strawberry.input(one_of=True, description="To whom.")
class RecipientInput:
    customer_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Their phone and their Messenger id are looked up."
    )
    phone: str | None = strawberry.field(
        default=strawberry.UNSET, description="As people write it; without a country, the default region's."
    )
    messenger_id: str | None = strawberry.field(
        default=strawberry.UNSET, description="The Messenger user id that Chatfuel gave."
    )


@strawberry.input
class TemplateInput:
    id: strawberry.ID
    parameters: list[str]


@strawberry.enum
class ViberDevice(Enum):
    ALL = "all"
    PHONE = "phone"


@strawberry.input
class PushInput:
    text: str = strawberry.field(description="At most 1000 characters.")
    title: str = strawberry.field(description="At most 20 characters.")
    image: str | None = strawberry.UNSET
    caption: str | None = strawberry.field(default=strawberry.UNSET, description="On the button.")
    action: str | None = strawberry.field(default=strawberry.UNSET, description="Where the button leads.")
    ttl: int | None = strawberry.field(default=strawberry.UNSET, description="30 to 86400 seconds.")
    track_clicks: bool | None = False


@strawberry.input(description="A text, an image or both, with or without a button; or a file alone.")
class ViberInput:
    text: str | None = strawberry.field(default=strawberry.UNSET, description="At most 1000 characters.")
    image: str | None = strawberry.UNSET
    caption: str | None = strawberry.field(default=strawberry.UNSET, description="On the button.")
    action: str | None = strawberry.field(
        default=strawberry.UNSET, description="Where the button leads, or where the file is."
    )
    file_name: str | None = strawberry.UNSET
    device: ViberDevice | None = strawberry.UNSET
    alpha_name: str | None = strawberry.field(
        default=strawberry.UNSET, description="The Viber service that speaks, as agreed with GMS."
    )
    ttl: int | None = strawberry.field(default=strawberry.UNSET, description="40 to 86400 seconds.")
    track_clicks: bool | None = False


@strawberry.input
class SmsInput:
    text: str = strawberry.field(
        description="At most 765 characters of the GSM alphabet, or 335 where one of them is not in it."
    )
    alpha_name: str | None = strawberry.field(
        default=strawberry.UNSET, description="Whom it comes from; left out, the setting's."
    )
    ttl: int | None = strawberry.field(default=strawberry.UNSET, description="300 to 259200 seconds.")
    track_clicks: bool | None = False


@strawberry.input(description="In a session: within 24 hours after the customer wrote.")
class WhatsAppInput:
    text: str | None = strawberry.field(default=strawberry.UNSET, description="At most 1000 characters.")
    image: str | None = strawberry.UNSET
    image_name: str | None = strawberry.UNSET
    document: str | None = strawberry.UNSET
    document_name: str | None = strawberry.UNSET
    audio: str | None = strawberry.UNSET
    video: str | None = strawberry.UNSET
    video_name: str | None = strawberry.UNSET
    latitude: float | None = strawberry.UNSET
    longitude: float | None = strawberry.UNSET
    ttl: int | None = strawberry.field(
        default=strawberry.UNSET, description="604800 seconds, and nothing else."
    )
    track_clicks: bool | None = False


@strawberry.input
class MessengerInput:
    text: str = strawberry.field(description="At most 2000 characters.")


@strawberry.input(
    description="One text for every channel, or one per channel, or a WhatsApp template with its parameters."
)
class ContentInput:
    text: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="For every channel that has nothing of its own, but push, which needs a title too.",
    )
    template: TemplateInput | None = strawberry.UNSET
    push: PushInput | None = strawberry.UNSET
    viber: ViberInput | None = strawberry.UNSET
    sms: SmsInput | None = strawberry.UNSET
    whatsapp: WhatsAppInput | None = strawberry.UNSET
    messenger: MessengerInput | None = strawberry.UNSET


@strawberry.input
class TagInput:
    name: str
    add: bool = strawberry.field(default=True, description="Or take it off.")


@strawberry.input(description="What is known of the customer; what is left out, or blank, stays as it is.")
class CustomerDetailsInput:
    first_name: str | None = strawberry.UNSET
    last_name: str | None = strawberry.UNSET
    email: str | None = strawberry.UNSET
    notes: str | None = strawberry.UNSET
    address: Annotated["AddressInput", strawberry.lazy("schema.customers")] | None = strawberry.UNSET


@strawberry.input
class SendMessageInput:
    to: RecipientInput
    channels: list[Channel] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Order is the order of fallback; left out, the channels the content has, in the order "
        "push, viber, whatsapp, sms, messenger.",
    )
    content: ContentInput
    send_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="At most a year ahead; what is past is now."
    )
    tag: str | None = strawberry.field(default=strawberry.UNSET, description="At most 64 characters.")
    division_code: str | None = strawberry.field(
        default=strawberry.UNSET, description="At most 100 characters."
    )
    agent_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="WhatsApp template messages: assign the customer to this agent."
    )
    tags: list[TagInput] | None = strawberry.field(
        default=strawberry.UNSET, description="WhatsApp template messages: tag the customer."
    )
    customer: CustomerDetailsInput | None = strawberry.field(
        default=strawberry.UNSET, description="WhatsApp template messages: update what is known of them."
    )
    idempotency_key: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Two calls with one key are one message; the second answers with the first's result, "
        "CONFLICT if the inputs differ.",
    )
