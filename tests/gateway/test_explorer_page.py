"""The explorer page: how it is served, how it is built, and what is said when it could not be."""

import asyncio
import gzip
import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from graphql import OperationDefinitionNode, parse

from gateway import explorer

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "gateway" / "explorer"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
SCRIPT = "console.log('a page')\n" * 100

# A Node that builds in no time: it writes down how it was called, and says what a page is made of.
NODE = """#!/bin/sh
echo "$0 $*" >> "$CALLS"
case "$*" in
  --version) echo "v20.19.0" ;;
  build.mjs*) mkdir -p dist/assets && echo "a page" > dist/index.html && echo 1 > dist/assets/main-A.js ;;
esac
"""
OLD_NODE = "#!/bin/sh\necho v18.20.4\n"
NO_NETWORK = "#!/bin/sh\necho npm error request to https://packages.example/react failed >&2\nexit 1\n"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>Switchboard</title>")
    (folder / "THIRD_PARTY_LICENSES.txt").write_text("react 19 (MIT)")
    (folder / "assets" / "main-A1.js").write_text(SCRIPT)
    (folder / "assets" / "main-A1.js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    (folder / "assets" / "main-A1.css").write_text("body {}")
    (folder / "assets" / "mark-A1.svg").write_text("<svg/>")
    (folder / "assets" / "notes.md").write_text("not for anyone")
    return folder


@pytest.fixture
async def client(dist: Path) -> AsyncIterator[ClientSession]:
    async def graphql(request: web.Request) -> web.StreamResponse:
        if explorer.asked_for(request):
            return await explorer.page(request, dist)
        return web.json_response({"data": None})

    app = web.Application()
    app.router.add_route("*", "/graphql", graphql)
    app.add_routes(explorer.routes(dist))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        yield session
    await runner.cleanup()


async def test_a_browser_is_answered_the_page(client: ClientSession) -> None:
    async with client.get("/graphql", headers=BROWSER) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "<title>Switchboard</title>" in await answer.text()


async def test_head_is_answered_like_get_without_the_body(client: ClientSession) -> None:
    async with (
        client.get("/graphql", headers=BROWSER) as full,
        client.head("/graphql", headers=BROWSER) as head,
    ):
        assert (head.status, await head.read()) == (200, b"")
        assert head.headers["Content-Length"] == full.headers["Content-Length"]
        assert head.headers["Content-Security-Policy"] == full.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("method", "path", "accept"),
    [
        ("POST", "/graphql", "text/html"),
        ("GET", "/graphql", "*/*"),
        ("GET", "/graphql", "application/graphql-response+json"),
        ("GET", "/graphql", "application/x-text/html"),
        ("GET", "/graphql?query={agents{id}}", "text/html"),
    ],
)
async def test_an_operation_is_never_answered_with_the_page(
    client: ClientSession, method: str, path: str, accept: str
) -> None:
    async with client.request(method, path, headers={"Accept": accept}) as answer:
        assert answer.content_type == "application/json"


async def test_the_page_may_load_nothing_from_elsewhere_and_no_one_may_frame_it(
    client: ClientSession,
) -> None:
    async with client.get("/graphql", headers=BROWSER) as answer:
        policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"https?:|\*|unsafe-eval", " ".join(policy.values()))
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_the_page_is_asked_for_anew_and_told_apart_from_answers(client: ClientSession) -> None:
    async with client.get("/graphql", headers=BROWSER) as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Vary"] == "Accept"
    async with client.get("/graphql", headers=BROWSER | {"If-None-Match": answer.headers["ETag"]}) as again:
        assert again.status == 304


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("main-A1.js", "text/javascript; charset=utf-8"),
        ("main-A1.css", "text/css; charset=utf-8"),
        ("mark-A1.svg", "image/svg+xml"),
    ],
)
async def test_an_asset_has_its_type_and_is_kept_for_good(
    client: ClientSession, name: str, content_type: str
) -> None:
    async with client.get(f"/graphql/explorer/{name}") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == content_type
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_an_asset_is_sent_compressed_to_whoever_reads_that(client: ClientSession) -> None:
    address = "/graphql/explorer/main-A1.js"
    async with client.get(address, headers={"Accept-Encoding": "gzip"}) as small:
        assert small.headers["Content-Encoding"] == "gzip"
        assert int(small.headers["Content-Length"]) < len(SCRIPT)
        assert await small.text() == SCRIPT
    async with client.get(address, headers={"Accept-Encoding": "identity"}) as large:
        assert "Content-Encoding" not in large.headers
        assert await large.text() == SCRIPT
    assert small.headers["Vary"] == large.headers["Vary"] == "Accept-Encoding"


