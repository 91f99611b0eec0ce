"""Whatever happens on the wire is one of our errors, in time, in one sentence, counted once, logged once."""

import asyncio
import socket
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.deadline import deadline
from adapters.errors import Busy, Malformed, Misconfigured, Rejected, SourceError, TimedOut, Unavailable
from adapters.mercately.client import Agent, Mercately, MercatelySettings
from adapters.mercately.sandbox import MercatelySandbox
from adapters.rest import LARGEST_ANSWER, Mode
from adapters.sandbox import Kind
from tests.raw import (
    HEAD,
    Raw,
    Trouble,
    babbles,
    endless,
    gzip_bomb,
    hang,
    lying,
    says,
    slow_body,
    slow_head,
    slowly_endless,
)

LogLines = list[MutableMapping[str, Any]]

TIMEOUT = 0.5
CONNECT_TIMEOUT = 0.3
MERCY = 0.25
"""Seconds that a slow machine may take beyond a time-out, in place of its tenth."""

MEGABYTE = 2**20
NOBODY = b'{"agents": []}'
SLUG, KEY = MercatelySandbox.credentials["slug"], MercatelySandbox.credentials["api_key"]
DEEP = b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
JOSE = '{"agents": [{"id": 1, "first_name": "José", "phone": "+593999999999"}]}'.encode("latin-1")


@dataclass(frozen=True)
class Upstream:
    url: str
    heal: Callable[[], Awaitable[None]]


Open = Callable[[], AbstractAsyncContextManager[Upstream]]


@asynccontextmanager
async def _sandboxed(kind: Kind, details: dict[str, Any]) -> AsyncIterator[Upstream]:
    async with MercatelySandbox() as sandbox:
        sandbox.trouble(kind, **details)

        async def heal() -> None:
            sandbox.heal()

        yield Upstream(sandbox.url, heal)


@asynccontextmanager
async def _bare(trouble: Trouble | None) -> AsyncIterator[Upstream]:
    async with Raw(trouble) as raw:
        yield Upstream(raw.url, partial(raw.heal, NOBODY))


def sandboxed(kind: Kind, **details: Any) -> Open:
    return partial(_sandboxed, kind, details)


def bare(trouble: Trouble | None) -> Open:
    return partial(_bare, trouble)


def client_of(
    url: str, mode: Mode = Mode.REAL, *, connections: int = 20
) -> AbstractAsyncContextManager[Mercately]:
    settings = MercatelySettings(
        url=url,
        timeout=TIMEOUT,
        connect_timeout=CONNECT_TIMEOUT,
        connections=connections,
        cache=0,
        cache_lists=0,
        stale=0,
        slug=SLUG,
        api_key=SecretStr(KEY),
    )
    return Mercately.open(settings, mode)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.perf_counter()
    yield
    assert time.perf_counter() - started < max(seconds * 1.1, seconds + MERCY)


