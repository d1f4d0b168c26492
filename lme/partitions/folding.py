"""Merging of results that come one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Part = TypeVar("Part")


class Tower(Generic[Part]):
    """Merges neighbours of about the same size, each a logarithm of times.

    Parameters
    ----------
    merge : callable
        From two successive results to one; the order of the partitions is kept.
    """

    def __init__(self, merge: Callable[[Part, Part], Part]) -> None:
        self._merge = merge
        self._waiting: list[tuple[int, Part]] = []

    def add(self, part: Part | None) -> None:
        """Take the next result; None adds nothing."""
        if part is None:
            return
        self._waiting.append((0, part))
        while len(self._waiting) > 1 and (self._waiting[-2][0] <= self._waiting[-1][0]):
            self._join()

    def total(self) -> Part | None:
        """All results merged; None without any."""
        while len(self._waiting) > 1:
            self._join()
        return self._waiting[0][1] if self._waiting else None

    def _join(self) -> None:
        rank, second = self._waiting.pop()
        other, first = self._waiting.pop()
        self._waiting.append((max(rank, other) + 1, self._merge(first, second)))
