"""Balance: what a customer may still spend, and the ledger behind it."""

from datetime import datetime
from decimal import Decimal

import strawberry

from schema.connections import Connection
from schema.context import Info
from schema.scopes import Scope, requires


@strawberry.type(description="A line of the ledger: what was added to a balance, or taken from it.")
class BalanceEntry:
    id: strawberry.ID
    amount: Decimal
    reason: str
    created_at: datetime


@strawberry.type(directives=requires(Scope.BALANCES_READ, own=True))
class BalanceEntryConnection(Connection[BalanceEntry]): ...


@strawberry.type(
    description="What a customer may still spend, in the currency of the account.",
    directives=requires(Scope.BALANCES_READ, own=True),
)
class Balance:
    messenger_id: strawberry.Private[str]
    amount: Decimal
    currency: str
    updated_at: datetime

    @strawberry.field(description="The ledger behind the amount, newest first; amount is always its sum.")
    async def entries(
        self, info: Info, first: int | None = 20, after: str | None = strawberry.UNSET
    ) -> BalanceEntryConnection:
        return await info.context.loaders.balance_entries(
            self.messenger_id, first=20 if first is None else first, after=after or None
        )


@strawberry.input
class AdjustBalanceInput:
    customer_id: strawberry.ID
    amount: Decimal = strawberry.field(description="What to add or, negative, to take.")
    reason: str
    idempotency_key: str = strawberry.field(
        description="Sent again with the same input it counts no second time, and answers what it did first."
    )
