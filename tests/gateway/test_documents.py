"""Documents known by their hash: trusted ones, and those that clients register themselves."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway.documents import Cache, trusted
from gateway.graph import build_graph
from gateway.manifest import WrongDocuments, compiled
from gateway.settings import Settings, WrongSettings
from tests.gateways import Gateway, gateway_on
from tests.processes import run

NOT_FOUND = {"message": "PersistedQueryNotFound", "extensions": {"code": "PERSISTED_QUERY_NOT_FOUND"}}

AGENTS = """query Agents {
  agents {
    ...Card
  }
}

fragment Card on Agent {
  firstName
}"""
ADD = 'mutation Add {\n  unsuppress(address: "+593999999999")\n}'


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def by_hash(hash: str, **body: Any) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash}}, **body}


async def post(gateway: Gateway, body: dict[str, Any]) -> tuple[int, Any]:
    async with gateway.session.post(f"{gateway.url}/graphql", json=body) as response:
        return response.status, await response.json(content_type=None)


async def get(gateway: Gateway, body: dict[str, Any]) -> tuple[int, Any]:
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()}
    async with gateway.session.get(f"{gateway.url}/graphql", params=query) as response:
        return response.status, await response.json(content_type=None)


@pytest.mark.parametrize("ask", [post, get])
async def test_a_client_registers_a_document_by_its_hash(gateway: Gateway, ask: Any) -> None:
    query = f"query ($a: Boolean!) {{ {ask.__name__}: __typename @include(if: $a) }}"
    variables = {"variables": {"a": True}}
    answer = (200, {"data": {ask.__name__: "Query"}})

    assert await ask(gateway, by_hash(digest(query), **variables)) == (422, {"errors": [NOT_FOUND]})
    assert await ask(gateway, by_hash(digest(query), query=query, **variables)) == answer
    assert await ask(gateway, by_hash(digest(query), **variables)) == answer
    assert await ask(gateway, {"documentId": f"sha256:{digest(query)}", **variables}) == answer


async def test_what_is_wrong_is_not_registered(gateway: Gateway) -> None:
    for body, says in (
        (by_hash(digest("{ x }"), query="{ wrong: __typename }"), "The hash is not that of the document"),
        (by_hash(digest("{ nope }"), query="{ nope }"), "Cannot query field 'nope'"),
        (
            {"extensions": {"persistedQuery": {"version": 2, "sha256Hash": "x"}}},
            "Send persistedQuery with version 1",
        ),
        ({"extensions": {"persistedQuery": []}}, "Send persistedQuery with version 1"),
        ({"extensions": {"persistedQuery": {"sha256Hash": 5}}}, "Send persistedQuery with version 1"),
    ):
        status, answer = await post(gateway, body)
        assert (status, answer["errors"][0]["extensions"]["code"]) == (422, "BAD_USER_INPUT")
        assert says in answer["errors"][0]["message"]
    for text in ("{ x }", "{ wrong: __typename }", "{ nope }"):
        assert await post(gateway, by_hash(digest(text))) == (422, {"errors": [NOT_FOUND]})


async def test_a_mutation_by_its_hash_needs_a_post_too(gateway: Gateway) -> None:
    assert (await get(gateway, by_hash(digest(ADD), query=ADD)))[0] == 405
    assert await post(gateway, by_hash(digest(ADD), query=ADD)) == (200, {"data": {"unsuppress": False}})
    assert (await get(gateway, by_hash(digest(ADD))))[0] == 405


async def test_a_subscription_by_its_hash_is_streamed(gateway: Gateway) -> None:
    query = 'subscription { messageStatus(id: "TWVzc2FnZTox") { id } }'
    events = {"Accept": "text/event-stream"}
    for body in (by_hash(digest(query), query=query), by_hash(digest(query))):
        async with gateway.session.post(f"{gateway.url}/graphql", json=body, headers=events) as response:
            assert response.content_type == "text/event-stream"
            assert "event: next" in await response.text()


async def test_over_a_socket_a_hash_stands_for_its_document(gateway: Gateway) -> None:
    query = "{ __typename }"
    async with gateway.session.ws_connect(
        f"{gateway.url}/graphql", protocols=["graphql-transport-ws"]
    ) as opened:
        await opened.send_json({"type": "connection_init"})
        await opened.receive_json()
        for payload, received in (
            (by_hash(digest(query)), {"type": "error", "payload": [NOT_FOUND]}),
            (
                by_hash(digest(query), query=query),
                {"type": "next", "payload": {"data": {"__typename": "Query"}}},
            ),
            (by_hash(digest(query)), {"type": "next", "payload": {"data": {"__typename": "Query"}}}),
            (
                {"query": query, "extensions": {"cost": True}},
                {
                    "type": "next",
                    "payload": {
                        "data": {"__typename": "Query"},
                        "extensions": {"cost": {"value": 1, "budget": 5_000}},
                    },
                },
            ),
        ):
            await opened.send_json({"id": "1", "type": "subscribe", "payload": payload})
            assert await opened.receive_json() == {"id": "1", **received}
            if received["type"] == "next":
                assert await opened.receive_json() == {"id": "1", "type": "complete"}


def test_a_cache_keeps_the_latest_that_fit() -> None:
    cache: Cache[str] = Cache(3, 100)
    for name in "abc":
        cache.put(name, name, 10)
    assert cache.get("a") == "a"
    cache.put("d", "d", 10)  # of four the one that was not used for longest goes
    assert [cache.get(name) for name in "abcd"] == ["a", None, "c", "d"]
    cache.put("e", "e", 85)
    assert [cache.get(name) for name in "acde"] == [None, None, "d", "e"]
    cache.put("d", "D", 101)  # larger than everything
    assert [cache.get(name) for name in "de"] == [None, None]
    cache.put("f", "f", 100)
    assert cache.get("f") == "f"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / "operations" / f"{name.replace('_', '/')}.graphql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "operations"


async def test_a_folder_is_compiled_and_then_nothing_else_is_run(settings: Settings, tmp_path: Path) -> None:
    operations, card = AGENTS.split("\n\n")
    folder = write(tmp_path, agents=f"# who\n{operations} {ADD}", shared_card=card)

    ended = await run(tmp_path, "documents", str(folder), "-o", "manifest.json")

    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "2 operations: set SWITCHBOARD_DOCUMENTS to manifest.json, and nothing else is run.\n"
    manifest = tmp_path / "manifest.json"
    assert json.loads(manifest.read_text()) == {digest(text): text for text in (AGENTS, ADD)}

    async with gateway_on(settings.model_copy(update={"documents": manifest})) as gateway:
        for body in (
            by_hash(digest(AGENTS)),
            {"documentId": f"sha256:{digest(AGENTS)}"},
            {"documentId": digest(AGENTS)},
            {"query": AGENTS},
            by_hash(digest(AGENTS), query=AGENTS),
        ):
            for ask in (post, get):
                status, answer = await ask(gateway, body)
                assert (status, answer["data"]["agents"][0]) == (200, {"firstName": "Agent"}), answer
        assert (await post(gateway, by_hash(digest(ADD))))[1] == {"data": {"unsuppress": False}}
        asked = len(gateway.mercately.asked)

        for query in ("{ __typename }", AGENTS + " ", "{ __schema { description } }"):
            for body in ({"query": query}, by_hash(digest(query), query=query)):
                status, answer = await post(gateway, body)
                (error,) = answer["errors"]
                assert (status, error["extensions"]["code"]) == (403, "FORBIDDEN")
                assert error["message"] == "Only trusted documents are run here: send the hash of one."
            assert await post(gateway, by_hash(digest(query))) == (422, {"errors": [NOT_FOUND]})
        assert len(gateway.mercately.asked) == asked


WRONG = {
    "shop/a.graphql:2: Cannot query field 'nme' on type 'Agent'.": {
        "shop_a": "query A { agents {\n  nme } }"
    },
    "a.graphql:1: Syntax Error: Expected Name, found <EOF>.": {"a": "query A {"},
    "b.graphql:1: There can be only one operation named 'A'.": {
        "a": "query A { __typename }",
        "b": "query A { __typename }",
    },
    "b.graphql:2: Fragment 'F' is never used.": {
        "a": "query A { __typename }",
        "b": "\nfragment F on Agent { id }",
    },
    "a.graphql:1: Unknown fragment 'F'.": {"a": "query A { agents { ...F } }"},
    "f.graphql:1: Cannot query field 'nope' on type 'Agent'.": {
        "a": "query A { agents { ...F } }",
        "b": "query B { agents { ...F } }",
        "f": "fragment F on Agent { nope }",
    },
    "a.graphql:1: Give this operation a name.": {"a": "{ __typename }"},
    "a.graphql:1: Only operations and fragments belong here.": {"a": "type A { a: Int }"},
    "a.graphql:2: At most 15 aliases are allowed, and this has 16: ask for less at a time.": {
        "a": "\nquery A { " + " ".join(f"a{i}: __typename" for i in range(16)) + " }"
    },
}


@pytest.mark.parametrize("says", WRONG)
async def test_what_is_wrong_in_a_folder_is_told_with_its_file_and_line(tmp_path: Path, says: str) -> None:
    folder = write(tmp_path, **WRONG[says])

    with pytest.raises(WrongDocuments) as wrong:
        compiled(folder, build_graph())

    assert str(wrong.value) == says


async def test_a_command_that_finds_something_wrong_writes_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path, a="query A { agents {\n  nope }\n  nopes }")

    ended = await run(tmp_path, "documents", str(folder), "-o", "manifest.json")

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines() == [
        "a.graphql:2: Cannot query field 'nope' on type 'Agent'.",
        "a.graphql:3: Cannot query field 'nopes' on type 'Query'. Did you mean 'nodes' or 'node'?",
    ]
    assert not (tmp_path / "manifest.json").exists()


async def test_what_is_no_manifest_is_one_line_at_the_start(tmp_path: Path) -> None:
    says = "SWITCHBOARD_DOCUMENTS: manifest.json is no manifest, make one with `switchboard documents`."
    manifest = tmp_path / "manifest.json"
    for content in ("", "[]", '{"x": 5}', '{"abc": "{ __typename }"}'):
        manifest.write_text(content)
        with pytest.raises(WrongSettings, match=r"manifest\.json is no manifest"):
            trusted(manifest)

    ended = await run(tmp_path, "serve", "--port", "0", DOCUMENTS="manifest.json")

    assert (ended.code, ended.out, ended.err) == (2, "", f"{says}\n")
