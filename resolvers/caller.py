"""Caller: who asks, and what they may."""

from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum

from schema.errors import Forbidden
from schema.scopes import Scope


class Kind(StrEnum):
    ANYBODY = "anybody"
    KEY = "key"
    JWT = "jwt"
    CUSTOMER = "customer"
    """A token, too, and one that is a customer's own."""
    DOOR = "door"


class _Everything(Container[str]):
    def __contains__(self, _: object) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Caller:
    kind: Kind
    id: str
    """Tells callers of a kind apart, in logs too: so it is no secret, and says nothing of a person."""
    scopes: Container[str]
    until: float | None = None
    """The moment, in seconds since 1970, at which what they showed us expires."""
    own: str | None = None
    """The id of the customer beside whom they see nobody."""

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.id}" if self.id else self.kind

    def need(self, scope: str, *, own: bool = False) -> None:
        """Refuses who has not this scope; and a customer's own token, unless this is for such a one too."""
        if scope not in self.scopes:
            raise Forbidden(f"This takes the scope {scope}, which your credentials do not have.", scope)
        if self.own is not None and not own:
            raise Forbidden("A customer's own token does not lead here: ask for what is this customer's.")


ANYBODY = Caller(Kind.ANYBODY, "", _Everything())
"""Who shows nothing, where that is enough."""

NOBODY = Caller(Kind.ANYBODY, "", frozenset())
"""Who has not said yet who they are."""

DOOR = Caller(
    Kind.DOOR,
    "",
    frozenset({Scope.CUSTOMERS_WRITE, Scope.BALANCES_READ, Scope.MESSAGES_SEND, Scope.BROADCASTS_MANAGE}),
)
"""Everyprint's bot."""
