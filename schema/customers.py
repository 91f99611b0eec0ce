"""Customer: one person, merged from every source that knows them."""

from datetime import date, datetime
from enum import Enum

import strawberry

from schema.agents import Agent
from schema.balances import Balance
from schema.connections import Connection
from schema.context import Info
from schema.conversations import ConversationChannel, ConversationConnection
from schema.groups import Group
from schema.messages import MessageConnection
from schema.node import Node
from schema.relations import relation
from schema.scalars import PhoneNumber
from schema.scopes import Scope, requires
from schema.sources import Source


@strawberry.enum
class Gender(Enum):
    MALE = "male"
    FEMALE = "female"


@strawberry.enum
class IdentificationType(Enum):
    CEDULA = "cedula"
    PASAPORTE = "pasaporte"
    RUC = "ruc"
    RUT = "rut"
    OTRO = "otro"


@strawberry.type(description="An official document.")
class Identification:
    type: IdentificationType | None
    number: str | None


@strawberry.type
class Address:
    street: str | None = None
    city: str | None = None
    state: str | None = None
    zip_code: str | None = None
    country_code: str | None = strawberry.field(default=None, description="ISO 3166, two letters.")


@strawberry.type(description="The person on Mercado Libre.")
class MarketplaceProfile:
    customer_id: str | None
    nickname: str | None


@strawberry.type
class Tag:
    id: strawberry.ID
    name: str


@strawberry.type(description="A field that the account has added to its customers.")
class CustomField:
    name: str
    content: str | None


@strawberry.type(
    description="One person, merged from every source that knows them.",
    directives=requires(Scope.CUSTOMERS_READ, own=True),
)
class Customer(Node):
    member_keys: strawberry.Private[tuple[str, ...]]
    """By which own groups may know the person: a name of theirs in each source."""
    group_keys: strawberry.Private[tuple[str, ...]]
    row_ids: strawberry.Private[tuple[int, ...]]
    """By which conversations know the person."""
    phones: strawberry.Private[tuple[str, ...]]
    messenger_ids: strawberry.Private[tuple[str, ...]]
    """By either of them messages were sent to the person."""
    gap: strawberry.Private[Exception | None] = None
    """Why it is not known who the person is elsewhere."""

    sources: list[Source]
    messenger_id: str | None = strawberry.field(
        default=None, description="The Messenger user id that Chatfuel gave."
    )
    first_name: str | None = None
    last_name: str | None = None
    gender: Gender | None = None
    email: str | None = None
    phone: PhoneNumber | None = None
    whatsapp_name: str | None = None
    whatsapp_opt_in: bool | None = None
    identification: Identification | None = None
    address: Address | None = None
    marketplace: MarketplaceProfile | None = None
    notes: str | None = None
    tags: list[Tag] = strawberry.field(default_factory=list)
    custom_fields: list[CustomField] = strawberry.field(default_factory=list)
    birthday: date | None = None
    as_of: datetime = strawberry.field(
        description="When the sources said so: now for a single customer, the directory's last refresh in "
        "lists and joins."
    )

    balance: Balance | None = relation(
        "account", "balance", description="Null for a person without an everyprint account."
    )
    groups: list[Group] | None = relation(
        "membership",
        "groups_of",
        description="Of every source: own groups the person was put in, and the Poster marketing group.",
        directives=requires(Scope.GROUPS_READ, own=True),
    )
    agent: Agent | None = relation(
        "known_row_ids",
        "agent_of",
        description="The agent of the person's latest assigned conversation.",
        directives=requires(Scope.AGENTS_READ, own=True),
    )

    @strawberry.field(
        description="Those with this person, newest first.",
        directives=requires(Scope.CONVERSATIONS_READ, own=True),
    )
    async def conversations(
        self,
        info: Info,
        channel: ConversationChannel | None = strawberry.UNSET,
        first: int | None = 20,
        after: str | None = strawberry.UNSET,
    ) -> ConversationConnection | None:
        return await info.context.loaders.conversations_of(
            self.known_row_ids,
            channel=channel or None,
            first=20 if first is None else first,
            after=after or None,
        )

    @strawberry.field(
        description="What this gateway sent to the person, newest first.",
        directives=requires(Scope.MESSAGES_READ, own=True),
    )
    async def messages(
        self, info: Info, first: int | None = 20, after: str | None = strawberry.UNSET
    ) -> MessageConnection:
        return await info.context.loaders.messages_to(
            self.phones, self.messenger_ids, first=20 if first is None else first, after=after or None
        )

    @property
    def account(self) -> str | None:
        if self.gap:
            raise self.gap
        return self.messenger_id or None

    @property
    def membership(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if self.gap:
            raise self.gap
        return self.member_keys, self.group_keys

    @property
    def known_row_ids(self) -> tuple[int, ...]:
        """Without knowing who they are at Mercately, nobody could say that they have no conversations."""
        if self.gap and not self.row_ids:
            raise self.gap
        return self.row_ids


@strawberry.type(directives=requires(Scope.CUSTOMERS_READ))
class CustomerConnection(Connection[Customer]): ...


@strawberry.input(one_of=True, description="One of the keys that name a customer.")
class CustomerKey:
    id: strawberry.ID | None = strawberry.UNSET
    messenger_id: str | None = strawberry.field(
        default=strawberry.UNSET, description="The Messenger user id that Chatfuel gave."
    )
    mercately_id: str | None = strawberry.field(
        default=strawberry.UNSET, description="Mercately's web id, as 4881ljusi3874."
    )
    poster_id: str | None = strawberry.UNSET
    phone: str | None = strawberry.field(
        default=strawberry.UNSET, description="As people write it; without a country, the default region's."
    )
    email: str | None = strawberry.UNSET


@strawberry.input(description="All that is said has to hold.")
class CustomerFilter:
    source: Source | None = strawberry.UNSET
    group_id: strawberry.ID | None = strawberry.UNSET
    tag: str | None = strawberry.field(default=strawberry.UNSET, description="The tag's name.")
    search: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Any part of a name, an e-mail or a phone's digits; several words must all be there.",
    )


