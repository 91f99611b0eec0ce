"""Errors as clients see them: ours as they are, the client's own with a code, anything else masked."""

from collections.abc import Sequence

import structlog
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError, StrawberryInputCoercionError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from adapters.errors import SourceError
from resolvers.changes import NotShown, Partly
from schema.errors import Forbidden, Refusal

log = structlog.get_logger("switchboard.errors")

PUBLIC = (SourceError, Refusal, Forbidden, Partly, NotShown)
UNSUITABLE = (
    CannotGetOperationTypeError,
    InvalidOperationTypeError,
    MissingQueryError,
    StrawberryInputCoercionError,
)


def presented(errors: Sequence[GraphQLError], request_id: str) -> list[GraphQLError]:
    return [_presented(error, request_id) for error in errors]


def _presented(error: GraphQLError, request_id: str) -> GraphQLError:
    cause = _cause(error)
    if isinstance(cause, PUBLIC):
        return error
    if _is_about_the_document(error, cause):
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
    """Nothing was run: there is a place in the document or its variables, and none in the answer."""
    return error.path is None and (bool(error.locations) or isinstance(cause, UNSUITABLE))


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
