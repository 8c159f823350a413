"""Lanes: one stream at one node that works chunk by chunk.

Owns the order inside a stream (rule 1.6): one worker at a time is in a lane. Invariant: a lane is *scheduled*
from the moment it has something to do until it has nothing, and its run counts it as busy for just as long;
what it has taken is handed on, put back or settled, whatever happens. Knows its inboxes and its leg, not its
node's policy: what a careful node needs, a `Step` does.

A lane is a passive record. A worker takes a batch and runs the node's function over it in a bare loop;
results, credit and counters are handed on as one block, at the latest when the worker is suspended, because
between two suspensions nobody else can look.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Coroutine
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any

from .completion import Tokens, hold, reaching, release
from .dropping import GateWatch, OverflowInbox
from .items import Chunk, Item, Terminal
from .payloads import Unreadable
from .settling import forfeit, settle
from .timing import CREDIT, NODE, SOURCE
from .watch import end_lane

if TYPE_CHECKING:
    from .core import RunCore
    from .graph import Edge
    from .leg import Leg
    from .pool import Worker
    from .station import Station
    from .step import Step

LaneKey = tuple[int, str] | tuple[int, str, int]

HOLE = object()
"""The payload of an envelope whose chunk was filtered out of a batch."""

SEVERITY: dict[Terminal, int] = {"done": 0, "cancelled": 1, "expired": 2, "error": 3}


class Lane:
    """What all lanes share: their inboxes, and how they end.

    Args:
        run: the run.
        station: the node at work.
        key: the node by index, the stream's id and, in front of a join by item, the slot.
        explicit: whether the stream may have writers yet unknown: it was named by hand.
    """

    __slots__ = (
        "dead",
        "error",
        "explicit",
        "failing",
        "has_place",
        "inboxes",
        "key",
        "run",
        "scheduled",
        "seen",
        "spoilt",
        "station",
        "terminal",
        "tokens",
        "variables",
        "writers",
    )

    sees_numbers = False
    begins = False

    def __init__(self, run: RunCore, station: Station, key: LaneKey, explicit: bool) -> None:
        self.run: RunCore = run
        self.station: Station = station
        self.key: LaneKey = key
        self.explicit: bool = explicit
        self.inboxes: tuple[Any, ...] = ()
        self.writers: int = 0
        self.seen: int = 0
        self.tokens: Tokens = ()
        self.scheduled: bool = False
        self.has_place: bool = False
        self.dead: bool = False
        self.terminal: Terminal = "done"
        self.error: BaseException | None = None
        self.failing: Any = None
        self.spoilt: bool = (
            False  # an error that nobody has taken is behind it: what it lets go is not silent
        )
        self.variables: Variables | None = None
        run.open += 1

    @property
    def stream_id(self) -> str:
        """The stream."""
        return self.key[1]

    @property
    def slot(self) -> int | None:
        """Which slot of a join by item the lane stands in front of."""
        return self.key[2] if len(self.key) == 3 else None

    @abstractmethod
    def work(self, worker: Worker) -> Coroutine[Any, Any, None]:
        """Do what there is to do; each kind of lane says how. If cancelled, nothing taken is lost."""

    def suspending(self) -> None:
        """Make what is done known, because the worker is about to wait in the node's code."""

    def put_back(self) -> None:
        """Put back what was taken and is not begun."""

    # -- roads into the lane

    def road(self, edge: Edge, leg: Leg) -> Any:
        """Give a new road into the lane."""
        inbox = self.run.engine.new_inbox(edge, self, leg)
        self.inboxes = (*self.inboxes, inbox)
        self.writers += 1
        self.seen += 1
        return inbox

    def carry(self, tokens: Tokens) -> None:
        """Hold tokens of places that the stream can feed, for as long as the lane lives."""
        if tokens:
            self.tokens += hold(tokens)

    def writer_ended(self, road: Any, terminal: Terminal, error: BaseException | None) -> None:
        """Take note of the terminal of one of the streams that meet here."""
        road.close()
        self.writers -= 1
        if self.dead:
            return
        if SEVERITY[terminal] > SEVERITY[self.terminal]:
            self.terminal = terminal
        if error is not None and self.failing is None:  # one that was taken hides none that was not
            unhandled = not self.run.is_handled(error)
            if self.error is None or unhandled:
                self.error = error
            if unhandled:
                self.failing = road
        self.finish_if_over()

    def expects_writers(self) -> bool:
        """Say whether something may still be written to the lane."""
        if self.writers:
            return True
        if not self.explicit or self.slot is not None:
            return self.explicit and not self.seen
        return self.seen < len(self.station.named_edges)

    def finish_if_over(self) -> None:
        """End when everything that was written has been worked off."""
        if self.dead or self.scheduled or not self.quiet():
            return
        if self.failing is not None:
            if self.failing.empty:
                self.die("error", self.error)
        elif not self.expects_writers() and all(inbox.empty for inbox in self.inboxes):
            self.die(self.terminal, self.error)

    def quiet(self) -> bool:
        """Say whether nothing of the lane is on its way out."""
        return True

    def die(self, terminal: Terminal, error: BaseException | None = None) -> None:
        """End now: what still waits is let go, what is written from now on is refused, writers are told."""
        if self.dead:
            return
        self.dead = True
        self.spoilt = self.spoilt or (error is not None and not self.run.is_handled(error))
        self.run.lane_ended(self)
        self.end_output(terminal, error)  # first: an error must be known where silence would decide otherwise
        for inbox in self.inboxes:
            inbox.purge()
        tokens, self.tokens = self.tokens, ()
        release(tokens)
        for inbox in self.inboxes:
            if not inbox.closed:
                inbox.writer.reader_left(spoilt=self.spoilt)
        self.run.one_less_open()

    def discard(self, item: Item[Any]) -> None:
        """Let an item go that goes nowhere."""
        if self.spoilt:
            forfeit(item)
        else:
            settle(item)

    def let_go(self, chunks: list[Chunk[Any]]) -> None:
        """Let chunks go that go nowhere."""
        for chunk in chunks:
            if chunk.payload is not HOLE:
                self.discard(chunk)

    def end_output(self, terminal: Terminal, error: BaseException | None) -> None:
        """Pass the end on."""

    def restart(self, road: Any, attempt: int) -> None:
        """Drop what is left of lower attempts."""
        road.purge()

    # -- work

    def free_hands(self) -> int:
        """Say how many more items could be begun at once, for those who choose among branches."""
        places = self.station.places
        return min(1, places.limit - places.taken + self.has_place)

    def runnable(self) -> bool:
        """Say whether there is something to do."""
        if self.dead or self.run.paused:
            return False
        for inbox in self.inboxes:
            if inbox.items:
                if inbox.gate is None or inbox.gate.free > 0:
                    return True
                self._await_gate(inbox)
        return False

    def _await_gate(self, inbox: OverflowInbox) -> None:
        gate = inbox.gate
        if gate is not None and not gate.waiters:
            gate.wait(GateWatch(self))

    def wake(self) -> None:
        """Schedule the lane if there is something to do."""
        if self.scheduled:
            return
        if self.runnable():
            self.scheduled = True
            if self.run.watch is not None:
                self.works()
            self.run.busy += 1
            self.run.pool.push(self)
        elif self.run.watch is not None and not self.dead:
            self.rests()

    def placed(self) -> None:
        """Take over a place at the node."""
        self.has_place = True
        self.run.pool.push(self)

    def abandon(self) -> None:
        """Be taken off the schedule, because the run is over or paused."""
        if self.has_place:
            self.leave_place()
        self.scheduled = False
        self.run.busy -= 1

    def leave_place(self) -> None:
        """Give the place at the node back."""
        if self.has_place:
            self.has_place = False
            self.station.places.release()

    def unread(self, leg: Leg) -> None:
        """Pass on that nobody reads any more."""
        self.spoilt = self.spoilt or leg.spoilt
        self.die("cancelled")

    def unstuck(self) -> None:
        """Go on when the successors have let everything in."""
        self.wake()
        if self.run.watch is not None:
            self.rests()
        self.finish_if_over()

    def works(self) -> None:
        """Take note that there is work from now on, where time is kept."""

    def rests(self) -> None:
        """Take note of what is waited for from now on, where time is kept."""

    def context(self) -> Variables:
        """Give the context variables that the node's code sees here."""
        if self.variables is None:
            self.variables = self.run.variables.copy()
        return self.variables

    def next_inbox(self) -> Any:
        """Give the inbox to take from, in turn."""
        inboxes = self.inboxes
        if len(inboxes) > 1:
            for index, inbox in enumerate(inboxes, 1):
                if inbox.available():
                    self.inboxes = inboxes[index:] + inboxes[:index]
                    return inbox
        return inboxes[0]


