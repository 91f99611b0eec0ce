"""Limits: what a document asks for, added up in one pass over it, before it is validated."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_list_type,
)
from graphql.language import Location, Source, Token, TokenKind
from graphql.language.parser import Parser
from graphql.type import get_nullable_type

from gateway.errors import Refused
from gateway.settings import Limits
from resolvers.connections import MOST

LISTED = 10
"""How many items a list is taken to have that does not say how many are asked for."""
NESTED = 100
"""So many selections within each other, of whatever kind, nobody needs; more would exhaust the stack."""
OPERATIONS = 50
"""So many in a document, where one of them is run: each is validated."""
MOST_SAID = 2**31 - 1
"""A few fragments that spread each other twice come to numbers that no JSON holds."""

WHAT = {
    "text": "bytes of text",
    "tokens": "tokens",
    "depth": "fields within each other",
    "aliases": "aliases",
    "directives": "directives",
    "root_fields": "root fields",
    "fragments": "fragment spreads",
    "cost": "fields in its answer",
    "values": "values in its variables",
}


class Measure(NamedTuple):
    """What some selections add up to; a fragment counts wherever it is spread, and is looked at once."""

    depth: int = 0
    aliases: int = 0
    directives: int = 0
    root_fields: int = 0
    fragments: int = 0
    cost: int = 0
    """How many fields may be answered."""
    each: int = 0
    """How many more for each item of the connection that these are selected on."""
    varies: bool = False
    """Does the cost depend on variables?"""
    types: bool = False
    """Does it ask for all types of the schema?"""

    def of(self, count: int) -> int:
        return self.cost + count * self.each


NOTHING = Measure()
NOWHERE = Token(TokenKind.SOF, 0, 0, 0, 0)


def check(limits: Limits, name: str, value: int) -> None:
    bound: int = getattr(limits, name)
    if value > bound:
        value = min(value, MOST_SAID)
        raise Refused(
            f"At most {bound} {WHAT[name]} are allowed, and this has {value}: ask for less at a time.",
            limit={"name": name, "value": value, "bound": bound},
        )


class _Parser(Parser):
    def loc(self, start_token: Token) -> Location | None:
        """Where it stands, without the tokens: with them a document would take twice the memory, in circles
        that only the garbage collector breaks."""
        location = super().loc(start_token)
        if location:
            location.start_token = location.end_token = NOWHERE
        return location


def read(text: str, limits: Limits) -> DocumentNode:
    check(limits, "text", len(text.encode(errors="replace")))
    try:
        return _Parser(text, max_tokens=limits.tokens).parse_document()
    except RecursionError:
        pass  # an error raised here would keep all its frames
    except GraphQLSyntaxError as error:
        if error.message.endswith("tokens. Parsing aborted."):  # nobody counts how many more there are
            check(limits, "tokens", limits.tokens + 1)
        raise
    raise GraphQLSyntaxError(Source(text), 0, "The document is nested too deeply.")


def check_operations(count: int) -> None:
    if count > OPERATIONS:
        raise Refused(f"At most {OPERATIONS} operations are allowed in a document: send fewer.")


def check_measure(limits: Limits, measure: Measure) -> None:
    for name in ("root_fields", "depth", "aliases", "directives", "fragments"):
        check(limits, name, getattr(measure, name))


def check_values(limits: Limits, variables: Mapping[str, Any] | None) -> None:
    """Each value is coerced in the event loop: a body can hold a hundred thousand."""
    if variables:
        check(limits, "values", sum(1 for _ in _values(variables, limits.values)))


def _values(variables: Mapping[str, Any], most: int) -> Iterator[Any]:
    """No more than are needed to see that they are too many."""
    waiting: list[Any] = [variables]
    while waiting and most >= 0:
        value = waiting.pop()
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        yield from inner
        most -= len(inner)
        waiting.extend(inner)


class Pass:
    """One walk over operations and the fragments that they spread, each fragment once."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        *,
        introspection: bool,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        self._schema = schema
        self._introspection = introspection
        self._variables = variables
        self._defaults: dict[str, Any] = {}
        self._nested = 0
        self._measured: dict[str, Measure | None] = {}
        self.fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }

    def operation(self, node: OperationDefinitionNode) -> Measure:
        self._defaults = {
            each.variable.name.value: each.default_value for each in node.variable_definitions or ()
        }
        variables = node.variable_definitions or ()
        directives = sum(len(each.directives or ()) for each in variables) + len(node.directives or ())
        measure = self._selections(node.selection_set, self._schema.get_root_type(node.operation))
        return measure._replace(directives=measure.directives + directives)

    def _selections(self, selections: SelectionSetNode, parent: GraphQLNamedType | None) -> Measure:
        self._nested += 1
        if self._nested > NESTED:
            raise Refused(
                f"Selections nest {NESTED} deep at most, with all their fragments: ask for less at a time.",
                limit={"name": "depth", "value": self._nested, "bound": NESTED},
            )
        depth = aliases = directives = root_fields = fragments = cost = each = 0
        varies = types = False
        for node in selections.selections:
            directives += len(node.directives or ())
            if isinstance(node, FieldNode):
                found = self._field(node, parent)
            elif isinstance(node, FragmentSpreadNode):
                found = self._spread(node)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                kind = self._schema.get_type(condition.name.value) if condition else parent
                found = self._selections(node.selection_set, kind)
            else:
                continue
            depth = max(depth, found.depth)
            aliases += found.aliases
            directives += found.directives
            root_fields += found.root_fields
            fragments += found.fragments
            cost += found.cost
            each += found.each
            varies = varies or found.varies
            types = types or found.types
        self._nested -= 1
        return Measure(depth, aliases, directives, root_fields, fragments, cost, each, varies, types)

    def _spread(self, node: FragmentSpreadNode) -> Measure:
        name = node.name.value
        fragment = self.fragments.get(name)
        if fragment is None:
            return NOTHING  # validation says that it is missing
        if name not in self._measured:
            self._measured[name] = None
            kind = self._schema.get_type(fragment.type_condition.name.value)
            found = self._selections(fragment.selection_set, kind)
            self._measured[name] = found._replace(
                directives=found.directives + len(fragment.directives or ()), fragments=found.fragments + 1
            )
        measure = self._measured[name]
        if measure is None:
            raise Refused(f"The fragment {name} spreads itself: take that spread out.")
        return measure

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> Measure:
        field = self._definition(node.name.value, parent)
        kind = get_named_type(field.type) if field else None
        inner = self._selections(node.selection_set, kind) if node.selection_set else NOTHING
        if any(each and each.name.startswith("__") for each in (kind, parent)):
            return self._introspected(node, inner)
        count, varies = self._count(node, field)
        if _is_connection(kind):
            cost, each = 1 + inner.of(count), 0
        elif field and is_list_type(get_nullable_type(field.type)):
            # The items of a connection are as many as the field asked for that led to it.
            cost, each = (1, inner.cost) if _is_connection(parent) else (1 + count * inner.cost, 0)
        else:
            cost, each = 1 + inner.cost, 0
        return Measure(
            depth=1 + inner.depth,
            aliases=inner.aliases + (node.alias is not None),
            directives=inner.directives,
            root_fields=1,
            fragments=inner.fragments,
            cost=cost,
            each=each,
            varies=varies or inner.varies,
        )

    def _introspected(self, node: FieldNode, inner: Measure) -> Measure:
        """It is deep by nature and costs what the schema does: once is enough."""
        if not self._introspection:
            raise Refused("Introspection is switched off: `switchboard schema` prints the schema.")
        if node.alias and node.name.value != "__type":
            raise Refused("Introspection takes no aliases: ask for each field once.")
        return Measure(
            aliases=inner.aliases + (node.alias is not None),
            directives=inner.directives,
            root_fields=1,
            fragments=inner.fragments,
            types=inner.types or node.name.value == "types",
        )

    def _definition(self, name: str, parent: GraphQLNamedType | None) -> GraphQLField | None:
        if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
            return self._schema.get_field(parent, name)
        return None

    def _count(self, node: FieldNode, field: GraphQLField | None) -> tuple[int, bool]:
        """How many items are asked for, and whether a variable says so."""
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        for name in ("first", "last", "ids"):
            if field and name in field.args:
                value = given.get(name)
                varies = isinstance(value, VariableNode)
                count = self._number(value)
                if count is None:
                    count = _length(field.args[name].default_value)
                if count is not None:
                    return count, varies
        return LISTED, False

    def _number(self, value: Any) -> int | None:
        if isinstance(value, VariableNode):
            name = value.name.value
            if self._variables is not None and name in self._variables:
                return _length(self._variables[name])
            value = self._defaults.get(name)
        if isinstance(value, IntValueNode):
            return _length(int(value.value[:12]))
        return _length(list(value.values)) if isinstance(value, ListValueNode) else None


def _length(value: Any) -> int | None:
    """Who asks for more than MOST gets none, and is told so by the resolver."""
    if isinstance(value, list):
        return min(len(value), MOST)
    return min(max(value, 0), MOST) if isinstance(value, int) else None


def _is_connection(kind: GraphQLNamedType | None) -> bool:
    return isinstance(kind, GraphQLObjectType) and kind.name.endswith("Connection")
