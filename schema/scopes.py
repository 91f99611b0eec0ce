"""Scopes: what a credential may do, by noun and verb, and the directive that says what a field takes."""

from enum import StrEnum

import strawberry
from strawberry.schema_directive import Location


class Scope(StrEnum):
    AGENTS_READ = "agents:read"
    BALANCES_READ = "balances:read"
    BALANCES_WRITE = "balances:write"
    BROADCASTS_READ = "broadcasts:read"
    BROADCASTS_MANAGE = "broadcasts:manage"
    CONVERSATIONS_READ = "conversations:read"
    CUSTOMERS_READ = "customers:read"
    CUSTOMERS_WRITE = "customers:write"
    GROUPS_READ = "groups:read"
    GROUPS_WRITE = "groups:write"
    MESSAGES_READ = "messages:read"
    MESSAGES_SEND = "messages:send"
    SOURCES_READ = "sources:read"
    SUPPRESSIONS_WRITE = "suppressions:write"
    TEMPLATES_READ = "templates:read"


@strawberry.schema_directive(
    locations=[Location.OBJECT, Location.FIELD_DEFINITION],
    name="requires",
    description="The scope that a field takes; on a type, that every field takes which leads to it and says "
    "nothing itself. `own`: a customer's own token leads there too, and to nothing but what is theirs.",
)
class Requires:
    scope: str
    own: bool | None = strawberry.UNSET


def requires(scope: Scope, *, own: bool = False) -> list[Requires]:
    return [Requires(scope=scope.value, own=own or strawberry.UNSET)]