@strawberry.input
class AddressInput:
    street: str | None = strawberry.UNSET
    city: str | None = strawberry.UNSET
    state: str | None = strawberry.UNSET
    zip_code: str | None = strawberry.UNSET


@strawberry.input(
    description="A customer of everyprint; who is saved again keeps what is not said this time."
)
class SaveCustomerInput:
    messenger_id: str = strawberry.field(description="Letters and digits, at most 64.")
    last_name: str = strawberry.field(description="At most 50 characters.")
    gender: Gender
    first_name: str | None = strawberry.UNSET
    phone: str | None = strawberry.UNSET
    email: str | None = strawberry.UNSET


@strawberry.input(description="A customer of Mercately, who needs an e-mail or a phone.")
class CreateCustomerInput:
    first_name: str
    last_name: str
    email: str | None = strawberry.UNSET
    phone: str | None = strawberry.UNSET
    notes: str | None = strawberry.UNSET
    address: AddressInput | None = strawberry.UNSET
    agent_id: strawberry.ID | None = strawberry.UNSET
    tags: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="By name; each has to be there already."
    )


@strawberry.input(description="What is left out stays as it is; what is null is taken away.")
class UpdateCustomerInput:
    first_name: str | None = strawberry.UNSET
    last_name: str | None = strawberry.UNSET
    gender: Gender | None = strawberry.UNSET
    email: str | None = strawberry.UNSET
    phone: str | None = strawberry.UNSET
    notes: str | None = strawberry.UNSET
    address: AddressInput | None = strawberry.UNSET
    agent_id: strawberry.ID | None = strawberry.UNSET
    add_tags: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="By name; each has to be there already."
    )
    remove_tags: list[str] | None = strawberry.UNSET
