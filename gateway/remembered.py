"""Remembered: what was found out a moment ago, a bounded number of things for a few seconds."""

from collections import OrderedDict
from collections.abc import Hashable
from time import monotonic
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._kept = OrderedDict[K, tuple[float, V]]()

    def get(self, key: K) -> V | None:
        kept = self._kept.get(key)
        if kept is None or kept[0] < monotonic():
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def put(self, key: K, value: V) -> None:
        self._kept[key] = monotonic() + self._seconds, value
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
