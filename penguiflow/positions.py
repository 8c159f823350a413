"""Positions: what of a source may be given up, because everything up to there is settled.

Owns rule 5.4. Invariant: a position is committable if it was taken, and it and all that were taken before it
are settled. Knows neither what a position looks like nor where it is committed.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

P = TypeVar("P")


class Positions(Generic[P]):
    """The positions of one source that were taken and can't be committed yet, in order."""

    __slots__ = ("_first", "_settled", "_taken")

    def __init__(self) -> None:
        self._taken: deque[P] = deque()
        self._settled: deque[bool] = deque()
        self._first = 0

    def take(self, position: P) -> int:
        """Take one more, behind all that were taken before; gives its number, for `settle`."""
        self._taken.append(position)
        self._settled.append(False)
        return self._first + len(self._taken) - 1

    def settle(self, number: int) -> list[P]:
        """Take note that one is settled; gives those that can be committed now, in order.

        Raises:
            ValueError: it was not taken, or is settled already.
        """
        index = number - self._first
        if not 0 <= index < len(self._taken) or self._settled[index]:
            raise ValueError(f"position number {number} was not taken, or is settled already")
        self._settled[index] = True
        ready: list[P] = []
        while self._settled and self._settled[0]:
            self._settled.popleft()
            ready.append(self._taken.popleft())
            self._first += 1
        return ready

    def __len__(self) -> int:
        """Count those that can't be committed yet."""
        return len(self._taken)

    def __repr__(self) -> str:
        return f"<positions {len(self._taken)} taken, {sum(self._settled)} of them settled>"
