"""Weather: the vendors' troubles, one after the other and several at a time, as chance has it."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from adapters.sandbox import Kind, Sandbox

REFUSED: Literal["refused"] = "refused"
"""Its port is closed."""
TROUBLES: Sequence[tuple[Kind | Literal["refused"], dict[str, Any]]] = (
    (REFUSED, {}),
    ("delay", {"seconds": 0.5}),
    ("delay", {"seconds": 2.0}),
    ("hang", {}),
    ("slow_body", {}),
    ("endless", {}),
    ("short", {}),
    ("truncated", {}),
    ("reset", {}),
    ("drop", {}),
    ("html", {}),
    ("wrong_shape", {}),
    ("redirect", {"url": "http://127.0.0.1:9/"}),
    ("redirect_errors", {}),
    ("status", {"status": 401}),
    ("status", {"status": 429}),
    ("status", {"status": 429, "headers": {"Retry-After": "1"}}),
    ("status", {"status": 500}),
    ("status", {"status": 503}),
)
LONGEST = 4.0
"""Seconds that a trouble lasts."""
CALM = 3.0
"""The longest that a vendor has none."""


class Weather:
    def __init__(self, sandboxes: Sequence[Sandbox], seed: int) -> None:
        self.seen = Counter[str]()
        """How often there was each trouble."""
        self._sandboxes = sandboxes
        self._random = random.Random(seed)

    async def blow(self) -> None:
        """Until it is cancelled, and then all is well."""
        try:
            await asyncio.gather(*map(self._over, self._sandboxes))
        finally:
            for sandbox in self._sandboxes:
                sandbox.heal()

    async def _over(self, sandbox: Sandbox) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0, CALM))
            seconds = self._random.uniform(0.1, LONGEST)
            kind, details = self._random.choice(TROUBLES)
            self.seen[kind] += 1
            if kind == "refused":
                await asyncio.shield(_away(sandbox, seconds))
                continue
            # Some for whoever asks within a while, some for the next few alone.
            times = self._random.choice((None, None, self._random.randint(1, 5)))
            sandbox.trouble(kind, times=times, **details)
            await asyncio.sleep(seconds)
            sandbox.heal()


async def _away(sandbox: Sandbox, seconds: float) -> None:
    port = int(sandbox.url.rpartition(":")[2])
    await sandbox.stop()
    await asyncio.sleep(seconds)
    await sandbox.start(port=port)
