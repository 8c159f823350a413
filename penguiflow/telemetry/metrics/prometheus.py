"""Prometheus: metrics in its text format, for a registry, or served over HTTP.

Owns the families. Invariant: each has its help and its type, also where there is no sample yet. The library
is looked for when it is needed: it comes with the extra ``telemetry``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .metric_names import COMPATIBLE, METRICS, Metric

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

    from .observer import Metrics


OF_SUMMARIES = ("flow", "node", "source", "target")
"""What tells summaries of one name apart."""


class PrometheusCollector:
    """Gives metrics to a registry: ``REGISTRY.register(PrometheusCollector(metrics))``.

    Args:
        metrics: where they come from.

    Raises:
        ImportError: ``prometheus_client`` is not there; the text names the extra.
    """

    def __init__(self, metrics: Metrics) -> None:
        try:
            from prometheus_client import Metric as Family
        except ImportError as exc:
            raise ImportError(
                "prometheus_client is not installed: pip install 'penguiflow[telemetry]'"
            ) from exc
        self._family = Family
        self._metrics = metrics

    def describe(self) -> Iterable[Family]:
        """Give all families without samples: from these the registry learns the names."""
        return distinct(self._families())

    def collect(self) -> Iterable[Family]:
        """Give all families, as they are now."""
        families = self._families()
        names = {metric: metric.prometheus_name for metric in families}
        for sample in self._metrics.read():
            metric = sample.metric
            families[metric].add_sample(names[metric], sample.labels, sample.value)
        for family in distinct(families):
            if family.type == "summary":  # OpenMetrics wants each summary in one piece
                family.samples.sort(key=lambda sample: [sample.labels.get(name, "") for name in OF_SUMMARIES])
        return distinct(families)

    def _families(self) -> dict[Metric, Family]:
        """Make a family for each metric; quantiles, their count and their sum are one."""
        families: dict[Metric, Family] = {}
        summary: Family | None = None
        for metric in (*METRICS, *(COMPATIBLE if self._metrics.compatible else ())):
            if metric.kind in ("count", "sum") and summary is not None:
                families[metric] = summary
                continue
            family = self._family(metric.prometheus_name.removesuffix("_total"), metric.help, type_of(metric))
            families[metric] = family
            summary = family if metric.kind == "quantiles" else summary
        return families


def distinct(families: dict[Metric, Family]) -> list[Family]:
    """Give each family once, in order."""
    return list({id(family): family for family in families.values()}.values())


def type_of(metric: Metric) -> str:
    """Give the type of a family.

    A counter without ``_total`` behind its name is none to Prometheus' own libraries, and quantiles that come
    without a count are no summary.
    """
    if metric.kind == "counter":
        return "counter" if metric.prometheus_name.endswith("_total") else "unknown"
    return "summary" if metric.kind == "quantiles" and metric not in COMPATIBLE else "gauge"


def exposition(metrics: Metrics) -> str:
    """Give metrics in the text format.

    Raises:
        ImportError: ``prometheus_client`` is not there; the text names the extra.
    """
    try:
        from prometheus_client import generate_latest
    except ImportError as exc:
        raise ImportError("prometheus_client is not installed: pip install 'penguiflow[telemetry]'") from exc
    return generate_latest(PrometheusCollector(metrics)).decode()


@contextmanager
def serving(metrics: Metrics, port: int, host: str) -> Iterator[int]:
    """Answer over HTTP, from a thread; gives the port.

    Raises:
        ImportError: ``prometheus_client`` is not there; the text names the extra.
        OSError: the port is taken.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as exc:
        raise ImportError("prometheus_client is not installed: pip install 'penguiflow[telemetry]'") from exc
    registry = CollectorRegistry()
    registry.register(PrometheusCollector(metrics))
    server, thread = start_http_server(port, host, registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
