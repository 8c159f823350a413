"""Dispatch: who may work at a node, and who is next.

Owns the places of a node (its concurrency), which all runs of a runtime share. Invariant: never more than
``limit`` places are taken; a freed place is handed to the first who waits, and never announced to all (waking
all who wait made 1,000 streams fifty times slower). Knows nothing of what the holders do.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol


class PlaceWaiter(Protocol):
    """Somebody who waits for a place."""

    def placed(self) -> None:
        """Take over the place; it counts as taken already."""


class Places:
    """The places of one node.

    Args:
        limit: how many may be taken at the same time, at least 1.
    """

    __slots__ = ("limit", "taken", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.taken: int = 0
        self.waiting: deque[PlaceWaiter] | None = None

    def take(self) -> bool:
        """Take a place if one is free and nobody waits."""
        if self.taken >= self.limit or self.waiting:
            return False
        self.taken += 1
        return True

    def wait(self, waiter: PlaceWaiter) -> None:
        """Queue for a place; ``placed`` is called when it is there."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(waiter)

    def release(self) -> None:
        """Give a place back: the first who waits has it at once."""
        if self.taken <= 0:
            raise AssertionError("rule 2.3: a place was given back twice")
        if self.waiting:
            self.waiting.popleft().placed()
        else:
            self.taken -= 1

    def forget(self, waiter: PlaceWaiter) -> None:
        """Take a waiter out of the queue, if it is there."""
        if self.waiting and waiter in self.waiting:
            self.waiting.remove(waiter)

    def __repr__(self) -> str:
        return f"<places {self.taken}/{self.limit}, {len(self.waiting or ())} waiting>"
