"""Dropping: what waits on edges that never let their senders wait.

Owns what such an edge does when it is full, in items or in bytes: it drops, merges or refuses. Invariant:
offered = delivered + dropped + waiting, and every drop is reported (rule 2.9). User code runs here
(``merge``, ``sizer``): what it raises ends the run with one `StepError`, and never comes out of `receive`.
What is pure of it, `overflow` knows; what waiting means, `inbox`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .credit import FREE, Account, Ticket
from .errors import StepError
from .inbox import EMPTY, UNBOUNDED, Inbox, Meter, Sender, SizedInbox, broken
from .items import Drop, Item
from .overflow import ENDS_WINDOW, drop_newest, drop_oldest, merge_into_newest
from .policy import measured
from .routing import full
from .settling import settle
from .type_checks import checker

if TYPE_CHECKING:
    from .core import RunCore
    from .graph import Edge
    from .lane import Lane
    from .leg import Leg


class OverflowInbox(Inbox):
    """What waits on an edge that never lets its senders wait: it drops, merges or fails.

    Where it drops or merges, a stream's window ends here: acceptance brings the credit home, and what goes on
    to the node rides on the *gate*, a window of its own of the size of the edge (rule 2.9). Where it fails,
    what finds no room is *refused*: its stream ends with the error, behind what was let in (rule 3.3).
    """

    __slots__ = ("accepts", "gate", "refused")

    def __init__(self, edge: Edge, meter: Meter, lane: Lane, writer: Any, capacity: int) -> None:
        super().__init__(edge, meter, lane, writer, capacity)
        self.gate: Account | None = Account(capacity) if edge.policy.overflow in ENDS_WINDOW else None
        self.refused: list[Any] | None = None
        self.accepts: Callable[[Any], bool] | None = None
        if edge.policy.merge is not None:  # what it gives was not looked at when the flow was built
            self.accepts = edge.accepts or checker(edge.type)

    def room(self) -> int:
        """Say that there is always room, where the edge does not fail."""
        return UNBOUNDED if self.gate is not None else super().room()

    def _fits(self, item: Item[Any]) -> bool:
        """Say whether an item may wait beside what waits."""
        return len(self.items) + self.unstarted < self.capacity

    def receive(self, batch: list[Any], sender: Sender) -> None:
        """Take items over one by one, each as the policy says."""
        lane = self.lane
        for position, item in enumerate(batch):
            if lane.dead:  # from the beginning, or because this batch has ended the run
                self._refuse(batch[position:])
                return
            if self.gate is not None:
                ticket, item._ticket = item._ticket, FREE
                ticket.home()
                self._accept(item, lane.run)
            elif self._fits(item) and not lane.dead:
                self._admit([item])
            else:
                self._overflow(batch[position:])
                break
        if not lane.scheduled and not lane.dead:
            lane.wake()

    def _overflow(self, late: list[Any]) -> None:
        """Refuse what finds no room: a stream's leg ends it in band; a message ends its run."""
        self.meter.offered += len(late)
        self.meter.dropped += len(late)
        run = self.lane.run
        for item in late:
            self._report(item, run)
        if self.writer is not None:
            self.refused = late
            return
        error = full(self.edge, run.id)
        for item in late:
            if not run.catch(self.edge.source, error, item, item._ticket, item._tokens):
                settle(item)
                run.fail(error)

    def _accept(self, item: Item[Any], run: RunCore) -> None:
        """Let an item in, and out what must go for it."""
        while not self._fits(item) and not self.lane.dead:
            gone = self._choose(item, run)
            if gone is item:
                self.meter.offered += 1
            self.meter.dropped += 1
            self._report(gone, run)
            settle(gone)
            if gone is item:
                return
        if self.lane.dead:
            self._refuse([item])
        else:
            self._admit([item])

    def take_refused(self) -> list[Any]:
        """Give what was refused for want of room, once."""
        late, self.refused = self.refused, None
        return late or EMPTY

    def _report(self, gone: Item[Any], run: RunCore) -> None:
        stream_id, seq = getattr(gone, "stream_id", None), getattr(gone, "seq", None)
        if self.writer is not None and self.writer.watch is not None:
            self.writer.watch.drops += 1
        run.dropped(Drop(self.edge.name, stream_id, seq, self.edge.policy.overflow))

    def _choose(self, item: Item[Any], run: RunCore) -> Item[Any]:
        """Give what must go: the item itself, or what has waited longest."""
        policy = self.edge.policy
        if not self.items or policy.overflow == "drop_newest":
            return drop_newest(self.items, item)  # type: ignore[no-any-return]
        if policy.overflow == "merge":
            self._merge(item, run)
            return item
        return drop_oldest(self.items)  # type: ignore[no-any-return]

    def _merge(self, item: Item[Any], run: RunCore) -> None:
        """Merge an item into the newest that waits; where that can't be done, the run fails."""
        edge = self.edge
        assert edge.policy.merge is not None
        newest = self.items[-1]
        before = newest.payload
        try:
            merge_into_newest(self.items, item, edge.policy.merge)
            if self.accepts is not None and not self.accepts(newest.payload):
                kind = type(newest.payload).__name__
                raise TypeError(f"it gave a {kind}, but {edge.target.key} takes {edge.expected}")
        except Exception as exc:
            newest.payload = before
            run.fail(broken(edge, run.id, "merge", exc))

    def available(self) -> int:
        """Say how many items may go on through the gate."""
        return len(self.items) if self.gate is None else min(len(self.items), self.gate.free)

    def take(self, limit: int) -> list[Any]:
        """Give up to ``limit`` items to the lane, each on a credit of the gate."""
        gate = self.gate
        if gate is None:
            return super().take(limit)
        # one by one: what a worker holds can't be dropped any more
        batch = super().take(min(limit, gate.free, 1))
        gate.free -= len(batch)
        for item in batch:
            item._ticket = gate
        return batch

    def put_back(self, batch: list[Any]) -> None:
        """Take back what the lane has not begun, and the gate its credit."""
        for item in batch:
            if self.gate is not None:
                item._ticket = FREE
                self.gate.home()
        super().put_back(batch)


