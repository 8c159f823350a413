"""`OpenTelemetry` gives metrics to a meter provider that wants some, and measures nothing where none does."""

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from penguiflow import Flow, node
from penguiflow.telemetry import OpenTelemetry

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]


@node
async def double(n: int) -> int:
    """Double."""
    return 2 * n


def values(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """All data points, by the name of the metric."""
    data = reader.get_metrics_data()
    found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
    return {metric.name: list(metric.data.data_points) for metric in found}


async def test_a_meter_provider_is_given_metrics() -> None:
    """Two runtimes in a row, one observer each: the counters of one provider go on."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    for expected in (3, 6):
        observer = OpenTelemetry(tracer_provider=TracerProvider(), meter_provider=provider)
        async with Flow("f", double).open(observers=[observer]) as runtime:
            assert [await runtime.call(n) for n in range(3)] == [0, 2, 4]
            assert runtime.measures() is not None
            done = [
                point.value
                for name, points in values(reader).items()
                if name == "penguiflow.node.steps"
                for point in points
            ]
            assert done == [expected]
    provider.shutdown()


async def test_without_a_meter_provider_nothing_is_measured() -> None:
    """The global provider is none before somebody sets one: no histogram is made for it."""
    observer = OpenTelemetry(tracer_provider=TracerProvider())
    async with Flow("f", double).open(observers=[observer]) as runtime:
        assert await runtime.call(1) == 2
        assert runtime.measures() is None


@pytest.mark.parametrize(
    "given",
    [{"tracer_provider": 5}, {"tracer_provider": TracerProvider}, {"meter_provider": object()}],
    ids=["a number", "a class", "an object"],
)
def test_what_is_no_provider_is_refused_at_once(given: dict[str, Any]) -> None:
    """Not when a flow is opened, where it would be silenced."""
    with pytest.raises(TypeError, match="a provider is needed"):
        OpenTelemetry(**given)
