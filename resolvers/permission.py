"""Permission: every field of the graph that takes a scope refuses who has not got it.

Each where it is resolved, and not the operation as a whole: so the error has the path of the field, what is
left out by @include costs nothing, and the rest of the answer still arrives. Fields that lead nowhere are as
they were.
"""

from collections.abc import Callable
from typing import Any

from graphql import GraphQLField, GraphQLNamedType, GraphQLObjectType, GraphQLSchema, get_named_type
from strawberry.schema.schema_converter import GraphQLCoreConverter

from schema.scopes import Requires


def guard(schema: GraphQLSchema) -> None:
    for type in schema.type_map.values():
        if isinstance(type, GraphQLObjectType):
            for field in type.fields.values():
                if requires := needed_by(field):
                    _guard(field, requires)


def needed_by(field: GraphQLField) -> Requires | None:
    """What the field says itself goes before what its type says."""
    return _said(field) or _said(get_named_type(field.type))


def _said(what: GraphQLField | GraphQLNamedType) -> Requires | None:
    definition = what.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    directives = getattr(definition, "directives", None) or ()
    return next((each for each in directives if isinstance(each, Requires)), None)


def needed_by_type(type: Any) -> Requires:
    """Of one of schema's own classes that says it."""
    directives = type.__strawberry_definition__.directives
    found: Requires = next(each for each in directives if isinstance(each, Requires))
    return found


def _guard(field: GraphQLField, requires: Requires) -> None:
    if field.subscribe:
        field.subscribe = Guarded(field.subscribe, requires)
    elif field.resolve:
        field.resolve = Guarded(field.resolve, requires)


class Guarded:
    """A resolver that is called for who is allowed to ask."""

    __slots__ = ("_own", "_scope", "resolve")

    def __init__(self, resolve: Callable[..., Any], requires: Requires) -> None:
        self.resolve = resolve
        self._scope = requires.scope
        self._own = bool(requires.own)

    # Positional, since a field may have an argument of such a name.
    def __call__(self, parent: Any, info: Any, /, **arguments: Any) -> Any:
        self.allow(info.context)
        return self.resolve(parent, info, **arguments)

    def allow(self, context: Any) -> None:
        context.caller.need(self._scope, own=self._own)
