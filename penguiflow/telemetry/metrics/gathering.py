"""Gathering: what is read of one runtime and of what its steps call, and kept of it when it is closed.

Owns the marks: how far a counter of the runtime was told to have come. Invariants: no counter ever goes back,
though the runtime may take back what it has counted; what has the same labels is added up before it is
marked; reading never waits for the event loop, and never fails. Knows not what several runtimes come to.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from . import metric_names as names
from .metric_names import Metric, Spread
from .sheet import Key, Labels, Sheet, combine

if TYPE_CHECKING:
    from penguiflow.measures import FlowMeasures, Recorded
    from penguiflow.runtime import Runtime
    from penguiflow.snapshots import CalledFlow
    from penguiflow.statistics import RuntimeStatistics, StreamStatistics

T = TypeVar("T")

ATTEMPTS = 20
"""So often something is read anew that another thread changes meanwhile."""

Number = tuple[Metric, Labels, float]


class Watched:
    """A runtime that is read.

    Args:
        runtime: the runtime; it may go away without being closed.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime: Callable[[], Runtime | None] = weakref.ref(runtime)
        self._marks: dict[Key, float] = {}
        self._numbers: list[Number] = []
        self._measures: list[FlowMeasures] = []

    def read(self, runtime: Runtime, sheet: Sheet, *, averages: bool = False) -> None:
        """Write down what there is to say; ``averages`` are the moving ones."""
        numbers = settled(lambda: list(numbers_of(runtime)))
        if numbers is not None:
            self._numbers = numbers
        for number in self._numbers:
            self._put(sheet, *number)
        measures = settled(lambda: measures_of(runtime))
        if measures is not None:
            self._measures = measures
        counts: dict[Key, float] = {}
        for one in self._measures:
            for spread, labels, recorded in spreads_of(one):
                sheet.put_spread(spread, labels, recorded)
                for key, value in (
                    ((spread.count, labels), recorded.count),
                    ((spread.sum, labels), recorded.total),
                ):
                    counts[key] = counts.get(key, 0) + value
            for node in one.nodes if averages else ():
                sheet.put_averages(node.path, node.batch.average, node.latency.average)
        for (metric, labels), value in counts.items():
            self._put(sheet, metric, labels, value)

    def _put(self, sheet: Sheet, metric: Metric, labels: Labels, value: float) -> None:
        if metric.is_kept:
            key = (metric, labels)
            value = self._marks[key] = max(value, self._marks.get(key, 0))
        sheet.put(metric, labels, value)

    def leave(self, kept: dict[Key, float]) -> None:
        """Add what the runtime has counted to what is kept of all that are closed."""
        for key, value in self._marks.items():
            combine(kept, key, value)


def settled(read: Callable[[], T]) -> T | None:
    """Read what another thread may change meanwhile; ``None`` where that did not work out.

    Dicts that grow while they are looked through raise ``RuntimeError``. On the event loop's thread nothing
    grows meanwhile.
    """
    for _ in range(ATTEMPTS):
        try:
            return read()
        except RuntimeError:
            continue
    return None


def measures_of(runtime: Runtime) -> list[FlowMeasures]:
    """Give what is recorded of a runtime's flow, and of those that its steps call."""
    found = [runtime.measures(), *(one.measures() for one in runtime.called())]
    return [measures for measures in found if measures is not None]


def numbers_of(runtime: Runtime) -> Iterator[Number]:
    """Give the numbers of a runtime, and of the flows that its steps call.

    Several edges between the same nodes are told as one, and so are flows of one name.
    """
    numbers: dict[Key, float] = {}
    whole = runtime.statistics()
    each: list[tuple[RuntimeStatistics, Runtime | CalledFlow]] = [(whole, runtime)]
    each += [(one.statistics(), one) for one in runtime.called()]
    for metric, labels, value in of_runtime(whole):
        numbers[metric, labels] = value
    for statistics, one in each:
        for metric, labels, value in (
            *of_flow(statistics),
            *of_nodes(statistics),
            *of_streams(statistics.flow, one.streams()),
            *of_edges(statistics),
        ):
            combine(numbers, (metric, labels), value)
    return ((*key, value) for key, value in numbers.items())


