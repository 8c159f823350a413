"""What waits on an edge: state machines over the inboxes, with a lane and a run that only write down.

At each moment offered = delivered + dropped + waiting (2.9), no more waits than the capacity (2.2), order
is kept, and what each item rode on comes home exactly when it is let go.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penguiflow import CreditError, Flow, StepError, edge, node
from penguiflow.completion import Token
from penguiflow.credit import FREE
from penguiflow.dropping import OverflowInbox, new_inbox
from penguiflow.graph import Edge
from penguiflow.inbox import UNBOUNDED, Inbox, Meter, SizedInbox
from penguiflow.items import Chunk, Drop, Headers, Heading
from penguiflow.settling import settle

FEW = settings(max_examples=80, stateful_step_count=40, deadline=None)
HEADING = Heading(("left",), "s", 1, "r1", "t", None, Headers(), {})


@functools.cache
def edge_with(**options: Any) -> Edge:
    """Give a checked edge with these options."""

    @node
    async def left(x):  # type: ignore[no-untyped-def]
        return x

    @node
    async def right(x):  # type: ignore[no-untyped-def]
        return x

    flow = Flow("edges", left >> edge(**options) >> right)
    return next(one for one in flow.plan.edges if one.source.name == "left")


def joined(older: str, newer: str) -> str:
    """Merge two payloads."""
    return f"{older}+{newer}"


class Ride:
    """A ticket that counts how often it came home."""

    def __init__(self) -> None:
        self.homes = 0

    def home(self) -> None:
        """Count."""
        self.homes += 1


class Run:
    """A run that writes down what it is told."""

    id = "r1"

    def __init__(self) -> None:
        self.drops: list[Drop] = []
        self.errors: list[BaseException] = []

    def dropped(self, drop: Drop) -> None:
        """Write it down."""
        self.drops.append(drop)

    def fail(self, error: BaseException) -> None:
        """Write it down."""
        self.errors.append(error)

    def catch(self, *_: Any) -> bool:
        """Have no error edge."""
        return False


class Lane:
    """A lane that counts how often it is woken."""

    def __init__(self) -> None:
        self.run = Run()
        self.dead = False
        self.scheduled = False
        self.woken = 0

    def wake(self) -> None:
        """Count."""
        self.woken += 1

    def discard(self, item: Any) -> None:
        """Let an item go."""
        settle(item)


class Sender:
    """Somebody who may have to stand at the door."""

    def __init__(self) -> None:
        self.told = 0

    def entered(self) -> None:
        """Count."""
        self.told += 1


def chunk(seq: int, payload: Any = None) -> Chunk[Any]:
    """Make a chunk that rides on a ticket of its own."""
    made: Chunk[Any] = object.__new__(Chunk)
    made.payload = f"p{seq}" if payload is None else payload
    made.seq, made.done = seq, False
    made._heading, made._headers, made._meta = HEADING, None, None
    made._ticket, made._tokens = Ride(), ()
    return made


class Edges(RuleBasedStateMachine):
    """A plain inbox against lists: what waits, what a worker holds, and what stands at the door."""

    inbox: Inbox

    @initialize(capacity=st.integers(1, 5))
    def opens(self, capacity: int) -> None:
        self.capacity = capacity
        self.begin(edge_with(capacity=capacity))

    def begin(self, over: Edge) -> None:
        """Make an inbox with nothing in it."""
        self.lane = Lane()
        self.meter = Meter(over)
        self.inbox = new_inbox(over, self.meter, self.lane, None, None)
        self.sender = Sender()
        self.waiting: list[Chunk[Any]] = []
        self.held: list[Chunk[Any]] = []
        self.door: list[Chunk[Any]] = []
        self.rides: list[Any] = []
        self.homes: list[int] = []
        self.begun = 0
        self.purged = 0
        self.watching = 0
        self.told = 0

    def make(self, count: int, payload: Any = None) -> list[Chunk[Any]]:
        """Make chunks in order."""
        batch = [chunk(len(self.rides) + number, payload) for number in range(count)]
        self.rides += [one._ticket for one in batch]
        self.homes += [0] * count
        return batch

    def fitting(self, batch: list[Chunk[Any]]) -> int:
        """Say how many of a batch can wait beside what waits already."""
        return max(0, min(len(batch), self.capacity - len(self.waiting) - len(self.held)))

    def enter(self) -> None:
        """Let in who stands at the door and fits."""
        count = self.fitting(self.door)
        self.waiting += self.door[:count]
        del self.door[:count]

    @precondition(lambda self: len(self.door) < 4)
    @rule(count=st.integers(1, 7))
    def receive(self, count: int) -> None:
        """What fits waits, what does not stands at the door, behind who stands there."""
        batch = self.make(count)
        woken = self.lane.woken
        if self.door:
            self.door += batch
        else:
            fits = self.fitting(batch)
            self.waiting += batch[:fits]
            self.door = batch[fits:]
        self.inbox.receive(list(batch), self.sender)
        assert self.lane.woken == woken + (not self.lane.scheduled)

    @precondition(lambda self: self.door)
    @rule()
    def watch(self) -> None:
        """Several may want to know when the road is free: each is told once."""
        self.inbox.watch(self.sender)
        self.watching += 1

    @precondition(lambda self: self.waiting and not self.held)
    @rule(limit=st.integers(1, 8))
    def take(self, limit: int) -> None:
        """The lane gets the oldest; what it has not begun counts as waiting."""
        batch = self.inbox.take(limit)
        assert batch == self.waiting[:limit]
        del self.waiting[:limit]
        self.held = batch[:]
        self.inbox.unstarted = len(self.held)

    @precondition(lambda self: self.held)
    @rule()
    def start(self) -> None:
        """A worker begins the next chunk: its place is free for who stands at the door."""
        settle(self.held.pop(0))
        self.homes[self.number_of_begun()] += 1
        self.inbox.unstarted = len(self.held)
        self.freed()

    def number_of_begun(self) -> int:
        """Give the number of the chunk that has just been settled."""
        return next(number for number, ride in enumerate(self.rides) if ride.homes > self.homes[number])

    @rule()
    def freed(self) -> None:
        had_room = self.capacity - len(self.waiting) - len(self.held) > 0
        self.inbox.freed()
        self.enter()
        if not self.door and had_room:
            self.told += self.watching
            self.watching = 0

    @precondition(lambda self: self.held)
    @rule()
    def put_back(self) -> None:
        """What was not begun waits again, before everything that came later."""
        self.inbox.unstarted = 0
        self.inbox.put_back(self.held)
        self.waiting[:0] = self.held
        self.held = []

    @precondition(lambda self: self.waiting or self.watching)
    @rule()
    def purge(self) -> None:
        """All that waits, or stands at the door, is let go at once; who watched is told."""
        self.purged += len(self.waiting)
        for one in self.waiting + self.door:
            self.homes[one.seq] += 1
        self.inbox.purge()
        self.waiting, self.door = [], []
        self.told += self.watching
        self.watching = 0

    @invariant()
    def nothing_is_lost(self) -> None:
        meter = self.meter
        assert meter.offered == meter.delivered + meter.dropped + len(self.waiting)
        assert meter.dropped == self.purged
        assert meter.most <= self.capacity

    @invariant()
    def as_modelled(self) -> None:
        inbox = self.inbox
        assert (inbox.items, inbox.door or []) == (self.waiting, self.door)
        assert (inbox.available(), inbox.stuck) == (len(self.waiting), bool(self.door))
        assert inbox.empty == (not self.waiting and not self.door)
        assert len(self.waiting) + len(self.held) <= self.capacity
        assert self.sender.told == self.told

    @invariant()
    def room_is_what_can_be_sent(self) -> None:
        room = 0 if self.door else self.capacity - len(self.waiting) - len(self.held)
        assert self.inbox.room() == room

    @invariant()
    def each_is_home_once(self) -> None:
        assert [ride.homes for ride in self.rides] == self.homes


class SizedEdges(Edges):
    """The same in bytes: what waits fits into the budget, or is one item that is larger than all of it."""

    inbox: SizedInbox

    @initialize(capacity=st.integers(1, 5), budget=st.integers(1, 12))
    def opens(self, capacity: int, budget: int) -> None:  # type: ignore[override]
        self.capacity = capacity
        self.budget = budget
        self.begin(edge_with(capacity=capacity, capacity_bytes=budget, sizer=len))

    def fitting(self, batch: list[Chunk[Any]]) -> int:
        """Say how many of a batch fit into both budgets."""
        waiting = [len(one.payload) for one in self.waiting]
        for count, one in enumerate(batch):
            size = len(one.payload)
            alone = not waiting and not self.held
            if len(waiting) + len(self.held) >= self.capacity:
                return count
            if sum(waiting) + size > self.budget and not alone:
                return count
            waiting.append(size)
        return len(batch)

    @precondition(lambda self: len(self.door) < 4)
    @rule(sizes=st.lists(st.integers(0, 15), min_size=1, max_size=4))
    def receive_sizes(self, sizes: list[int]) -> None:
        """Chunks of all sizes, some larger than the whole budget."""
        batch = [self.make(1, "x" * size)[0] for size in sizes]
        if self.door:
            self.door += batch
        else:
            fits = self.fitting(batch)
            self.waiting += batch[:fits]
            self.door = batch[fits:]
        self.inbox.receive(list(batch), self.sender)

    @precondition(lambda self: self.waiting and not self.held)
    @rule(limit=st.just(1))
    def take(self, limit: int) -> None:  # type: ignore[override]
        """One is taken, and begun at once (what is taken and not begun: see below)."""
        super().take(1)
        if self.held:
            self.start()

    @rule()
    def freed(self) -> None:
        self.inbox.freed()
        self.enter()
        if not self.door and self.inbox.room() > 0:
            self.told += self.watching
            self.watching = 0

    @invariant()
    def room_is_what_can_be_sent(self) -> None:
        """One is tried at a time, because its size is not known before."""
        free = self.capacity - len(self.waiting) - len(self.held) > 0
        assert self.inbox.room() == (1 if free and not self.door else 0)

    @invariant()
    def within_the_budget(self) -> None:
        sizes = [len(one.payload) for one in self.waiting]
        assert sum(sizes) <= self.budget or len([size for size in sizes if size]) == 1


class DroppingEdges(RuleBasedStateMachine):
    """An edge that never lets its senders wait: acceptance ends the window, the gate begins another (2.9)."""

    inbox: OverflowInbox

    @initialize(capacity=st.integers(1, 4), overflow=st.sampled_from(["drop_oldest", "drop_newest", "merge"]))
    def opens(self, capacity: int, overflow: str) -> None:
        options: dict[str, Any] = {"merge": joined} if overflow == "merge" else {}
        over = edge_with(capacity=capacity, overflow=overflow, **options)
        self.capacity, self.overflow = capacity, overflow
        self.lane, self.meter = Lane(), Meter(over)
        made = new_inbox(over, self.meter, self.lane, None, None)
        assert type(made) is OverflowInbox
        self.inbox = made
        self.sender = Sender()
        self.waiting: list[str] = []
        self.working: list[Chunk[Any]] = []
        self.drops: list[Drop] = []
        self.rides: list[Any] = []
        self.delivered = self.purged = 0

    def drop(self, seq: int) -> None:
        """Expect a report."""
        self.drops.append(Drop("left→right", "s", seq, self.overflow))

    @rule(count=st.integers(1, 6))
    def receive(self, count: int) -> None:
        """Each as the policy says; its credit is home at once, whatever becomes of it."""
        batch = [chunk(len(self.rides) + number) for number in range(count)]
        self.rides += [one._ticket for one in batch]
        for one in batch:
            if len(self.waiting) < self.capacity:
                self.waiting.append(one.payload)
            elif self.overflow == "drop_oldest":
                self.drop(int(self.waiting.pop(0)[1:]))
                self.waiting.append(one.payload)
            else:
                self.drop(one.seq)
                if self.overflow == "merge":
                    self.waiting[-1] = joined(self.waiting[-1], one.payload)
        self.inbox.receive(batch, self.sender)

    @precondition(lambda self: self.waiting)
    @rule(limit=st.integers(1, 3))
    def take(self, limit: int) -> None:
        """One at a time, each on a credit of the gate; what a worker has can't be dropped any more."""
        available = self.inbox.available()
        batch = self.inbox.take(limit)
        assert [one.payload for one in batch] == self.waiting[: min(1, available)]
        assert [one._ticket for one in batch] == [self.inbox.gate] * len(batch)
        del self.waiting[: len(batch)]
        self.working += batch
        self.delivered += len(batch)

    @precondition(lambda self: self.working)
    @rule(number=st.integers(0, 99))
    def done(self, number: int) -> None:
        settle(self.working.pop(number % len(self.working)))

    @precondition(lambda self: self.waiting)
    @rule()
    def purge(self) -> None:
        self.purged += len(self.waiting)
        self.waiting = []
        self.inbox.purge()

    @invariant()
    def nothing_is_lost(self) -> None:
        meter = self.meter
        assert meter.offered == len(self.rides) == meter.delivered + meter.dropped + len(self.waiting)
        assert (meter.delivered, meter.dropped) == (self.delivered, self.purged + len(self.drops))
        assert self.lane.run.drops == self.drops

    @invariant()
    def as_modelled(self) -> None:
        assert [one.payload for one in self.inbox.items] == self.waiting
        assert len(self.waiting) <= self.capacity
        assert (self.inbox.room(), self.inbox.stuck) == (UNBOUNDED, False)
        assert [one._ticket for one in self.inbox.items] == [FREE] * len(self.waiting)
        assert [ride.homes for ride in self.rides] == [1] * len(self.rides)

    @invariant()
    def the_gate_is_as_wide_as_the_edge(self) -> None:
        gate = self.inbox.gate
        assert gate is not None
        assert (gate.window, gate.out) == (self.capacity, len(self.working))
        assert len(self.working) <= self.capacity
        assert self.inbox.available() == min(len(self.waiting), gate.free)


