"""Group: a set of customers, with the loyalty scheme that they share."""

from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from schema.context import Info
from schema.node import Node
from schema.scopes import Scope, requires
from schema.sources import Source

if TYPE_CHECKING:
    from schema.customers import CustomerConnection


@strawberry.enum(description="What a group's percent is: bonuses saved up, or a discount given.")
class LoyaltyType(Enum):
    BONUS = "bonus"
    DISCOUNT = "discount"


@strawberry.type(description="What the customers of a group get for coming back.")
class Loyalty:
    type: LoyaltyType
    percent: Decimal
    birthday_bonus: Decimal = strawberry.field(description="In whole units of the account's currency.")


@strawberry.type(
    description="A set of customers: a Poster marketing group, or one kept here.",
    directives=requires(Scope.GROUPS_READ),
)
class Group(Node):
    source: Source
    name: str
    customer_count: int
    loyalty: Loyalty | None = strawberry.field(description="Null for a group without a loyalty scheme.")

    @strawberry.field(description="Its members, each once, as the directory knows them.")
    async def customers(
        self, info: Info, first: int | None = 50, after: str | None = strawberry.UNSET
    ) -> Annotated["CustomerConnection", strawberry.lazy("schema.customers")] | None:
        return await info.context.loaders.members(
            self.id, first=50 if first is None else first, after=after or None
        )


@strawberry.input
class LoyaltyInput:
    type: LoyaltyType
    percent: Decimal = strawberry.field(description="0 to 100.")
    birthday_bonus: Decimal | None = strawberry.field(
        default=strawberry.UNSET,
        description="In whole units of the account's currency; only where bonuses are saved up.",
    )


@strawberry.input(description="A group at Poster, which needs a loyalty scheme, or one kept here, without.")
class CreateGroupInput:
    source: Source
    name: str
    loyalty: LoyaltyInput | None = strawberry.UNSET


@strawberry.input(description="What is left out stays as it is.")
class UpdateGroupInput:
    name: str | None = strawberry.UNSET
    loyalty: LoyaltyInput | None = strawberry.UNSET


@strawberry.type
class RemovedGroup:
    id: strawberry.ID
    customers_removed: int = strawberry.field(
        description="How many customers went with it: all of them at Poster, nobody of a group kept here."
    )
