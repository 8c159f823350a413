"""Metric names: what is measured of a flow, how it is called, in which unit.

Owns the one table that Prometheus, OpenTelemetry, the documentation and the tests are made from. Invariant:
whatever `Metrics` gives is in `METRICS`, or in `COMPATIBLE`. Knows neither who collects nor who is told.

Names have dots for OpenTelemetry; `Metric.prometheus_name` makes of them what Prometheus expects: base units
as a suffix, ``_total`` behind what only grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "amount", "peak", "most", "quantiles", "count", "sum", "ratio"]

QUANTILES: tuple[tuple[str, float], ...] = (("0.5", 50.0), ("0.95", 95.0), ("0.99", 99.0))
"""The label, and the percentile."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric.

    Attributes:
        name: as OpenTelemetry has it; in `COMPATIBLE` it is the name everywhere.
        kind: ``counter`` only grows; an ``amount`` is what there is now; a ``peak`` is the largest of what
            there is now, ``most`` of what there ever was; ``quantiles`` are P50, P95 and P99 of the samples
            of each window, a ``ratio`` is P99 divided by P50; ``count`` and ``sum`` are those of all
            samples there ever were.
        unit: ``s`` for seconds, ``1`` for ratios, ``{step}`` and the like for what is counted.
        labels: names of the labels, in order.
        help: one line.
        base_unit: what Prometheus wants to read behind the name; empty for what is counted.
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str
    base_unit: str = ""

    @property
    def only_grows(self) -> bool:
        """Whether it is a counter, one way or another."""
        return self.kind in ("counter", "count", "sum")

    @property
    def is_kept(self) -> bool:
        """Whether it goes on when a runtime is closed."""
        return self.kind in ("counter", "count", "sum", "most")

    @property
    def prometheus_name(self) -> str:
        """The name in Prometheus' conventions."""
        if "." not in self.name:
            return self.name
        stem = self.name.removesuffix(f".{self.kind}") if self.kind in ("count", "sum") else self.name
        base = f"_{self.base_unit}" if self.base_unit else ""
        suffix = {"counter": "_total", "count": "_count", "sum": "_sum"}.get(self.kind, "")
        return stem.replace(".", "_") + base + suffix


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """What is told of samples: how they spread in each window, and how many there were.

    Attributes:
        quantiles: P50, P95, P99 of each window.
        count: how many samples there ever were.
        sum: of these.
        ratio: P99 divided by P50 of each window, where it is of interest.
    """

    quantiles: Metric
    count: Metric
    sum: Metric
    ratio: Metric | None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All of them."""
        all_of_them = (self.quantiles, self.count, self.sum, self.ratio)
        return tuple(metric for metric in all_of_them if metric is not None)


def spread(
    name: str, unit: str, counted: str, labels: tuple[str, ...], text: str, *, has_ratio: bool = False
) -> Spread:
    """Name what is told of samples: ``counted`` is the unit of their number."""
    base = "seconds" if unit == "s" else ""
    quantiles = (*labels, "quantile", "window")
    ratio = Metric(
        f"{name}.tail_ratio", "ratio", "1", (*labels, "window"), f"P99 divided by P50 of the window: {text}"
    )
    return Spread(
        Metric(name, "quantiles", unit, quantiles, f"P50, P95, P99 of the window: {text}", base),
        Metric(f"{name}.count", "count", counted, labels, f"Number of samples so far: {text}", base),
        Metric(f"{name}.sum", "sum", unit, labels, f"Sum of the samples so far: {text}", base),
        ratio if has_ratio else None,
    )


FLOW = ("flow",)
NODE = ("flow", "node")
EDGE = ("flow", "source", "target")

# flows

RUNTIMES = Metric("penguiflow.runtimes", "amount", "{runtime}", FLOW, "Runtimes that are open")
RUNS_STARTED = Metric("penguiflow.runs.started", "counter", "{run}", FLOW, "Runs that were admitted")
RUNS_ENDED = Metric(
    "penguiflow.runs.ended",
    "counter",
    "{run}",
    ("flow", "status"),
    "Runs that ended, by status: done, failed, cancelled, expired or interrupted",
)
RUNS_ACTIVE = Metric("penguiflow.runs.active", "amount", "{run}", FLOW, "Runs in flight")
RUNS_WAITING = Metric("penguiflow.runs.waiting", "amount", "{run}", FLOW, "Runs that wait for admission")
RUNS_UNREAD = Metric(
    "penguiflow.runs.unread", "amount", "{run}", FLOW, "Detached runs in flight that nobody has begun to read"
)
MESSAGES = Metric("penguiflow.messages", "amount", "{message}", FLOW, "Messages that wait or are at work")
STREAMS = Metric("penguiflow.streams", "amount", "{stream}", FLOW, "Streams that are open")
CREDIT_OUT = Metric("penguiflow.credit.out", "amount", "{credit}", FLOW, "Credits that are not home")
WORKERS = Metric("penguiflow.workers", "amount", "{task}", FLOW, "Tasks that the runtimes have")
OBSERVER_ERRORS = Metric(
    "penguiflow.observer.errors", "counter", "{observer}", FLOW, "Observers that failed and were silenced"
)
RUN_DURATION = spread(
    "penguiflow.run.duration",
    "s",
    "{run}",
    FLOW,
    "how long runs took, from their admission on",
    has_ratio=True,
)
RUN_ADMISSION_WAIT = spread(
    "penguiflow.run.admission_wait",
    "s",
    "{wait}",
    FLOW,
    "how long runs waited to be admitted, where they had to",
)

# nodes

NODE_LATENCY = spread(
    "penguiflow.node.latency",
    "s",
    "{step}",
    NODE,
    "the node's own time per step (or chunk, where it works chunk by chunk), no waits for input or credit",
    has_ratio=True,
)
NODE_CREDIT_WAIT = spread(
    "penguiflow.node.credit_wait",
    "s",
    "{wait}",
    NODE,
    "how long steps of the node waited for credit, or for room behind it",
)
NODE_BATCH_SIZE = spread(
    "penguiflow.node.batch_size",
    "{chunk}",
    "{batch}",
    NODE,
    "how many chunks the node took at a time, where it works chunk by chunk",
)
NODE_STEPS = Metric(
    "penguiflow.node.steps", "counter", "{step}", NODE, "Steps begun (chunks, where it works chunk by chunk)"
)
NODE_FAILURES = Metric("penguiflow.node.failures", "counter", "{step}", NODE, "Steps that failed for good")
NODE_RETRIES = Metric("penguiflow.node.retries", "counter", "{retry}", NODE, "Attempts that were repeated")
NODE_SKIPPED_JOINS = Metric(
    "penguiflow.node.skipped_joins", "counter", "{join}", NODE, "Joins that were skipped for a silent slot"
)
NODE_ACTIVE = Metric("penguiflow.node.active", "amount", "{step}", NODE, "Steps at work")
NODE_WAITING = Metric("penguiflow.node.waiting", "amount", "{step}", NODE, "Steps that wait for a place")
NODE_CONCURRENCY = Metric(
    "penguiflow.node.concurrency", "amount", "{step}", NODE, "Steps that may be at work"
)
NODE_STREAMS = Metric(
    "penguiflow.node.streams", "amount", "{stream}", NODE, "Open streams that the node gives"
)
NODE_LAG = Metric(
    "penguiflow.node.consumer_lag",
    "amount",
    "{chunk}",
    NODE,
    "Chunks of the node's open streams, given but not yet consumed, all streams together",
)
NODE_LAG_MAX = Metric(
    "penguiflow.node.consumer_lag.max",
    "peak",
    "{chunk}",
    NODE,
    "Last number given less last number consumed, of the node's open stream that is furthest behind",
)

# edges

EDGE_WAIT = spread(
    "penguiflow.edge.wait",
    "s",
    "{batch}",
    EDGE,
    "how long the oldest item had waited whenever the node took some",
    has_ratio=True,
)
EDGE_OFFERED = Metric(
    "penguiflow.edge.offered", "counter", "{item}", EDGE, "Items accepted to wait, or dropped"
)
EDGE_DELIVERED = Metric("penguiflow.edge.delivered", "counter", "{item}", EDGE, "Items handed to the node")
EDGE_DROPPED = Metric(
    "penguiflow.edge.dropped",
    "counter",
    "{item}",
    EDGE,
    "Items dropped by a policy, or let go with their run",
)
EDGE_DEPTH = Metric("penguiflow.edge.queue_depth", "amount", "{item}", EDGE, "Items that wait now")
EDGE_DEPTH_MAX = Metric(
    "penguiflow.edge.queue_depth.max", "most", "{item}", EDGE, "Items that waited at most, in one runtime"
)

METRICS: tuple[Metric, ...] = (
    RUNTIMES,
    RUNS_STARTED,
    RUNS_ENDED,
    RUNS_ACTIVE,
    RUNS_WAITING,
    RUNS_UNREAD,
    MESSAGES,
    STREAMS,
    CREDIT_OUT,
    WORKERS,
    OBSERVER_ERRORS,
    *RUN_DURATION.metrics,
    *RUN_ADMISSION_WAIT.metrics,
    *NODE_LATENCY.metrics,
    *NODE_CREDIT_WAIT.metrics,
    *NODE_BATCH_SIZE.metrics,
    NODE_STEPS,
    NODE_FAILURES,
    NODE_RETRIES,
    NODE_SKIPPED_JOINS,
    NODE_ACTIVE,
    NODE_WAITING,
    NODE_CONCURRENCY,
    NODE_STREAMS,
    NODE_LAG,
    NODE_LAG_MAX,
    *EDGE_WAIT.metrics,
    EDGE_OFFERED,
    EDGE_DELIVERED,
    EDGE_DROPPED,
    EDGE_DEPTH,
    EDGE_DEPTH_MAX,
)
"""All metrics."""

# the family of names that other runtimes of this kind share

ID = ("node_id",)

COMPATIBLE_LATENCY = Metric(
    "node_latency_us",
    "quantiles",
    "us",
    ("node_id", "quantile", "window"),
    "P50, P95, P99 of the window: the node's own time per step, in microseconds",
)
COMPATIBLE_DEPTH = Metric("node_queue_depth", "amount", "{item}", ID, "Items that wait for the node now")
COMPATIBLE_DEPTH_MAX = Metric(
    "node_queue_depth_max",
    "most",
    "{item}",
    ID,
    "Items that waited for the node at most, added up over its edges",
)
COMPATIBLE_BATCH = Metric(
    "node_batch_size_avg",
    "peak",
    "{chunk}",
    ID,
    "Chunks taken at a time, as a moving average: 0.1 new, 0.9 old, from 1 on",
)
COMPATIBLE_PROCESSING = Metric(
    "node_processing_time_avg_us",
    "peak",
    "us",
    ID,
    "The node's own time per step, in microseconds, as a moving average: 0.1 new, 0.9 old, from 0 on",
)
COMPATIBLE_INPUTS = Metric("node_total_inputs", "counter", "{item}", ID, "Items handed to the node")

COMPATIBLE: tuple[Metric, ...] = (
    COMPATIBLE_LATENCY,
    COMPATIBLE_DEPTH,
    COMPATIBLE_DEPTH_MAX,
    COMPATIBLE_BATCH,
    COMPATIBLE_PROCESSING,
    COMPATIBLE_INPUTS,
)
"""Metrics under the names of others, for dashboards that are there already. Nodes of one path are one."""