Edges.TestCase.settings = SizedEdges.TestCase.settings = DroppingEdges.TestCase.settings = FEW
TestEdges = Edges.TestCase
TestSizedEdges = SizedEdges.TestCase
TestDroppingEdges = DroppingEdges.TestCase


def inbox_with(**options: Any) -> Any:
    """Make an inbox of an edge with these options."""
    over = edge_with(**options)
    return new_inbox(over, Meter(over), Lane(), None, len)


def sent(inbox: Any, *payloads: Any) -> list[Chunk[Any]]:
    """Send payloads in one batch; gives the chunks."""
    batch = [chunk(number, payload) for number, payload in enumerate(payloads)]
    inbox.receive(list(batch), Sender())
    return batch


def test_a_full_edge_that_fails() -> None:
    """A message that does not fit fails the run with an error that names the edge; what fits stays."""
    inbox = inbox_with(capacity=2, overflow="fail")
    batch = sent(inbox, "a", "b", "c")
    assert [one._ticket.homes for one in batch] == [0, 0, 1]
    assert [one.payload for one in inbox.items] == ["a", "b"]
    assert (inbox.meter.offered, inbox.meter.dropped, inbox.room()) == (3, 1, 0)
    (error,) = inbox.lane.run.errors
    assert isinstance(error, CreditError)
    assert "edge left→right is full (capacity 2, overflow='fail')" in str(error)
    assert inbox.lane.run.drops == [Drop("left→right", "s", 2, "fail")]


