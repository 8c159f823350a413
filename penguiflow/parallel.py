"""Parallel lanes: a stream at a node with ``ordered=False``.

Owns the steps of one stream that are at work at the same time. Invariant: each chunk has a step and a place
of its own; the stream ends when the last of them has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .lane import LaneKey, PassingLane
from .step import Step, chunk_step
from .waiting import Restarted

if TYPE_CHECKING:
    from .core import RunCore
    from .pool import Worker
    from .station import Station


class ParallelLane(PassingLane):
    """A stream at a node with ``ordered=False``: several chunks at a time, in order of completion."""

    __slots__ = ("active",)

    works_in_order = False

    def __init__(self, run: RunCore, station: Station, key: LaneKey, explicit: bool) -> None:
        super().__init__(run, station, key, explicit)
        self.active: set[Step] = set()

    def quiet(self) -> bool:
        """Say whether everything that was taken is in its successors' hands."""
        return not self.out.stuck and not self.active

    def goes_on(self, own: BaseException | None) -> bool:
        """Say whether code of the node is at work beyond the end; what has failed is counted, too."""
        return len(self.active) > (own is not None)

    def free_hands(self) -> int:
        """Say how many more chunks could be begun at once."""
        places = self.station.places
        return places.limit - places.taken + self.has_place

    def restart(self, road: Any, attempt: int) -> None:
        """Drop what is left of lower attempts, and begin a higher one behind."""
        road.purge()
        for step in self.active:
            step.stale = True
            step.interrupt(Restarted())
        self.out.restart(attempt)

    async def work(self, worker: Worker) -> None:
        """Do the step of one chunk; the next one may begin as soon as there is a place."""
        inbox = self.next_inbox()
        batch = inbox.take(1)
        if not batch:
            self.leave_place()
            self.scheduled = False
            self.run.busy -= 1
            self.rests()
            return
        step = chunk_step(self, batch[0])
        step.has_place = True
        self.station.steps += 1
        self.active.add(step)
        self.scheduled = self.has_place = False
        inbox.freed()
        self.wake()
        try:
            await self.do(step, worker)
        finally:
            step.leave_place()
            self.active.discard(step)
            self.run.busy -= 1
            self.wake()
            self.rests()
            if not self.active:
                self.tell_end()
            self.finish_if_over()

    def rests(self) -> None:
        """Take note of what is waited for from now on: nothing, while steps are at work."""
        if not self.active:
            super().rests()