async def test_the_licences_of_what_is_inside_can_be_read(client: ClientSession) -> None:
    async with client.get("/graphql/explorer/THIRD_PARTY_LICENSES.txt") as answer:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert "react" in await answer.text()


@pytest.mark.parametrize("name", ["main-B2.js", "main-A1.js.gz", "notes.md", "index.html", ".npmrc", ""])
async def test_what_is_no_asset_is_not_found_and_not_kept(client: ClientSession, name: str) -> None:
    async with client.get(f"/graphql/explorer/{name}") as answer:
        assert answer.status == 404
        assert "immutable" not in answer.headers.get("Cache-Control", "")


@pytest.mark.parametrize("way", ["../{}", "..%2f{}", "%2e%2e/{}", "%2e%2e%2f{}", "..\\{}", "/{}", "%2f{}"])
async def test_no_name_leads_out_of_the_folder(client: ClientSession, dist: Path, way: str) -> None:
    (dist / "secret.js").write_text("a secret")
    async with client.get("/graphql") as answer:
        port = answer.url.port
    # By hand: a client of any manners tidies such a path before it sends it.
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path = "/graphql/explorer/" + way.format("secret.js")
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    said = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert said.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))
    assert b"a secret" not in said


async def test_a_page_that_was_not_built_says_why_and_what_to_do(client: ClientSession, dist: Path) -> None:
    (dist / "index.html").unlink()
    (dist / "not-built.txt").write_text("npm failed: <no network>\n")
    async with client.get("/graphql", headers=BROWSER) as answer:
        assert answer.status == 503
        assert answer.headers["Content-Security-Policy"] == explorer.POLICY
        text = await answer.text()
    assert "npm failed: &lt;no network&gt;" in text
    assert "make explorer" in text
    assert explorer.missing(dist) == "npm failed: <no network>"
    async with client.post("/graphql") as answer:
        assert answer.status == 200


def test_a_page_that_was_never_built_is_missing_too(tmp_path: Path, dist: Path) -> None:
    assert explorer.missing(tmp_path / "nowhere") == "It was never built here."
    assert explorer.missing(dist) is None


class Tree:
    """A copy of what the hook works on, with programs of our own on PATH in Node's place."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.bin, self.calls = root, root / "bin", root / "calls"
        self.page = root / "gateway" / "explorer"
        self.bin.mkdir()
        shutil.copyfile(ROOT / "hatch_build.py", root / "hatch_build.py")
        shutil.copytree(
            SOURCE, self.page, ignore=shutil.ignore_patterns("dist", "node_modules", "__pycache__")
        )
        monkeypatch.delenv("SWITCHBOARD_EXPLORER", raising=False)
        monkeypatch.setenv("PATH", f"{self.bin}:/usr/bin:/bin")
        monkeypatch.setenv("CALLS", str(self.calls))
        self.put(node=NODE, npm=NODE)

    def put(self, **programs: str) -> None:
        for name, text in programs.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def hook(self, name: str) -> Any:
        """One of the hook's functions, as if a build had just loaded it."""
        return runpy.run_path(str(self.root / "hatch_build.py"))[name]

    def builds(self) -> int:
        return self.calls.read_text().count("build.mjs") if self.calls.exists() else 0

    def reason(self) -> str:
        return (self.page / "dist" / "not-built.txt").read_text()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


