"""GraphQL over HTTP, to the letter of its specification."""

import asyncio
import json
from typing import Any, NamedTuple

import pytest

from tests.gateways import Gateway

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"


class Asks(NamedTuple):
    """What a client sends: by POST as JSON, or by GET with these parameters."""

    body: bytes | None = b'{"query": "{ __typename }"}'
    get: dict[str, str] | None = None
    accept: str | None = GRAPHQL
    content_type: str | None = JSON
    method: str = "POST"


class Says(NamedTuple):
    status: int = 200
    kind: str = GRAPHQL
    data: Any = None
    """None where there is none, and then there are errors."""
    message: str = ""


def asks(query: str, **more: Any) -> bytes:
    return json.dumps({"query": query, **more}).encode()


FINE = Says(data={"__typename": "Query"})
PLAIN = FINE._replace(kind=JSON)
NO_OBJECT = "Send a JSON object with the operation in its field query."
NO_JSON = "Unable to parse request body as JSON"
NONE_OF_OURS = f"This endpoint answers in {GRAPHQL}, {JSON} or text/event-stream."
AGENT = "query ($id: ID!) { agent(id: $id) { email } }"
FOUND = Says(data={"agent": {"email": "agent@example.com"}})
NEITHER = b'{"query": "{ agent(id: \\"x\\") { id } __typename }"}'
SAVE = 'mutation { saveCustomer(input: {messengerId: "7", lastName: "Kim", gender: MALE}) { id } }'

