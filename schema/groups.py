"""Group: a set of customers, with the loyalty scheme that they share."""

from decimal import Decimal
from enum import Enum

import strawberry

from schema.node import Node
from schema.sources import Source


@strawberry.enum(description="What a group's percent is: bonuses saved up, or a discount given.")
class LoyaltyType(Enum):
    BONUS = "bonus"
    DISCOUNT = "discount"


@strawberry.type(description="What the customers of a group get for coming back.")
class Loyalty:
    type: LoyaltyType
    percent: Decimal
    birthday_bonus: Decimal = strawberry.field(description="In whole units of the account's currency.")


@strawberry.type(description="A set of customers: a Poster marketing group.")
class Group(Node):
    source: Source
    name: str
    customer_count: int
    loyalty: Loyalty | None = strawberry.field(description="Null for a group without a loyalty scheme.")
