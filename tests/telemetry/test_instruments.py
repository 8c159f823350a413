"""What OpenTelemetry collects: an instrument for each metric, and the values that are read."""

from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Sum

from penguiflow import Flow, node
from penguiflow.telemetry import Metrics
from penguiflow.telemetry.metrics.instruments import metrics_of, register
from penguiflow.telemetry.metrics.metric_names import METRICS

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]

Values = dict[tuple[str, frozenset[tuple[str, object]]], float]


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def hop(i: int) -> int:
    """Hand on."""
    return i


class Collected:
    """A meter provider, and what comes out of it."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def metrics(self) -> list[object]:
        """Collect; gives what OpenTelemetry calls metrics."""
        data = self.reader.get_metrics_data()
        found = data.resource_metrics if data is not None else ()
        return [metric for one in found for scope in one.scope_metrics for metric in scope.metrics]

    def values(self) -> Values:
        """Collect; gives values by name and attributes."""
        return {
            (metric.name, frozenset(point.attributes.items())): point.value
            for metric in self.metrics()
            for point in metric.data.data_points
        }


@pytest.fixture
def collected(caplog: pytest.LogCaptureFixture) -> Iterator[Collected]:
    """A meter provider of one's own, that complains of nothing."""
    collected = Collected()
    yield collected
    collected.provider.shutdown()
    assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []


def expected(metrics: Metrics) -> Values:
    """Give the values that are read, by name and labels."""
    return {(sample.metric.name, frozenset(sample.labels.items())): sample.value for sample in metrics.read()}


async def test_the_same_as_is_read(collected: Collected) -> None:
    """Each value, under the dotted name; a second collection tells what has happened meanwhile."""
    metrics = Metrics()
    register(metrics, collected.provider)
    async with Flow("f", count >> hop).open(observers=[metrics]) as runtime:
        for n in (100, 50):
            await runtime.call(n)
            assert collected.values() == expected(metrics)
    found = collected.values()
    assert found == expected(metrics)
    hops = frozenset({("flow", "f"), ("node", "hop")})
    assert found["penguiflow.node.steps", hops] == 150
    assert found["penguiflow.node.latency.count", hops] == 150
    assert ("penguiflow.node.active", hops) not in found


async def test_kinds_units_and_texts(collected: Collected) -> None:
    """Counters are sums that only grow, amounts are sums, all else is a gauge."""
    metrics = Metrics()
    register(metrics, collected.provider)
    table = {metric.name: metric for metric in METRICS}
    async with Flow("f", count >> hop).open(observers=[metrics]) as runtime:
        await runtime.call(300)
        found = collected.metrics()
    assert len(found) >= len(table) - 2
    for metric in found:
        known = table[metric.name]
        assert (metric.unit, metric.description) == (known.unit, known.help)
        if known.only_grows or known.kind == "amount":
            assert isinstance(metric.data, Sum)
            assert metric.data.is_monotonic == known.only_grows
        else:
            assert isinstance(metric.data, Gauge)


async def test_one_reading_serves_a_collection(collected: Collected) -> None:
    """So all values of one collection are of one moment, and it costs one reading."""

    class Counted(Metrics):
        readings = 0

        def read(self):
            self.readings += 1
            return super().read()

    metrics = Counted()
    register(metrics, collected.provider)
    async with Flow("f", count >> hop).open(observers=[metrics]) as runtime:
        await runtime.call(10)
        for number in (1, 2, 3):
            collected.values()
            assert metrics.readings == number


async def test_one_for_each_provider(collected: Collected) -> None:
    """Whoever asks for a provider's metrics gets the same, so counts of one flow are added up."""
    both = metrics_of(collected.provider), metrics_of(collected.provider)
    assert both[0] is both[1]
    assert metrics_of(Collected().provider) is not both[0]
    flow = Flow("f", hop)
    async with flow.open(observers=[both[0]]) as one, flow.open(observers=[both[1]]) as two:
        await one.call(1)
        await two.call(1)
        hops = frozenset({("flow", "f"), ("node", "hop")})
        assert collected.values()["penguiflow.node.steps", hops] == 2
