"""Stretches: for how long others wait in a process whose event loop does something for one of them.

`python -m tests.stretches FILE serve ...` is `switchboard serve ...`, and keeps in the file how many seconds
its loop's thread has been on the processor at most without looking round.
"""

import asyncio
import mmap
import struct
import sys
from collections.abc import Coroutine
from pathlib import Path
from time import thread_time
from typing import Any

EACH = 0.001
"""Seconds after which it looks round, if it can: what it keeps is longer by so much at most."""
_SECONDS = struct.Struct("d")


class Longest:
    """The file, of which both processes see what the other one writes."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_SECONDS.pack(0))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _SECONDS.size)

    @property
    def seconds(self) -> float:
        return float(_SECONDS.unpack_from(self._shared)[0])

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        _SECONDS.pack_into(self._shared, 0, seconds)


def main(path: str, *arguments: str) -> None:
    from gateway import cli

    longest, run = Longest(Path(path)), asyncio.Runner.run

    def watched(runner: asyncio.Runner, work: Coroutine[Any, Any, Any], **how: Any) -> Any:
        loop, before = runner.get_loop(), 0.0

        def look_round() -> None:
            nonlocal before
            now = thread_time()
            longest.seconds = max(longest.seconds, now - before)
            before = thread_time()
            loop.call_later(EACH, look_round)

        look_round()
        return run(runner, work, **how)

    asyncio.Runner.run = watched  # type: ignore[method-assign, assignment]
    sys.argv[1:] = arguments
    cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
