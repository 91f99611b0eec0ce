"""Refusals: what the graph answers when the fault is in the question, or in what has changed since."""

from collections.abc import Mapping
from typing import ClassVar


class Refusal(Exception):
    """One sentence for each argument at fault, by its path; the first is the message."""

    code: ClassVar[str]

    def __init__(self, fields: Mapping[str, str], **details: object) -> None:
        super().__init__(next(iter(fields.values())))
        self.fields = dict(fields)
        self.details = details

    @property
    def extensions(self) -> dict[str, object]:
        return {"code": self.code, "fields": self.fields, **self.details}


class BadInput(Refusal):
    code = "BAD_USER_INPUT"


class NotFound(Refusal):
    """An id that names nothing, in a mutation; a query answers null."""

    code = "NOT_FOUND"


class Conflict(Refusal):
    """It is well said, and does not go with what is there."""

    code = "CONFLICT"


class Forbidden(Exception):
    """Whoever asks may not have this; the rest of what they ask for still arrives."""

    def __init__(self, sentence: str, scope: str | None = None) -> None:
        super().__init__(sentence)
        self._scope = scope

    @property
    def extensions(self) -> dict[str, object]:
        return {"code": "FORBIDDEN", **({"scope": self._scope} if self._scope else {})}
