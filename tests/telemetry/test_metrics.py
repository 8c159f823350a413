"""Metrics of real flows: what is counted is exact, what is measured is near, and reading hurts nobody."""

import gc
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from penguiflow import Context, Flow, Retry, StepError, edge, node
from penguiflow.observe import RunStarted, RuntimeOpened
from penguiflow.telemetry import Metrics
from penguiflow.telemetry.metrics.metric_names import COMPATIBLE, METRICS

from .samples import counters, quantiles, value, values

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def hop(i: int) -> int:
    """Hand on."""
    return i


@node
def inline(i: int) -> int:
    """Hand on, on the edge."""
    return i


@node
async def burst(n: int, ctx: Context) -> None:
    """Emit 0 to n - 1, each as a message."""
    for i in range(n):
        await ctx.emit(i)


@node
async def naps(i: int) -> int:
    """Sleep so many milliseconds."""
    await anyio.sleep(i / 1000)
    return i


# -- counters


async def test_counters_are_exact() -> None:
    """Runs, steps and items are counted, each once, and nothing is in flight when all is over."""
    metrics = Metrics()
    async with Flow("f", count >> hop >> inline).open(observers=[metrics]) as runtime:
        assert await runtime.call(100) == list(range(100))
        assert await runtime.call(50) == list(range(50))
        assert value(metrics, "penguiflow.runtimes") == 1
        assert value(metrics, "penguiflow.runs.started") == 2
        ended = values(metrics, "penguiflow.runs.ended", flow="f")
        others = ("failed", "cancelled", "expired", "interrupted")
        assert ended == {("done",): 2, **{(status,): 0 for status in others}}
        steps = values(metrics, "penguiflow.node.steps", flow="f")
        assert steps == {("count",): 2, ("hop",): 150, ("inline",): 150}
        for name in ("offered", "delivered"):
            found = values(metrics, f"penguiflow.edge.{name}", flow="f")
            assert found == {("input", "count"): 2, ("count", "hop"): 150, ("hop", "inline"): 150}
        for name in "runs.active runs.waiting runs.unread messages streams credit.out".split():
            assert value(metrics, f"penguiflow.{name}") == 0, name
        assert value(metrics, "penguiflow.node.latency.count", node="hop") == 150
        assert value(metrics, "penguiflow.node.latency.count", node="inline") == 150
        assert value(metrics, "penguiflow.node.batch_size.sum", node="hop") == 150
        assert value(metrics, "penguiflow.run.duration.count") == 2


async def test_failures_and_retries() -> None:
    """What was tried again and what failed for good."""
    calls = []

    @node(retry=Retry(attempts=3, backoff=0, jitter=0))
    async def flaky(i: int) -> int:
        calls.append(i)
        if i < 0 or len(calls) < 3:
            raise ValueError("not yet")
        return i

    metrics = Metrics()
    async with Flow("f", flaky).open(observers=[metrics]) as runtime:
        assert await runtime.call(1) == 1
        with pytest.raises(StepError):
            await runtime.call(-1)
        assert value(metrics, "penguiflow.node.retries", node="flaky") == 4
        assert value(metrics, "penguiflow.node.failures", node="flaky") == 1
        assert value(metrics, "penguiflow.runs.ended", status="failed") == 1


