"""Hostile requests, one by one against a real process: what each costs the loop, the memory and the log."""

import gzip
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector
from graphql import get_introspection_query

from tests.leaks import hear
from tests.processes import QUIET, environment
from tests.stretches import Longest

ROOT = Path(__file__).parents[2]
SECONDS = 0.25
"""Of the event loop, and of what it has done aside; as CPU time, for other processes are not our doing."""
MEMORY = 32 * 2**20
LOG = 1_024
STRETCH = 0.05
"""Seconds of it that nobody else gets in between: as CPU time too, and the best of some attempts."""
ATTEMPTS = 5

JSON = {"Content-Type": "application/json"}
DEFLATED = JSON | {"Content-Encoding": "deflate"}
GZIPPED = JSON | {"Content-Encoding": "gzip"}


@dataclass(slots=True)
class Victim:
    process: subprocess.Popen[str]
    longest: Longest
    _log: Path
    url: str = ""

    def seconds(self) -> float:
        """That its threads were on a CPU."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def memory(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) * 1_024

    def logged(self) -> int:
        """Bytes, without the lines of calls to the sources, of which there is one for each."""
        lines = self._log.read_text().splitlines()
        return sum(len(line) + 1 for line in lines if '"event":"source"' not in line)

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    folder = tmp_path_factory.mktemp("victim")
    longest = Longest(folder / "longest")
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            (sys.executable, "-m", "tests.stretches", str(folder / "longest"), "serve", "--port", "0"),
            cwd=folder,
            env=environment(**QUIET) | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        victim = Victim(process, longest, folder / "log")
        assert process.stdout
        for line in process.stdout:
            if found := re.search(r"(http://\S+?/graphql)", line):
                victim.url = found[1]
            if "Ctrl-C stops." in line:
                break
        yield victim
        process.kill()
        hear("a process", (folder / "log").read_text())


def asks(query: str, **variables: Any) -> bytes:
    return json.dumps({"query": query, "variables": variables}).encode()


SEND = """mutation ($text: String!) {
  sendMessage(input: {to: {phone: "+593999999999"}, content: {text: $text}}) { id }
}"""
FIND = "query ($text: String!) { customers(filter: {search: $text}) { totalCount } }"
NODES = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
ADDRESS = "query ($by: CustomerKey!) { customer(by: $by) { id } }"
CUSTOMERS = "customers(first: 100) { edges { node { %s } } }"
NEST = CUSTOMERS % "conversations(first: 100) { edges { node { id } } }"
CONVERSATIONS = "conversations(first: 30) { edges { node { id } } }"
WHOSE = "edges { node { id customer { id firstName lastName } agent { id email } } }"
SEND_BY = """mutation ($by: [Channel!]) {
  sendMessage(input: {to: {phone: "+593999999999"}, content: {sms: {text: "x"}}, channels: $by}) { id }
}"""
ONE = '{ customer(by: {messengerId: "1"}) { %s } }'
TYPES = "{ types { " + "fields { name description args { name type { name kind ofType { name } } } } " + "} }"

HOSTILE: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "a nest of lists": (asks("{ " + NEST + " }"), JSON, 422, "cost"),
    "a megabyte of tokens": (asks("{ " + "a " * 500_000 + "}"), JSON, 413, ""),
    "as many tokens as a body holds": (asks("{ " + "a " * 120_000 + "}"), JSON, 422, "text"),
    "tokens": (asks("{ " + "a " * 16_000 + "}"), JSON, 422, "tokens"),
    "comments": (asks("{ a " + "#\n" * 16_000 + "}"), JSON, 422, "tokens"),
    "10,000 aliases": (
        asks("{ " + " ".join(f"a{i}: __typename" for i in range(10_000)) + " }"),
        JSON,
        422,
        "text",
    ),
    "as many aliases as there are tokens": (
        asks("{ " + " ".join(f"a{i}: __typename" for i in range(600)) + " }"),
        JSON,
        422,
        "root_fields",
    ),
    "overlapping fields": (asks(ONE % ("id firstName " * 900)), JSON, 422, "too long"),
    "overlapping fragments": (
        asks(
            ONE % ("...A ...B " * 10)
            + " ".join(f"fragment {n} on Customer {{ {'id firstName email ' * 60} }}" for n in "AB")
        ),
        JSON,
        422,
        "too long",
    ),
    "a fragment bomb": (
        asks(
            "{ agents { ...F0 } } fragment F90 on Agent { id } "
            + " ".join(f"fragment F{i} on Agent {{ ...F{i + 1} ...F{i + 1} }}" for i in range(90))
        ),
        JSON,
        422,
        "fragments",
    ),
    "a bomb that no stack holds": (
        asks(
            "{ agents { ...F0 } } fragment F200 on Agent { id } "
            + " ".join(f"fragment F{i} on Agent {{ ...F{i + 1} }}" for i in range(200))
        ),
        JSON,
        422,
        "depth",
    ),
    "fragments in a circle": (
        asks("{ agents { ...A } } fragment A on Agent { ...B } fragment B on Agent { ...A }"),
        JSON,
        422,
        "itself",
    ),
    "directives": (asks("{ __typename " + "@skip(if: false) " * 250 + "}"), JSON, 422, "directives"),
    "depth": (asks("{ " + "agents { " * 199 + "id" + " }" * 200), JSON, 422, "depth"),
    "depth that no parser takes": (asks("{ " + "agents { " * 600 + "id" + " }" * 601), JSON, 400, "deeply"),
    "inline fragments": (asks("{ " + "... { " * 150 + "__typename" + " }" * 151), JSON, 422, "depth"),
    "root fields": (asks("{ " + "agents { id } " * 21 + "}"), JSON, 422, "root_fields"),
    "the dearest that is allowed": (
        asks(
            "{ "
            + CUSTOMERS
            % "id firstName groups { id } conversations(first: 5) { edges { node { id channel } } } "
            + "}"
        ),
        JSON,
        200,
        "channel",
    ),
    "a deep value": (asks("{ nodes(ids: " + "[" * 190 + "]" * 190 + ") { id } }"), JSON, 422, "ID"),
    "a deep variable": (
        b'{"query": "%s", "variables": {"ids": %s}}' % (NODES.encode(), b"[" * 900 + b"]" * 900),
        JSON,
        422,
        "ids",
    ),
    "wrong names": (
        asks("{ " + " ".join(f"agants{i} {{ id }}" for i in range(20)) + " }"),
        JSON,
        422,
        "agants",
    ),
    "wrong variables": (asks(ADDRESS, by={f"phne{i}": "1" for i in range(5_900)}), JSON, 422, "phne"),
    "100,000 ids": (asks(NODES, ids=["x"] * 50_000), JSON, 422, "values"),
    "as many ids as may be": (asks(NODES, ids=["x"] * 5_900), JSON, 294, "Ask for at most 100"),
    "ids that are none": (asks(NODES, ids=[{}] * 5_900), JSON, 422, "ids"),
    "accents without end": (asks(SEND, text="a" + "\u0316\u0301" * 20_000), JSON, 294, "At most"),
    "accents to search for": (asks(FIND, text="a" + "\u0316\u0301" * 20_000), JSON, 200, ""),
    "several operations": (asks("query A { __typename } query B { __typename }"), JSON, 422, "operationName"),
    "operations": (
        asks(" ".join(f"query Q{i} {{ __typename }}" for i in range(400))),
        JSON,
        422,
        "At most 50 operations",
    ),
    "introspection in itself": (
        asks("{ __schema { types { fields { type { fields { type { name } } } } } } }"),
        JSON,
        422,
        "introspection",
    ),
    "introspection beside something else": (
        asks(f"{{ ...F __typename }} fragment F on Query {{ __schema {TYPES} }}"),
        JSON,
        422,
        "operation of its own",
    ),
    "introspection many times": (
        asks(
            "{ __schema { "
            + " ".join(f"t{i}: types {{ fields {{ args {{ name }} }} }}" for i in range(15))
            + " } }"
        ),
        JSON,
        422,
        "aliases",
    ),
    "arguments that there are not": (
        asks("{ agents { " + " ".join(f"id(x{i}: 1)" for i in range(300)) + " } }"),
        JSON,
        422,
        "Unknown argument",
    ),
    "arguments that differ": (
        asks(ONE % " ".join(f"conversations(first: {i % 2}) {{ totalCount }}" for i in range(100))),
        JSON,
        422,
        "too long",
    ),
    "a value with many values": (
        asks("{ nodes(ids: [" + " ".join(f'"x{i}"' for i in range(1_900)) + "]) { id } }"),
        JSON,
        294,
        "Ask for at most 100",
    ),
    "the same channel again and again": (
        asks(SEND_BY, by=["SMS"] * 5_900),
        JSON,
        294,
        "Each channel once.",
    ),
    "a JSON string": (b'"text"', JSON, 422, "JSON object"),
    "a JSON number": (b"5", JSON, 422, "JSON object"),
    "null": (b"null", JSON, 422, "JSON object"),
    "JSON of depth 100,000": (b"[" * 100_000, JSON, 400, "JSON"),
    "an integer of 100,000 digits": (b"9" * 100_000, JSON, 400, "JSON"),
    "such an integer in a document": (
        asks("{ agents(x: " + "9" * 30_000 + ") { id } }"),
        JSON,
        422,
        "agents",
    ),
    "no UTF-8": (b'{"query": "\xff\xfe"}', JSON, 400, "JSON"),
    "half a character": (b'{"query": "{ \\ud800 }"}', JSON, 400, ""),
    "garbage that should be deflated": (b"\x00garbage" * 1_000, DEFLATED, 400, ""),
    "a deflated stub": (zlib.compress(asks("{ __typename }"))[:9], DEFLATED, 400, ""),
    "a gzip bomb": (gzip.compress(b" " * 100_000_000, 9), GZIPPED, 413, ""),
}


DEAR: dict[str, bytes] = {
    "introspection": asks(get_introspection_query(descriptions=True, input_value_deprecation=True)),
    "introspection, and some variable": asks(
        "query ($all: Boolean! = true) { ...F } "
        f"fragment F on Query {{ __schema @include(if: $all) {TYPES} }}"
    ),
    "every agent's conversations": asks(
        "{ " + " ".join(f"a{i}: agents {{ {CONVERSATIONS} }}" for i in range(7)) + " }"
    ),
    "conversations, and with whom": asks(
        "{ " + " ".join(f"a{i}: conversations(first: 100) {{ {WHOSE} }}" for i in range(4)) + " }"
    ),
    "as many nodes as there may be": asks(
        "query ($ids: [ID!]!) { " + " ".join(f"a{i}: nodes(ids: $ids) {{ id }}" for i in range(15)) + " }",
        ids=["Q3VzdG9tZXI6bWVyY2F0ZWx5OjQ4ODBheG16ZzM4NzY"] * 100,
    ),
}
"""What is allowed, and as large as may be."""


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_request_costs_little(victim: Victim, name: str) -> None:
    body, headers, status, says = HOSTILE[name]
    async with ClientSession(connector=TCPConnector(force_close=True)) as session:
        await _answer(session, victim.url, asks("{ __typename }"), JSON)  # what the first request alone costs
        victim.forget_peak()
        seconds, memory, logged = victim.seconds(), victim.memory("VmRSS"), victim.logged()

        answered, text = await _answer(session, victim.url, body, headers)

        seconds = victim.seconds() - seconds
        memory = victim.memory("VmHWM") - memory
        logged = victim.logged() - logged
        stretch = await _longest_stretch(victim, session, body, headers)
    cost = f"{seconds * 1000:.0f} ms, {stretch * 1000:.0f} ms at once, {memory / 2**20:.1f} MB, {logged} B"
    print(f"COST {name}: {cost} of log")
    assert answered == status, text[:500]
    assert says in text
    assert len(text) < 20_000
    if answered not in (200, 294) and text.startswith("{"):  # aiohttp's own refusals are plain
        assert json.loads(text)["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert seconds < SECONDS
    assert stretch < STRETCH
    assert memory < MEMORY
    assert logged < LOG


@pytest.mark.parametrize("name", DEAR)
async def test_others_are_let_in_while_a_dear_request_is_answered(victim: Victim, name: str) -> None:
    async with ClientSession() as session:
        status, _ = await _answer(session, victim.url, DEAR[name], JSON)
        stretch = await _longest_stretch(victim, session, DEAR[name], JSON)
    print(f"COST {name}: 0 ms, {stretch * 1000:.0f} ms at once")
    assert status == 200
    assert stretch < STRETCH


async def _longest_stretch(
    victim: Victim, session: ClientSession, body: bytes, headers: dict[str, str]
) -> float:
    """For as long as others had to wait, each time with a document that was not read before."""
    longest = float("inf")
    for attempt in range(ATTEMPTS):
        victim.longest.seconds = 0
        another = body.replace(b'{"query": "', b'{"query": "#%d\\n' % attempt)
        await _answer(session, victim.url, another, headers)
        await _answer(session, victim.url, asks("{ __typename }"), JSON)  # by now it has looked round
        longest = min(longest, victim.longest.seconds)
        if longest < STRETCH / 2:
            break
    return longest


async def _answer(session: ClientSession, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    async with session.post(url, data=body, headers=headers) as response:
        return response.status, await response.text()
