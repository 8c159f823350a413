"""Inline lanes: a stream at a ``def`` node, which runs on the edge.

Owns the sender's turn there. Invariant: nothing waits at a ``def`` node; room in front of it is room behind
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .inbox import UNBOUNDED, Meter, Sender
from .items import Chunk
from .lane import HOLE, LaneKey, PassingLane
from .settling import settle

if TYPE_CHECKING:
    from .core import RunCore
    from .graph import Edge
    from .leg import Leg
    from .station import Station

Failure = tuple[BaseException, Chunk[Any]]


class InlineRoad:
    """The end of an edge into a ``def`` node: nothing waits here."""

    __slots__ = ("closed", "edge", "lane", "meter", "writer")

    def __init__(self, edge: Edge, meter: Meter, lane: InlineLane, writer: Any) -> None:
        self.edge: Edge = edge
        self.meter: Meter = meter
        self.lane: InlineLane = lane
        self.writer: Any = writer
        self.closed: bool = False

    empty = True
    items = ()

    @property
    def stuck(self) -> bool:
        """Whether something stands at a door behind the node."""
        return self.lane.out.stuck > 0

    def room(self) -> int:
        """Say how much room there is behind the node."""
        return self.lane.out.room()

    def freedom(self) -> tuple[bool, int]:
        """Say how free those are that are behind the node: it works at once itself."""
        return min((road.freedom() for road in self.lane.out.roads), default=(True, UNBOUNDED))

    def refuses(self, payload: Any) -> bool:
        """Say that what comes is taken."""
        return False

    def take_refused(self) -> list[Any]:
        """Give nothing: nothing is refused."""
        return []

    def receive(self, batch: list[Any], sender: Sender) -> None:
        """Run the node over a batch, and send the results on."""
        self.meter.pass_through(len(batch))
        self.lane.pass_through(batch)

    def watch(self, sender: Sender) -> None:
        """Tell a sender when there is room behind the node."""
        out = self.lane.out
        if out.stuck:
            self.lane.watchers.append(sender)
            return
        for road in out.roads:
            if road.room() <= 0:
                road.watch(sender)
        out.watch_gate(sender)

    def purge(self) -> None:
        """Let go of nothing: nothing waits."""

    def close(self) -> None:
        """Take note that nothing more will be sent."""
        self.closed = True


class InlineLane(PassingLane):
    """A stream at a ``def`` node: it runs on the edge, in the sender's turn."""

    __slots__ = ("watchers",)

    def __init__(self, run: RunCore, station: Station, key: LaneKey, explicit: bool) -> None:
        super().__init__(run, station, key, explicit)
        self.watchers: list[Sender] = []

    def road(self, edge: Edge, leg: Leg) -> Any:
        """Give a new road into the lane."""
        road = InlineRoad(edge, self.run.engine.meters[edge.index], self, leg)
        self.inboxes = (*self.inboxes, road)
        self.writers += 1
        self.seen += 1
        return road

    def runnable(self) -> bool:
        """Say that there is never anything to do: it is done when it comes."""
        return False

    def unstuck(self) -> None:
        """Tell the senders that there is room behind the node."""
        watchers, self.watchers = self.watchers, []
        for sender in watchers:
            sender.entered()
        self.rests()
        self.finish_if_over()

    def restart(self, road: Any, attempt: int) -> None:
        """Begin a higher attempt behind."""
        self.out.restart(attempt)

    def pass_through(self, batch: list[Chunk[Any]]) -> None:
        """Run the node over a batch, in the context variables of this lane."""
        if self.dead:
            self.let_go(batch)
            return
        self.station.steps += len(batch)
        watched = self.run.watch is not None
        if watched:
            self.works()
        measures = self.station.measures
        now = self.run.pool.parking.now
        began = now() if measures is not None else 0.0
        done, failure = self.context().run(self._apply, batch)
        if measures is not None:
            measures.latency.record((now() - began) / len(batch), len(batch))
            measures.batch.record(len(batch))
        if watched:
            self.rests()  # what is behind has its own time
        if done:
            self.out.push(done)
        if watched and self.out.stuck:
            self.rests()
        if failure is not None:
            self._broke(failure, batch[batch.index(failure[1]) :])

    def _apply(self, batch: list[Chunk[Any]]) -> tuple[list[Chunk[Any]], Failure | None]:
        """Replace payloads by results, up to the first chunk that fails."""
        function, takes_envelope = self.station.inline, self.station.takes_envelope
        promise = self.station.promise
        expected = promise.expected
        holes = False
        for chunk in batch:
            try:
                result = function(chunk if takes_envelope else chunk.payload)
                if type(result) is not expected and result is not None:
                    promise.check(result)
            except BaseException as exc:  # nobody else can have raised it here: it is the node's (rule 3.6)
                return compact(batch[: batch.index(chunk)]), (exc, chunk)
            if result is not None:
                chunk.payload = result
            else:
                settle(chunk)
                chunk.payload = HOLE
                holes = True
        return compact(batch) if holes else batch, None

    def _broke(self, failure: Failure, left: list[Chunk[Any]]) -> None:
        exc, chunk = failure
        if not self.dead:
            error = self.station.failed(self.run, exc, chunk)
            if self.run.catch(self.station.site, error, chunk, chunk._ticket, chunk._tokens):
                left = left[1:]
            self.broken(error)
        self.let_go(left)


def compact(batch: list[Chunk[Any]]) -> list[Chunk[Any]]:
    """Leave the holes out."""
    return [chunk for chunk in batch if chunk.payload is not HOLE]
