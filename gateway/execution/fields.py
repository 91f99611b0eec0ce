"""What the embedding code may say of a field, so that its resolver need not be called."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphql import GraphQLField, GraphQLObjectType

Guard: TypeAlias = Callable[[Any], object]
"""Is called with the context before the field is read; what it raises is the field's error."""


@dataclass(frozen=True)
class Attribute:
    """The field is this attribute of the object, and reading it does nothing else."""

    name: str
    guard: Guard | None = None


def itself(key: Any) -> Hashable:
    return key  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Relation:
    """The field is what a loader finds for the key that this attribute holds; without a key it is null."""

    key: str
    load: Callable[[Any, list[Any]], Awaitable[Sequence[Any]]]
    """With the context and distinct keys, each once: a value for each, or the exception in its place."""
    same: Callable[[Any], Hashable] = itself
    """What is equal for keys that find the same."""
    guard: Guard | None = None


Described: TypeAlias = Attribute | Relation | None
"""None for a field whose resolver has to be called."""
Describe: TypeAlias = Callable[[GraphQLObjectType, GraphQLField], Described]


def nothing_known(type: GraphQLObjectType, field: GraphQLField) -> Described:
    return None


Recognise: TypeAlias = Callable[[GraphQLObjectType], Callable[[Any], bool] | None]
"""What tells of an object that it is surely of the type, so that `is_type_of` need not be asked."""


def nothing_recognised(type: GraphQLObjectType) -> None:
    return None
