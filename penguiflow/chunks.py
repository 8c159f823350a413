"""Chunk lanes: a stream at an asynchronous node that works chunk by chunk.

Owns the hot loop. Invariant: what a worker has taken is handed on, put back or settled, whatever happens.

In a `WalkingLane` a worker takes a batch and runs the node's function over it in a bare loop; results, credit
and counters are handed on as one block, at the latest when the worker is suspended, because between two
suspensions nobody else can look. A `SteppingLane` does a `Step` per chunk, for nodes with a policy or a
context. Several chunks at a time are `parallel`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .items import Chunk
from .lane import HOLE, LaneKey, PassingLane
from .parking import absorb
from .pool import switch
from .settling import settle
from .step import Step, chunk_step
from .waiting import Restarted

if TYPE_CHECKING:
    from .core import RunCore
    from .measures import NodeMeasures
    from .pool import Worker
    from .station import Station

EMPTY: list[Chunk[Any]] = []
"""The batch of a lane that has none; never written to."""


class BatchLane(PassingLane):
    """What lanes share that take a batch and work it off in order."""

    __slots__ = ("batch", "cursor", "inbox")

    def __init__(self, run: RunCore, station: Station, key: LaneKey, explicit: bool) -> None:
        super().__init__(run, station, key, explicit)
        self.batch: list[Chunk[Any]] = EMPTY
        self.cursor: Any = None
        self.inbox: Any = None

    def take(self) -> None:
        """Take as much as there is room for behind the node, at least one chunk."""
        station = self.station
        inbox = self.inbox = self.inboxes[0] if len(self.inboxes) == 1 else self.next_inbox()
        limit = station.batch
        if limit > 1 and len(inbox.items) > 1:
            limit = min(limit, max(1, self.out.room()))
        batch = self.batch = inbox.take(limit)
        station.steps += len(batch)
        self.run.pool.worked += len(batch)
        self.cursor = iter(batch)

    def free_hands(self) -> int:
        """Say whether a chunk could be begun at once: one at a time is."""
        return super().free_hands() if self.cursor is None else 0

    def goes_on(self, own: BaseException | None) -> bool:
        """Say whether code of the node is at work beyond the end; what has failed by itself is not."""
        return own is None and self.cursor is not None

    def current(self) -> int:
        """Give the index of the chunk in progress."""
        return len(self.batch) - int(self.cursor.__length_hint__()) - 1

    def recall(self) -> list[Chunk[Any]]:
        """Take away what is not begun: the loop over the batch ends behind the chunk in progress."""
        index = self.current()
        rest = self.batch[index + 1 :]
        del self.batch[index + 1 :]
        self.inbox.unstarted = 0
        return rest

    def put_back(self) -> None:
        """Put back what is not begun."""
        if self.cursor is not None:
            rest = self.recall()
            if rest:
                self.inbox.put_back(rest)

    def note_unstarted(self) -> None:
        """Tell the inbox what is not begun: others can look; give way to those who wait for a place."""
        if self.dead:
            self.let_go(self.recall())
        elif self.station.places.waiting:
            self.put_back()
        self.inbox.unstarted = len(self.batch) - self.current() - 1
        self.inbox.freed()

    def leave(self) -> None:
        """End a turn: give the place back, and come again if there is more."""
        run = self.run
        inbox = self.inbox
        self.cursor = None
        self.batch = EMPTY
        if self.has_place:
            self.has_place = False
            places = self.station.places
            if places.waiting or places.taken <= 0:
                places.release()
            else:
                places.taken -= 1  # `Places.release`, by hand, see `take_over`
        if inbox.unstarted:
            inbox.unstarted = 0
        if (inbox.door or inbox.watchers) and not self.dead:
            inbox.freed()
        self.scheduled = False
        run.busy -= 1
        if inbox.items or len(self.inboxes) > 1:
            self.wake()
        if run.watch is not None:
            self.rests()
            self.tell_end()
        if self.writers == 0 or self.failing is not None:
            self.finish_if_over()


class WalkingLane(BatchLane):
    """A stream at an ordered node without policy or context.

    A batch walks on: the worker that has run one node over it runs the next one, as long as nobody else has a
    claim on that. No queue, no credit and no wake-up lies between them.
    """

    __slots__ = ("begun", "holes", "stale")

    def __init__(self, run: RunCore, station: Station, key: LaneKey, explicit: bool) -> None:
        super().__init__(run, station, key, explicit)
        self.begun: int = 0
        self.holes: bool = False
        self.stale: bool = False

    def work(self, worker: Worker) -> Coroutine[Any, Any, None]:
        """Run the node over a batch, and those behind it as long as nobody else has a claim on them."""
        if self.run.pool.parking.by_level:
            return self._walk_in_scope(worker)
        return self._walk(worker)

    async def _walk_in_scope(self, worker: Worker) -> None:
        with self.run.pool.parking.scope() as worker.scope:
            try:
                await self._walk(worker)
            finally:
                worker.scope = None

    async def _walk(self, worker: Worker) -> None:
        """The hot loop: nothing in it but the node (each line more is measurable in `tests/bench`).

        The time that a full batch takes says how large the next one may be.
        """
        run = self.run
        lane: WalkingLane | None = self
        self.take()
        try:
            while lane is not None:
                worker.lane = current = lane
                lane = None
                worker.at = station = current.station
                function, expected = station.function, station.promise.expected
                current.begun, current.stale = 0, False
                began = perf_counter() if len(current.batch) >= station.batch else 0.0
                try:
                    if station.measures is not None:
                        await current.measured(station.measures)
                    for chunk in current.cursor:
                        result = await function(chunk.payload)
                        chunk.payload = result if type(result) is expected else current.other(chunk, result)
                    lane = current.hand_on(began)
                except BaseException as exc:
                    current.broke(exc)
                finally:
                    worker.lane = lane
                    current.leave()
                if lane is not None:
                    await switch(lane.variables if lane.variables is not None else lane.context())
            if worker.interrupted:
                await absorb(run.pool.parking, worker.task)
        finally:
            worker.disengage(run)

    async def measured(self, measures: NodeMeasures) -> None:
        """Run the loop over the batch with a clock in it.

        If cancelled, what was done is recorded; the loop of `work` finds the batch as its own would leave it.
        """
        function, expected = self.station.function, self.station.promise.expected
        now = self.run.pool.parking.now
        seconds: list[float] = []
        began = now()
        try:
            for chunk in self.cursor:
                result = await function(chunk.payload)
                chunk.payload = result if type(result) is expected else self.other(chunk, result)
                ended = now()
                seconds.append(ended - began)
                began = ended
        finally:
            measures.took(seconds, len(self.batch))

    def other(self, chunk: Chunk[Any], result: Any) -> Any:
        """Look at what is not of the class that was promised; let a chunk go that became nothing."""
        if result is None:
            settle(chunk)
            self.holes = True
            return HOLE
        self.station.promise.check(result)
        return result

    def hand_on(self, began: float) -> WalkingLane | None:
        """Hand the results on; where the next lane is free to, it takes them over at once."""
        if began:
            self.station.took(len(self.batch), perf_counter() - began)
        if self.begun or self.holes or self.stale:
            self._send(self._part(len(self.batch)))
            return None
        road = self.out.direct
        if road is not None:
            lane = road.lane
            if type(lane) is WalkingLane and lane.take_over(road, self.batch):
                return lane
        self.out.push(self.batch)
        return None

    def take_over(self, road: Any, batch: list[Chunk[Any]]) -> bool:
        """Take a batch over from the lane in front, if nobody else has a claim on this one."""
        run, station, count = self.run, self.station, len(batch)
        if self.scheduled or self.dead or road.items or road.door or self.out.stuck:
            return False
        if run.paused or run.stopped or count > station.batch or (count > 1 and count > self.out.room()):
            return False
        places = station.places
        if places.waiting or places.taken >= places.limit:
            return False
        places.taken += 1  # `Places.take`, by hand: a walk through four nodes makes 60 calls as it is
        leg, meter = road.writer, road.meter
        leg.chunks += count
        if leg.watch is not None:
            leg.watch.sent(batch, run.pool.parking.now())
        if leg.stamps:
            leg.stamp(batch)
        meter.offered += count
        meter.delivered += count
        station.steps += count
        self.scheduled = self.has_place = True
        if run.watch is not None:
            self.works()
        self.inbox = road
        self.batch = batch
        self.cursor = iter(batch)
        run.busy += 1
        return True

    def _part(self, end: int) -> list[Chunk[Any]]:
        """Cut out the results up to an index."""
        part = self.batch[self.begun : end] if self.begun or end < len(self.batch) else self.batch
        self.begun = end
        if self.holes:
            part = [chunk for chunk in part if chunk.payload is not HOLE]
            self.holes = False
        return part

    def _send(self, part: list[Chunk[Any]]) -> None:
        if self.stale:
            self.let_go(part)
        elif part:
            self.out.push(part)

    def suspending(self) -> None:
        """Hand on what is done, because the worker is about to wait in the node's code."""
        index = self.current()
        if index > self.begun:
            self._send(self._part(index))
        self.note_unstarted()

    def broke(self, exc: BaseException) -> None:
        """Deal with what came out of the loop."""
        index = self.current()
        if not (self.run.stopped or self.dead):
            self._send(self._part(index))
        left = self.batch[self.begun :]
        if self.stale or self.dead or self.run.stopped:
            self.let_go(left)
            return
        if isinstance(exc, self.run.pool.parking.cancelled):
            self.run.pool.forgive(self.run.pool.parking.task())
        error = self.station.failed(self.run, exc, left[0])
        if self.run.catch(self.station.site, error, left[0], left[0]._ticket, left[0]._tokens):
            del left[0]
        self.broken(error)
        self.let_go(left)

    def restart(self, road: Any, attempt: int) -> None:
        """Drop what is left of lower attempts, and begin a higher one behind."""
        road.purge()
        if self.cursor is not None and self.inbox is road:
            self.let_go(self.recall())
            index = self.current()
            self.let_go(self.batch[self.begun : index])
            self.begun = index
            self.stale = True
        self.out.restart(attempt)


class SteppingLane(BatchLane):
    """A stream at an ordered node with a policy or a context: a step per chunk."""

    __slots__ = ("step",)

    def __init__(self, run: RunCore, station: Station, key: LaneKey, explicit: bool) -> None:
        super().__init__(run, station, key, explicit)
        self.step: Step | None = None

    async def work(self, worker: Worker) -> None:
        """Do the steps of a batch."""
        try:
            self.take()
            worker.lane = self
            for chunk in self.cursor:
                self.step = chunk_step(self, chunk)
                await self.do(self.step, worker)
                if self.dead or self.run.stopped:
                    self.let_go(self.recall())
                elif self.out.stuck or self.run.paused or self.station.places.waiting:
                    self.put_back()
        finally:
            worker.lane = None
            self.step = None
            self.leave()

    def suspending(self) -> None:
        """Tell what is not begun, because the worker is about to wait in the node's code."""
        self.note_unstarted()

    def restart(self, road: Any, attempt: int) -> None:
        """Drop what is left of lower attempts, and begin a higher one behind."""
        road.purge()
        if self.cursor is not None and self.inbox is road:
            self.let_go(self.recall())
            if self.step is not None:
                self.step.stale = True
                self.step.interrupt(Restarted())
        self.out.restart(attempt)
