"""Instruments: metrics as OpenTelemetry collects them, under the same names.

Owns which instrument a metric is. Invariant: the callbacks of one collection share one reading. Knows nothing
of runtimes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter_provider

import penguiflow

from .metric_names import METRICS, Metric
from .observer import Metrics

FRESH_SECONDS = 0.5
"""So long a reading serves the callbacks of a collection, each at most once."""

KEPT_AS = "_penguiflow_metrics"
"""The attribute of a provider under which its metrics are kept."""

Callback = Callable[[CallbackOptions], Iterable[Observation]]


class Readings:
    """Readings for callbacks that are called one by one.

    Args:
        metrics: what is read.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()  # each reader of a provider collects on a thread of its own
        self._read_at = 0.0
        self._observations: dict[Metric, list[Observation]] = {}

    def take(self, metric: Metric) -> list[Observation]:
        """Give what is to be said of a metric; a second time, of a new reading."""
        with self._lock:
            now = time.monotonic()
            if metric not in self._observations or now - self._read_at > FRESH_SECONDS:
                self._read_at = now
                self._observations = {metric: [] for metric in METRICS}
                for sample in self._metrics.read():
                    if sample.metric in self._observations:
                        observation = Observation(sample.value, sample.labels)
                        self._observations[sample.metric].append(observation)
            return self._observations.pop(metric)


def metrics_of(provider: MeterProvider) -> Metrics:
    """Give the metrics that a provider collects: the same for everybody who asks, made when first asked for.

    Instruments of the same name shadow one another. So there must be one for all observers of a process, and
    what outlives all of these is the provider: it is kept there.
    """
    metrics = Metrics()
    kept: Metrics = vars(provider).setdefault(KEPT_AS, metrics)
    if kept is metrics:
        register(metrics, provider)
    return kept


def register(metrics: Metrics, meter_provider: MeterProvider | None = None) -> None:
    """Make an instrument for each metric; there is no way to take them away again.

    A provider should get one `Metrics` only, since instruments of the same name shadow one another.

    Args:
        metrics: where the values come from.
        meter_provider: makes the meter; by default the global one.
    """
    provider = meter_provider if meter_provider is not None else get_meter_provider()
    meter = provider.get_meter("penguiflow", penguiflow.__version__)
    readings = Readings(metrics)
    for metric in METRICS:
        make(meter, metric, callback_of(readings, metric))


def callback_of(readings: Readings, metric: Metric) -> Callback:
    """Give the callback of a metric's instrument."""
    return lambda options: readings.take(metric)


def make(meter: Meter, metric: Metric, callback: Callback) -> None:
    """Make the instrument: what is added up over processes is a sum, all else a gauge."""
    given = (metric.name, [callback], metric.unit, metric.help)
    if metric.only_grows:
        meter.create_observable_counter(*given)
    elif metric.kind == "amount":
        meter.create_observable_up_down_counter(*given)
    else:
        meter.create_observable_gauge(*given)
