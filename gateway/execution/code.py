"""The code of an operation: Python, written by a function for each kind of type.

What is written is a function for each thing to be completed: `name__N(run, it, path)` says what stands in the
answer for a value, or raises. By such names it also finds what it works with: `place__N`, `resolve__N`,
`arguments__N`, `guard__N`, `known__N`.
"""

from collections.abc import Callable, Iterator, Mapping
from keyword import iskeyword
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLString,
    default_field_resolver,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
)

from gateway.execution.fields import Attribute, Describe, Described, Recognise, Relation
from gateway.execution.plan import DEEPEST, Field, NotCompiled, Place, Plan
from gateway.execution.run import FINE, Program, Site, leaf

UNUSUAL: Mapping[GraphQLOutputType, str] = {
    GraphQLString: "type({0}) is not str",
    GraphQLID: "type({0}) is not str",
    GraphQLInt: "type({0}) is not int or not -2147483648 <= {0} <= 2147483647",
    GraphQLFloat: "type({0}) is not float or not -1.7976931348623157e308 <= {0} <= 1.7976931348623157e308",
    GraphQLBoolean: "{0} is not True and {0} is not False",
}
"""When a value is not already what it would be serialised to."""


class Coder:
    def __init__(self, plan: Plan, describe: Describe, recognise: Recognise) -> None:
        self._plan = plan
        self._describe = describe
        self._recognise = recognise
        self._functions: list[str] = []
        self._fields: list[Field] = []
        self._sites: list[tuple[Relation, Place, str, bool]] = []
        self._names: dict[str, Any] = {"FINE": FINE, "Mapping": Mapping}
        self._places: dict[Place, str] = {}
        self._depth = 0

    def program(self) -> Program:
        root_type, fields = self._plan.root()
        groups = [[field] for field in fields] if self._plan.is_serial else [fields]
        roots = [self._function(self._name("root"), self._object(group, root_type)) for group in groups]
        source = "\n\n".join(self._functions)
        exec(compile(source, f"<{root_type.name}>", "exec"), self._names)  # noqa: S102
        sites = [Site(kind, place, self._names[name], shares) for kind, place, name, shares in self._sites]
        return Program([self._names[name] for name in roots], sites, source, self._fields)

    # -- functions, and what they find by name

    def _function(self, name: str, body: Iterator[str], title: str = "") -> str:
        self._depth += 1
        if self._depth > DEEPEST:
            raise NotCompiled(f"The operation is more than {DEEPEST} selections deep.")
        lines = [f"    {line}" for line in body]
        self._depth -= 1
        comment = f"  # {title}" if title else ""
        self._functions.append("\n".join([f"def {name}(run, it, path):{comment}", *lines, ""]))
        return name

    def _name(self, stem: str, value: Any = None) -> str:
        """A new one. What has a number and one underscore only is never taken: those are local."""
        name = f"{stem}__{len(self._names)}"
        self._names[name] = value
        return name

    def _place(self, place: Place) -> str:
        if place not in self._places:
            self._places[place] = self._name("place", place)
        return self._places[place]

    # -- values, by the kind of their type

    def _value(self, type: GraphQLOutputType, place: Place) -> str:
        """The function that completes one."""
        field = place.field
        title = f"{field.parent_type}.{field.name}: {type}"
        bare: Any = get_nullable_type(type)
        if is_leaf_type(bare):
            return self._leaf(bare, place)
        me = self._name(field.key)
        if is_list_type(bare):
            return self._function(me, self._list(me, bare.of_type, place), title)
        if is_abstract_type(bare):
            return self._function(me, self._abstract(me, bare, place), title)
        if bare.is_type_of is not None:
            return self._function(me, self._checked(me, bare, place), title)
        return self._function(me, self._plain(me, bare, place), title)

    def _leaf(self, type: GraphQLLeafType, place: Place) -> str:
        names: dict[int, str] = {}
        complete = self._name(place.field.key, leaf(type, place, names))
        if isinstance(type, GraphQLEnumType):
            self._names[f"{complete}_names"] = names.get
        return complete

    def _list(self, me: str, type: GraphQLOutputType, place: Place) -> Iterator[str]:
        item_place = Place(place.field, type, place)
        item = self._value(type, item_place)
        here, at_item = self._place(place), self._place(item_place)
        yield "if type(it) is not list and type(it) is not tuple:"
        yield f"    odd = run.odd_list(it, {me}, {item}, {here}, {at_item}, path)"
        yield "    if odd is not FINE:"
        yield "        return odd"
        yield "done = []"
        yield "index = 0"
        yield "items = iter(it)"
        yield "try:"
        yield "    for each in items:"
        yield "        try:"
        for line in self._completed(type, "each", item, "(path, index, None)", "each"):
            yield f"            {line}"
        yield "            done.append(each)"
        yield "        except Exception as error:"
        yield f"            done.append(run.failed_item(error, {at_item}, path, index))"
        yield "        index += 1"
        yield "except Exception:"
        yield "    run.abandon(items)"
        yield "    raise"
        yield "return done"

    def _plain(self, me: str, type: GraphQLObjectType, place: Place) -> Iterator[str]:
        body = list(self._object(self._plan.below(place.field, type, place), type))
        yield from self._if_odd(me, place)
        yield from body

    def _checked(self, me: str, type: GraphQLObjectType, place: Place) -> Iterator[str]:
        body = self._body(type, place)
        yield from self._if_odd(me, place)
        if is_surely := self._recognise(type):
            yield f"if {self._name('recognise', is_surely)}(it):"
            yield f"    return {body}(run, it, path)"
        here, kind = self._place(place), self._name("type", type)
        yield f"return run.of_type(it, {body}, {here}, path, {kind})"

    def _abstract(self, me: str, type: Any, place: Place) -> Iterator[str]:
        possible = self._plan.schema.get_possible_types(type)
        bodies = ", ".join(f"{each.name!r}: {self._body(each, place)}" for each in possible)
        yield from self._if_odd(me, place)
        here, kind = self._place(place), self._name("type", type)
        yield f"return run.abstract(it, {{{bodies}}}, {here}, path, {kind})"

    def _body(self, type: GraphQLObjectType, place: Place) -> str:
        fields = self._plan.below(place.field, type, place)
        return self._function(self._name(type.name), self._object(fields, type), f"of {place.field.key}")

    def _if_odd(self, me: str, place: Place) -> Iterator[str]:
        known = self._name("known", set())
        yield f"if type(it) not in {known}:"
        yield f"    odd = run.odd(it, {me}, {self._place(place)}, path, {known})"
        yield "    if odd is not FINE:"
        yield "        return odd"

    def _completed(
        self, type: GraphQLOutputType, value: str, complete: str, at: str, raw: str
    ) -> Iterator[str]:
        """Completes a variable in place; without a call where it is what it should be."""
        bare = get_nullable_type(type)
        if usual := UNUSUAL.get(bare) if is_leaf_type(bare) else None:
            null = f"{value} is not None and " if bare is type else ""
            condition = f"({usual})" if null and " or " in usual else usual
            yield f"if {null}{condition.format(value)}:"
            yield f"    {value} = {complete}(run, {raw}, {at})"
        elif isinstance(bare, GraphQLEnumType) and raw == value:
            yield f"{value} = {complete}_names(id({value})) or {complete}(run, {raw}, {at})"
        elif bare is type and raw == value:
            yield f"if {value} is not None:"
            yield f"    {value} = {complete}(run, {raw}, {at})"
        else:
            yield f"{value} = {complete}(run, {raw}, {at})"

    # -- objects

    def _object(self, fields: list[Field], type: GraphQLObjectType) -> Iterator[str]:
        for field in fields:
            field.kind = self._described(field, type)
        if any(field.is_default for field in fields):
            yield "is_mapping = type(it) is dict or isinstance(it, Mapping)"
        parts, waiting = [], []
        for number, field in enumerate(fields, 1):
            self._fields.append(field)
            kind = field.kind
            if field.name == "__typename":
                parts.append(f"{field.key!r}: {type.name!r}")
                continue
            value = f"value_{number}"
            parts.append(f"{field.key!r}: {value}")
            complete = self._value(field.definition.type, field.place)
            here = self._place(field.place)
            at = f"(path, {field.key!r}, {type.name!r})"
            if isinstance(kind, Relation):
                site = len(self._sites)
                shares = self._holds_attributes(field)
                self._sites.append((kind, field.place, complete, shares))
                lines = self._relation(kind, number, complete, at)
                waiting.append((f"key_{number}", site, at))
            elif isinstance(kind, Attribute):
                lines = self._attribute(kind, field, value, complete, at)
            elif field.is_default:
                lines = self._default(field, value, complete, here, at)
            else:
                lines = self._resolved(field, value, complete, here, at)
            yield "try:"
            for line in lines:
                yield f"    {line}"
            yield "except Exception as error:"
            yield f"    {value} = run.failed(error, {here}, path)"
            if isinstance(kind, Relation):
                yield f"    key_{number} = None"
        if not waiting:
            yield f"return {{{', '.join(parts)}}}"
            return
        yield f"done = {{{', '.join(parts)}}}"
        for key, site, at in waiting:
            yield f"if {key} is not None:"
            yield f"    run.batches[{site}].append((done, {key}, {at}))"
        yield "return done"

    def _described(self, field: Field, type: GraphQLObjectType) -> Described:
        if field.takes_arguments or field.name == "__typename":
            return None
        kind = self._describe(type, field.definition)
        name = kind.name if isinstance(kind, Attribute) else kind.key if kind else ""
        return kind if name.isidentifier() and not iskeyword(name) else None

    def _guarded(self, guard: Callable[[Any], object] | None) -> Iterator[str]:
        if guard:
            yield f"{self._name('guard', guard)}(run.context)"

    def _attribute(self, kind: Attribute, field: Field, value: str, complete: str, at: str) -> Iterator[str]:
        yield from self._guarded(kind.guard)
        yield f"{value} = it.{kind.name}"
        yield from self._completed(field.definition.type, value, complete, at, value)

    def _relation(self, kind: Relation, number: int, complete: str, at: str) -> Iterator[str]:
        yield f"key_{number} = value_{number} = None"
        yield from self._guarded(kind.guard)
        yield f"key_{number} = it.{kind.key}"
        yield f"if key_{number} is None:"
        yield f"    value_{number} = {complete}(run, None, {at})"

    def _default(self, field: Field, value: str, complete: str, here: str, at: str) -> Iterator[str]:
        name = field.name
        yield f"{value} = it.get({name!r}) if is_mapping else getattr(it, {name!r}, None)"
        called = f"run.called({value}, {here}, {at})"
        yield from self._completed(field.definition.type, value, complete, at, called)

    def _resolved(self, field: Field, value: str, complete: str, here: str, at: str) -> Iterator[str]:
        resolve = self._name("resolve", field.definition.resolve or default_field_resolver)
        constants = field.constants()
        if constants is None:
            arguments = f", **run.arguments({here})"
        else:
            arguments = f", **{self._name('arguments', constants)}" if constants else ""
        yield f"at = {at}"
        yield f"info = run.info({here}, at)"
        yield f"{value} = {complete}(run, {resolve}(it, info{arguments}), at)"

    def _holds_attributes(self, field: Field) -> bool:
        """Whether nothing is called for what is below it, however deep."""
        type: Any = field.definition.type
        while not is_leaf_type(type):
            if hasattr(type, "of_type"):
                type = type.of_type
            elif isinstance(type, GraphQLObjectType):
                below = self._plan.below(field, type, field.place)
                return all(
                    each.name == "__typename"
                    or (isinstance(self._described(each, type), Attribute) and self._holds_attributes(each))
                    for each in below
                )
            else:
                return False
        return True