# Of the edition of September 2026, section by section; what other tests say is named at the end.
RULES: dict[str, tuple[Asks, Says]] = {
    "2: MUST serve queries and mutations by one address": (
        Asks(asks("mutation { __typename }")),
        Says(data={"__typename": "Mutation"}),
    ),
    "3: MUST support JSON": (Asks(), FINE),
    "3.1: MUST take UTF-8 for granted in Accept": (Asks(accept=f"{GRAPHQL}; charset=utf-8"), FINE),
    "4: MUST support POST": (Asks(), FINE),
    "4.3: MUST read a GET's parameters from the address": (Asks(get={"query": "{ __typename }"}), FINE),
    "4.3: MUST read a GET's variables as JSON": (
        Asks(get={"query": AGENT, "variables": '{"id": "QWdlbnQ6Mjc2Mw"}'}),
        FOUND,
    ),
    "4.3: MUST take empty parameters of a GET as left out": (
        Asks(get={"query": "{ __typename }", "variables": "", "operationName": "", "extensions": ""}),
        FINE,
    ),
    "4.3: operationName=null is an operation of that name": (
        Asks(get={"query": "query null { __typename } query b { b: __typename }", "operationName": "null"}),
        FINE,
    ),
    "4.3: MUST refuse a mutation by GET, SHOULD with 405": (Asks(get={"query": SAVE}), Says(405)),
    "4.4: MUST support application/json in UTF-8": (
        Asks(content_type="Application/JSON; charset=UTF-8"),
        FINE,
    ),
    "4.4: MUST take UTF-8 for granted in Content-Type": (
        Asks('{"query": "{ __typename } # ñ"}'.encode()),
        FINE,
    ),
    "4.4: SHOULD refuse a POST without Content-Type": (Asks(content_type=""), Says(415)),
    "4.4.1: MUST ignore what it does not know": (Asks(asks("{ __typename }", other=[1])), FINE),
    "4.4.1: null is the same as left out": (
        Asks(asks("{ __typename }", variables=None, operationName=None, extensions=None)),
        FINE,
    ),
    "4.4.1: MUST take extensions": (Asks(asks("{ __typename }", extensions={"of": "mine"})), FINE),
    "5.1: MUST answer in what is liked best": (Asks(accept=f"{GRAPHQL};q=0.1, {JSON};q=0.9"), PLAIN),
    "5.1: ... and named first, of two": (Asks(accept=f"{JSON}, {GRAPHQL}"), PLAIN),
    "5.1: ... as clients SHOULD say it": (Asks(accept=f"{GRAPHQL}, {JSON};q=0.9"), FINE),
    "5.1: ... and not in what is not liked": (Asks(accept=f"{GRAPHQL};q=0, */*;q=0.1"), PLAIN),
    "5.1: ... named rather than meant": (Asks(accept=f"*/*, {JSON}"), PLAIN),
    "5.1: ... in anything": (Asks(accept="text/html, application/*;q=0.8"), FINE),
    "5.1: ... by browsers": (Asks(accept="text/html, */*;q=0.1"), FINE),
    "5.1: MUST be well-formed without Accept": (Asks(accept=""), FINE),
    "5.1: MUST say 406, or disregard Accept": (
        Asks(accept="text/css"),
        Says(406, message=NONE_OF_OURS),
    ),
    "5.1: SHOULD answer old clients in plain JSON": (Asks(accept=JSON), PLAIN),
    "5.1: ... what went well in part": (
        Asks(NEITHER, accept=JSON),
        Says(200, JSON, {"agent": None, "__typename": "Query"}),
    ),
    "5.1: ... but not what failed": (Asks(asks("{ nope }"), accept=JSON), Says(422)),
    "5.2: SHOULD apply all rules of validation": (
        Asks(asks("query ($unused: Int) { __typename }")),
        Says(422, message="Variable '$unused' is never used."),
    ),
    "5.4: MUST be 2xx with data, SHOULD be 200": (Asks(), FINE),
    "5.4: SHOULD be 294 with data and errors": (
        Asks(NEITHER),
        Says(294, data={"agent": None, "__typename": "Query"}),
    ),
    "5.4: SHOULD be 405 for another method": (Asks(method="PUT"), Says(405)),
    "5.4: ... that does not read": (Asks(method="DELETE"), Says(405)),
    "5.4: SHOULD be 415 for text": (Asks(content_type="text/plain"), Says(415)),
    "5.4: ... for forms": (Asks(content_type="application/x-www-form-urlencoded"), Says(415)),
    "5.4: ... for uploads": (Asks(content_type="multipart/form-data; boundary=x"), Says(415)),
    "5.4: ... for another charset": (Asks(content_type=f"{JSON}; charset=latin-1"), Says(415)),
    "5.4: ... for what only looks alike": (Asks(content_type="application/jsonp"), Says(415)),
    "5.4: ... at its end": (Asks(content_type="text/application/json"), Says(415)),
    "5.4: SHOULD be 413 for a large body": (Asks(asks(" " * 300_000)), Says(413)),
    "5.4: SHOULD be 400 for what is no JSON": (Asks(b"{"), Says(400, message=NO_JSON)),
    "5.4: ... for nothing": (Asks(b""), Says(400, message=NO_JSON)),
    "5.4: ... for no UTF-8": (Asks(b"\xff\xfe"), Says(400, message=NO_JSON)),
    "5.4: ... for depth": (Asks(b"[" * 100_000), Says(400, message=NO_JSON)),
    "5.4: ... for digits": (Asks(b"9" * 100_000), Says(400, message=NO_JSON)),
    "5.4: ... in variables by GET": (Asks(get={"query": "{ a }", "variables": "{"}), Says(400)),
    "5.4: SHOULD be 422 without a query": (
        Asks(b'{"qeury": "{ __typename }"}'),
        Says(422, message="No GraphQL query found in the request"),
    ),
    "5.4: ... for text": (Asks(b'"text"'), Says(422, message=NO_OBJECT)),
    "5.4: ... for a number": (Asks(b"5"), Says(422, message=NO_OBJECT)),
    "5.4: ... for null": (Asks(b"null"), Says(422, message=NO_OBJECT)),
    "5.4: ... for a batch": (
        Asks(b'[{"query": "{ __typename }"}]'),
        Says(422, message="Send one operation a request: batches are not accepted."),
    ),
    "5.4: ... for a query of another type": (
        Asks(b'{"query": 5}'),
        Says(422, message="The field query must be a string."),
    ),
    "5.4: ... for a name of another type": (
        Asks(asks("{ __typename }", operationName=5)),
        Says(422, message="The field operationName must be a string."),
    ),
    "5.4: ... for variables of another type": (
        Asks(asks("{ __typename }", variables=[7])),
        Says(422, message="The field variables must be an object."),
    ),
    "5.4: ... for extensions of another type": (
        Asks(asks("{ __typename }", extensions=5)),
        Says(422, message="The field extensions must be an object."),
    ),
    "5.4: ... by GET": (Asks(get={"query": "{ a }", "variables": "[]"}), Says(422)),
    "5.4: SHOULD be 400 for a document that cannot be parsed": (Asks(asks("{")), Says(400)),
    "5.4: SHOULD be 422 for one that is not valid": (Asks(asks("{ nope }")), Says(422)),
    "5.4: ... or asks for too much": (Asks(asks("{ " + "agents { id } " * 21 + "}")), Says(422)),
    "5.4: SHOULD be 422 without the operation that is named": (
        Asks(asks("{ __typename }", operationName="Other")),
        Says(422, message='Unknown operation named "Other".'),
    ),
    "5.4: ... where it may be one of several": (
        Asks(asks("query a { __typename } query b { __typename }")),
        Says(422),
    ),
    "5.4: SHOULD be 422 for values that do not fit": (Asks(asks(AGENT)), Says(422)),
}


