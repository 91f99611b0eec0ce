"""What the fetcher asks, byte by byte, and what it makes of answers that come in parts."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientSession, TCPConnector
from hypothesis import strategies as st

from adapters.fetcher import Body, Departure, Fetcher
from tests.properties import holds_for_any
from tests.raw import Raw, says

JSON = {"Content-Type": "application/json"}
PARTS = st.text(st.sampled_from("aZ9-_~./ %&=+?#;:@é\n"), max_size=6)


HEADERS = {"Accept": "application/json", "Api-Key": "secret"}
BODIES: list[tuple[Body, Mapping[str, Any]]] = [
    (Body("application/json", b'{"name":"Zo"}'), {"data": b'{"name":"Zo"}', "headers": JSON}),
    (Body("application/json", b"{}"), {"data": b"{}", "headers": JSON}),
    (Body("application/x-www-form-urlencoded", b"name=Zo%C3%A9+%26"), {"data": {"name": "Zo\u00e9 &"}}),
]


@asynccontextmanager
async def fetcher() -> AsyncIterator[Fetcher]:
    connector = TCPConnector()
    async with connector:
        yield Fetcher(connector, HEADERS, 1, 1_000)


async def test_it_asks_what_a_session_would_ask() -> None:
    async with Raw(says(b"{}")) as raw, fetcher() as fetched, ClientSession(headers=HEADERS) as session:

        async def asks_the_same(drawn: tuple[str, dict[str, str]]) -> None:
            path, params = drawn
            async with session.get(f"{raw.url}/{path}", params=params, headers={"traceparent": "00-1"}):
                pass
            await fetched.ask("GET", f"{raw.url}/{path}", params, {"traceparent": "00-1"}, seconds=5)
            by_session, by_fetcher = (sorted(head.splitlines()) for head in raw.heard[-2:])
            assert by_session == by_fetcher

        params = st.dictionaries(st.sampled_from(["page", "first name"]), PARTS, max_size=2)
        await holds_for_any(st.tuples(PARTS, params), asks_the_same, 200)


@pytest.mark.parametrize(("body", "as_session"), BODIES)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_it_says_of_a_body_what_a_session_would_say(
    method: str, body: Body, as_session: Mapping[str, Any]
) -> None:
    async with Raw(says(b"{}")) as raw, fetcher() as fetched, ClientSession(headers=HEADERS) as session:
        async with session.request(method, f"{raw.url}/things", **as_session):
            pass
        await fetched.ask(method, f"{raw.url}/things", {}, None, body, seconds=5)

        by_session, by_fetcher = (sorted(said.splitlines()) for said in raw.heard[-2:])
        assert by_session == by_fetcher


async def test_it_is_known_whether_anything_has_left() -> None:
    connected, refused = Departure(), Departure()
    async with fetcher() as fetched, Raw(says(b"{}")) as raw, Raw(None) as closed:
        await fetched.ask("POST", raw.url, {}, seconds=5, departure=connected)
        with pytest.raises(ClientConnectorError):
            await fetched.ask("POST", closed.url, {}, seconds=5, departure=refused)

    assert (connected.has_left, refused.has_left) == (True, False)


async def test_what_is_in_the_url_says_who_asks() -> None:
    async with Raw(says(b"{}")) as raw, fetcher() as fetched:
        await fetched.ask("GET", raw.url.replace("://", "://somebody:secret@") + "/things", {}, seconds=5)
        assert b"Authorization: Basic c29tZWJvZHk6c2VjcmV0\r\n" in raw.heard[0]


async def test_a_header_cannot_end_another() -> None:
    async with Raw(says(b"{}")) as raw, fetcher() as fetched:
        with pytest.raises(ValueError, match="header"):
            await fetched.ask("GET", raw.url, {}, {"traceparent": "00\r\nHost: other"}, seconds=5)
        assert not raw.heard


async def test_what_comes_before_the_answer_is_not_the_answer() -> None:
    before = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    async with Raw(says(b"[1]"), greeting=before) as raw, fetcher() as fetched:
        answer = await fetched.ask("GET", f"{raw.url}/things", {}, seconds=5)
        assert (answer.status, answer.body) == (200, b"[1]")