def of_runtime(statistics: RuntimeStatistics) -> Iterator[Number]:
    """Give what a runtime has, and the flows that its steps call have with it."""
    flow = (statistics.flow,)
    yield names.RUNTIMES, flow, 1
    yield names.WORKERS, flow, statistics.workers
    yield names.OBSERVER_ERRORS, flow, statistics.observer_errors


def of_flow(statistics: RuntimeStatistics) -> Iterator[Number]:
    """Give what is counted of a flow."""
    flow = (statistics.flow,)
    yield names.RUNS_STARTED, flow, statistics.started
    for status in ("done", "failed", "cancelled", "expired", "interrupted"):
        yield names.RUNS_ENDED, (*flow, status), getattr(statistics, status)
    yield names.RUNS_ACTIVE, flow, statistics.runs
    yield names.RUNS_WAITING, flow, statistics.waiting_runs
    yield names.RUNS_UNREAD, flow, statistics.unread
    yield names.MESSAGES, flow, statistics.messages
    yield names.STREAMS, flow, statistics.streams
    yield names.CREDIT_OUT, flow, statistics.credit_out


def of_nodes(statistics: RuntimeStatistics) -> Iterator[Number]:
    """Give what is counted of nodes."""
    for node in statistics.nodes:
        labels = (statistics.flow, node.path)
        yield names.NODE_STEPS, labels, node.steps
        yield names.NODE_FAILURES, labels, node.failures
        yield names.NODE_RETRIES, labels, node.retries
        yield names.NODE_SKIPPED_JOINS, labels, node.skipped_joins
        yield names.NODE_ACTIVE, labels, max(node.active, 0)
        yield names.NODE_WAITING, labels, node.waiting
        yield names.NODE_CONCURRENCY, labels, node.concurrency
        yield names.NODE_STREAMS, labels, 0
        yield names.NODE_LAG, labels, 0
        yield names.NODE_LAG_MAX, labels, 0


def of_streams(flow: str, streams: tuple[StreamStatistics, ...]) -> Iterator[Number]:
    """Give what is counted of open streams.

    Numbers are given in a row, so what is in flight is the last one given less the last one consumed.
    """
    for stream in streams:
        labels = (flow, stream.node)
        lag = max(stream.in_flight, 0)
        yield names.NODE_STREAMS, labels, 1
        yield names.NODE_LAG, labels, lag
        yield names.NODE_LAG_MAX, labels, lag


def of_edges(statistics: RuntimeStatistics) -> Iterator[Number]:
    """Give what is counted of edges."""
    for edge in statistics.edges:
        labels = (statistics.flow, edge.source, edge.target)
        yield names.EDGE_OFFERED, labels, edge.offered
        yield names.EDGE_DELIVERED, labels, edge.delivered
        yield names.EDGE_DROPPED, labels, edge.dropped
        yield names.EDGE_DEPTH, labels, max(edge.waiting, 0)
        yield names.EDGE_DEPTH_MAX, labels, edge.most_waiting


def spreads_of(measures: FlowMeasures) -> Iterator[tuple[Spread, Labels, Recorded]]:
    """Give what is recorded of a flow."""
    flow = measures.flow
    yield names.RUN_DURATION, (flow,), measures.seconds
    yield names.RUN_ADMISSION_WAIT, (flow,), measures.admission_wait
    for node in measures.nodes:
        labels = (flow, node.path)
        yield names.NODE_LATENCY, labels, node.latency
        yield names.NODE_CREDIT_WAIT, labels, node.credit_wait
        yield names.NODE_BATCH_SIZE, labels, node.batch
    for edge in measures.edges:
        yield names.EDGE_WAIT, (flow, edge.source, edge.target), edge.wait
