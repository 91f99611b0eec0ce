"""Scalars: the values that GraphQL has no type of its own for."""

from collections.abc import Mapping
from typing import NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

PhoneNumber = NewType("PhoneNumber", str)

SCALARS: Mapping[object, ScalarDefinition] = {
    PhoneNumber: strawberry.scalar(name="PhoneNumber", description="E.164, as +593999999999."),
}
