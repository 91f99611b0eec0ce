"""Waiting: for several answers at once."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from itertools import chain
from typing import TypeVar

from strawberry.dataloader import DataLoader

K = TypeVar("K")
T = TypeVar("T")


async def all_of(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Their answers; or the first's error, but not before all are over: nothing outlives who asked for it."""
    answers = await asyncio.gather(*awaitables, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers  # type: ignore[return-value]


async def each_of(loader: DataLoader[K, T], lists: Sequence[Sequence[K]]) -> list[list[T] | BaseException]:
    """What is found for each list of keys, all of them loaded at once; or the first error among it."""
    wanted = list(dict.fromkeys(chain.from_iterable(lists)))
    answers = await asyncio.gather(*map(loader.load, wanted), return_exceptions=True)
    found = dict(zip(wanted, answers, strict=True))
    return [_all_or_error(found[key] for key in keys) for keys in lists]


def _all_or_error(answers: Iterable[T | BaseException]) -> list[T] | BaseException:
    found = list[T]()
    for answer in answers:
        if isinstance(answer, BaseException):
            return answer
        found.append(answer)
    return found
