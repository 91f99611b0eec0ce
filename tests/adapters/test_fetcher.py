"""What the fetcher asks, byte by byte, and what it makes of answers that come in parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from hypothesis import strategies as st

from adapters.fetcher import Answer, Fetcher
from tests.properties import holds_for_any
from tests.raw import Raw, says

PARTS = st.text(st.sampled_from("aZ9-_~./ %&=+?#;:@é\n"), max_size=6)


@asynccontextmanager
async def session_to(raw: Raw) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        headers={"Accept": "application/json", "Api-Key": "secret"},
        connector=aiohttp.TCPConnector(force_close=False),
    ) as session:
        yield session


async def got(session: aiohttp.ClientSession, url: str, **params: str) -> Answer:
    return await Fetcher(session, 1, 1_000).get(url, params, None, 5)


async def test_it_asks_what_a_session_would_ask() -> None:
    async with Raw(says(b"{}")) as raw, session_to(raw) as session:

        async def asks_the_same(drawn: tuple[str, dict[str, str]]) -> None:
            path, params = drawn
            async with session.get(f"{raw.url}/{path}", params=params, headers={"traceparent": "00-1"}):
                pass
            await Fetcher(session, 1, 1_000).get(f"{raw.url}/{path}", params, {"traceparent": "00-1"}, 5)
            by_session, by_fetcher = (sorted(head.splitlines()) for head in raw.heard[-2:])
            assert by_session == by_fetcher

        params = st.dictionaries(st.sampled_from(["page", "first name"]), PARTS, max_size=2)
        await holds_for_any(st.tuples(PARTS, params), asks_the_same, 200)


async def test_what_is_in_the_url_says_who_asks() -> None:
    async with Raw(says(b"{}")) as raw, session_to(raw) as session:
        await got(session, raw.url.replace("://", "://somebody:secret@") + "/things")
        assert b"Authorization: Basic c29tZWJvZHk6c2VjcmV0\r\n" in raw.heard[0]


async def test_a_header_cannot_end_another() -> None:
    async with Raw(says(b"{}")) as raw, session_to(raw) as session:
        with pytest.raises(ValueError, match="header"):
            await Fetcher(session, 1, 1_000).get(f"{raw.url}/", {}, {"traceparent": "00\r\nHost: other"}, 5)
        assert not raw.heard


async def test_what_comes_before_the_answer_is_not_the_answer() -> None:
    before = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    async with Raw(says(b"[1]"), greeting=before) as raw, session_to(raw) as session:
        answer = await got(session, f"{raw.url}/things")
        assert (answer.status, answer.body) == (200, b"[1]")