def test_a_full_edge_refuses_what_a_stream_sends() -> None:
    """What does not fit is kept for the leg, which ends in band; it is reported, and given once."""
    over = edge_with(capacity=1, capacity_bytes=4, sizer=len, overflow="fail")
    inbox: Any = new_inbox(over, Meter(over), Lane(), SimpleNamespace(watch=None), len)
    batch = sent(inbox, "aaa", "bbb", "c")
    assert [one.payload for one in inbox.items] == ["aaa"]
    assert inbox.take_refused() == batch[1:]
    assert inbox.take_refused() == []
    assert [one._ticket.homes for one in batch] == [0, 0, 0]
    assert [drop.seq for drop in inbox.lane.run.drops] == [1, 2]
    assert inbox.lane.run.errors == []


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "merge"])
def test_a_budget_in_bytes_is_full_as_well(overflow: str) -> None:
    """Each policy acts where the bytes are spent; one item larger than all of them passes alone."""
    options: dict[str, Any] = {"merge": lambda older, newer: newer} if overflow == "merge" else {}
    inbox = inbox_with(capacity=9, capacity_bytes=5, sizer=len, overflow=overflow, **options)
    sent(inbox, "aa", "bb", "ccc")
    left = {"drop_oldest": ["bb", "ccc"], "drop_newest": ["aa", "bb"], "merge": ["aa", "ccc"]}[overflow]
    assert [one.payload for one in inbox.items] == left
    sent(inbox, "x" * 9)
    left = {"drop_oldest": ["x" * 9], "drop_newest": left, "merge": ["aa", "x" * 9]}[overflow]
    assert [one.payload for one in inbox.items] == left
    meter = inbox.meter
    assert (meter.offered, meter.offered - meter.dropped) == (4, len(left))
    assert len(inbox.lane.run.drops) == meter.dropped


