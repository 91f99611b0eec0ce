"""GraphQL over HTTP, to the letter of its specification."""

from typing import Any

import pytest

from tests.gateways import Gateway

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"


async def post(gateway: Gateway, body: bytes | str, **headers: str) -> tuple[int, str, Any]:
    sent = {"Content-Type": JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with gateway.session.post(f"{gateway.url}/graphql", data=body, headers=sent) as response:
        return response.status, response.content_type, await response.json(content_type=None)


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (GRAPHQL, GRAPHQL),
        (JSON, JSON),
        (f"{JSON}, {GRAPHQL}", JSON),
        (f"{GRAPHQL}; charset=utf-8, {JSON}; q=0.9", GRAPHQL),
        ("*/*", GRAPHQL),
        ("application/*", GRAPHQL),
        ("text/html, */*;q=0.1", GRAPHQL),
    ],
)
async def test_the_answer_is_of_the_type_the_client_accepts(
    gateway: Gateway, accept: str, answered: str
) -> None:
    assert await post(gateway, '{"query": "{ __typename }"}', Accept=accept) == (
        200,
        answered,
        {"data": {"__typename": "Query"}},
    )


async def test_a_client_that_accepts_neither_type_is_told_so(gateway: Gateway) -> None:
    status, _, answer = await post(gateway, '{"query": "{ __typename }"}', Accept="text/css")

    assert status == 406
    assert (
        answer["errors"][0]["message"] == f"This endpoint answers in {GRAPHQL}, {JSON} or text/event-stream."
    )


@pytest.mark.parametrize(
    "query", ["{", "{ nope }", "query ($id: ID!) { agent(id: $id) { id } }", "{ agent { id } }"]
)
async def test_a_wrong_document_is_400_without_data_and_200_for_plain_json(
    gateway: Gateway, query: str
) -> None:
    body = f'{{"query": "{query}"}}'

    status, _, answer = await post(gateway, body, Accept=GRAPHQL)
    plain_status, _, plain_answer = await post(gateway, body, Accept=JSON)

    assert (status, plain_status) == (400, 200)
    assert answer == plain_answer
    assert "data" not in answer
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "Unable to parse request body as JSON"),
        (b"{", "Unable to parse request body as JSON"),
        (b"\xff\xfe", "Unable to parse request body as JSON"),
        (b"[" * 100_000, "Unable to parse request body as JSON"),
        (b"9" * 100_000, "Unable to parse request body as JSON"),
        (b'"text"', "Send a JSON object with the operation in its field query."),
        (b"5", "Send a JSON object with the operation in its field query."),
        (b"null", "Send a JSON object with the operation in its field query."),
        (b'[{"query": "{ __typename }"}]', "Send one operation a request: batches are not accepted."),
        (b"{}", "No GraphQL query found in the request"),
        (b'{"query": 5}', "The field query must be a string."),
        (b'{"query": "{ __typename }", "variables": []}', "The field variables must be an object."),
        (b'{"query": "{ __typename }", "operationName": 5}', "The field operationName must be a string."),
        (b'{"query": "{ __typename }", "extensions": 5}', "The field extensions must be an object."),
        (b'{"query": "{ __typename }", "operationName": "Other"}', 'Unknown operation named "Other".'),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_malformed_request_is_400_and_one_sentence(gateway: Gateway, body: bytes, says: str) -> None:
    status, _, answer = await post(gateway, body)

    assert status == 400
    assert answer == {"errors": [{"message": says, "extensions": {"code": "BAD_USER_INPUT"}}]}


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/jsonp",
        "text/application/json",
    ],
)
async def test_only_json_in_utf8_is_taken(gateway: Gateway, content_type: str) -> None:
    status, _, answer = await post(gateway, '{"query": "{ __typename }"}', Content_Type=content_type)

    assert (status, answer["errors"][0]["extensions"]["code"]) == (415, "BAD_USER_INPUT")


async def test_a_body_over_the_limit_is_413(gateway: Gateway) -> None:
    status, _, answer = await post(gateway, b'{"query": "' + b" " * 300_000 + b'"}')

    assert (status, answer["errors"][0]["extensions"]["code"]) == (413, "BAD_USER_INPUT")


async def test_a_query_may_come_by_get(gateway: Gateway) -> None:
    query = {
        "query": "query ($id: ID!) { agent(id: $id) { email } }",
        "variables": '{"id": "QWdlbnQ6Mjc2Mw"}',
    }
    async with gateway.session.get(f"{gateway.url}/graphql", params=query) as response:
        assert response.status == 200
        assert await response.json(content_type=None) == {"data": {"agent": {"email": "agent@example.com"}}}


async def test_nothing_is_changed_by_get(gateway: Gateway) -> None:
    save = 'mutation { saveCustomer(input: {messengerId: "7", lastName: "Kim", gender: MALE}) { id } }'
    async with gateway.session.get(f"{gateway.url}/graphql", params={"query": save}) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, POST"
    assert await gateway.data('{ customer(by: {messengerId: "7"}) { id } }') == {"customer": None}


@pytest.mark.parametrize("variables", ["{", "[]", "5", '"x"'])
async def test_variables_by_get_must_be_an_object_too(gateway: Gateway, variables: str) -> None:
    query = {"query": "{ __typename }", "variables": variables}
    async with gateway.session.get(f"{gateway.url}/graphql", params=query) as response:
        assert response.status == 400


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_are_405_and_say_which_are_allowed(gateway: Gateway, method: str) -> None:
    async with gateway.session.request(method, f"{gateway.url}/graphql") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, POST"


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
