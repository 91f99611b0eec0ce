"""The benchmark runs and reports; `make bench` judges what it reports, on a machine that is quiet."""

import re
import subprocess
import sys
from pathlib import Path

from tests.processes import environment

ROOT = Path(__file__).parent.parent
PEERS = ("plain", "tuned", "switchboard, unshared", "switchboard")


def test_the_benchmark_prints_every_peer_and_the_ratios() -> None:
    short = [sys.executable, "-m", "bench", "--rounds", "1", "--seconds", "1"]
    ended = subprocess.run(short, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)

    assert ended.returncode in (0, 1), ended.stderr
    for peer in PEERS:
        for connections in (1, 16):
            assert re.search(rf"\| {peer} \| {connections} \| \*\*\d+\*\*", ended.stdout)
    assert len(re.findall(r"is \*\*\d\.\d\d\*\* .* of tuned", ended.stdout)) == 2


def test_a_sync_of_5000_people_stays_small() -> None:
    short = [sys.executable, "-m", "bench.sync", "--people", "5000"]
    ended = subprocess.run(short, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert re.search(r"^everybody new: 5,500 people in .* memory \+\d+ MiB at most$", ended.stdout, re.M)
    assert re.search(r"^nothing new: 5,500 people in ", ended.stdout, re.M)