async def test_drops_and_depths() -> None:
    """What is offered is delivered, dropped or waits; how much waited at most is kept."""
    gate = anyio.Event()

    @node(concurrency=1)
    async def slow(i: int) -> int:
        await gate.wait()
        return i

    metrics = Metrics()
    flow = Flow("f", burst >> edge(capacity=4, overflow="drop_oldest") >> slow)
    way = {"source": "burst", "target": "slow"}
    async with flow.open(observers=[metrics]) as runtime, runtime.run(20) as run:
        await anyio.wait_all_tasks_blocked()
        told = {name: value(metrics, f"penguiflow.edge.{name}", **way) for name in DEPTHS}
        (_, statistics) = runtime.statistics().edges
        assert told == {
            "offered": statistics.offered,
            "delivered": statistics.delivered,
            "dropped": statistics.dropped,
            "queue_depth": statistics.waiting,
            "queue_depth.max": 4,
        }
        assert told["offered"] == told["delivered"] + told["dropped"] + told["queue_depth"] == 20
        assert told["dropped"] > 0
        gate.set()
        items = [item async for item in run]
        assert len(items) == 20 - told["dropped"]
        assert value(metrics, "penguiflow.edge.queue_depth", **way) == 0
        assert value(metrics, "penguiflow.edge.queue_depth.max", **way) == 4
    assert value(metrics, "penguiflow.edge.queue_depth.max", **way) == 4
    assert values(metrics, "penguiflow.edge.queue_depth") == {}


DEPTHS = "offered delivered dropped queue_depth queue_depth.max".split()


@pytest.mark.parametrize("window", [8, 32])
async def test_a_stuck_reader_shows_as_lag(window: int) -> None:
    """A reader that takes nothing has all that may be in flight before it; and steps wait for credit."""
    metrics = Metrics()
    async with Flow("f", count >> hop).open(observers=[metrics], window=window) as runtime:
        async with runtime.run(100) as run:
            items = aiter(run)
            first = await anext(items)
            await anyio.wait_all_tasks_blocked()
            (lag,) = {stream.in_flight for stream in runtime.streams() if stream.window}
            assert window // 2 <= lag <= window
            assert value(metrics, "penguiflow.node.consumer_lag", node="count") == lag
            assert value(metrics, "penguiflow.node.consumer_lag.max", node="count") == lag
            assert value(metrics, "penguiflow.node.streams", node="count") == 1
            assert value(metrics, "penguiflow.credit.out") >= lag
            assert value(metrics, "penguiflow.runs.active") == 1
            rest = [item async for item in items]
            assert len(rest) == 99
            assert first.payload == 0
            assert value(metrics, "penguiflow.node.consumer_lag", node="count") == 0
        waits = value(metrics, "penguiflow.node.credit_wait.count", node="count")
        assert 1 <= waits <= 100
        assert value(metrics, "penguiflow.node.credit_wait.sum", node="count") > 0
        assert quantiles(metrics, "penguiflow.node.credit_wait", "1min", node="count")[0] > 0


async def test_lags_of_several_streams_are_added_up() -> None:
    """The sum of all, and the largest."""
    metrics = Metrics()
    async with Flow("f", count >> hop).open(observers=[metrics], window=16) as runtime:
        async with runtime.run(100) as first, runtime.run(100), runtime.run(6):
            items = aiter(first)
            for _ in range(3):
                await anext(items)
            await anyio.wait_all_tasks_blocked()
            lags = [stream.in_flight for stream in runtime.streams() if stream.window]
            assert len(lags) == 2
            assert value(metrics, "penguiflow.node.consumer_lag", node="count") == sum(lags)
            assert value(metrics, "penguiflow.node.consumer_lag.max", node="count") == max(lags)


async def test_who_waits_for_admission() -> None:
    """Runs beyond ``max_runs`` wait; runs that nobody reads are unread."""
    metrics = Metrics()
    async with Flow("f", count).open(observers=[metrics], max_runs=1) as runtime:
        run = await runtime.start(300)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.call, 1)
            await anyio.wait_all_tasks_blocked()
            assert value(metrics, "penguiflow.runs.waiting") == 1
            assert value(metrics, "penguiflow.runs.unread") == 1
            assert await run.result() == list(range(300))
        assert value(metrics, "penguiflow.runs.waiting") == 0


