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

    __slots__ = ("clock", "source", "target", "wait")

    def __init__(self, source: str, target: str, clock: Callable[[], float]) -> None:
        self.source: str = source
        self.target: str = target
        self.clock: Callable[[], float] = clock
        self.wait: Windows = Windows(clock)


class Arrivals:
    """When what waits in one inbox has come.

    Args:
        measures: the edge's.
    """

    __slots__ = ("_count", "_measures", "_times")

    def __init__(self, measures: EdgeMeasures) -> None:
        self._measures = measures
        self._times: deque[tuple[int, float]] = deque()
        self._count = 0

    def came(self, count: int) -> None:
        """Take note of items that wait from now on."""
        self._times.append((count, self._measures.clock()))
        self._count += count

    def came_back(self, count: int) -> None:
        """Take note of items that are the next ones again; how long they had waited before is not kept."""
        self._times.appendleft((count, self._measures.clock()))
        self._count += count

    def left(self, count: int, waiting: int) -> None:
        """Record how long the oldest has waited; so many leave, of those that wait. (Others were dropped.)"""
        self._forget(self._count - waiting)
        if count and self._times:
            self._measures.wait.record(self._measures.clock() - self._times[0][1])
            self._forget(count)

    def _forget(self, count: int) -> None:
        while count > 0 and self._times:
            first, since = self._times.popleft()
            self._count -= min(first, count)
            if first > count:
                self._times.appendleft((first - count, since))
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
