"""Metrics and pictures of the flows that steps call: under their own names, added up, never twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

from penguiflow import Context, Flow, StepError, Stream, edge, node
from penguiflow.telemetry import Metrics, OpenTelemetry, TraceStore
from penguiflow.telemetry.store.live import MOST_CALLED, Camera, picture
from penguiflow.telemetry.store.reading import TraceStoreError, open_store
from penguiflow.telemetry.views.board import board

from .samples import counters, quantiles, value, values

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


@node
async def parts(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


@node
async def hop(i: int) -> int:
    return i


@node
async def total(stream: Stream[int]) -> int:
    return sum([i async for i in stream])


search = Flow("search", parts >> hop >> total)


@node
async def first(n: int, ctx: Context) -> int:
    await ctx.call(search, n)
    return n


@node
async def second(n: int, ctx: Context) -> int:
    await ctx.call(search, n)
    return int(await ctx.call(Flow("middle", third), n))


@node
async def third(n: int, ctx: Context) -> int:
    await ctx.call(search, n)
    return n


twice = Flow("f", first >> second)
"""Searches three times: from two nodes, and from a flow that one of these calls."""


async def test_called_flows_have_their_own_label() -> None:
    """Calls from two nodes and from another level are added up; the outer flow has what it had before."""
    metrics = Metrics()
    async with twice.open(observers=[metrics]) as runtime:
        assert await runtime.call(5) == 5
        started = values(metrics, "penguiflow.runs.started")
        assert started == {("f",): 1, ("search",): 3, ("middle",): 1}
        steps = values(metrics, "penguiflow.node.steps")
        assert steps == {
            ("f", "first"): 1,
            ("f", "second"): 1,
            ("middle", "third"): 1,
            ("search", "parts"): 3,
            ("search", "hop"): 15,
            ("search", "total"): 3,
        }
        assert value(metrics, "penguiflow.run.duration.count", flow="search") == 3
        assert value(metrics, "penguiflow.node.latency.count", flow="search", node="hop") == 15
        assert value(metrics, "penguiflow.node.batch_size.sum", flow="search", node="hop") == 15
        way = {"source": "parts", "target": "hop"}
        assert value(metrics, "penguiflow.edge.delivered", flow="search", **way) == 15
        assert len(quantiles(metrics, "penguiflow.node.latency", "1min", flow="search", node="hop")) == 3
        ended = values(metrics, "penguiflow.runs.ended", flow="search")
        others = ("failed", "cancelled", "expired", "interrupted")
        assert ended == {("done",): 3, **{(status,): 0 for status in others}}


async def test_what_a_runtime_shares_with_called_flows_is_told_once() -> None:
    """There is one runtime, with its tasks and observers; the called flows have none of these."""
    metrics = Metrics()
    async with twice.open(observers=[metrics]) as runtime:
        await runtime.call(5)
        assert values(metrics, "penguiflow.runtimes") == {("f",): 1}
        assert values(metrics, "penguiflow.workers") == {("f",): runtime.statistics().workers}
        assert values(metrics, "penguiflow.observer.errors") == {("f",): 0}


async def test_counts_of_called_flows_go_on() -> None:
    """When the runtime is closed, in the next one, and where the called flow is opened by itself as well."""
    metrics = Metrics()
    for number in (1, 2):
        async with twice.open(observers=[metrics]) as runtime:
            await runtime.call(5)
            inside = counters(metrics)
        assert counters(metrics) == inside
        assert value(metrics, "penguiflow.runs.started", flow="search") == 3 * number
        assert value(metrics, "penguiflow.run.duration.count", flow="search") == 3 * number
    async with search.open(observers=[metrics]) as alone, twice.open(observers=[metrics]) as runtime:
        await alone.call(2)
        await runtime.call(5)
        assert value(metrics, "penguiflow.runs.started", flow="search") == 3 * 3 + 1
        assert value(metrics, "penguiflow.node.steps", flow="search", node="hop") == 45 + 2
        assert value(metrics, "penguiflow.node.latency.count", flow="search", node="hop") == 45 + 2
        assert value(metrics, "penguiflow.runtimes", flow="search") == 1


async def test_counts_never_go_back_while_flows_are_called_first() -> None:
    """A flow that is called for the first time while others are known adds to what they have."""
    metrics = Metrics()

    @node
    async def either(n: int, ctx: Context) -> int:
        return int(await ctx.call(Flow("same", hop), n))  # another flow of that name each time

    async with Flow("f", either).open(observers=[metrics]) as runtime:
        for number in (1, 2, 3):
            await runtime.call(number)
            assert value(metrics, "penguiflow.node.steps", flow="same", node="hop") == number
            assert value(metrics, "penguiflow.node.latency.count", flow="same", node="hop") == number
            assert value(metrics, "penguiflow.run.duration.count", flow="same") == number


async def test_edges_between_the_same_nodes_are_measured_as_one() -> None:
    """Their samples are added up as well."""
    metrics = Metrics()
    flow = Flow("f", hop >> last, hop >> edge(on_error=True) >> last)
    async with flow.open(observers=[metrics]) as runtime:
        measures = runtime.measures()
        assert measures is not None
        one, other = [each for each in measures.edges if each.target == "last"]
        one.wait.record(0.1, 2)
        other.wait.record(0.3, 3)
        way = {"source": "hop", "target": "last"}
        assert value(metrics, "penguiflow.edge.wait.count", **way) == 5
        assert value(metrics, "penguiflow.edge.wait.sum", **way) == pytest.approx(1.1)


@node
async def last(i: int | StepError) -> int:
    return i if isinstance(i, int) else 0


async def test_each_series_of_the_page_is_there_once() -> None:
    """Prometheus takes no page with two samples of the same labels."""
    metrics = Metrics(compatible=True)
    async with twice.open(observers=[metrics]) as runtime, search.open(observers=[metrics]) as alone:
        await runtime.call(5)
        await alone.call(2)
        found = [
            (sample.name, *sorted(sample.labels.items()))
            for family in text_string_to_metric_families(metrics.prometheus())
            for sample in family.samples
        ]
        assert len(found) == len(set(found))
        assert ("penguiflow_node_steps_total", ("flow", "search"), ("node", "hop")) in found


async def test_open_telemetry_gets_called_flows_too() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    async with twice.open(observers=[OpenTelemetry(meter_provider=provider)]) as runtime:
        await runtime.call(5)
        data = reader.get_metrics_data()
        assert data is not None
        points = {
            (metric.name, *sorted((point.attributes or {}).items())): getattr(point, "value", None)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }
    assert points["penguiflow.node.steps", ("flow", "search"), ("node", "hop")] == 15
    assert points["penguiflow.runs.started", ("flow", "search")] == 3


# -- now


def holding(gate: anyio.Event) -> tuple[Flow, Flow]:
    """Give a flow whose step calls another, which gives one chunk and waits; and that one."""

    @node
    async def holds(n: int) -> AsyncIterator[int]:
        yield n
        await gate.wait()

    inner = Flow("inner", holds >> hop >> total)

    @node
    async def waits(n: int, ctx: Context) -> int:
        return int(await ctx.call(inner, n))

    return Flow("f", waits), inner


async def test_what_is_under_way_in_called_flows() -> None:
    metrics, gate = Metrics(), anyio.Event()
    flow, _ = holding(gate)
    async with flow.open(observers=[metrics]) as runtime:
        run = await runtime.start(3)
        await anyio.wait_all_tasks_blocked()
        assert values(metrics, "penguiflow.runs.active") == {("f",): 1, ("inner",): 1}
        assert value(metrics, "penguiflow.node.active", flow="inner", node="holds") == 1
        assert value(metrics, "penguiflow.node.streams", flow="inner", node="holds") == 1
        assert value(metrics, "penguiflow.streams", flow="inner") == 2
        gate.set()
        assert await run.result() == 3
        assert values(metrics, "penguiflow.runs.active") == {("f",): 0, ("inner",): 0}
        assert value(metrics, "penguiflow.streams", flow="inner") == 0


def taken(camera: Camera, runtime: Any) -> Any:
    """Take a picture, as it is shown."""
    state = camera.take(runtime)
    assert state is not None
    return picture(1, 0.0, 0.0, state)


async def test_the_board_shows_called_flows() -> None:
    """With their nodes, edges and streams, and how they go since the picture before."""
    times = iter(range(0, 10_000, 10))
    gate = anyio.Event()
    flow, _ = holding(gate)
    async with flow.open(observers=[Metrics()]) as runtime:
        camera = Camera(1, lambda: float(next(times)))
        camera._rest_until = -1.0
        run = await runtime.start(3)
        await anyio.wait_all_tasks_blocked()
        seen = taken(camera, runtime)
        (called,) = seen.called
        assert (called.path, called.runs, called.started, called.open_streams) == (("f", "inner"), 1, 1, 2)
        assert [(one.path, one.active, one.steps, one.rate) for one in called.nodes] == [
            ("holds", 1, 1, 0.1),
            ("hop", 0, 1, 0.1),
            ("total", 0, 1, 0.1),
        ]
        assert [(one.source, one.target, one.offered) for one in called.edges] == [
            ("input", "holds", 1),
            ("holds", "hop", 1),
            ("hop", "total", 1),
        ]
        assert {one.node for one in called.streams} == {"holds", "hop"}
        text = board([seen], 120)
        assert "  calls inner · 1 under way · 1 begun · 2 open streams" in text.splitlines()
        assert max(map(len, text.splitlines())) <= 120
        camera._rest_until = -1.0
        again = taken(camera, runtime)
        assert [one.rate for one in again.called[0].nodes] == [0.0, 0.0, 0.0]
        gate.set()
        await run.result()


async def test_the_board_says_how_many_called_flows_it_leaves_out() -> None:
    @node
    async def calls(n: int, ctx: Context) -> int:
        for i in range(n):
            await ctx.call(Flow(f"inner{i}", hop), i)
        return n

    async with Flow("f", calls).open() as runtime:
        await runtime.call(MOST_CALLED + 3)
        camera = Camera(1)
        seen = taken(camera, runtime)
        assert (len(seen.called), seen.more_called) == (MOST_CALLED, 3)
        assert "  … 3 more called flows" in board([seen], 80).splitlines()


async def test_a_stream_of_a_called_flow_is_found_in_the_picture(tmp_path: Path) -> None:
    """What is under way in a part says how many chunks it has; other runs have streams of that name."""
    gate = anyio.Event()
    flow, _ = holding(gate)
    store = TraceStore(tmp_path / "r.db", interval=0.02)
    async with (
        flow.open(observers=[store]) as runtime,
        runtime.run(3) as run,
        runtime.run(4) as other,
    ):
        wanted = [{"holds": 1, "hop": 1}] * 2
        with anyio.fail_after(15):
            while told(store, run.id, other.id) != wanted:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        gate.set()
        assert (await run.result(), await other.result()) == (3, 4)


def told(store: TraceStore, *ids: str) -> list[dict[str, int]]:
    """Give for some runs how many chunks the streams of what they call have so far; nothing before that."""
    try:
        with open_store(store.path) as reader:
            traces = [reader.trace(run_id) for run_id in ids]
    except TraceStoreError:  # it is not there yet
        return []
    return [
        {one.node: one.chunks for one in trace.streams if one.part == 1 and one.chunks} for trace in traces
    ]
