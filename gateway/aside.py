"""Aside: a thread for what would hold the event loop for longer than others are to wait.

One, for they all share the processor with the loop: what waits for it is what is dear, and nothing else.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _Aside:
    thread: ThreadPoolExecutor

    def begin(self) -> None:
        self.thread = ThreadPoolExecutor(1, "aside")


_aside = _Aside()
_aside.begin()
os.register_at_fork(after_in_child=_aside.begin)  # who is forked has no thread but their own


async def aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Whoever leaves before it has begun has it left undone."""
    return await asyncio.get_running_loop().run_in_executor(_aside.thread, lambda: work(*args, **kwargs))
