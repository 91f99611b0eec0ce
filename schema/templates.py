"""Template: an approved WhatsApp text with numbered blanks."""

import re
from enum import Enum

import strawberry

from schema.errors import BadInput
from schema.node import Node
from schema.scopes import Scope, requires

_BLANK = re.compile(r"(?<!\\)\*")
_BLANK_OR_STAR = re.compile(r"\\?\*")


@strawberry.enum(description="UNKNOWN: a status that Mercately has and this gateway does not know yet.")
class TemplateStatus(Enum):
    ACTIVE = "active"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"


@strawberry.enum(description="UNKNOWN: a type that Mercately has and this gateway does not know yet.")
class TemplateType(Enum):
    TEXT = "text"
    IMAGE = "image"
    DOCUMENT = "document"
    VIDEO = "video"
    LOCATION = "location"
    UNKNOWN = "unknown"


def count_blanks(text: str) -> int:
    """Every star is a blank, but for one right behind a backslash."""
    return len(_BLANK.findall(text))


def fill_blanks(text: str, parameters: list[str]) -> str:
    """The text as a customer would read it; what a parameter holds is never taken for a blank."""
    rest = iter(parameters)
    return _BLANK_OR_STAR.sub(lambda found: next(rest) if found[0] == "*" else "*", text)


@strawberry.type(
    description="An approved WhatsApp text with numbered blanks.", directives=requires(Scope.TEMPLATES_READ)
)
class Template(Node):
    text: str
    status: TemplateStatus
    type: TemplateType
    parameter_count: int = strawberry.field(
        description="How many parameters it takes; an escaped star is not one."
    )

    @strawberry.field(
        description="The text as a customer would read it; BAD_USER_INPUT when the count does not match."
    )
    def preview(self, parameters: list[str]) -> str:
        if len(parameters) != self.parameter_count:
            takes = f"{self.parameter_count} parameter{'' if self.parameter_count == 1 else 's'}"
            raise BadInput({"parameters": f"This template takes {takes}, {len(parameters)} given."})
        return fill_blanks(self.text, parameters)