def test_a_merge_or_sizer_that_raises_fails_the_run_once() -> None:
    """Nothing comes out of `receive`; the error has the user's as its cause, and names edge and option."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    cases: list[tuple[dict[str, Any], str]] = [
        ({"overflow": "merge", "merge": broken}, "merge= of edge left→right"),
        ({"overflow": "drop_oldest", "capacity_bytes": 5, "sizer": broken}, "sizer"),
        ({"overflow": "fail", "capacity_bytes": 5, "sizer": broken}, "sizer"),
        ({"capacity_bytes": 5, "sizer": broken}, "sizer"),
    ]
    for options, named in cases:
        inbox = inbox_with(capacity=1 if "merge" in options else 9, **options)
        sent(inbox, "a", "b")
        error = inbox.lane.run.errors[0]
        assert isinstance(error, StepError)
        assert named in str(error)
        assert "left→right" in str(error)
        assert isinstance(error.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    "options",
    [
        {"capacity": 2},
        {"capacity": 2, "capacity_bytes": 5},
        {"capacity": 2, "overflow": "drop_oldest"},
        {"capacity": 2, "overflow": "fail"},
    ],
)
def test_a_dead_lane_refuses(options: dict[str, Any]) -> None:
    """What is sent to a stream that nobody reads any more is let go: home once, never counted as offered."""
    inbox = inbox_with(**options)
    inbox.lane.dead = True
    batch = sent(inbox, "a", "b", "c")
    assert [one._ticket.homes for one in batch] == [1, 1, 1]
    assert (inbox.meter.offered, inbox.empty, inbox.lane.woken, inbox.lane.run.errors) == (0, True, 0, [])


def test_a_lane_at_work_is_not_woken_again() -> None:
    """Who is scheduled comes back by itself."""
    inbox = inbox_with(capacity=4)
    inbox.lane.scheduled = True
    sent(inbox, "a")
    assert inbox.lane.woken == 0
    inbox.lane.scheduled = False
    sent(inbox, "b")
    assert inbox.lane.woken == 1


def test_drops_are_told_while_a_worker_holds_all() -> None:
    """With nothing left to drop or merge into, what comes is what goes; the report says the edge's policy."""
    for overflow, options in (("drop_oldest", {}), ("merge", {"merge": joined})):
        inbox = inbox_with(capacity=1, overflow=overflow, **options)
        inbox.unstarted = 1
        sent(inbox, "a")
        assert inbox.lane.run.drops == [Drop("left→right", "s", 0, overflow)]
        assert inbox.empty