def test_the_hook_builds_a_page_that_is_not_there(tree: Tree) -> None:
    assert tree.hook("refresh")() is None
    assert (tree.page / "dist" / "index.html").read_text() == "a page\n"
    assert "npm ci --ignore-scripts" in tree.calls.read_text()
    assert not (tree.page / "node_modules").exists()


def test_the_hook_builds_again_only_when_a_source_changed(tree: Tree) -> None:
    tree.hook("refresh")()
    tree.hook("refresh")()
    assert tree.builds() == 1
    (tree.page / "src" / "examples" / "99-new.graphql").write_text("query New { agents { id } }\n")
    tree.hook("refresh")()
    assert tree.builds() == 2


def test_a_failed_build_leaves_its_reason_and_no_address(tree: Tree) -> None:
    tree.put(npm=NO_NETWORK)
    assert "packages.example" in tree.hook("refresh")()
    assert "npm error request to (address) failed" in tree.reason()
    assert explorer.missing(tree.page / "dist") == tree.reason().strip()


def test_a_failed_build_leaves_the_page_that_was_there(tree: Tree) -> None:
    tree.hook("refresh")()
    (tree.page / "src" / "main.css").write_text("body {}\n")
    tree.put(npm=NO_NETWORK)
    assert tree.hook("refresh")()
    assert explorer.missing(tree.page / "dist") is None
    tree.put(npm=NODE)
    assert tree.hook("refresh")() is None
    assert not (tree.page / "dist" / "not-built.txt").exists()


def test_an_old_node_is_no_node(tree: Tree) -> None:
    tree.put(node=OLD_NODE)
    assert "needs Node.js 20.19 or newer" in tree.hook("refresh")()
    assert "make explorer" in tree.reason()


def test_require_makes_a_failed_build_fail_the_install(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_EXPLORER", "require")
    tree.put(npm=NO_NETWORK)
    with pytest.raises(Exception, match=r"npm ci .* failed"):
        tree.hook("refresh")()


def test_skip_leaves_the_page_out_and_says_so(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_EXPLORER", "skip")
    tree.hook("refresh")()
    assert tree.builds() == 0
    assert "SWITCHBOARD_EXPLORER=skip" in tree.reason()


def test_any_other_word_is_refused(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_EXPLORER", "maybe")
    with pytest.raises(ValueError, match="'require' or 'skip'"):
        tree.hook("refresh")()


def test_by_hand_the_page_is_always_built_and_weighed(tree: Tree) -> None:
    for _ in range(2):
        said = by_hand(tree)
        assert said.returncode == 0
        assert f"{tree.page / 'dist'}\n0.0 MB" in said.stdout
    assert tree.builds() == 2


def test_by_hand_a_failed_build_fails(tree: Tree) -> None:
    tree.put(npm=NO_NETWORK)
    said = by_hand(tree)
    assert said.returncode == 1
    assert "packages.example" in said.stderr


def by_hand(tree: Tree) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(tree.root / "hatch_build.py")], capture_output=True, text=True, timeout=30
    )


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((SOURCE / "package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


def test_the_lock_file_holds_what_the_package_asks_for() -> None:
    asked = json.loads((SOURCE / "package.json").read_text())["dependencies"]
    lock = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    assert {name: lock[f"node_modules/{name}"]["version"] for name in asked} == asked


@pytest.mark.parametrize(
    "path", sorted((SOURCE / "src" / "examples").glob("*.graphql")), ids=lambda path: path.stem
)
def test_an_example_says_what_it_shows_and_names_its_tab(path: Path) -> None:
    text = path.read_text()
    operations = [node for node in parse(text).definitions if isinstance(node, OperationDefinitionNode)]
    assert text.startswith("# ")
    assert operations
    assert all(operation.name for operation in operations)
