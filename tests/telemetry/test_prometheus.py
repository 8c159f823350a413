"""What Prometheus reads: parsed by its own library, each metric with help and type, and the same values."""

import sys
import urllib.request
from collections.abc import AsyncIterator

import anyio
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from penguiflow import Flow, node
from penguiflow.telemetry import Metrics, PrometheusCollector
from penguiflow.telemetry.metrics.metric_names import COMPATIBLE, METRICS

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def hop(i: int) -> int:
    """Hand on."""
    return i


def parsed(text: str) -> Values:
    """Give the values of an exposition, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def expected(metrics: Metrics) -> Values:
    """Give the values that are read, by the same."""
    return {
        (sample.metric.prometheus_name, frozenset(sample.labels.items())): sample.value
        for sample in metrics.read()
    }


@pytest.mark.parametrize("compatible", [False, True])
async def test_each_metric_has_help_and_type(compatible: bool) -> None:
    """Also those without a sample yet; and none of a counter, a gauge or a summary is taken for another."""
    metrics = Metrics(compatible=compatible)
    table = [*METRICS, *COMPATIBLE] if compatible else METRICS
    heads = {metric.prometheus_name for metric in table if metric.kind not in ("count", "sum")}
    for _ in range(2):
        lines = [line.split(" ", 3) for line in metrics.prometheus().splitlines() if line.startswith("#")]
        helps = {line[2]: line[3] for line in lines if line[1] == "HELP"}
        types = {line[2]: line[3] for line in lines if line[1] == "TYPE"}
        assert set(helps) == set(types) == heads
        assert all(helps.values())
        assert set(types.values()) <= {"counter", "gauge", "summary", "untyped"}
        assert {name for name, kind in types.items() if kind == "counter"} == {
            name for name in types if name.endswith("_total")
        }
        assert types["penguiflow_node_latency_seconds"] == "summary"
        async with Flow("f", count >> hop).open(observers=[metrics]) as runtime:
            await runtime.call(100)


async def test_the_text_says_what_is_read() -> None:
    """Value by value, under the names of the table."""
    metrics = Metrics(compatible=True)
    async with Flow("f", count >> hop).open(observers=[metrics]) as runtime:
        await runtime.call(100)
        found = parsed(metrics.prometheus())
        assert found == expected(metrics)
    labels = frozenset({("flow", "f"), ("node", "hop")})
    assert found["penguiflow_node_steps_total", labels] == 100
    assert found["penguiflow_node_latency_seconds_count", labels] == 100
    assert found["penguiflow_node_latency_seconds", labels | {("quantile", "0.5"), ("window", "5min")}] > 0
    assert (
        found["node_latency_us", frozenset({("node_id", "hop"), ("quantile", "0.99"), ("window", "1min")})]
        > 0
    )
    assert found["node_total_inputs", frozenset({("node_id", "hop")})] == 100


async def test_names_that_need_quoting() -> None:
    """Whatever a flow is called, the text stays one that can be read."""
    metrics = Metrics()
    name = 'a "b"\\\n {c}'
    async with Flow(name, hop).open(observers=[metrics]) as runtime:
        await runtime.call(1)
        assert parsed(metrics.prometheus()) == expected(metrics)
        assert ("flow", name) in {pair for _, labels in parsed(metrics.prometheus()) for pair in labels}


async def test_in_a_registry() -> None:
    """Beside what else is in there; only once; and in OpenMetrics' format too."""
    metrics = Metrics(compatible=True)
    registry = CollectorRegistry(auto_describe=True)
    collector = PrometheusCollector(metrics)
    registry.register(collector)
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(PrometheusCollector(metrics))
    async with Flow("f", count >> hop).open(observers=[metrics]) as runtime:
        await runtime.call(100)
        assert parsed(generate_latest(registry).decode()) == expected(metrics)
        found = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in openmetrics_families(generate_openmetrics(registry).decode())
            for sample in family.samples
        }
        assert found == expected(metrics)
    registry.unregister(collector)
    registry.register(PrometheusCollector(metrics))


async def test_served_over_http() -> None:
    """From a thread, while the flow runs; afterwards nobody answers."""
    metrics = Metrics()

    def fetch(port: int) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    async with Flow("f", count >> hop).open(observers=[metrics]) as runtime:
        with metrics.serve(port=0) as port:
            await runtime.call(100)
            text = await anyio.to_thread.run_sync(fetch, port)
            assert parsed(text) == expected(metrics)
        with pytest.raises(OSError, match="refused"):
            await anyio.to_thread.run_sync(fetch, port)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics can be read all the same; who wants Prometheus' text is told which extra brings it."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    metrics = Metrics()
    assert metrics.read() == ()
    with pytest.raises(ImportError, match=r"pip install 'penguiflow\[telemetry\]'"):
        metrics.prometheus()
    with pytest.raises(ImportError, match=r"penguiflow\[telemetry\]"):
        PrometheusCollector(metrics)
    with pytest.raises(ImportError, match=r"penguiflow\[telemetry\]"), metrics.serve():
        pass