def test_the_kind_of_inbox_is_the_edges_policy() -> None:
    """A feedback edge is bounded elsewhere; a balanced branch holds one: who is free gets the next."""
    assert type(inbox_with(capacity=3)) is Inbox
    assert type(inbox_with(capacity=3, capacity_bytes=5)) is SizedInbox
    assert {type(inbox_with(overflow=overflow)) for overflow in ("drop_oldest", "drop_newest", "fail")} == {
        OverflowInbox
    }
    assert inbox_with(overflow="fail").gate is None

    @node
    async def left(x: int) -> int:
        return x

    @node
    async def one(x: int) -> int:
        return x

    @node
    async def other(x: int) -> int:
        return x

    flow = Flow("loops", left >> edge(balance=True) >> [one, other], one >> edge(feedback=True) >> left)
    capacities = {
        out.name: new_inbox(out, Meter(out), Lane(), None, len).capacity
        for out in flow.plan.edges
        if out.source is not flow.plan.root
    }
    assert capacities == {"left→one": 1, "left→other": 1, "one→left": UNBOUNDED}


def test_letting_go_tells_places_before_the_credit_is_home() -> None:
    """An item that is let go gives up its tokens, then its credit, each once."""
    order: list[str] = []

    class Place:
        def exhausted(self, token: Token) -> None:
            order.append("place")

    class Ticket:
        def home(self) -> None:
            order.append("home")

    one = chunk(0)
    one._tokens = (Token(Place(), (1, 0), 0),)
    one._ticket = Ticket()
    settle(one)
    assert (order, one._tokens) == (["place", "home"], ())


