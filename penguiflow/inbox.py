"""Inboxes: where the items of one edge wait, for one lane.

Owns an edge's capacity. Invariant (rule 2.2): what waits, including what a worker has taken but not begun,
never exceeds the capacity; what came beyond it stands *at the door*, still with its sender, who is told when
the last of it is in. Offered = delivered + dropped + waiting, always (rule 2.9). Knows nothing of what the
lane does; edges that never let their senders wait are in `dropping`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .credit import Account
from .errors import StepError, described

if TYPE_CHECKING:
    from .graph import Edge
    from .lane import Lane
    from .measures import EdgeMeasures

UNBOUNDED = 1 << 60

EMPTY: list[Any] = []
"""What waits where nothing waits; never written to."""


class Sender(Protocol):
    """Somebody whose items may have to stand at the door."""

    def entered(self) -> None:
        """Take note that all that stood at one door is in."""


class Meter:
    """What has passed one edge, in all runs of a runtime."""

    __slots__ = ("delivered", "dropped", "edge", "measures", "most", "offered")

    def __init__(self, edge: Edge) -> None:
        self.edge: Edge = edge
        self.offered: int = 0
        self.delivered: int = 0
        self.dropped: int = 0
        self.most: int = 0
        self.measures: EdgeMeasures | None = None

    def offer(self, count: int) -> None:
        """Count what was accepted to wait."""
        offered = self.offered = self.offered + count
        waiting = offered - self.delivered - self.dropped
        if waiting > self.most:
            self.most = waiting

    def pass_through(self, count: int) -> None:
        """Count what passes without waiting."""
        self.offered += count
        self.delivered += count


class Road(Protocol):
    """The end of an edge that a leg or a step sends into."""

    edge: Edge | None
    lane: Any

    @property
    def stuck(self) -> bool:
        """Whether something stands at the door."""

    def room(self) -> int:
        """Say how many items can be sent without standing at the door."""

    def freedom(self) -> tuple[bool, int]:
        """Say how free the node behind is, against the others of ``balance=True``: the greater, the freer."""

    def refuses(self, payload: Any) -> bool:
        """Say whether a payload would find no room, and may not wait for any."""

    def take_refused(self) -> list[Any]:
        """Give what was refused for want of room, once."""

    def receive(self, batch: list[Any], sender: Sender) -> None:
        """Take items over; the list is the receiver's from now on."""

    def watch(self, sender: Sender) -> None:
        """Tell a sender, by `entered`, when the road is not stuck any more."""


class Inbox:
    """What waits on one edge that lets its senders wait."""

    __slots__ = (
        "capacity",
        "closed",
        "door",
        "edge",
        "items",
        "lane",
        "meter",
        "unstarted",
        "watchers",
        "writer",
    )

    gate: Account | None = None
    """What items go on through, besides the capacity; see `dropping`."""

    def __init__(self, edge: Edge, meter: Meter, lane: Lane, writer: Any, capacity: int) -> None:
        self.edge: Edge = edge
        self.meter: Meter = meter
        self.lane: Lane = lane
        self.writer: Any = writer
        self.capacity: int = capacity
        self.items: list[Any] = EMPTY
        self.unstarted: int = 0
        self.door: list[Any] | None = None
        self.watchers: list[Sender] | None = None
        self.closed: bool = False

    @property
    def stuck(self) -> bool:
        """Whether something stands at the door."""
        return bool(self.door)

    def room(self) -> int:
        """Say how many items can be sent without standing at the door."""
        return 0 if self.door else self.capacity - len(self.items) - self.unstarted

    def freedom(self) -> tuple[bool, int]:
        """Say whether something can wait, and how many hands are free beyond those for what waits."""
        waiting = len(self.items) + self.unstarted + len(self.door or ())
        return waiting < self.capacity, self.lane.free_hands() - waiting

    def refuses(self, payload: Any) -> bool:
        """Say whether a payload would find no room, and may not wait for any."""
        return self.edge.policy.overflow == "fail" and self.room() <= 0

    def take_refused(self) -> list[Any]:
        """Give nothing: who sends here waits."""
        return EMPTY

    def receive(self, batch: list[Any], sender: Sender) -> None:
        """Take items over; those beyond the capacity stand at the door."""
        lane = self.lane
        if lane.dead:
            self._refuse(batch)
            return
        if self.door or len(self.items) + self.unstarted + len(batch) > self.capacity:
            self._stand_at_the_door(batch)
        elif self.items:
            self._admit(batch)
        else:
            self.meter.offer(len(batch))
            self.items = batch
            if self.meter.measures is not None:
                self.meter.measures.came(self, len(batch))
        if not lane.scheduled:
            lane.wake()

    def _admit(self, batch: list[Any]) -> None:
        self.meter.offer(len(batch))
        if self.meter.measures is not None:
            self.meter.measures.came(self, len(batch))
        if self.items:
            self.items.extend(batch)
        else:
            self.items = batch

    def _stand_at_the_door(self, batch: list[Any]) -> None:
        room = self.room()
        if room > 0:
            self._admit(batch[:room])
            del batch[:room]
        self.door = self.door + batch if self.door else batch

    def _refuse(self, batch: list[Any]) -> None:
        for item in batch:
            self.lane.discard(item)

    def watch(self, sender: Sender) -> None:
        """Tell a sender when nothing stands at the door any more."""
        if self.watchers is None:
            self.watchers = []
        self.watchers.append(sender)

    def take(self, limit: int) -> list[Any]:
        """Give up to ``limit`` items to the lane; their places are free when `freed` is called."""
        items = self.items
        if self.meter.measures is not None:
            self.meter.measures.left(self, min(limit, len(items)), len(items))
        if len(items) <= limit:
            self.items = EMPTY
        else:
            self.items = items[limit:]
            del items[limit:]
        self.meter.delivered += len(items)
        return items

    def put_back(self, batch: list[Any]) -> None:
        """Take back what the lane has not begun."""
        self.meter.delivered -= len(batch)
        self.items = batch + self.items
        if self.meter.measures is not None:
            self.meter.measures.came_back(self, len(batch))

    def freed(self) -> None:
        """Let in who stands at the door."""
        if not self.door and not self.watchers:
            return
        room = self.capacity - len(self.items) - self.unstarted
        if room <= 0:
            return
        if self.door:
            entering, self.door = self.door[:room], self.door[room:]
            self._admit(entering)
        if not self.door:
            self._tell()
        if not self.lane.scheduled:
            self.lane.wake()

    def _tell(self) -> None:
        watchers, self.watchers = self.watchers, None
        for sender in watchers or ():
            sender.entered()

    def purge(self) -> None:
        """Let go of everything that waits, and of what stands at the door."""
        items, self.items = self.items, EMPTY
        door, self.door = self.door, None
        self.meter.dropped += len(items)
        if self.meter.measures is not None:
            self.meter.measures.forget(self)
        for item in items:
            self.lane.discard(item)
        for item in door or ():
            self.lane.discard(item)
        self._tell()

    @property
    def empty(self) -> bool:
        """Whether nothing waits, and nobody stands at the door."""
        return not self.items and not self.door

    def available(self) -> int:
        """Say how many items the lane may take now."""
        return len(self.items)

    def close(self) -> None:
        """Take note that nothing more will be sent."""
        self.closed = True

    def __repr__(self) -> str:
        return f"<inbox {self.edge.name} {len(self.items)}/{self.capacity}>"


