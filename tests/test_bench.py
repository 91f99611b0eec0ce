"""The benchmarks run and report; `make bench` judges what they report, on a machine that is quiet."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.load import Faults, load
from bench.peers.__main__ import Unlike, check, compare
from bench.peers.servers import Handler, Ours, Tuned
from bench.peers.upstream import QUESTIONS
from bench.process import State
from bench.servers import Peer, Upstream, running
from bench.soak import growth
from tests.processes import environment

ROOT = Path(__file__).parent.parent
PEERS = ("plain", "tuned", "switchboard, unshared", "switchboard")


def test_every_peer_is_measured_and_without_batches_every_conversation_asks_for_its_agent() -> None:
    said = run("bench", "agents of conversations", "--rounds", "1", "--seconds", "0.05").stdout

    for peer in PEERS:
        for connections in (1, 16, 64):
            assert re.search(rf"\| {peer} \| {connections} \| \*\*\d+\*\*", said)
    assert len(re.findall(r"is \*\*\d\.\d\d\*\* .* of tuned", said)) == 3
    calls = re.findall(r"\| tuned \| \d+ \|.* (\d+\.\d\d) \|", said)
    assert calls == ["3.00", "3.00", "3.00"]  # two channels, and the agents
    assert "102 upstream calls" in said


def test_the_memory_is_told_all_along_the_requests() -> None:
    said = run("bench.memory", "--requests", "100", "--every", "50").stdout

    assert re.findall(r"\| (\d+) \| \d+\.\d \|", said) == ["50", "100"]
    assert re.search(r"^From \d+\.\d to \d+\.\d MiB, ", said, re.M)


def test_a_person_whom_three_sources_know_costs_a_call_to_each_of_the_two_vendors() -> None:
    said = run("bench.person", "--requests", "3").stdout

    assert "3 requests, 2.00 calls each" in said


def test_a_sync_of_5000_people_stays_small() -> None:
    ended = run("bench.sync", "--people", "5000")

    assert ended.returncode == 0, ended.stderr
    assert re.search(r"^everybody new: 5,500 people in .* memory \+\d+ MiB at most$", ended.stdout, re.M)
    assert re.search(r"^nothing new: 5,500 people in ", ended.stdout, re.M)


def test_a_plan_is_told_with_what_it_took() -> None:
    said = run("bench.plan", "--people", "2000").stdout

    assert len(re.findall(r"^previewed .*: 2,000 people in ", said, re.M)) == 3
    assert len(re.findall(r"^planned .*: 2,000 rows in 1 steps, .* RSS \d+ -> \d+ MiB$", said, re.M)) == 3


@pytest.fixture(scope="module")
def stub() -> Iterator[Upstream]:
    with running(Upstream) as stub:
        yield stub


@pytest.mark.parametrize("kind", [Handler, Tuned, Ours])
def test_peers_say_what_is_to_be_said(stub: Upstream, kind: type[Peer]) -> None:
    with running(kind, stub.url, Path()) as peer:
        for question in QUESTIONS.values():
            calls = stub.count
            check(peer, question)
            assert stub.count - calls == question.calls


def test_a_peer_that_says_something_else_or_asks_too_little_is_not_measured(stub: Upstream) -> None:
    class Wrong(Handler):
        def path(self, query: str) -> str:
            return "/Q3"

    asked = QUESTIONS["Q2"]
    with pytest.raises(Unlike, match="handler by hand answers"):
        compare(stub, Path(), [Wrong], {"Q2": asked}, 1, 0.01)
    with pytest.raises(Unlike, match=r"asks the upstream 1\.00 times"):
        compare(stub, Path(), [Handler], {"Q2": replace(asked, calls=2)}, 1, 0.01)
    with running(Handler, stub.url, Path()) as peer, pytest.raises(Faults, match="4 of 4 answers, 4 wrong"):
        load(peer, [(asked.query, b"what it said before")], 2, 4)


def test_a_soak_finds_what_is_wrong_and_nothing_else() -> None:
    """A join of which it takes the opposite for true, and a message that it gives a vendor a second time."""
    short = ("--minutes", "0.08", "--connections", "12", "--every", "1", "--settle", "1")
    ended = run("bench.soak", *short, "--planted")

    claims = dict(re.findall(r"^\| (.+) \| (yes|NO, [\d,]+ times?) \|$", ended.stdout, re.M))
    missed = {claim: verdict for claim, verdict in claims.items() if verdict != "yes"}
    assert len(claims) == 8, ended.stdout
    assert missed.keys() == {"what is joined belongs to its parent", "no vendor got anything twice"}, (
        ended.stdout
    )
    assert missed["no vendor got anything twice"] == "NO, 1 times"
    found = re.findall(r"^  (\w+)\..*: \S+, where nobody@example.com is theirs$", ended.stdout, re.M)
    assert set(found) == {"conversations"}, ended.stdout
    assert ended.returncode == 1


def test_some_are_cancelled_and_every_connection_comes_back() -> None:
    said = run("bench.cancelled", "--requests", "30").stdout

    assert re.search(r"^\| cancelled, as the gateway saw it \| \d+, in ", said, re.M), said
    assert "| 10 of 10 at work at once; then 10 open, 0 busy, 0 transactions |" in said, said
    assert "what is joined belongs to its parent DOES NOT HOLD" not in said


def test_what_grows_is_seen_among_what_goes_up_and_down() -> None:
    calm = [State(rss=120 + n % 3, files=60 + n % 7, tasks=90 + n * 37 % 50) for n in range(60)]
    leaky = [State(state.rss + n, state.files + 2 * n, state.tasks + 8 * n) for n, state in enumerate(calm)]

    assert all(grown <= most for _, grown, most in growth(calm))
    assert all(grown > most for _, grown, most in growth(leaky))


def test_it_is_told_how_long_others_wait_while_one_sends_what_hurts() -> None:
    said = run("bench.hostile", "introspection", "tokens", "--seconds", "0.5").stdout

    for name in ("introspection", "tokens"):
        assert re.search(rf"^\| {name} \| \d+ \| \d+\.\d \| \d+\.\d \| \d+ \| (NO)? ?\|$", said, re.M), said


def test_what_is_too_much_is_refused_at_once() -> None:
    said = run("bench.overload", "--seconds", "1").stdout

    assert re.search(r"^\| anything else \| nothing \|  \|$", said, re.M), said
    assert re.search(r"^\| [\d,]+ refusals, p50, p99 \| \d+, \d+ ms \|", said, re.M), said


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Whether the bounds of time hold is no question for a machine that is busy with other tests."""
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended
