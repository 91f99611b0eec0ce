"""Scalars: the values that GraphQL has no type of its own for, or not one that is exact."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NewType

import strawberry
from graphql import FloatValueNode, GraphQLError, IntValueNode, StringValueNode, ValueNode
from strawberry.types.scalar import ScalarDefinition

PhoneNumber = NewType("PhoneNumber", str)

LONGEST = 64
DIGITS_OF_A_FLOAT = 15
"""So many digits of a number a float surely keeps."""
MAGNITUDE = 30
"""Numbers larger than 10 to this, or smaller than 10 to its negative, are nobody's money."""

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def _from_literal(node: ValueNode, _: Any = None) -> Decimal:
    """By its digits as they stand in the document."""
    text = node.value if isinstance(node, IntValueNode | FloatValueNode | StringValueNode) else ""
    return _from_text(text, node)


def _from_variable(value: Any) -> Decimal:
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, float):
        text = repr(value)
        digits = re.sub("[eE].*|[^0-9]", "", text).strip("0")
        # Also an integer that is too long for one is read as a float, whose text may be short again.
        if len(digits) > DIGITS_OF_A_FLOAT or abs(value) >= 10**DIGITS_OF_A_FLOAT:
            raise GraphQLError("So many digits get lost in a JSON number: send the decimal as a string.")
        return _from_text(text)
    if isinstance(value, int) and not isinstance(value, bool):
        return _from_text(str(value))
    raise GraphQLError('Send a decimal as a string: "1250.50".')


def _from_text(text: str, node: ValueNode | None = None) -> Decimal:
    """Raises what graphql-core passes on; to any other error it would add the value."""
    if len(text) > LONGEST or not _NUMBER.fullmatch(text):
        raise GraphQLError('This is no decimal: write it as "1250.50".', nodes=node)
    number = Decimal(text)
    if number and abs(number.adjusted()) > MAGNITUDE:
        raise GraphQLError("This decimal is too large, or too close to zero.", nodes=node)
    return number


SCALARS: Mapping[object, ScalarDefinition] = {
    PhoneNumber: strawberry.scalar(name="PhoneNumber", description="E.164, as +593999999999."),
    Decimal: strawberry.scalar(
        name="Decimal",
        description='An exact decimal, as text: "1250.50". A JSON number is accepted where none of its '
        "digits can have been lost.",
        serialize="{:f}".format,
        parse_value=_from_variable,
        parse_literal=_from_literal,
    ),
}
