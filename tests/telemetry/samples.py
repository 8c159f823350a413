"""What a test wants to know of samples."""

from typing import Any

from penguiflow.telemetry.metrics.observer import Metrics


def values(metrics: Metrics, name: str, **labels: str) -> dict[tuple[str, ...], float]:
    """Give the values of a metric, by what of its labels is not asked for."""
    found = {}
    for sample in metrics.read():
        given = sample.labels
        if sample.metric.name == name and all(given[key] == wanted for key, wanted in labels.items()):
            found[tuple(value for key, value in given.items() if key not in labels)] = sample.value
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """Give the one value of a metric with all of its labels; all flows of these tests are called ``f``."""
    (found,) = values(metrics, name, **{"flow": "f", **labels}).values()
    return found


def quantiles(metrics: Metrics, name: str, window: str, **labels: str) -> list[float]:
    """Give P50, P95 and P99 of a window."""
    return list(values(metrics, name, window=window, **{"flow": "f", **labels}).values())


def counters(metrics: Metrics) -> dict[Any, float]:
    """Give all that only grows."""
    return {
        (sample.metric.name, sample.values): sample.value
        for sample in metrics.read()
        if sample.metric.only_grows
    }