async def test_an_observer_that_fails_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Beside one that fails, metrics go on."""

    class Fails:
        def observe(self, event: object) -> None:
            raise RuntimeError

    metrics = Metrics()
    async with Flow("f", hop).open(observers=[Fails(), metrics]) as runtime:
        await runtime.call(1)
        assert value(metrics, "penguiflow.observer.errors") == 1
        assert value(metrics, "penguiflow.node.steps", node="hop") == 1


# -- latencies


async def test_percentiles_are_within_a_hundredth() -> None:
    """1 to 100 ms: P50, P95 and P99 are 50, 95 and 99 ms in all windows; the tail ratio is their ratio."""
    metrics = Metrics()
    async with Flow("f", hop).open(observers=[metrics]) as runtime:
        measures = runtime.measures()
        assert measures is not None
        for i in range(1, 101):
            measures.nodes[0].latency.record(i / 1000)
        for window in ("1min", "5min", "15min"):
            found = quantiles(metrics, "penguiflow.node.latency", window, node="hop")
            assert found == pytest.approx([0.050, 0.095, 0.099], rel=0.01)
            ratio = value(metrics, "penguiflow.node.latency.tail_ratio", node="hop", window=window)
            assert ratio == pytest.approx(found[2] / found[0])
        assert value(metrics, "penguiflow.node.latency.sum", node="hop") == pytest.approx(5.05)


@pytest.mark.virtual_time
@pytest.mark.limit(100)
@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_windows_end() -> None:
    """After 61 s a step is gone from the last minute, after 5 min from these, but never from the count."""
    metrics = Metrics()
    async with Flow("f", naps).open(observers=[metrics]) as runtime:
        await runtime.call(5000)
        there = ["1min", "5min", "15min"]
        for seconds in (0, 61, 240, 600):
            await anyio.sleep(seconds)
            there = there[bool(seconds) :]
            found = values(metrics, "penguiflow.node.latency", flow="f", node="naps")
            assert found == {(q, window): 5.0 for window in there for q in ("0.5", "0.95", "0.99")}
            assert value(metrics, "penguiflow.node.latency.count", node="naps") == 1
            assert value(metrics, "penguiflow.node.latency.sum", node="naps") == 5.0
            assert value(metrics, "penguiflow.run.duration.count") == 1
        assert values(metrics, "penguiflow.run.duration") == {}


async def test_edges_tell_how_long_was_waited() -> None:
    """The second message waits for as long as the first one is at work."""

    @node(concurrency=1)
    async def slow(i: int) -> int:
        await anyio.sleep(0.05)
        return i

    metrics = Metrics()
    way = {"source": "burst", "target": "slow"}
    async with Flow("f", burst >> slow).open(observers=[metrics]) as runtime:
        await runtime.call(3)
        found = quantiles(metrics, "penguiflow.edge.wait", "1min", **way)
        assert 0.04 < found[2] < 0.5
        assert 1 <= value(metrics, "penguiflow.edge.wait.count", **way) <= 3


# -- several runtimes


async def test_closed_runtimes_keep_their_counts() -> None:
    """Counters go on where the last runtime has left them; what is told of now is gone with it."""
    metrics = Metrics()
    flow = Flow("f", count >> hop)
    for number in (1, 2):
        async with flow.open(observers=[metrics]) as runtime:
            await runtime.call(10)
            inside = counters(metrics)
        assert counters(metrics) == inside
        assert value(metrics, "penguiflow.node.steps", node="hop") == 10 * number
        assert value(metrics, "penguiflow.runs.started") == number
        assert value(metrics, "penguiflow.node.latency.count", node="hop") == 10 * number
        assert {sample.metric.kind for sample in metrics.read()} == {"counter", "count", "sum", "most"}


async def test_runtimes_of_one_flow_add_up() -> None:
    """So do their histograms; other flows have labels of their own."""
    metrics = Metrics()
    flow = Flow("f", count >> hop)
    async with (
        flow.open(observers=[metrics]) as one,
        flow.open(observers=[metrics]) as two,
        Flow("g", hop).open(observers=[metrics]) as other,
    ):
        await one.call(10)
        await two.call(20)
        await other.call(1)
        assert value(metrics, "penguiflow.runtimes") == 2
        assert values(metrics, "penguiflow.node.steps", node="hop") == {("f",): 30, ("g",): 1}
        assert value(metrics, "penguiflow.node.concurrency", node="hop") == 32
        for runtime, seconds in ((one, 0.1), (two, 3.0)):
            measures = runtime.measures()
            assert measures is not None
            measures.nodes[0].credit_wait.record(seconds, 10)
        found = quantiles(metrics, "penguiflow.node.credit_wait", "5min", node="count")
        assert found == pytest.approx([0.1, 3.0, 3.0], rel=0.01)


async def test_a_runtime_that_went_away() -> None:
    """One that was never told to be closed, as when its loop comes to an end, leaves what was read last."""
    metrics = Metrics()
    async with Flow("f", hop).open(observers=[Metrics()]) as runtime:
        metrics.observe(RuntimeOpened(runtime))
        await runtime.call(1)
        before = counters(metrics)
    del runtime
    gc.collect()
    assert counters(metrics) == before
    assert before["penguiflow.node.steps", ("f", "hop")] == 1
    assert values(metrics, "penguiflow.runtimes") == {}
    assert metrics._watched == {}


async def test_who_is_told_twice_counts_once() -> None:
    """One that is told twice of a runtime watches it once."""
    metrics = Metrics()
    async with Flow("f", hop).open(observers=[metrics]) as runtime:
        metrics.observe(RuntimeOpened(runtime))
        await runtime.call(1)
        assert value(metrics, "penguiflow.node.steps", node="hop") == 1
    assert value(metrics, "penguiflow.node.steps", node="hop") == 1


# -- what it costs


async def test_no_run_has_events_for_metrics() -> None:
    """A run that only metrics are there for is not told of, and nobody without them has measures."""

    class Told(Metrics):
        def __init__(self) -> None:
            super().__init__()
            self.events: list[str] = []

        def observe(self, event: object) -> None:
            self.events.append(type(event).__name__)
            super().observe(event)

    metrics = Told()
    async with Flow("f", count >> hop).open(observers=[metrics]) as runtime:
        async with runtime.run(10) as run:
            assert run._core.watch is None
            assert len([item async for item in run]) == 10
    assert metrics.events == ["RuntimeOpened", "RuntimeClosed"]
    assert not metrics.follows(RunStarted("r", "f", "t"))
    async with Flow("f", hop).open() as runtime:
        assert runtime.measures() is None


async def test_reading_is_fast() -> None:
    """A flow of 20 nodes is read in less than 5 ms."""
    metrics = Metrics()
    wire: Any = count
    for i in range(19):
        wire = wire >> node(hop.fn, name=f"hop{i}")
    async with Flow("f", wire).open(observers=[metrics]) as runtime:
        took = []
        for _ in range(20):
            await runtime.call(500)
            gc.collect()
            began = time.perf_counter()
            samples = metrics.read()
            took.append(time.perf_counter() - began)
        assert len(samples) > 800
        assert min(took) < 0.005


# -- other threads


class Reader(threading.Thread):
    """Reads again and again, and looks whether anything goes back."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self.metrics = metrics
        self.ended = threading.Event()
        self.readings = 0
        self.errors: list[Any] = []
        self.seen: dict[Any, float] = {}

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                self.look()
        except BaseException as exc:
            self.errors.append(exc)

    def look(self) -> None:
        found = counters(self.metrics)
        self.errors += [
            (key, self.seen[key], found.get(key)) for key in self.seen if not back(self, key, found)
        ]
        self.seen = found
        self.readings += 1


