"""Fan-in lanes: where chunks are taken over by a gather or a join.

Owns the roads that never fill (rule 4.4: parts are taken over at once) and the order in which a join by chunk
decides (rule 4.3: in order of seq, from the head). What is paired and when it is complete, `joining` knows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .credit import Joint
from .inbox import UNBOUNDED, Meter, Sender
from .items import Chunk, Item
from .joining import Pairing, Verdict
from .lane import Lane, LaneKey, PassingLane
from .settling import forfeit
from .step import Step
from .waiting import Restarted
from .watch import keep_origin, origins_of

if TYPE_CHECKING:
    from .core import RunCore
    from .gate import GatedLeg
    from .graph import Edge
    from .leg import Leg
    from .pool import Worker
    from .station import Station


class OpenRoad:
    """The end of an edge where nothing ever waits: what comes is taken over."""

    __slots__ = ("closed", "edge", "lane", "meter", "writer")

    empty = True
    stuck = False
    items: tuple[()] = ()

    def __init__(self, edge: Edge, meter: Meter, lane: TakingLane | JoinLane, writer: Any) -> None:
        self.edge: Edge = edge
        self.meter: Meter = meter
        self.lane: TakingLane | JoinLane = lane
        self.writer: Any = writer
        self.closed: bool = False

    def room(self) -> int:
        """Say that there is always room."""
        return UNBOUNDED

    def freedom(self) -> tuple[bool, int]:
        """Say that everything is taken at once."""
        return True, UNBOUNDED

    def refuses(self, payload: Any) -> bool:
        """Say that everything is taken."""
        return False

    def take_refused(self) -> list[Any]:
        """Give nothing: nothing is refused."""
        return []

    def available(self) -> int:
        """Say that nothing waits."""
        return 0

    def receive(self, batch: list[Any], sender: Sender) -> None:
        """Hand items over."""
        self.meter.pass_through(len(batch))
        for item in batch:
            if self.lane.dead:
                self.lane.discard(item)
            else:
                self.lane.take_over(self, item)

    def watch(self, sender: Sender) -> None:
        """Tell a sender at once: there is always room."""
        sender.entered()

    def purge(self) -> None:
        """Let go of nothing: nothing waits."""

    def freed(self) -> None:
        """Do nothing: nobody stands at the door."""

    def close(self) -> None:
        """Take note that nothing more will be sent."""
        self.closed = True


def open_road(lane: TakingLane | JoinLane, edge: Edge, leg: Leg) -> OpenRoad:
    """Give a lane a new road that never fills."""
    road = OpenRoad(edge, lane.run.engine.meters[edge.index], lane, leg)
    lane.inboxes = (*lane.inboxes, road)
    lane.writers += 1
    lane.seen += 1
    return road


class TakingLane(Lane):
    """What lanes share that take chunks over at once."""

    __slots__ = ()

    sees_numbers = True

    def road(self, edge: Edge, leg: Leg) -> Any:
        """Give a new road into the lane."""
        return open_road(self, edge, leg)

    def take_over(self, road: OpenRoad, chunk: Chunk[Any]) -> None:
        """Take a chunk over."""
        raise NotImplementedError

    def runnable(self) -> bool:
        """Say that there is never anything to do: it is done when it comes."""
        return False

    def end_output(self, terminal: Any, error: BaseException | None) -> None:
        """Fail the run where a stream failed that nobody else reads."""
        if error is not None and not self.run.is_handled(error):
            self.run.fail(error)


class GatherLane(TakingLane):
    """A stream at a gather: each chunk is a part."""

    __slots__ = ()

    def take_over(self, road: OpenRoad, chunk: Chunk[Any]) -> None:
        """Add a chunk to what was gathered."""
        watch = road.writer.watch
        self.run.gather(self.station, chunk, self.tokens, watch.span if watch is not None else None)


class SlotLane(TakingLane):
    """A stream at a slot of a join by item: its one chunk is the item."""

    __slots__ = ()

    def take_over(self, road: OpenRoad, chunk: Chunk[Any]) -> None:
        """Put a chunk into its slot."""
        assert road.edge.slot is not None
        keep_origin(self.run, chunk, road.writer)
        self.run.fill(self.station, road.edge.slot, chunk, self.tokens)


class JoinLane(PassingLane):
    """One stream at a join by chunk: pairings in order of seq, decided from the head."""

    __slots__ = ("gate", "queue", "step")

    def __init__(self, run: RunCore, station: Station, key: LaneKey, explicit: bool) -> None:
        super().__init__(run, station, key, explicit)
        self.queue: deque[Pairing] = deque()
        self.step: Step | None = None
        self.gate: GatedLeg | None = None

    sees_numbers = True

    def road(self, edge: Edge, leg: Leg) -> Any:
        """Give a new road into the lane."""
        return open_road(self, edge, leg)

    def take_over(self, road: OpenRoad, chunk: Chunk[Any]) -> None:
        """Put a chunk into its slot."""
        assert road.edge.slot is not None
        if self.failing is not None:
            forfeit(chunk)  # one of the branches has failed: nothing is paired any more
        else:
            self.run.fill(self.station, road.edge.slot, chunk, ())

    def undecided(self) -> int:
        """Say how many pairings are open."""
        return len(self.queue)

    def pairs(self) -> bool:
        """Say whether anything is paired any more."""
        return not self.dead and self.failing is None

    def runnable(self) -> bool:
        """Say whether the oldest pairing is decided."""
        if self.dead or self.run.paused or self.out.stuck:
            return False
        return bool(self.queue) and self.queue[0].verdict is not None

    def goes_on(self, own: BaseException | None) -> bool:
        """Say whether code of the node is at work beyond the end; what has failed by itself is not."""
        return own is None and self.step is not None

    def quiet(self) -> bool:
        """Say whether all pairings are decided, and their results in the successors' hands."""
        return not self.queue and not self.out.stuck

    def die(self, terminal: Any, error: BaseException | None = None) -> None:
        """End now, and let undecided pairings go."""
        if not self.dead:
            queue, self.queue = self.queue, deque()
            super().die(terminal, error)
            self._drop(queue)

    def finish_if_over(self) -> None:
        """End when all pairings are over; an unhandled error does not wait for them."""
        if self.failing is not None and not self.dead:
            self._forget_undecided()
        if self.failing is not None and not self.scheduled and not self.queue:
            self.die("error", self.error)
        else:
            super().finish_if_over()

    def _forget_undecided(self) -> None:
        """Drop the pairings that the failed stream leaves undecided: silence is no answer to an error."""
        decided = 0
        while decided < len(self.queue) and self.queue[decided].verdict is not None:
            decided += 1
        queue = list(self.queue)
        self.queue = deque(queue[:decided])
        self._drop(queue[decided:])

    def _drop(self, pairings: Iterable[Pairing]) -> None:
        for pairing in pairings:
            if self.spoilt or self.failing is not None:
                pairing.held = ()  # the joins behind hear the error
            self.run.drop_pairing(pairing)
        if self.gate is not None:
            self.gate.go_on()

    def restart(self, road: Any, attempt: int) -> None:
        """Drop the pairings of lower attempts, and begin a higher one behind."""
        if attempt <= self.out.heading.attempt:
            return
        queue, self.queue = self.queue, deque()
        if self.step is not None:
            self.step.stale = True
            self.step.interrupt(Restarted())
        self.out.restart(attempt)
        self._drop(queue)

    async def work(self, worker: Worker) -> None:
        """Work off what is decided, one after the other."""
        run = self.run
        try:
            while self.runnable() and not run.stopped:
                pairing = self.queue.popleft()
                if self.gate is not None:
                    self.gate.go_on()
                if pairing.verdict is Verdict.RUN:
                    await self._join(worker, pairing)
                else:
                    run.skip(self.station, pairing)
        finally:
            self.step = None
            self.leave_place()
            self.scheduled = False
            run.busy -= 1
            self.wake()
            self.rests()
            self.tell_end()
            self.finish_if_over()

    async def _join(self, worker: Worker, pairing: Pairing) -> None:
        self.station.steps += 1
        self.step = join_step(self.run, self.station, pairing, self)
        await self.do(self.step, worker)
        self.step = None


def join_step(run: RunCore, station: Station, pairing: Pairing, lane: Any) -> Step:
    """Make the step of a decided pairing: it rides on all that arrived."""
    arrived: list[Item[Any]] = [part for part in pairing.arrived() if isinstance(part, Item)]
    values = [_value(slot, part) for slot, part in zip(station.signature.slots, pairing.items(), strict=True)]
    streams = [part for part in pairing.arrived() if not isinstance(part, Item)]
    item = arrived[0] if arrived else streams[0].item()
    held, pairing.held = pairing.held, ()
    step = Step(run, station, values, item, Joint([part._ticket for part in arrived]), held, lane)
    if run.watch is not None and step.watch is not None:
        of_streams = [span for stream in streams for span in stream.origins()]
        step.watch.origins = origins_of([*map(run.watch.origin_of, arrived), *of_streams])
    for stream in streams:
        stream.belong_to(step)
    return step


def _value(slot: Any, part: Any) -> Any:
    if isinstance(part, Item) and slot.takes.name == "ITEM":
        return part.payload
    return part