@pytest.mark.parametrize("rule", RULES)
async def test_graphql_over_http(gateway: Gateway, rule: str) -> None:
    asked, says = RULES[rule]
    headers = {"Accept": asked.accept or "", "Content-Type": asked.content_type or ""}
    response = await gateway.session.request(
        "GET" if asked.get else asked.method,
        f"{gateway.url}/graphql",
        params=asked.get,
        data=None if asked.get else asked.body,
        headers={name: value for name, value in headers.items() if value},
        skip_auto_headers=["Accept", "Content-Type"],
    )
    answer = await response.json(content_type=None)

    assert (response.status, response.content_type) == (says.status, says.kind)
    assert response.charset == "utf-8"
    assert answer.get("data") == says.data
    assert ("data" in answer) is (says.data is not None)
    assert ("errors" in answer) is (says.status != 200 or None in (says.data or {}).values())
    if says.status == 405:
        assert response.headers["Allow"] == "GET, POST"
    if says.message:
        assert answer["errors"] == [
            {**answer["errors"][0], "message": says.message, "extensions": {"code": "BAD_USER_INPUT"}}
        ]
    for error in answer.get("errors", ()):
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


LONG = b"x" * 17_000


@pytest.mark.parametrize(
    ("rule", "head"),
    {
        "414": b"GET /graphql?query=%s HTTP/1.1\r\nHost: here\r\n\r\n" % LONG,
        "431": b"GET /graphql HTTP/1.1\r\nHost: here\r\nX-Long: %s\r\n\r\n" % LONG,
    }.items(),
)
async def test_what_is_too_long_to_be_read_is_told_why(gateway: Gateway, rule: str, head: bytes) -> None:
    """5.4 as well; test_crowds has 408, test_credentials 401, test_documents 403, test_gate 503."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    writer.write(head)
    answer = await reader.read()
    writer.close()

    assert answer.startswith(f"HTTP/1.0 {rule} ".encode())


async def test_nothing_is_changed_by_get(gateway: Gateway) -> None:
    async with gateway.session.get(f"{gateway.url}/graphql", params={"query": SAVE}) as response:
        assert response.status == 405
    assert await gateway.data('{ customer(by: {messengerId: "7"}) { id } }') == {"customer": None}


async def test_the_caller_gets_a_request_id_or_its_own_back(gateway: Gateway) -> None:
    async with gateway.session.get(f"{gateway.url}/health/live") as response:
        assert len(response.headers["X-Request-Id"]) == 32
    async with gateway.session.get(
        f"{gateway.url}/health/live", headers={"X-Request-Id": "mine-1"}
    ) as response:
        assert response.headers["X-Request-Id"] == "mine-1"
    async with gateway.session.get(f"{gateway.url}/nowhere", headers={"X-Request-Id": 'a" b'}) as response:
        assert response.status == 404
        assert len(response.headers["X-Request-Id"]) == 32


async def test_introspection_is_answered(gateway: Gateway) -> None:
    data = await gateway.data("{ __schema { queryType { name } types { name } } }")

    assert data["__schema"]["queryType"] == {"name": "Query"}
