"""Sheet: what is read of all runtimes at one time, added up by label.

Owns how numbers of several runtimes come together, and what a sample looks like. Invariant: for each metric
and each set of labels there is at most one sample, and they come in the order of the table. Knows no runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from penguiflow.histogram import WINDOWS
from penguiflow.measures import Recorded, Tally

from .metric_names import (
    COMPATIBLE,
    COMPATIBLE_BATCH,
    COMPATIBLE_DEPTH,
    COMPATIBLE_DEPTH_MAX,
    COMPATIBLE_INPUTS,
    COMPATIBLE_LATENCY,
    COMPATIBLE_PROCESSING,
    EDGE_DELIVERED,
    EDGE_DEPTH,
    EDGE_DEPTH_MAX,
    METRICS,
    NODE_LATENCY,
    QUANTILES,
    Metric,
    Spread,
)

Labels = tuple[str, ...]
"""Values of a metric's labels, in their order."""

Key = tuple[Metric, Labels]

PERCENTILES = tuple(percentile for _, percentile in QUANTILES)
TARGET = 2
"""Where among the labels of an edge its target is."""

OF_EDGES = {
    EDGE_DEPTH: COMPATIBLE_DEPTH,
    EDGE_DEPTH_MAX: COMPATIBLE_DEPTH_MAX,
    EDGE_DELIVERED: COMPATIBLE_INPUTS,
}
"""What others count by node, and we by edge."""

MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Sample:
    """One value.

    Attributes:
        metric: what it is of.
        values: those of the metric's labels, in their order.
        value: the value.
    """

    metric: Metric
    values: Labels
    value: float

    @property
    def labels(self) -> dict[str, str]:
        """The labels, by name."""
        return dict(zip(self.metric.labels, self.values, strict=True))


class Sheet:
    """What is read at one time.

    Args:
        kept: what runtimes that are closed have left.
    """

    def __init__(self, kept: dict[Key, float]) -> None:
        self._numbers: dict[Key, float] = dict(kept)
        self._spreads: dict[tuple[Spread, Labels], list[Recorded]] = {}

    def put(self, metric: Metric, labels: Labels, value: float) -> None:
        """Write a number down, beside those of other runtimes."""
        combine(self._numbers, (metric, labels), value)

    def put_spread(self, spread: Spread, labels: Labels, recorded: Recorded) -> None:
        """Take note of what recorded samples are to be told of."""
        self._spreads.setdefault((spread, labels), []).append(recorded)

    def samples(self, *, compatible: bool) -> tuple[Sample, ...]:
        """Give all samples, if so wanted those under the names of others too."""
        tables = (*METRICS, *COMPATIBLE) if compatible else METRICS
        found: dict[Metric, list[Sample]] = {metric: [] for metric in tables}
        if compatible:
            self._put_compatible()
        for (metric, labels), value in self._numbers.items():
            found[metric].append(Sample(metric, labels, value))
        for (spread, labels), recorded in self._spreads.items():
            for sample in samples_of(spread, labels, recorded):
                found[sample.metric].append(sample)
        if compatible:
            found[COMPATIBLE_LATENCY] += self._compatible_latencies()
        return tuple(sample for samples in found.values() for sample in samples)

    # -- under the names of others

    def _put_compatible(self) -> None:
        """Add up by node what is known by edge, and write the moving averages down."""
        for (metric, labels), value in list(self._numbers.items()):
            if metric in OF_EDGES:
                key = (OF_EDGES[metric], (labels[TARGET],))
                self._numbers[key] = self._numbers.get(key, 0) + value

    def put_averages(self, node: str, batch: float, seconds: float) -> None:
        """Write a node's moving averages down."""
        self.put(COMPATIBLE_BATCH, (node,), batch)
        self.put(COMPATIBLE_PROCESSING, (node,), seconds * MICROSECONDS)

    def _compatible_latencies(self) -> Iterator[Sample]:
        by_node: dict[str, list[Recorded]] = {}
        for (spread, labels), recorded in self._spreads.items():
            if spread is NODE_LATENCY:
                by_node.setdefault(labels[-1], []).extend(recorded)
        for node, recorded in by_node.items():
            for sample in samples_of(NODE_LATENCY, (node,), recorded):
                if sample.metric is NODE_LATENCY.quantiles:
                    yield Sample(COMPATIBLE_LATENCY, sample.values, sample.value * MICROSECONDS)


def combine(numbers: dict[Key, float], key: Key, value: float) -> None:
    """Put a number beside what is there: the larger one counts of peaks, the sum of all others."""
    before = numbers.get(key)
    if before is None:
        numbers[key] = value
    elif key[0].kind in ("peak", "most"):
        numbers[key] = max(before, value)
    else:
        numbers[key] = before + value


def samples_of(spread: Spread, labels: Labels, recorded: list[Recorded]) -> Iterator[Sample]:
    """Give quantiles and ratios of recorded samples; of a window without any there are none."""
    if not any(one.count for one in recorded):
        return
    for name, seconds in WINDOWS:
        tally = merged(recorded, seconds)
        if not tally.count:
            continue
        found = tally.percentiles(*PERCENTILES)
        for (quantile, _), value in zip(QUANTILES, found, strict=True):
            yield Sample(spread.quantiles, (*labels, quantile, name), value)
        if spread.ratio is not None:
            yield Sample(spread.ratio, (*labels, name), found[-1] / found[0] if found[0] else 1.0)


def merged(recorded: list[Recorded], seconds: float) -> Tally:
    """Give what several have recorded in a window."""
    tally = recorded[0].window(seconds)
    for other in recorded[1:]:
        tally.merge(other.window(seconds))
    return tally