@contextmanager
def growing_at_most(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


TROUBLES: dict[str, tuple[Open, type[SourceError], str]] = {
    # It says no.
    "400": (sandboxed("status", status=400), Rejected, "SOURCE_REJECTED"),
    "401": (sandboxed("status", status=401), Misconfigured, "SOURCE_MISCONFIGURED"),
    "403": (sandboxed("status", status=403), Misconfigured, "SOURCE_MISCONFIGURED"),
    "404": (sandboxed("status", status=404), Rejected, "SOURCE_REJECTED"),
    "429": (sandboxed("status", status=429), Busy, "SOURCE_UNAVAILABLE"),
    "400, too deep": (bare(says(DEEP, status="400 Bad Request")), Rejected, "SOURCE_REJECTED"),
    "400 in Latin-1": (bare(says(JOSE, status="400 Bad Request")), Rejected, "SOURCE_REJECTED"),
    # It fails.
    "500": (sandboxed("status", status=500), Unavailable, "SOURCE_UNAVAILABLE"),
    "503": (sandboxed("status", status=503), Unavailable, "SOURCE_UNAVAILABLE"),
    "500 with its own words": (
        sandboxed("status", status=500, body={"message": "undefined method for +593999999999"}),
        Unavailable,
        "SOURCE_UNAVAILABLE",
    ),
    # It is not there, or leaves.
    "a closed port": (bare(None), Unavailable, "SOURCE_UNAVAILABLE"),
    "a reset": (sandboxed("reset"), Unavailable, "SOURCE_UNAVAILABLE"),
    "a drop": (sandboxed("drop"), Unavailable, "SOURCE_UNAVAILABLE"),
    "a short body": (sandboxed("short"), Unavailable, "SOURCE_UNAVAILABLE"),
    "a lying length": (bare(lying), Unavailable, "SOURCE_UNAVAILABLE"),
    "broken gzip": (bare(says(b"{}", "Content-Encoding: gzip")), Unavailable, "SOURCE_UNAVAILABLE"),
    # It is slow.
    "a delay": (sandboxed("delay", seconds=30), TimedOut, "SOURCE_TIMEOUT"),
    "no answer": (bare(hang), TimedOut, "SOURCE_TIMEOUT"),
    "a slow head": (bare(slow_head), TimedOut, "SOURCE_TIMEOUT"),
    "a slow body": (bare(slow_body), TimedOut, "SOURCE_TIMEOUT"),
    # It answers what nobody can read.
    "an endless body": (bare(endless), Malformed, "SOURCE_MALFORMED"),
    "a gzip bomb": (bare(gzip_bomb), Malformed, "SOURCE_MALFORMED"),
    "HTML": (sandboxed("html"), Malformed, "SOURCE_MALFORMED"),
    "half a document": (sandboxed("truncated"), Malformed, "SOURCE_MALFORMED"),
    "another shape": (sandboxed("wrong_shape"), Malformed, "SOURCE_MALFORMED"),
    "a redirect": (sandboxed("redirect", url="http://192.0.2.1/"), Malformed, "SOURCE_MALFORMED"),
    "204": (bare(says(b"", status="204 No Content")), Malformed, "SOURCE_MALFORMED"),
    "null": (bare(says(b"null")), Malformed, "SOURCE_MALFORMED"),
    "NaN": (bare(says(b'{"agents": [{"id": NaN}]}')), Malformed, "SOURCE_MALFORMED"),
    "Latin-1": (bare(says(JOSE)), Malformed, "SOURCE_MALFORMED"),
    "too deep": (bare(says(DEEP)), Malformed, "SOURCE_MALFORMED"),
    "an unknown encoding": (bare(says(b"{}", "Content-Encoding: br")), Malformed, "SOURCE_MALFORMED"),
    "no HTTP": (bare(babbles(b"SSH-2.0-OpenSSH_9.2\r\n")), Malformed, "SOURCE_MALFORMED"),
    "no length": (bare(babbles(HEAD + b"Content-Length: x\r\n\r\n")), Malformed, "SOURCE_MALFORMED"),
}

every_trouble = pytest.mark.parametrize(("upstream", "kind", "code"), TROUBLES.values(), ids=TROUBLES)


def assert_fit_to_be_seen(error: SourceError, code: str) -> None:
    more = {"vendorCode": error.vendor_code} if isinstance(error, Rejected) else {}

    assert error.extensions == {"code": code, "source": "MERCATELY", **more}
    assert_one_sentence(str(error))


def assert_one_sentence(message: str) -> None:
    """No full stop but the last: no address, no type of an exception."""
    sentence, _, rest = message.partition(".")

    assert sentence.startswith("Mercately ")
    assert rest == ""
    assert not any(leak in message for leak in ("/", "\n", "Error", "localhost", SLUG, KEY))


def assert_fit_to_be_logged(line: MutableMapping[str, Any], code: str) -> None:
    known = {"event", "log_level", "source", "call", "outcome", "status", "ms", "bytes", "detail"}
    secrets = ("José", "593999999999", "undefined method", "DOCTYPE", "SSH", "127.0.0.1", "192.0.2.1", KEY)

    assert line.keys() <= known
    assert (line["event"], line["source"], line["call"]) == ("source", "mercately", "agents")
    assert line["outcome"] == code
    assert not any(secret in str(line) for secret in secrets)


@every_trouble
async def test_any_trouble_is_an_error_of_ours_until_it_heals(
    upstream: Open, kind: type[SourceError], code: str, log_lines: LogLines
) -> None:
    async with upstream() as vendor, client_of(vendor.url) as mercately:
        with pytest.raises(SourceError) as caught, within(TIMEOUT):
            await mercately.agents()

        assert type(caught.value) is kind
        assert_fit_to_be_seen(caught.value, code)
        assert mercately.record.calls == Counter({("agents", code): 1})
        [line] = log_lines
        assert_fit_to_be_logged(line, code)

        await vendor.heal()
        await mercately.agents()
        assert mercately.record.calls["agents", "ok"] == 1


# When all is well


async def test_an_answer_is_read_counted_and_logged_once(mercately: Mercately, log_lines: LogLines) -> None:
    agents = await mercately.agents()

    assert agents[2763] == Agent(2763, "Agent", "Example", "agent@example.com", True)
    assert mercately.record.calls == Counter({("agents", "ok"): 1})
    [line] = log_lines
    assert_fit_to_be_logged(line, "ok")
    assert line["status"] == 200
    assert line["bytes"] > 1_000


async def test_a_call_that_is_given_up_is_counted_as_that(
    mercately: Mercately, mercately_sandbox: MercatelySandbox, log_lines: LogLines
) -> None:
    mercately_sandbox.trouble("delay", seconds=30)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await mercately.agents()
    for _ in range(5):  # the call itself ends a moment after its last caller
        await asyncio.sleep(0)

    assert mercately.record.calls == Counter({("agents", "CANCELLED"): 1})
    assert [line["outcome"] for line in log_lines] == ["CANCELLED"]


async def test_a_ping_asks_the_vendor(mercately: Mercately, mercately_sandbox: MercatelySandbox) -> None:
    await mercately.ping()
    mercately_sandbox.trouble("status", status=503)

    with pytest.raises(Unavailable):
        await mercately.ping()


# Whom it talks to


async def test_a_source_that_is_off_is_misconfigured_and_nobody_is_asked(log_lines: LogLines) -> None:
    async with Raw(hang) as raw, client_of(raw.url, Mode.OFF) as mercately:
        with pytest.raises(Misconfigured) as caught:
            await mercately.agents()

    assert_fit_to_be_seen(caught.value, "SOURCE_MISCONFIGURED")
    assert raw.accepted == 0
    assert mercately.record.calls == Counter()
    assert log_lines == []


async def test_a_redirect_is_not_followed(mercately: Mercately, mercately_sandbox: MercatelySandbox) -> None:
    async with Raw(says(NOBODY)) as elsewhere:
        mercately_sandbox.trouble("redirect", url=elsewhere.url)
        with pytest.raises(Malformed):
            await mercately.agents()
        with pytest.raises(Malformed):
            await mercately.create_customer({"first_name": "Awa"})

    assert elsewhere.accepted == 0


async def test_a_cookie_is_not_sent_back() -> None:
    # By name: of an address the usual jar would keep no cookie, and hide the fault.
    sets_a_cookie = says(NOBODY, "Set-Cookie: session=1; Path=/")
    async with Raw(sets_a_cookie) as raw, client_of(f"http://localhost:{raw.port}") as mercately:
        await mercately.agents()
        await mercately.agents()

    assert len(raw.heard) == 2
    assert not any(b"cookie" in head.lower() for head in raw.heard)


async def test_the_proxies_of_the_environment_are_not_asked(
    mercately_sandbox: MercatelySandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Raw(says(NOBODY)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with client_of(mercately_sandbox.url) as mercately:
            await mercately.agents()

    assert proxy.accepted == 0
    assert mercately_sandbox.count("/agents") == 1


async def test_the_credentials_go_along_and_nothing_else_tells_who_we_are() -> None:
    async with Raw(says(NOBODY)) as raw, client_of(raw.url) as mercately:
        await mercately.agents()

    lines = raw.heard[0].decode().split("\r\n")
    assert {f"Slug: {SLUG}", f"Api-Key: {KEY}", "User-Agent: Switchboard"} <= set(lines)


# How much it may cost


@pytest.mark.parametrize("trouble", [endless, gzip_bomb])
async def test_an_answer_without_end_takes_little_memory(trouble: Trouble) -> None:
    async with Raw(trouble) as raw, client_of(raw.url) as mercately:
        with growing_at_most(64 * MEGABYTE), pytest.raises(SourceError):
            await mercately.agents()


LARGE = says(b" " * (LARGEST_ANSWER - 1))


@pytest.mark.parametrize("trouble", [endless, slowly_endless, LARGE], ids=["endless", "slow", "unreadable"])
async def test_an_error_keeps_nothing_of_what_was_answered(trouble: Trouble) -> None:
    """It may be long until it is collected: its frames refer to each other."""
    async with Raw(trouble) as raw, client_of(raw.url) as mercately:
        tracemalloc.start()
        try:
            with pytest.raises(SourceError) as caught:
                await mercately.agents()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert kept < MEGABYTE, caught.value


async def test_a_connection_that_nobody_accepts_is_given_up_before_the_whole_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, socket.socket() as taken:
        taken.connect(deaf.getsockname())  # the only place in its queue
        async with client_of(f"http://127.0.0.1:{deaf.getsockname()[1]}") as mercately:
            started = time.perf_counter()
            with pytest.raises(TimedOut):
                await mercately.agents()

    assert time.perf_counter() - started < TIMEOUT


async def test_more_questions_than_connections_wait_their_turn(mercately_sandbox: MercatelySandbox) -> None:
    mercately_sandbox.trouble("delay", seconds=30, path="/agents")
    async with client_of(mercately_sandbox.url, connections=1) as mercately:
        with within(TIMEOUT):
            answers = await asyncio.gather(mercately.agents(), mercately.templates(), return_exceptions=True)

    assert [type(answer) for answer in answers] == [TimedOut, TimedOut]
    assert mercately_sandbox.count("/whatsapp_templates") == 0


async def test_a_change_that_only_waited_for_a_connection_was_certainly_not_made(
    mercately_sandbox: MercatelySandbox,
) -> None:
    mercately_sandbox.trouble("hang")
    async with client_of(mercately_sandbox.url, connections=1) as mercately:
        held = asyncio.create_task(mercately.agents())
        while not mercately_sandbox.asked:
            await asyncio.sleep(0.005)
        with deadline(0.1), pytest.raises(TimedOut) as caught, within(0.1):
            await mercately.create_customer({"first_name": "Awa"})
        held.cancel()

    assert not caught.value.in_doubt
    assert [asked.method for asked in mercately_sandbox.asked] == ["GET"]
