"""CONTRIBUTING's chapters on a new source and a new mutation, followed to the letter in a copy."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ask, environment, serve

ROOT = Path(__file__).parent.parent
STEP = re.compile(
    r"(?:^`(?P<path>[\w/.]+)`\n)?^```(?P<kind>python|diff)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)

NOTE = """mutation {
  addNote(input: {ticketId: "VGlja2V0OjE", text: "Bring water"}) { id subject }
}"""


def follow(chapter: str, folder: Path) -> None:
    """Write each file and make each change, in the order in which they stand."""
    path = ""
    for step in STEP.finditer(chapter):
        path = step["path"] or path
        if step["kind"] == "diff":
            change(folder / path, step["text"])
        else:
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(step["text"], encoding="utf-8")


def change(path: Path, diff: str) -> None:
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] or "\n" for line in lines if not line.startswith("+"))
    after = "".join(line[1:] or "\n" for line in lines if not line.startswith("-"))
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path} does not hold, exactly once:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository as it is now, without what was only installed or built."""
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, files.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def check(folder: Path, *command: str) -> None:
    """One command in the copy, which goes before what is installed."""
    ended = subprocess.run(
        [Path(sys.executable).with_name(command[0]), *command[1:]],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


async def test_a_source_and_a_mutation_added_as_it_says_there_work(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow((copy / "CONTRIBUTING.md").read_text(encoding="utf-8"), copy)
    monkeypatch.setenv("PYTHONPATH", str(copy))

    async with serve(copy, cold=True) as served:
        answer = await ask(served.url, "{ tickets { id subject agent { email } } }")
        noted = await ask(served.url, NOTE)
        refused = await ask(served.url, NOTE.replace("Bring water", " "))
        status = await ask(served.url, "{ sources { source sandbox } }")
        ended = await served.end()

    assert answer == {
        "data": {
            "tickets": [
                {
                    "id": "VGlja2V0OjE",
                    "subject": "The printer is on fire",
                    "agent": {"email": "agent@example.com"},
                }
            ]
        }
    }
    assert noted == {"data": {"addNote": {"id": "VGlja2V0OjE", "subject": "Bring water (ticket 1)"}}}
    assert refused["errors"][0]["extensions"] == {
        "code": "BAD_USER_INPUT",
        "fields": {"input.text": "This must not be empty."},
    }
    assert status == {
        "data": {
            "sources": [
                {"source": "EVERYPRINT", "sandbox": False},
                {"source": "MERCATELY", "sandbox": True},
                {"source": "POSTER", "sandbox": True},
                {"source": "HYBER", "sandbox": True},
                {"source": "CHATFUEL", "sandbox": True},
                {"source": "HELPDESK", "sandbox": True},
            ]
        }
    }
    assert re.search(r"helpdesk +sandbox +http://127.0.0.1:\d+\n", served.banner)
    assert ended.code == 0
    # The copy holds what git holds, and so no built page: the log says why, and the rest works.
    assert '"event":"the explorer is not built","reason":"It was never built here."' in ended.err


def test_what_was_added_passes_its_test_and_every_check(copy: Path) -> None:
    follow((copy / "CONTRIBUTING.md").read_text(encoding="utf-8"), copy)
    added = [
        "adapters/helpdesk",
        "adapters/__init__.py",
        "schema",
        "resolvers",
        "tests/adapters/test_helpdesk.py",
    ]

    check(copy, "pytest", "-q", "-p", "no:cacheprovider", "tests/adapters/test_helpdesk.py")
    check(copy, "ruff", "check", "--no-cache", *added)
    check(copy, "ruff", "format", "--no-cache", "--check", *added)
    check(copy, "mypy", *added)
    check(copy, "lint-imports", "--no-cache")
