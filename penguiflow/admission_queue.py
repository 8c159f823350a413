"""The admission queue: runs that wait until there is room for them.

Owns the places of an open flow's runs, and who waits for one, in order of arrival. Invariant: a place that
was promised to somebody who waits is taken by nobody else, and whoever gives up hands it on. Knows not what a
run is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from typing import Any

import anyio

from .parking import Parking


class AdmissionQueue:
    """Who waits to begin a run.

    Args:
        limit: how many runs may be live; ``None``: any number.
    """

    __slots__ = ("_limit", "_promised", "_waiting")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._promised = 0
        self._waiting: deque[Any] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def must_wait(self, live: int) -> bool:
        """Say whether a run has to wait, with so many live."""
        if self._limit is None:
            return False
        return bool(self._waiting) or live + self._promised >= self._limit

    async def wait(self, parking: Parking, deadline: float | None, live: Sized) -> float | None:
        """Wait for a promise, so many seconds at most; gives how long it took, ``None`` if there was none.

        If cancelled, a promise that was given in the meantime is handed on; ``live`` are the runs that live.
        """
        asked, waiter = parking.now(), parking.waiter()
        self._waiting.append(waiter)
        waited: float | None = None
        try:
            with anyio.move_on_after(deadline):
                await waiter
                waited = parking.now() - asked
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:
                self._promised -= 1
            if waited is None:
                self.admit_next(parking, len(live))
        return waited

    def admit_next(self, parking: Parking, live: int) -> None:
        """Promise free places to those who have waited longest."""
        while self._waiting and (self._limit is None or live + self._promised < self._limit):
            self._promise(parking)

    def turn_away(self, parking: Parking) -> None:
        """Let everybody go: they find the runtime closed."""
        while self._waiting:
            self._promise(parking)

    def _promise(self, parking: Parking) -> None:
        self._promised += 1
        parking.wake(self._waiting.popleft())
