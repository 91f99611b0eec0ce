"""The plan of an operation: its fields as graphql-core collects them, and the places of its answer."""

from collections.abc import Iterator
from typing import Any

from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    get_named_type,
    is_non_null_type,
    is_specified_scalar_type,
)
from graphql.execution.collect_fields import (
    FieldDetailsList,
    FragmentDetails,
    GroupedFieldSet,
    collect_fields,
    collect_subfields,
)
from graphql.execution.values import VariableValues, get_argument_values
from graphql.language import ArgumentNode, Node, ValueNode

from gateway.execution.fields import Described

MOST_FIELDS = 1_000
"""So many are compiled for one operation, those of each possible type and of each spread counted."""
DEEPEST = 50
"""Selections within each other."""


class NotCompiled(Exception):
    """The compiler does not take this on: graphql-core is to execute it."""


class Place:
    """Where in the answer something stands: a field, or the items of a list that is there."""

    __slots__ = ("field", "message", "non_null", "parent")

    def __init__(self, field: "Field", type: GraphQLOutputType, parent: "Place | None") -> None:
        self.field = field
        self.non_null = is_non_null_type(type)
        self.parent = parent
        """That of the list, or of the object; None for that of the whole answer."""
        self.message = f"Cannot return null for non-nullable field {field.parent_type}.{field.name}."

    def null(self) -> None:
        if self.non_null:
            raise TypeError(self.message)


class Field:
    """One field of a selection, merged from all the places of the document that ask for it."""

    __slots__ = ("definition", "details", "key", "kind", "name", "nodes", "parent_type", "place")

    def __init__(
        self,
        key: str,
        details: FieldDetailsList,
        definition: GraphQLField,
        parent_type: GraphQLObjectType,
        parent: Place | None,
    ) -> None:
        self.key = key
        self.name = details[0].node.name.value
        self.details = details
        self.nodes: list[FieldNode] = [detail.node for detail in details]
        self.definition = definition
        self.parent_type = parent_type
        self.place = Place(self, definition.type, parent)
        self.kind: Described = None
        """As what it is compiled, where its resolver is not called."""

    @property
    def parent(self) -> "Field | None":
        """The field whose objects have it."""
        return self.place.parent.field if self.place.parent else None

    @property
    def is_default(self) -> bool:
        """Whether graphql-core's default resolver would read it."""
        return self.kind is None and self.definition.resolve is None and not self.takes_arguments

    @property
    def takes_arguments(self) -> bool:
        return bool(self.definition.args or self.nodes[0].arguments)

    def constants(self) -> dict[str, Any] | None:
        """Its arguments, when they are the same in every run and cannot be changed by who gets them."""
        if not self.takes_arguments:
            return {}
        if any(_has_variable(argument.value) for argument in self.nodes[0].arguments or ()):
            return None
        if not all(_is_plain(get_named_type(argument.type)) for argument in self.definition.args.values()):
            return None
        try:
            values = get_argument_values(self.definition, self.nodes[0], VariableValues({}, {}))
        except GraphQLError:
            return None  # is raised again where it belongs
        return values if not any(isinstance(value, list | dict) for value in values.values()) else None


class Plan:
    """Of one operation, for one set of answers to its @skip and @include."""

    def __init__(
        self,
        schema: GraphQLSchema,
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDetails],
        variables: VariableValues,
    ) -> None:
        self.schema = schema
        self.operation = operation
        self._fragments = fragments
        self._variables = variables
        self._count = 0

    @property
    def is_serial(self) -> bool:
        return self.operation.operation is OperationType.MUTATION

    def root(self) -> tuple[GraphQLObjectType, list[Field]]:
        root_type = self.schema.get_root_type(self.operation.operation)
        if root_type is None:
            raise NotCompiled("The schema has no such operations.")
        collected = collect_fields(
            self.schema, self._fragments, self._variables, root_type, self.operation
        ).grouped_field_set
        return root_type, list(self._fields(collected, root_type, None))

    def below(self, field: Field, type: GraphQLObjectType, place: Place) -> list[Field]:
        """What is asked for of an object that stands there."""
        collected = collect_subfields(
            self.schema, self._fragments, self._variables, self.operation, type, field.details
        ).grouped_field_set
        return list(self._fields(collected, type, place))

    def _fields(
        self, collected: GroupedFieldSet, type: GraphQLObjectType, parent: Place | None
    ) -> Iterator[Field]:
        for key, details in collected.items():
            name = details[0].node.name.value
            if name in ("__schema", "__type"):
                raise NotCompiled("Introspection is compiled nowhere.")
            definition = self.schema.get_field(type, name)
            if definition is not None:
                self._count += 1
                if self._count > MOST_FIELDS:
                    raise NotCompiled(f"The operation has more than {MOST_FIELDS} fields.")
                yield Field(key, details, definition, type, parent)


def conditions(nodes: list[Node]) -> list[str]:
    """The variables on which it depends what is asked for at all."""
    found: dict[str, None] = {}
    for node in _walk(nodes):
        for directive in getattr(node, "directives", None) or ():
            if directive.name.value in ("defer", "stream"):
                raise NotCompiled("Nothing that is deferred or streamed is compiled.")
            if directive.name.value in ("skip", "include"):
                for argument in directive.arguments or ():
                    if isinstance(argument.value, VariableNode):
                        found[argument.value.name.value] = None
    return list(found)


def _walk(nodes: list[Node]) -> Iterator[Node]:
    while nodes:
        node = nodes.pop()
        yield node
        if selections := getattr(node, "selection_set", None):
            nodes.extend(selections.selections)


def _has_variable(value: ValueNode | ArgumentNode) -> bool:
    if isinstance(value, VariableNode):
        return True
    parts = getattr(value, "values", None) or getattr(value, "fields", None) or ()
    return any(
        _has_variable(getattr(part, "value", part)) if not isinstance(part, str) else False for part in parts
    )


def _is_plain(type: Any) -> bool:
    return is_specified_scalar_type(type) or isinstance(type, GraphQLEnumType)