class PassingLane(Lane):
    """What lanes share whose node works chunk by chunk: the stream goes on behind it, under the same id."""

    __slots__ = ("out",)

    works_in_order = True
    """Whether the place that the lane was given is that of its step, which may lend it."""

    def __init__(self, run: RunCore, station: Station, key: LaneKey, explicit: bool) -> None:
        super().__init__(run, station, key, explicit)
        self.out: Leg = None  # type: ignore[assignment]  # set as soon as the lane is known to its run

    @property
    def sees_numbers(self) -> bool:  # type: ignore[override]
        """Whether chunks must be numbered before they come here."""
        return self.station.sees_chunks or len(self.inboxes) > 1

    def carry(self, tokens: Tokens) -> None:
        """Hold tokens, and let the lanes behind hold those that they can feed."""
        super().carry(tokens)
        if tokens and self.out is not None:
            self.out.tokens += hold(tokens)
            for road in self.out.roads:
                if road.edge is not None:
                    road.lane.carry(reaching(tokens, road.edge.reach))

    def runnable(self) -> bool:
        """Say whether there is something to do, and room for what comes of it."""
        return not self.out.stuck and super().runnable()

    def quiet(self) -> bool:
        """Say whether everything that was made is in its successors' hands."""
        return not self.out.stuck

    def end_output(self, terminal: Terminal, error: BaseException | None) -> None:
        """Pass the end on."""
        self.out.spoilt = self.out.spoilt or self.spoilt
        if self.out.watch is not None:  # first: the run may end with the stream
            own = error if error is not self.error else None
            gone = terminal != "done" or error is not None
            self.out.watch.ending = "error" if own is not None else "cancelled" if gone else "done", own
            if not self.goes_on(own):
                self.tell_end()
        self.out.end(terminal, error)

    def goes_on(self, own: BaseException | None) -> bool:
        """Say whether code of the node is at work beyond the end; what has failed by itself is not."""
        return False

    def tell_end(self) -> None:
        """Tell that the work of the node on the stream is over, once, if that was put off till now."""
        watch = self.out.watch
        if watch is not None and watch.ending is not None:
            (outcome, error), watch.ending = watch.ending, None
            end_lane(self, outcome, error)

    def works(self) -> None:
        """Take note that there is work from now on, where time is kept."""
        watch = self.out.watch
        if watch is not None:
            watch.timing.turn(NODE, self.run.pool.parking.now())

    def rests(self) -> None:
        """Take note of what is waited for from now on, where time is kept: input, or room behind."""
        watch = self.out.watch
        if watch is not None and not self.scheduled:
            credit = self.out.stuck or any(inbox.items for inbox in self.inboxes)  # these wait at a gate
            watch.timing.turn(CREDIT if credit else SOURCE, self.run.pool.parking.now())

    async def do(self, step: Step, worker: Worker) -> None:
        """Do the step of one chunk or pairing; a failure ends the stream, behind what came before it.

        If the run is over, the step has ended when this returns, and nothing more is handed on.
        """
        try:
            await step.perform(worker)
        except BaseException as exc:
            if isinstance(exc, Unreadable):
                self.run.fail(exc)
            elif not (self.run.stopped or self.dead or step.stale):
                error = self.station.failed(self.run, exc, step.item, step.attempt)
                if step.kept is not None:
                    step.kept.failed(error)
                step.give_away(error)
                self.broken(error)
        finally:
            if self.spoilt:
                step.tokens = ()
            step.over()

    def broken(self, error: BaseException) -> None:
        """End with an error, in band."""
        self.die("error", error)
        self.run.raise_if_unheard(self.out, error)