def test_what_passes_without_waiting_is_counted() -> None:
    """A chunk that a worker carries on by himself was offered and delivered."""
    meter = Meter(edge_with(capacity=3))
    meter.pass_through(5)
    assert (meter.offered, meter.delivered, meter.dropped, meter.most) == (5, 5, 0, 0)


def test_an_inbox_tells_what_waits() -> None:
    """An inbox is readable in a debugger; its end is noted."""
    inbox = inbox_with(capacity=3)
    sent(inbox, "a")
    assert repr(inbox) == "<inbox left→right 1/3>"
    assert inbox.closed is False
    inbox.close()
    assert inbox.closed is True


def test_bytes_that_a_worker_has_not_begun_still_wait() -> None:
    """What a worker has taken but not begun counts as waiting, in bytes as in items (rule 2.2)."""
    inbox = inbox_with(capacity=64, capacity_bytes=10)
    sent(inbox, *["xx"] * 10)
    held = inbox.take(5)
    inbox.unstarted = len(held) - 1  # the lane has begun the first, and holds no other
    inbox.freed()
    waiting = sum(len(one.payload) for one in held[1:] + inbox.items)
    assert (len(held), waiting <= 10) == (1, True)


def test_what_was_put_back_and_is_dropped_comes_home_once() -> None:
    """The gate gets its credit with the item that is put back, and not again when that is dropped (2.3)."""
    inbox = inbox_with(capacity=1, overflow="drop_oldest")
    sent(inbox, "a")
    inbox.put_back(inbox.take(1))
    assert inbox.gate.out == 0
    sent(inbox, "b")
    assert inbox.gate.out == 0
