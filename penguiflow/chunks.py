"""Chunk lanes: a stream at an asynchronous node that works chunk by chunk.

Owns the hot loop. Invariant: what a worker has taken is handed on, put back or settled, whatever happens.

A worker takes a batch and runs the node's function over it in a bare loop; results, credit and counters are
handed on as one block, at the latest when the worker is suspended, because between two suspensions nobody else
can look. What a node with a policy needs, a `Step` per chunk does.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from .inbox import settle
from .items import Chunk
from .lane import PassingLane
from .step import Restarted, Step, absorb, chunk_step

if TYPE_CHECKING:
    from .core import RunCore
    from .pool import Worker
    from .station import Station

HOLE = object()
"""The payload of an envelope whose chunk was filtered out of a batch."""


class ChunkLane(PassingLane):
    """A stream at an ordered node that works chunk by chunk."""

    __slots__ = ("batch", "begun", "cursor", "holes", "inbox", "interrupted", "scope", "stale", "step", "task")

    def __init__(self, run: RunCore, station: Station, stream_id: str, explicit: bool) -> None:
        super().__init__(run, station, stream_id, explicit)
        self.batch: list[Chunk[Any]] | None = None
        self.cursor: Any = None
        self.inbox: Any = None
        self.begun = 0
        self.holes = False
        self.stale = False
        self.step: Step | None = None
        self.interrupted = False
        self.task: Any = None
        self.scope: Any = None

    # -- work

    async def work(self, worker: Worker) -> None:
        """Run the node over a batch."""
        run = self.run
        parking = run.pool.parking
        self.task = parking.task()
        run.engaged.add(self)
        try:
            with parking.scope() as self.scope:
                self._take()
                worker.lane = self
                try:
                    if self.station.fast:
                        await self._walk()
                    else:
                        await self._careful(worker)
                except BaseException as exc:
                    self._broke(exc)
                finally:
                    worker.lane = None
            if self.interrupted:
                await absorb(run.pool.parking, self.task)
        finally:
            self._leave()

    def _take(self) -> None:
        station = self.station
        self.inbox = self.next_inbox()
        self.batch = self.inbox.take(min(station.batch, max(1, self.out.room())))
        station.steps += len(self.batch)
        self.cursor = iter(self.batch)
        self.begun = 0

    async def _walk(self) -> None:
        """The hot loop: nothing in it but the node (each line more is measurable in `tests/bench`)."""
        assert self.batch is not None
        began = perf_counter()
        function = self.station.function
        for chunk in self.cursor:
            result = await function(chunk.payload)
            if result is not None:
                chunk.payload = result
            else:
                self._filter(chunk)
        self.station.took(len(self.batch), perf_counter() - began)
        self._hand_on(len(self.batch))

    def _filter(self, chunk: Chunk[Any]) -> None:
        settle(chunk)
        chunk.payload = HOLE
        self.holes = True

    async def _careful(self, worker: Worker) -> None:
        assert self.batch is not None
        for chunk in self.cursor:
            self.step = chunk_step(self, chunk)
            await self.step.perform(worker)
            self.step = None
            self.begun += 1
            if self.out.stuck or self.run.paused:
                self._recall()
        self.batch = None

    def _recall(self) -> int:
        """Put back what is not begun; gives the index of the chunk in progress."""
        assert self.batch is not None
        index = len(self.batch) - self.cursor.__length_hint__() - 1
        rest = self.batch[index + 1 :]
        del self.batch[index + 1 :]
        if rest:
            self.inbox.put_back(rest)
        self.inbox.unstarted = 0
        return index

    def _hand_on(self, end: int) -> None:
        """Send the results on up to an index."""
        batch = self.batch
        assert batch is not None
        part = batch if self.begun == 0 and end == len(batch) else batch[self.begun : end]
        self.begun = end
        if end == len(batch):
            self.batch = None
        if self.stale:
            for chunk in part:
                if chunk.payload is not HOLE:
                    settle(chunk)
            return
        if self.holes:
            part = [chunk for chunk in part if chunk.payload is not HOLE]
            self.holes = any(chunk.payload is HOLE for chunk in self.batch[end:]) if self.batch else False
        if part:
            self.out.push(part)

    def suspending(self) -> None:
        """Hand on what is done, because the worker is about to wait in the node's code."""
        batch = self.batch
        if batch is None:
            return
        index = len(batch) - self.cursor.__length_hint__() - 1
        if self.station.fast and index > self.begun:
            self._hand_on(index)
        self.inbox.unstarted = len(batch) - index - 1
        self.inbox.freed()

    def interrupt(self, reason: object) -> None:
        """Cancel what the node does here; a careful node's step is interrupted by itself."""
        if self.step is None:
            self.interrupted = True
            self.run.pool.parking.interrupt(self.task, self.scope)

    def pause(self) -> None:
        """Stop after the chunk in progress."""
        if self.batch is not None:
            self._recall()

    def resume(self) -> None:
        """Go on: whoever resumes the run wakes the lane."""

    def abandon_place(self) -> None:
        """Give the place back although the node's code has not ended."""
        self.leave_place()

    def restart(self, road: Any, attempt: int) -> None:
        """Drop what is left of lower attempts, and begin a higher one behind."""
        road.purge()
        if self.batch is not None and self.inbox is road:
            index = len(self.batch) - self.cursor.__length_hint__() - 1
            for chunk in self.batch[self.begun : index] + self.batch[index + 1 :]:
                if chunk.payload is not HOLE:
                    settle(chunk)
            del self.batch[index + 1 :]
            self.begun = index
            self.inbox.unstarted = 0
            self.stale = True
            if self.step is not None:
                self.step.stale = True
                self.step.interrupt(Restarted())
        self.out.restart(attempt)

    def _broke(self, exc: BaseException) -> None:
        """Deal with what came out of the loop: nothing that was taken is lost from the books."""
        batch = self.batch or []
        index = len(batch) - self.cursor.__length_hint__() - 1 if batch else -1
        stale = self.stale
        if batch and self.station.fast and not self.run.stopped:
            self._hand_on(index)
        rest = batch[self.begun :] if self.station.fast else batch[index + 1 :]
        self.batch = None
        chunk = rest.pop(0) if rest and self.station.fast else None
        for unbegun in rest:
            if unbegun.payload is not HOLE:
                settle(unbegun)
        if self.run.stopped or stale or self.ended:
            if chunk is not None:
                settle(chunk)
            return
        self.fail(exc, chunk)

    def fail(self, exc: BaseException, chunk: Chunk[Any] | None) -> None:
        """End with an error, in band, behind what came before it."""
        if isinstance(exc, self.run.pool.parking.cancelled):
            self.run.pool.parking.calm(self.task)
        error = self.station.failed(self.run, exc, chunk)
        if chunk is not None:
            self.run.catch(self.station.site, error, chunk)
        self.die("error", error)
        self.run.raise_if_unheard(self.out, error)

    def _leave(self) -> None:
        self.run.engaged.discard(self)
        self.stale = self.interrupted = False
        self.task = self.scope = self.cursor = self.step = None
        self.inbox.unstarted = 0
        self.leave_place()
        if not self.dead:
            self.inbox.freed()
        self.scheduled = False
        self.run.busy -= 1
        self.wake()
        self.finish_if_over()


