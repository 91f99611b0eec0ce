"""Manifest: a folder of operations, each by the hash under which it is trusted."""

from collections.abc import Iterable
from pathlib import Path

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSyntaxError,
    NoUnusedFragmentsRule,
    OperationDefinitionNode,
    Source,
    UniqueFragmentNamesRule,
    UniqueOperationNamesRule,
    parse,
    print_ast,
    separate_operations,
    validate,
)

from gateway.documents import hashed
from gateway.graph import Graph

ACROSS = (UniqueOperationNamesRule, UniqueFragmentNamesRule, NoUnusedFragmentsRule)
"""What can only be seen by looking at all of them."""


class WrongDocuments(Exception):
    """One line for each thing that is wrong, with its file and line."""


def compiled(folder: Path, graph: Graph) -> dict[str, str]:
    """Each operation with the fragments that it needs, wherever in the folder they are, by its hash."""
    documents = [_parsed(path, folder) for path in sorted(folder.rglob("*.graphql"))]
    whole = DocumentNode(definitions=tuple(each for document in documents for each in document.definitions))
    operations = [each for each in whole.definitions if isinstance(each, OperationDefinitionNode)]
    if not operations:
        raise WrongDocuments(f"{folder}: there is no operation in its .graphql files.")
    unnamed = [
        _line(GraphQLError("Give this operation a name.", each)) for each in operations if not each.name
    ]
    _refuse(unnamed or map(_line, validate(graph.core, whole, ACROSS)))
    texts, wrong = {}, []
    for operation, document in zip(operations, separate_operations(whole).values(), strict=True):
        text = print_ast(document)
        faults = graph.faults(document) or graph.prepared(text).faults
        wrong += [_line(fault, operation) for fault in faults]
        texts[hashed(text)] = text
    _refuse(dict.fromkeys(wrong))  # what is wrong in a fragment is so in each operation that spreads it
    return texts


def _parsed(path: Path, folder: Path) -> DocumentNode:
    name = str(path.relative_to(folder))
    try:
        document = parse(Source(path.read_text(encoding="utf-8"), name))
    except UnicodeDecodeError:
        raise WrongDocuments(f"{name}: this is not UTF-8.") from None
    except GraphQLSyntaxError as error:
        raise WrongDocuments(_line(error)) from None
    for each in document.definitions:
        if not isinstance(each, OperationDefinitionNode | FragmentDefinitionNode):
            raise WrongDocuments(_line(GraphQLError("Only operations and fragments belong here.", each)))
    return document


def _refuse(lines: Iterable[str]) -> None:
    if found := "\n".join(lines):
        raise WrongDocuments(found)


def _line(error: GraphQLError, operation: OperationDefinitionNode | None = None) -> str:
    node = error.nodes[-1] if error.nodes else operation
    if node and (place := node.loc):
        return f"{place.source.name}:{place.start_token.line}: {error.message}"
    if error.source and error.locations:
        return f"{error.source.name}:{error.locations[0].line}: {error.message}"
    return error.message