class SizedInbox(Inbox):
    """What waits on an edge whose capacity is also counted in bytes.

    One item larger than the whole budget passes alone.
    """

    __slots__ = ("bytes_waiting", "capacity_bytes", "sizer")

    def __init__(self, edge: Edge, meter: Meter, lane: Lane, writer: Any, capacity: int, sizer: Any) -> None:
        super().__init__(edge, meter, lane, writer, capacity)
        assert edge.policy.capacity_bytes is not None
        self.capacity_bytes: int = edge.policy.capacity_bytes
        self.sizer: Any = sizer

    def _waiting_bytes(self) -> int:
        return sum(self.sizer(item.payload) for item in self.items)

    def take(self, limit: int) -> list[Any]:
        """Give one item to the lane: what a worker holds would have to be counted, too."""
        return super().take(1)

    def room(self) -> int:
        """Say that one item may be tried at a time: its size is not known before."""
        return min(1, super().room())

    def _fitting(self, batch: list[Any]) -> int:
        """Say how many of a batch fit into both budgets; -1 where a sizer has raised, and the run is over."""
        try:
            return self._count_fitting(batch)
        except Exception as exc:
            run = self.lane.run
            run.fail(exc if isinstance(exc, StepError) else broken(self.edge, run.id, "sizer", exc))
            return -1

    def _count_fitting(self, batch: list[Any]) -> int:
        room = self.capacity - len(self.items) - self.unstarted
        waiting = self._waiting_bytes()
        for count, item in enumerate(batch):
            size = self.sizer(item.payload)
            alone = not self.items and count == 0 and not self.unstarted
            if count >= room or (waiting + size > self.capacity_bytes and not alone):
                return count
            waiting += size
        return len(batch)

    def receive(self, batch: list[Any], sender: Sender) -> None:
        """Take items over; those beyond either budget stand at the door."""
        lane = self.lane
        if lane.dead:
            self._refuse(batch)
            return
        count = 0 if self.door else self._fitting(batch)
        if count < 0:
            self._refuse(batch)
            return
        if count:
            self._admit(batch[:count])
        if count < len(batch):
            self.door = (self.door or []) + batch[count:]
        if not lane.scheduled:
            lane.wake()

    def freed(self) -> None:
        """Let in who stands at the door and fits."""
        if self.door:
            count = self._fitting(self.door)
            if count < 0:
                return
            entering, self.door = self.door[:count], self.door[count:]
            if entering:
                self._admit(entering)
        if not self.door and self.room() > 0:
            self._tell()
        if not self.lane.scheduled:
            self.lane.wake()


def broken(edge: Edge, run_id: str, option: str, exc: Exception) -> StepError:
    """Make the error of an edge whose function, given as an option, has failed."""
    text = f"{option}= of edge {edge.name} failed in run {run_id}: {described(exc)}"
    error = StepError(text, run_id=run_id, node=edge.source.key)
    error.__cause__ = exc
    return error
