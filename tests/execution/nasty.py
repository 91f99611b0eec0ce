"""A schema made to be nasty, operations on it and what its fields do, all drawn from a seed."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from enum import Enum
from functools import cache
from random import Random
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    GraphQLUnionType,
    Undefined,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
)

from gateway.execution import Attribute, Described, Relation

OBJECTS = ("Ant", "Bee", "Cat", "Dog")
"""Ant says by is_type_of what it is, Bee too, but later; Cat and Dog do not."""


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class World:
    """What one run finds: everything follows from the seed, wherever and whenever it is asked."""

    def __init__(self, seed: int, trouble: float, waiting: float) -> None:
        self.seed = seed
        self.trouble = trouble
        self.waiting = waiting
        self.calls: Counter[str] = Counter()
        """Of resolvers that nothing stands for, by the path."""

    def value(self, name: str, type: Any, *, awaited: bool = True) -> Any:
        draw = Random(f"{self.seed} {name}")
        found = self._value(draw, name, type)
        if awaited and draw.random() < self.waiting:
            return draw.choice((_wait, _Later))(found, draw.randrange(4))
        if isinstance(found, _Raised):
            if draw.random() < 0.3:
                return found.error
            raise found.error
        return found

    def _value(self, draw: Random, name: str, type: Any) -> Any:
        if draw.random() < self.trouble:
            return draw.choice(TROUBLES)(name)
        bare = get_nullable_type(type)
        if bare is type and draw.random() < 0.2:
            return None
        if is_list_type(bare):
            items = [self._item(draw, f"{name}.{index}", bare.of_type) for index in range(draw.randrange(4))]
            return draw.choice(CONTAINERS)(items) if draw.random() < 0.3 else items
        if is_leaf_type(bare):
            return draw.choice(LEAVES[bare.name])
        return self.thing(draw, name, bare)

    def _item(self, draw: Random, name: str, type: Any) -> Any:
        found = self._value(draw, name, type)
        if draw.random() < self.waiting / 2:
            return _Later(found, draw.randrange(3))
        return found.error if isinstance(found, _Raised) else found

    def thing(self, draw: Random, name: str, type: Any) -> "Thing | MappingThing":
        kind = draw.choice(OBJECTS) if is_abstract_type(type) or draw.random() < self.trouble else type.name
        return draw.choice((Thing, Thing, MappingThing))(self, name, kind)


class _Raised:
    def __init__(self, error: Exception) -> None:
        self.error = error


TROUBLES: Sequence[Callable[[str], Any]] = (
    lambda name: None,
    lambda name: Undefined,
    lambda name: object,
    lambda name: 5_000_000_000,
    lambda name: "text",
    lambda name: float("nan"),
    lambda name: {},
    lambda name: _Raised(ValueError(f"Broken at {name}.")),
    lambda name: _Raised(ValueError(f"Broken at {name}.")),
    lambda name: _Raised(GraphQLError(f"Refused at {name}.", extensions={"code": "NO"})),
)
LEAVES: dict[str, Sequence[Any]] = {
    "Int": (0, 7, -3, 2**31 - 1, True, 4.0, "12"),
    "Float": (0.5, 3, -1e300, True, "2.5"),
    "String": ("", "x", "é", 4, 1.5, True),
    "Boolean": (True, False, 1, 0.0),
    "ID": ("1", 2, "x"),
    "Colour": (Colour.RED, Colour.BLUE, Colour.RED, "red"),
    "Odd": ("fine", 3, [1, 2], {"a": 1}, "raise", "nothing", "later"),
}


def _generator(items: list[Any]) -> Iterator[Any]:
    yield from items


async def _async_generator(items: list[Any]) -> AsyncIterator[Any]:
    for index, item in enumerate(items):
        if index % 2:
            await asyncio.sleep(0)
        yield item


def _breaking(items: list[Any]) -> Iterator[Any]:
    yield from items
    raise ValueError("Broken off.")


async def _async_breaking(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
    raise ValueError("Broken off.")


CONTAINERS: Sequence[Callable[[list[Any]], Any]] = (
    tuple,
    _generator,
    _async_generator,
    _breaking,
    _async_breaking,
    list,
)


async def _wait(found: Any, turns: int) -> Any:
    for _ in range(turns):
        await asyncio.sleep(0)
    if isinstance(found, _Raised):
        raise found.error
    return found


class _Later:
    """No coroutine: among the items of a list that nobody looks at, that would be one that nobody awaits."""

    def __init__(self, found: Any, turns: int) -> None:
        self._found = found
        self._turns = turns

    def __await__(self) -> Generator[Any, Any, Any]:
        return _wait(self._found, self._turns).__await__()


class _Found:
    """Of any object type."""

    world: World
    name: str
    kind: str

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def read(self, field: str) -> Any:
        return self.world.value(f"{self.name}/{field}", fields()[field].type)

    def called(self, field: str) -> Any:
        """As the default resolver finds it: sometimes to be called first."""
        if Random(f"{self.world.seed} {self.name} {field}").random() < 0.1:
            return lambda info: self.read(field)
        return self.read(field)


class Thing(_Found):
    """Its fields are attributes."""

    def __init__(self, world: World, name: str, kind: str) -> None:
        self.world = world
        self.name = name
        self.kind = kind
        if kind not in ("Ant", "Bee"):
            self._Thing__typename = kind


class MappingThing(_Found, dict[str, Any]):
    def __init__(self, world: World, name: str, kind: str) -> None:
        super().__init__()
        self.world = world
        self.name = name
        self.kind = kind

    def get(self, field: str, default: Any = None) -> Any:
        if field == "__typename":
            return None if self.kind in ("Ant", "Bee") else self.kind
        return self.called(field)


def _serialised(value: Any) -> Any:
    if value == "raise":
        raise ValueError("This cannot be serialised.")
    if value == "later":
        return _wait("at last", 1)
    return None if value == "nothing" else value


COLOUR = GraphQLEnumType("Colour", Colour, names_as_values=None)
ODD = GraphQLScalarType("Odd", coerce_output_value=_serialised)
BASES: list[Any] = [GraphQLInt, GraphQLFloat, GraphQLString, GraphQLBoolean, GraphQLID, COLOUR, ODD]
WRAPPINGS: Sequence[Callable[[Any], Any]] = (
    lambda type: type,
    GraphQLNonNull,
    GraphQLList,
    lambda type: GraphQLList(GraphQLNonNull(type)),
    lambda type: GraphQLNonNull(GraphQLList(type)),
    lambda type: GraphQLNonNull(GraphQLList(GraphQLNonNull(type))),
    lambda type: GraphQLNonNull(GraphQLList(GraphQLNonNull(GraphQLList(GraphQLNonNull(type))))),
    lambda type: GraphQLList(GraphQLList(type)),
)
FILTER = GraphQLInputObjectType(
    "Filter",
    {
        "least": GraphQLInputField(GraphQLNonNull(GraphQLInt)),
        "words": GraphQLInputField(GraphQLList(GraphQLNonNull(GraphQLString)), default_value=["a"]),
    },
)
ARGUMENTS = {
    "n": GraphQLArgument(GraphQLInt, default_value=3),
    "must": GraphQLArgument(GraphQLNonNull(GraphQLString), default_value="said"),
    "colour": GraphQLArgument(COLOUR),
    "filter": GraphQLArgument(FILTER),
}


def _resolve(source: Any, info: Any, **arguments: Any) -> Any:
    world = source.world
    path = ".".join(map(str, info.path.as_list()))
    world.calls[path] += 1
    assert info.field_name == info.field_nodes[0].name.value
    assert info.parent_type.fields[info.field_name].type is info.return_type
    said = f" {sorted(arguments.items(), key=str)}" if arguments else ""
    return world.value(f"{source.name}/{info.field_name}{said}", info.return_type)


def _resolve_attribute(source: Any, info: Any) -> Any:
    return getattr(source, info.field_name)


def _resolve_relation(source: Any, info: Any) -> Any:
    thing, name = getattr(source, f"{info.field_name}_key")
    return thing.read(name)


def _is_ant(value: Any, info: Any) -> bool:
    return getattr(value, "kind", None) == "Ant"


def _is_bee(value: Any, info: Any) -> Any:
    return _Later(getattr(value, "kind", None) == "Bee", 1)


RESOLVERS = (_resolve_attribute, _resolve, _resolve_attribute, _resolve_relation, None)
"""What is plain, what takes arguments, what is loaded, and what the default resolver finds."""


@cache
def schema() -> GraphQLSchema:
    objects: dict[str, GraphQLObjectType] = {}
    node = GraphQLInterfaceType("Node", lambda: {"id": GraphQLField(GraphQLID)})
    pet = GraphQLUnionType("Pet", lambda: list(objects.values()))

    def made() -> dict[str, GraphQLField]:
        found = {"id": GraphQLField(GraphQLID, resolve=_resolve, extensions={"how": 1})}
        for type in (*BASES, *objects.values(), node, pet):
            for number, wrap in enumerate(WRAPPINGS):
                name = f"{type.name.lower()}{number}"
                how = (number + len(found)) % 5
                found[name] = GraphQLField(
                    wrap(type),
                    resolve=RESOLVERS[how],
                    args=ARGUMENTS if how == 1 else None,
                    extensions={"how": how, "name": name},
                )
        return found

    for name in OBJECTS:
        objects[name] = GraphQLObjectType(
            name,
            made,
            interfaces=[node],
            is_type_of={"Ant": _is_ant, "Bee": _is_bee}.get(name),
        )
    root = GraphQLObjectType("Query", made)
    return GraphQLSchema(root, GraphQLObjectType("Mutation", made), types=list(objects.values()))


@cache
def fields() -> dict[str, GraphQLField]:
    query = schema().query_type
    assert query
    found: dict[str, GraphQLField] = query.fields
    return found


def _attribute(name: str) -> property:
    def read(thing: Thing | MappingThing) -> Any:
        is_default = fields()[name].resolve is None and isinstance(thing, Thing)
        return thing.called(name) if is_default else thing.read(name)

    return property(read)


def _key(name: str) -> property:
    def key(thing: Thing | MappingThing) -> Any:
        return thing, name

    return property(key)


for _name in fields():
    for _kind in (Thing, MappingThing):
        setattr(_kind, _name, _attribute(_name))
        setattr(_kind, f"{_name}_key", _key(_name))


def describe(type: GraphQLObjectType, field: GraphQLField) -> Described:
    how, name = field.extensions.get("how"), field.extensions.get("name", "")
    if how in (0, 2):
        return Attribute(name)
    if how == 3 and type.name not in ("Query", "Mutation"):
        return Relation(f"{name}_key", _load, same=lambda key: (key[0].name, key[1]))
    return None


def describe_attributes(type: GraphQLObjectType, field: GraphQLField) -> Described:
    found = describe(type, field)
    return found if isinstance(found, Attribute) else None


async def _load(context: Any, keys: list[Any]) -> list[Any]:
    await asyncio.sleep(0)
    found = []
    for thing, name in keys:
        try:
            value = thing.read(name)
            found.append(await value if hasattr(value, "__await__") else value)
        except Exception as error:
            found.append(error)
    return found


class Operations:
    """Operations, as text and variables."""

    def __init__(self, draw: Random, size: int) -> None:
        self._draw = draw
        self._left = size
        self._fragments: dict[str, str] = {}

    def operation(self) -> str:
        kind = self._draw.choice(("query", "query", "mutation"))
        selection = self._selection("Query" if kind == "query" else "Mutation", 4)
        variables = "$yes: Boolean!, $no: Boolean = false, $n: Int, $m: Int = 5, $s: String, $f: Filter"
        return "\n".join([f"{kind} Op({variables}) {selection}", *self._fragments.values()])

    def variables(self) -> dict[str, Any]:
        draw = self._draw
        found: dict[str, Any] = {"yes": draw.random() < 0.5}
        if draw.random() < 0.5:
            found["no"] = draw.choice((True, False, False, None))
        if draw.random() < 0.5:
            found["n"] = draw.choice((1, 2, None))
        if draw.random() < 0.5:
            found["s"] = draw.choice(("word", None))
        if draw.random() < 0.5:
            found["f"] = draw.choice(({"least": 1}, {"least": 2, "words": None}, None, {}))
        return found

    def _selection(self, type: str, depth: int) -> str:
        parts = [self._part(type, depth) for _ in range(self._draw.randrange(1, 6))]
        return "{ " + " ".join(parts) + " }"

    def _part(self, type: str, depth: int) -> str:
        draw, chance = self._draw, self._draw.random()
        if chance < 0.06:
            return f"{draw.choice(('', 'kind: '))}__typename{self._condition()}"
        if chance < 0.16 and depth > 1:
            on = draw.choice(("", f" on {type}", *(f" on {name}" for name in (*OBJECTS, "Node"))))
            within = on[4:] or type
            return f"...{on}{self._condition()} {self._selection(within, depth - 1)}"
        if chance < 0.22 and depth > 1:
            within = draw.choice((type, *OBJECTS))
            name = f"F{len(self._fragments)}{within}"
            self._fragments[name] = ""
            self._fragments[name] = f"fragment {name} on {within} {self._selection(within, depth - 1)}"
            return f"...{name}{self._condition()}"
        if chance < 0.25 and self._fragments:
            return f"...{draw.choice(list(self._fragments))}"
        return self._field(type, depth)

    def _field(self, type: str, depth: int) -> str:
        draw = self._draw
        self._left -= 1
        if type == "Pet":
            return "__typename"
        if type == "Node":
            return "id"
        names = list(fields())
        name = draw.choice(names)
        leaf = all(not name.startswith(other) for other in ("ant", "bee", "cat", "dog", "node", "pet"))
        if not leaf and (depth < 1 or self._left < 0):
            name, leaf = draw.choice(("string1", "int0", "id")), True
        arguments, alias = "", ""
        if fields()[name].args and draw.random() < 0.7:
            arguments, alias = self._arguments()
        alias = f"{name}{alias}: " if alias else draw.choice(("", "", "", f"a{draw.randrange(3)}{name}: "))
        below = "" if leaf else " " + self._selection(fields_of(name), depth - 1)
        return f"{alias}{name}{arguments}{self._condition()}{below}"

    def _arguments(self) -> tuple[str, str]:
        said = self._draw.choice(
            (
                ("n: 1", "One"),
                ("n: $n", "N"),
                ("n: $m, must: $s", "M"),
                ('must: "x", colour: RED', "Red"),
                ("filter: {least: 4}", "F"),
                ("filter: {least: $n, words: [$s]}", "Fn"),
                ("filter: $f", "Fv"),
            )
        )
        return f"({said[0]})", said[1]

    def _condition(self) -> str:
        chances = (" @skip(if: $yes)", " @include(if: $yes)", " @include(if: $no)", " @skip(if: false)")
        return self._draw.choice(chances) if self._draw.random() < 0.1 else ""


def fields_of(name: str) -> str:
    return name.rstrip("0123456789").capitalize()


def recognise(type: GraphQLObjectType) -> Callable[[Any], bool] | None:
    return (lambda value: getattr(value, "kind", None) == "Ant") if type.name == "Ant" else None