class ParallelLane(PassingLane):
    """A stream at a node with ``ordered=False``: several chunks at a time, in order of completion."""

    __slots__ = ("active",)

    def __init__(self, run: RunCore, station: Station, stream_id: str, explicit: bool) -> None:
        super().__init__(run, station, stream_id, explicit)
        self.active = 0

    def quiet(self) -> bool:
        """Say whether everything that was taken is in its successors' hands."""
        return not self.out.stuck and self.active == 0

    def restart(self, road: Any, attempt: int) -> None:
        """Drop what is left of lower attempts, and begin a higher one behind."""
        road.purge()
        self.out.restart(attempt)

    async def work(self, worker: Worker) -> None:
        """Run the node on one chunk; the next one may begin as soon as there is a place."""
        inbox = self.next_inbox()
        batch = inbox.take(1)
        inbox.freed()
        self.scheduled = self.has_place = False
        self.active += 1
        self.wake()
        try:
            if not batch:
                self.station.places.release()
            for chunk in batch:
                self.station.steps += 1
                step = chunk_step(self, chunk)
                step.has_place = True
                try:
                    await step.perform(worker)
                except BaseException as exc:
                    self.fail(exc)
                finally:
                    step.leave_place()
        finally:
            self.active -= 1
            self.run.busy -= 1
            self.wake()
            self.finish_if_over()

    def fail(self, exc: BaseException) -> None:
        """End with an error, in band, behind what came before it."""
        if self.run.stopped or self.ended:
            return
        error = self.station.failed(self.run, exc, None)
        self.die("error", error)
        self.run.raise_if_unheard(self.out, error)