class SizedOverflowInbox(OverflowInbox):
    """The same where the capacity is also counted in bytes: the policy acts when either budget is full.

    One item larger than the whole budget passes alone. What is merged may be larger than the budget.
    """

    __slots__ = ("capacity_bytes", "sizer")

    def __init__(self, edge: Edge, meter: Meter, lane: Lane, writer: Any, capacity: int, sizer: Any) -> None:
        super().__init__(edge, meter, lane, writer, capacity)
        assert edge.policy.capacity_bytes is not None
        self.capacity_bytes: int = edge.policy.capacity_bytes
        self.sizer: Any = sizer

    def _fits(self, item: Item[Any]) -> bool:
        return super()._fits(item) and self._fits_in_bytes(item.payload)

    def _fits_in_bytes(self, payload: Any) -> bool:
        if not self.items and not self.unstarted:
            return True
        try:
            size = sum(self.sizer(waiting.payload) for waiting in self.items) + self.sizer(payload)
            return bool(size <= self.capacity_bytes)
        except Exception as exc:
            run = self.lane.run
            run.fail(exc if isinstance(exc, StepError) else broken(self.edge, run.id, "sizer", exc))
            return False

    def room(self) -> int:
        """Say that one item may be tried at a time, where the edge fails: its size is not known before."""
        return min(1, super().room()) if self.gate is None else UNBOUNDED

    def refuses(self, payload: Any) -> bool:
        """Say whether a payload would find no room, and may not wait for any."""
        return self.gate is None and (super().refuses(payload) or not self._fits_in_bytes(payload))

    def take(self, limit: int) -> list[Any]:
        """Give one item to the lane: what a worker holds would have to be counted, too."""
        return super().take(1)


def end_refused(leg: Leg) -> None:
    """End a stream in band where a full edge has refused some of it: behind what was let in (rule 3.3)."""
    run = leg.run
    for road in leg.roads:
        late = road.take_refused()
        if late:
            first = late[0]
            error = full(road.edge, run.id)
            if run.catch(leg.site, error, first, first._ticket, first._tokens):
                del late[0]
            leg.spoilt = leg.spoilt or not run.is_handled(error)
            leg.end("error", error)
            leg.discard(late)
            leg.cut()
            run.raise_if_unheard(leg, error)


def new_inbox(edge: Edge, meter: Meter, lane: Any, writer: Any, sizer: Any) -> Inbox:
    """Make the inbox that an edge's policy asks for."""
    policy = edge.policy
    if policy.sizer is not None:
        sizer = partial(measured, policy.sizer, f"edge {edge.name}", lane.run.id, edge.source.key)
    if policy.overflow != "wait" and policy.capacity_bytes is not None:
        return SizedOverflowInbox(edge, meter, lane, writer, policy.capacity, sizer)
    if policy.overflow != "wait":
        return OverflowInbox(edge, meter, lane, writer, policy.capacity)
    if policy.feedback:
        return Inbox(edge, meter, lane, writer, UNBOUNDED)
    if policy.capacity_bytes is not None:
        return SizedInbox(edge, meter, lane, writer, policy.capacity, sizer)
    balanced = edge.group is not None and edge.group.kind == "balance"
    return Inbox(edge, meter, lane, writer, 1 if balanced else policy.capacity)


class GateWatch:
    """Waits at the gate of an edge on behalf of a lane."""

    __slots__ = ("lane", "size_bytes")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.size_bytes = 0

    def granted(self, ticket: Ticket) -> None:
        """Leave the credit at the gate; the lane takes it with the item."""
        ticket.free += 1  # type: ignore[attr-defined]
        self.lane.wake()
