"""Errors as clients see them: ours as they are, the client's own with a code, anything else masked."""

from collections.abc import Sequence

import structlog
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError, StrawberryInputCoercionError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from adapters.errors import SourceError
from resolvers.changes import NotShown, Partly
from schema.errors import Forbidden, Refusal

LONGEST = 500
"""Characters of a message; graphql-core quotes what it was sent, and indents it."""

log = structlog.get_logger("switchboard.errors")


class Refused(GraphQLError):
    """What a document is refused for before anything of it is run."""

    def __init__(self, message: str, code: str = "BAD_USER_INPUT", **details: object) -> None:
        super().__init__(message, extensions={"code": code, **details})


PUBLIC = (SourceError, Refusal, Forbidden, Partly, NotShown)
UNSUITABLE = (
    CannotGetOperationTypeError,
    InvalidOperationTypeError,
    MissingQueryError,
    Refused,
    StrawberryInputCoercionError,
)


def presented(errors: Sequence[GraphQLError], request_id: str) -> list[GraphQLError]:
    return [_presented(error, request_id) for error in errors]


def _presented(error: GraphQLError, request_id: str) -> GraphQLError:
    cause = _cause(error)
    if isinstance(cause, PUBLIC):
        return error
    if _is_about_the_document(error, cause):
        if len(error.message) > LONGEST:
            error.message = f"{error.message[:LONGEST]}..."
        error.extensions = {"code": "BAD_USER_INPUT", **(error.extensions or {})}
        return error
    log.error("unexpected", exc_info=cause or error, path=_fields(error))
    return GraphQLError(
        "Something went wrong on our side: tell us the request id.",
        nodes=error.nodes,
        path=error.path,
        extensions={"code": "INTERNAL", "requestId": request_id},
    )


def _is_about_the_document(error: GraphQLError, cause: Exception | None) -> bool:
    """Nothing was run, since it has no place in the answer, and nothing of ours broke."""
    return error.path is None and (cause is None or isinstance(cause, UNSUITABLE))


def codes(errors: Sequence[GraphQLError]) -> list[str]:
    return sorted({str((error.extensions or {}).get("code")) for error in errors})


def _cause(error: GraphQLError) -> Exception | None:
    """What was raised, under the layers that graphql-core adds."""
    cause: Exception | None = error
    while isinstance(cause, GraphQLError) and not isinstance(cause, UNSUITABLE):
        cause = cause.original_error
    return cause


def _fields(error: GraphQLError) -> str:
    return ".".join(str(step) for step in error.path or ())