def back(reader: Reader, key: Any, found: dict[Any, float]) -> bool:
    """Whether a counter is at least where it was."""
    return found.get(key, -1) >= reader.seen[key]


async def test_reading_while_the_loop_runs() -> None:
    """A thread that reads all the time sees no error, no counter that goes back, and takes nothing away."""
    metrics = Metrics()
    reader = Reader(metrics)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    reader.start()
    try:
        for _ in range(3):
            async with Flow("f", count >> hop >> inline).open(observers=[metrics], window=8) as runtime:
                async with anyio.create_task_group() as tasks:
                    for n in range(60):
                        tasks.start_soon(runtime.call, 2 + n % 20)
    finally:
        reader.ended.set()
        sys.setswitchinterval(interval)
        await anyio.to_thread.run_sync(reader.join)
    assert reader.errors == []
    assert reader.readings > 3
    steps = 3 * sum(2 + n % 20 for n in range(60))
    assert value(metrics, "penguiflow.node.steps", node="hop") == steps
    assert value(metrics, "penguiflow.node.latency.count", node="hop") == steps
    assert value(metrics, "penguiflow.node.latency.count", node="inline") == steps
    assert value(metrics, "penguiflow.runs.ended", status="done") == 180


async def test_another_thread_reads_the_same() -> None:
    """What is read elsewhere while the loop rests is what is read on it, histograms too."""
    metrics = Metrics(compatible=True)
    async with Flow("f", count >> hop).open(observers=[metrics]) as runtime:
        await runtime.call(100)
        elsewhere = await anyio.to_thread.run_sync(metrics.read)
        assert elsewhere == metrics.read()
        assert any(sample.metric.kind == "quantiles" for sample in elsewhere)


