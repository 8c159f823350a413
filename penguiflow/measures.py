"""Measures: what is recorded of a flow's nodes and edges, in all runs, where an observer wants measures.

Owns which histograms there are, and that other threads may read them. Invariants: recording is a few
additions, never a call to anybody outside; reading changes nothing that is recorded; counts and depths that
the runtime keeps anyway are not kept twice (`statistics` has them). Knows not who reads them.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import ceil
from time import perf_counter
from typing import TYPE_CHECKING

from .histogram import Histogram, Packed, Ring, Windows

if TYPE_CHECKING:
    from .inbox import Meter
    from .station import Station


AVERAGE_OF = 0.1
"""How much a new sample counts in a moving average."""

ATTEMPTS = 100
"""So often a histogram that another thread records into is read anew."""


class Tally(Histogram):
    """A histogram that gives slots back, and several percentiles at once.

    Its buckets are in order as a rule: to look all of them up again takes ten times as long as that.
    """

    __slots__ = ()

    count: int
    total: float
    maximum: float
    lowest: float

    def merge(self, other: Histogram | Packed) -> None:
        """Take over all samples of another one, which stays as it is."""
        if self.count or not isinstance(other, Histogram):
            super().merge(other)
            return
        self._counts = other._counts.copy()
        self.count, self.total = other.count, other.total
        self.maximum, self.lowest = other.maximum, other.lowest

    def subtract(self, slot: Packed, rest: Sequence[Packed]) -> None:
        """Give the samples of a slot back; ``rest`` are the slots whose samples stay."""
        counts = self._counts
        for bucket, count in slot.items():
            left = counts[bucket] - count
            if left:
                counts[bucket] = left
            else:
                del counts[bucket]
        self.count -= slot.count
        self.total = sum(one.total for one in rest)
        self.maximum = max((one.maximum for one in rest), default=0.0)
        self.lowest = min((one.lowest for one in rest), default=float("inf"))

    def in_order(self) -> Tally:
        """Bring the buckets in order; gives itself."""
        buckets = list(self._counts)
        if buckets != sorted(buckets):
            self._counts = dict(sorted(self._counts.items()))
        return self

    def copy(self) -> Tally:
        """Give another one with the same samples."""
        other = Tally()
        other.merge(self)
        return other

    def percentiles(self, *wanted: float) -> tuple[float, ...]:
        """Give the samples at several percentiles; each is what `percentile` gives."""
        buckets = list(self.in_order()._counts)
        seen = list(accumulate(self._counts.values()))
        found = []
        for p in wanted:
            rank = ceil(p * self.count / 100)
            index = bisect_left(seen, rank)
            if rank <= 1:
                found.append(self.minimum)
            elif rank >= self.count or index >= len(buckets):
                found.append(self.maximum)
            else:
                found.append(min(max(buckets[index], self.lowest), self.maximum))
        return tuple(found)


class SummingRing(Ring):
    """A ring that keeps the sums of its closed slots, for those windows that somebody reads.

    Adding 30 slots up whenever it is read took 25 ms for 20 nodes; so each is added once and taken away once.
    """

    __slots__ = ("_sums",)

    def __init__(self, width: float, slots: int, now: float) -> None:
        super().__init__(width, slots, now)
        self._sums: dict[float, tuple[Tally, deque[tuple[int, Packed]]]] = {}

    def turn(self, now: float) -> None:
        """Close the open slot if it is over, and drop those that are too old."""
        super().turn(now)
        for seconds in self._sums:
            self._sum(seconds, now)

    def _sum(self, seconds: float, now: float) -> Tally:
        """Give the sum of the closed slots that lie within a window, brought up to date."""
        tally, slots = self._sums.setdefault(seconds, (Tally(), deque()))
        oldest = int(now // self.width) - ceil(seconds / self.width)
        last = slots[-1][0] if slots else -1
        for number, slot in self._closed:
            if number > last and number > oldest:
                slots.append((number, slot))
                tally.merge(slot)
        while slots and slots[0][0] <= oldest:
            _, over = slots.popleft()
            tally.subtract(over, [slot for _, slot in slots])
        return tally

    def within(self, seconds: float, now: float) -> Tally:
        """Give what was recorded within a window, as of a time at which it may not have turned yet."""
        found = self._sum(seconds, now).in_order().copy()
        if self._number > int(now // self.width) - ceil(seconds / self.width):
            found.merge(self.open)
        return found


class Recorded(Windows):
    """Windows that other threads may read, at any time.

    Reading turns nothing, since the event loop may be about to record; and a turn is never seen half done.
    """

    __slots__ = ("_ahead", "_lock", "_long", "_short")

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        now = clock()
        self._fine = self._short = SummingRing(5.0, 12, now)
        self._coarse = self._long = SummingRing(30.0, 30, now)
        self._open, self._ends = self._fine.open, self._fine.ends
        self._lock = threading.RLock()
        self._ahead = now - perf_counter()

    def _turn(self, now: float) -> None:
        with self._lock:
            super()._turn(now)

    def _now(self) -> float:
        """Tell the time; trio tells it to its own thread only, and its clock is this one, set differently."""
        try:
            return self._clock()
        except RuntimeError:
            return max(perf_counter() + self._ahead, self._fine.starts)

    def window(self, seconds: float) -> Tally:
        """Give what was recorded in the last ``seconds``, at most 900, as a histogram of its own."""
        with self._lock:
            now = self._now()
            for _ in range(ATTEMPTS):
                try:
                    return self._within(seconds, now)
                except RuntimeError:  # it was recorded meanwhile: the buckets were others when it was read
                    continue
        return Tally()

    def _within(self, seconds: float, now: float) -> Tally:
        if seconds <= 60.0:
            return self._short.within(seconds, now)
        found = self._long.within(seconds, now)
        if int(self._fine.starts // self._long.width) > int(now // self._long.width) - ceil(
            seconds / self._long.width
        ):
            found.merge(self._open)
        return found

    @property
    def count(self) -> int:
        """How many samples there ever were; it only grows."""
        with self._lock:
            return super().count

    @property
    def total(self) -> float:
        """The sum of all samples there ever were; it only grows."""
        with self._lock:
            return super().total

    @property
    def maximum(self) -> float:
        """The largest sample there ever was."""
        with self._lock:
            return super().maximum


class Averaged(Recorded):
    """Windows with a moving average: of each sample it takes in a tenth (of many at once, of their mean).

    Attributes:
        average: the average.
    """

    __slots__ = ("average",)

    def __init__(self, clock: Callable[[], float], average: float) -> None:
        super().__init__(clock)
        self.average: float = average

    def record(self, value: float, count: int = 1) -> None:
        """Take one sample, or ``count`` of the same size, as of now."""
        self.average += AVERAGE_OF * (value - self.average)
        now = self._clock()  # `Windows.record`, by hand: the call would take half as long again
        if now >= self._ends:
            self._turn(now)
        self._open.record(value, count)

    def record_all(self, values: Sequence[float]) -> None:
        """Take many samples, as of now."""
        if values:
            self.average += AVERAGE_OF * (sum(values) / len(values) - self.average)
        super().record_all(values)


class NodeMeasures:
    """What is recorded of one node.

    Attributes:
        path: names of nested flows and of the node, joined by ``/``.
        latency: seconds of the node's own time per step (of nodes that work chunk by chunk: per chunk),
            without the waits for input and credit.
        credit_wait: seconds of each wait for credit, or for room behind the node.
        batch: how many items were taken at a time.
    """

    __slots__ = ("batch", "credit_wait", "latency", "path")

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self.path: str = path
        self.latency: Averaged = Averaged(clock, 0.0)
        self.credit_wait: Recorded = Recorded(clock)
        self.batch: Averaged = Averaged(clock, 1.0)

    def took(self, seconds: list[float], count: int) -> None:
        """Record a batch, chunk by chunk."""
        if len(seconds) == 1:
            self.latency.record(seconds[0])
        else:
            self.latency.record_all(seconds)
        self.batch.record(count)


class EdgeMeasures:
    """What is recorded of one edge.

    Attributes:
        source: path of the node that gives.
        target: path of the node that takes.
        wait: seconds that the oldest item had waited whenever the node took some; what passes without waiting
            is not recorded.
    """

    __slots__ = ("_arrivals", "_clock", "source", "target", "wait")

    def __init__(self, source: str, target: str, clock: Callable[[], float]) -> None:
        self.source: str = source
        self.target: str = target
        self.wait: Recorded = Recorded(clock)
        self._clock = clock
        self._arrivals: dict[int, deque[tuple[int, float]]] = {}  # of each inbox where something waits

    def came(self, inbox: object, count: int) -> None:
        """Take note of items that wait in an inbox from now on."""
        arrivals = self._arrivals.get(id(inbox))
        if arrivals is None:
            arrivals = self._arrivals[id(inbox)] = deque()
        arrivals.append((count, self._clock()))

    def came_back(self, inbox: object, count: int) -> None:
        """Take note of items that are the next ones again; how long they had waited before is not kept."""
        self._arrivals.setdefault(id(inbox), deque()).appendleft((count, self._clock()))

    def left(self, inbox: object, count: int, waiting: int) -> None:
        """Record how long the oldest has waited; so many leave of those that wait. (Others were dropped.)"""
        arrivals = self._arrivals.get(id(inbox))
        if not arrivals:
            return
        if len(arrivals) == 1 and count >= waiting:  # most often so: all leave, which came at once
            del self._arrivals[id(inbox)]
            if waiting:
                self.wait.record(self._clock() - arrivals[0][1])
            return
        discard(arrivals, sum(number for number, _ in arrivals) - waiting)
        if count and arrivals:
            self.wait.record(self._clock() - arrivals[0][1])
            discard(arrivals, count)
        if not arrivals:
            self.forget(inbox)

    def forget(self, inbox: object) -> None:
        """Take note that nothing waits in an inbox any more."""
        self._arrivals.pop(id(inbox), None)


def discard(arrivals: deque[tuple[int, float]], count: int) -> None:
    """Take so many of the first away."""
    while count > 0 and arrivals:
        first, since = arrivals.popleft()
        if first > count:
            arrivals.appendleft((first - count, since))
        count -= first


class FlowMeasures:
    """What is recorded of a flow, see `Runtime.measures`.

    Attributes:
        flow: its name.
        seconds: how long its runs took.
        admission_wait: seconds that runs waited to be admitted; those that had not to are not recorded.
        nodes: each node.
        edges: each edge.
    """

    __slots__ = ("admission_wait", "edges", "flow", "nodes", "seconds")

    def __init__(
        self,
        flow: str,
        clock: Callable[[], float],
        nodes: tuple[NodeMeasures, ...],
        edges: tuple[EdgeMeasures, ...],
    ) -> None:
        self.flow: str = flow
        self.seconds: Recorded = Recorded(clock)
        self.admission_wait: Recorded = Recorded(clock)
        self.nodes: tuple[NodeMeasures, ...] = nodes
        self.edges: tuple[EdgeMeasures, ...] = edges


def measure(
    flow: str, stations: Sequence[Station], meters: Sequence[Meter], clock: Callable[[], float]
) -> FlowMeasures:
    """Let nodes and edges at work record what they do; the flow's input is no node."""
    for station in stations[1:]:
        station.measures = NodeMeasures(station.site.key, clock)
    for meter in meters:
        meter.measures = EdgeMeasures(meter.edge.source.key, meter.edge.target.key, clock)
    nodes = tuple(station.measures for station in stations[1:] if station.measures is not None)
    edges = tuple(meter.measures for meter in meters if meter.measures is not None)
    return FlowMeasures(flow, clock, nodes, edges)
