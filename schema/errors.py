"""Refusals: what the graph answers when the fault is in the question."""

from collections.abc import Mapping


class BadInput(Exception):
    """One sentence for each field that is wrong; the first is the message."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(next(iter(fields.values())))
        self.fields = dict(fields)

    @property
    def extensions(self) -> dict[str, object]:
        return {"code": "BAD_USER_INPUT", "fields": self.fields}