# -- the names of others


async def test_compatible_names() -> None:
    """The second family: microseconds, queues by node, the moving averages as they are defined."""
    metrics = Metrics(compatible=True)
    async with Flow("f", count >> hop).open(observers=[metrics]) as runtime:
        await runtime.call(20)
        measures = runtime.measures()
        assert measures is not None
        node_ = measures.nodes[0]
        assert node_.path == "count"
        before = node_.latency.average
        node_.took([0.001] * 5, 5)
        assert values(metrics, "node_batch_size_avg")["count",] == pytest.approx(1.4)
        node_.took([0.001] * 3, 3)
        assert values(metrics, "node_batch_size_avg")["count",] == pytest.approx(1.56)
        average = 0.1 * 0.001 + 0.9 * (0.1 * 0.001 + 0.9 * before)
        assert values(metrics, "node_processing_time_avg_us")["count",] == pytest.approx(average * 1e6)
        assert values(metrics, "node_total_inputs") == {("count",): 1, ("hop",): 20}
        assert values(metrics, "node_queue_depth") == {("count",): 0, ("hop",): 0}
        most = value(metrics, "penguiflow.edge.queue_depth.max", source="count", target="hop")
        assert values(metrics, "node_queue_depth_max")["hop",] == most
        ours = values(metrics, "penguiflow.node.latency", flow="f", node="hop")
        theirs = values(metrics, "node_latency_us", node_id="hop")
        assert theirs == {key: found * 1e6 for key, found in ours.items()}
        assert len(theirs) == 9


async def test_all_names_are_in_the_table() -> None:
    """Each metric has its labels, a help of one line and a name of its own, and samples come in order."""
    table = [*METRICS, *COMPATIBLE]
    assert len({metric.name for metric in table}) == len(table)
    assert len({metric.prometheus_name for metric in table}) == len(table)
    metrics = Metrics(compatible=True)
    async with Flow("f", count >> hop).open(observers=[metrics]) as runtime:
        await runtime.call(100)
        order = [table.index(sample.metric) for sample in metrics.read()]
        assert order == sorted(order)
        assert {metric.name for metric in table} - {table[index].name for index in order} <= {
            "penguiflow.edge.wait.tail_ratio",
            "penguiflow.node.credit_wait",
            "penguiflow.run.admission_wait",
        }
        keys = [(sample.metric, sample.values) for sample in metrics.read()]
        assert len(set(keys)) == len(keys)
    for metric in table:
        assert metric.help
        assert "\n" not in metric.help
