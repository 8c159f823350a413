"""Measures: what is recorded of a flow's nodes and edges, in all runs, where an observer wants measures.

Owns which histograms there are. Invariant: recording is a few additions, never a call to anybody outside;
counts and depths that the runtime keeps anyway are not kept twice (`statistics` has them). Knows not who
reads them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .histogram import Windows

if TYPE_CHECKING:
    from .inbox import Meter
    from .station import Station


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
        self.latency: Windows = Windows(clock)
        self.credit_wait: Windows = Windows(clock)
        self.batch: Windows = Windows(clock)

    def took(self, seconds: list[float], count: int) -> None:
        """Record a batch, chunk by chunk."""
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
        self.wait: Windows = Windows(clock)
        self._clock = clock
        self._arrivals: dict[int, deque[tuple[int, float]]] = {}  # of each inbox where something waits

    def came(self, inbox: object, count: int) -> None:
        """Take note of items that wait in an inbox from now on."""
        self._arrivals.setdefault(id(inbox), deque()).append((count, self._clock()))

    def came_back(self, inbox: object, count: int) -> None:
        """Take note of items that are the next ones again; how long they had waited before is not kept."""
        self._arrivals.setdefault(id(inbox), deque()).appendleft((count, self._clock()))

    def left(self, inbox: object, count: int, waiting: int) -> None:
        """Record how long the oldest has waited; so many leave of those that wait. (Others were dropped.)"""
        arrivals = self._arrivals.get(id(inbox))
        if not arrivals:
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
        nodes: each node.
        edges: each edge.
    """

    __slots__ = ("edges", "flow", "nodes", "seconds")

    def __init__(
        self, flow: str, seconds: Windows, nodes: tuple[NodeMeasures, ...], edges: tuple[EdgeMeasures, ...]
    ) -> None:
        self.flow: str = flow
        self.seconds: Windows = seconds
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
    return FlowMeasures(flow, Windows(clock), nodes, edges)
