"""Explain: how an operation is carried out, field by field, and whom it asks."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text
from rich.tree import Tree
from strawberry.schema.schema_converter import GraphQLCoreConverter

from gateway import trial
from gateway.execution import Attribute, Field, NotCompiled, Operation, Relation
from gateway.executor import runs_before
from gateway.graph import Graph, build_graph
from gateway.settings import Settings, UseExecutor, variable_name
from schema.relations import loaded_by

WIDE = 1_000
"""Columns where there is no terminal: whoever reads it there wants a line to be a line."""


class CannotExplain(Exception):
    """A line for each thing that is wrong, with its place."""


@dataclass(frozen=True, slots=True)
class Explained:
    title: str
    how: str
    operation: Operation | None
    """None where graphql-core executes it."""
    asked: Counter[str] | None
    """None for what was not tried."""
    errors: Sequence[GraphQLError]


async def explain(
    settings: Settings, text: str, file: str, name: str | None, variables: dict[str, Any]
) -> Explained:
    graph = build_graph(settings)
    document = _valid(graph, text, file)
    node = _chosen(document, file, name)
    name = node.name.value if node.name else None
    title = " ".join(filter(None, (node.operation.value, name)))
    asked = Counter[str]()
    watched = trial.Watched(graph)
    try:
        if settings.executor is UseExecutor.CORE:
            raise NotCompiled(f"{variable_name('executor')} is {UseExecutor.CORE}.")
        operation = watched.compile(document, name)
        errors = await trial.run(settings, partial(operation, None, variables=variables), asked)
        return Explained(title, _compiled(operation, document), operation, asked, errors)
    except NotCompiled as reason:
        how = f"graphql-core executes it. {reason}"
    if node.operation is OperationType.SUBSCRIPTION:
        return Explained(title, how, None, None, ())
    execute = partial(graph.execute, text, variables, operation_name=name)
    errors = await trial.run(settings, lambda context: execute(context_value=context), asked)
    return Explained(title, how, None, asked, errors)


def _valid(graph: Graph, text: str, file: str) -> DocumentNode:
    prepared = graph.prepared(text)
    if prepared.faults or prepared.document is None:
        raise CannotExplain("\n".join(_line(fault, file) for fault in prepared.faults))
    return prepared.document


def _line(error: GraphQLError, file: str) -> str:
    place = error.locations[0] if error.locations else None
    return f"{file}:{place.line}:{place.column}: {error.message}" if place else f"{file}: {error.message}"


def _chosen(document: DocumentNode, file: str, name: str | None) -> OperationDefinitionNode:
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    there = {each.name.value if each.name else None: each for each in operations}
    if name is None and len(there) == 1:
        return operations[0]
    if name in there:
        return there[name]
    names = ", ".join(filter(None, there))
    if name is None:
        raise CannotExplain(f"{file}: Say which with --operation: {names}.")
    raise CannotExplain(f"{file}: There is no operation {name}{f', only {names}' if names else ''}.")


def _compiled(operation: Operation, document: DocumentNode) -> str:
    functions, lines = len(_functions(operation.source)), len(operation.source.splitlines())
    runs = runs_before(document)
    return (
        f"compiled to {functions} functions of {lines} lines, after {runs} run{'s' if runs > 1 else ''}"
        " by graphql-core"
    )


def _functions(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.startswith("def ")]


def show(explained: Explained, *, code: bool) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    console.print(_tree(explained))
    if explained.asked is not None:
        console.print(Text(f"Tried once on the demo, it asked {_asked(explained.asked) or 'nobody'}."))
    for error in explained.errors:
        at = ".".join(map(str, error.path)) if error.path else "It was not run"
        console.print(Text(f"{at}: {error.message}", "red"))
    if code and explained.operation:
        source = explained.operation.source
        console.print(Syntax(source, "python") if console.is_terminal else source, markup=False)


def _tree(explained: Explained) -> Tree:
    tree = Tree(Text.assemble((explained.title, "bold"), f", {explained.how}"))
    if explained.operation:
        below = defaultdict[Field | None, list[Field]](list)
        for field in explained.operation.fields:
            below[field.parent].append(field)
        _grow(tree, None, below)
    return tree


def _grow(tree: Tree, parent: Field | None, below: Mapping[Field | None, list[Field]]) -> None:
    """A line for each field; those that are only read stand together."""
    is_abstract = parent is not None and is_abstract_type(get_named_type(parent.definition.type))
    for (is_leaf, type), some in groupby(below[parent], lambda each: (_is_leaf(each), each.parent_type.name)):
        prefix = f"... on {type} " if is_abstract else ""
        if is_leaf:
            tree.add(Text.assemble(prefix, (", ".join(map(_name, some)), "bold"), ": read"))
            continue
        for field in some:
            said = Text.assemble(prefix, (_name(field), "bold"), f" {field.definition.type}: {_how(field)}")
            _grow(tree.add(said), field, below)


def _is_leaf(field: Field) -> bool:
    return isinstance(field.kind, Attribute) and is_leaf_type(get_named_type(field.definition.type))


def _name(field: Field) -> str:
    return field.name if field.key == field.name else f"{field.key}: {field.name}"


def _how(field: Field) -> str:
    seen = trial.seen_of(field)
    asked = f", asked {_asked(seen.asked)}" if seen.asked else ""
    if isinstance(field.kind, Relation):
        loaded = loaded_by(field.definition.extensions[GraphQLCoreConverter.DEFINITION_BACKREF])
        loader = f"relation, loader {loaded.loader} by {loaded.key}" if loaded else "relation"
        return f"{loader}, {_batches(seen.batches)}{asked}"
    if isinstance(field.kind, Attribute) or field.is_default:
        return "read"
    if field.name == "__typename":
        return "constant"
    return f"resolver, {f'called {_times(seen.calls)}' if seen.calls else 'not called'}{asked}"


def _batches(sizes: list[int]) -> str:
    """Each of the keys of a level, none of them twice."""
    if not sizes:
        return "nothing to load"
    return " and ".join(f"a batch of {size}" for size in sizes)


def _asked(asked: Counter[str]) -> str:
    return ", ".join(f"{what} {_times(times)}" for what, times in sorted(asked.items()))


def _times(times: int) -> str:
    return "once" if times == 1 else f"{times} times"
