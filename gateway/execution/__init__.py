"""Execution: operations of any graphql-core schema, compiled to Python.

    operation = compile(schema, document)
    result = operation(root, context, variables)

is what `graphql.execute(schema, document, root, context, variables)` answers, and much faster: the operation
has been written out as Python functions, which can be read in `operation.source`. What this compiler does not
take on it refuses by raising `NotCompiled`, before anything was called: then graphql-core does it.

It imports nothing of the gateway's: fields are described to it by `Attribute` and `Relation`.
"""

from gateway.execution.fields import Attribute, Describe, Described, Recognise, Relation
from gateway.execution.operation import Operation, compile
from gateway.execution.plan import Field, NotCompiled

__all__ = [
    "Attribute",
    "Describe",
    "Described",
    "Field",
    "NotCompiled",
    "Operation",
    "Recognise",
    "Relation",
    "compile",
]
