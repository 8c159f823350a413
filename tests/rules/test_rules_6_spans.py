"""Rules 6.1 and 6.4: what happens is told in spans, and a slow stream says whom it waited for."""

import gc
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from penguiflow import DeadlineExceeded, Flow, Gathered, Retry, Spread, StepError, Stream, node
from penguiflow.telemetry.spans.observer import OpenTelemetry

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]


class Traced(SpanProcessor):
    """Keeps the spans that have ended, and counts those that are open."""

    def __init__(self) -> None:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(self)
        self.observers = [OpenTelemetry(tracer_provider=provider)]
        self.spans: list[ReadableSpan] = []
        self.open = 0

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.open += 1

    def on_end(self, span: ReadableSpan) -> None:
        self.open -= 1
        self.spans.append(span)

    def all(self, name: str) -> list[ReadableSpan]:
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_time)

    def counts(self) -> dict[str, int]:
        return dict(Counter(span.name for span in self.spans))


@pytest.fixture
def traced() -> Traced:
    return Traced()


def ids(spans: list[ReadableSpan]) -> list[int]:
    return [span.context.span_id for span in spans]


def parents(spans: list[ReadableSpan]) -> list[int]:
    return [span.parent.span_id for span in spans]


@node
async def hop(i: int) -> int:
    """Hand on."""
    return i


@node
async def total(stream: Stream[int]) -> int:
    """Sum up."""
    return sum([i async for i in stream])


# 6.1 ----------------------------------------------------------------------------------------------------


async def test_rule_6_1_one_span_per_run_step_attempt_and_stream_attempt(traced: Traced) -> None:
    """No more and no fewer, each stream attempt below its step attempt, that below the run."""
    tries: list[int] = []

    @node(retry=Retry(attempts=3, backoff=0, jitter=0))
    async def shaky(n: int) -> AsyncIterator[int]:
        tries.append(n)
        yield n
        await anyio.sleep(0.005)
        if len(tries) < 3:
            raise OSError

    async with Flow("f", shaky >> hop >> total).open(observers=traced.observers) as runtime:
        assert await runtime.call(5) == 5
        assert await runtime.call(6) == 6
    assert traced.counts() == {
        "run f": 2,
        "step shaky": 4,
        "stream shaky": 4,
        "step hop": 4,
        "stream hop": 4,
        "step total": 4,
    }
    assert parents(traced.all("stream shaky")) == ids(traced.all("step shaky"))
    assert parents(traced.all("stream hop")) == ids(traced.all("step hop"))
    first, second = ids(traced.all("run f"))
    assert parents(traced.all("step shaky")) == [first] * 3 + [second]


@pytest.mark.parametrize("end", ["done", "left", "failed", "cancelled", "expired"])
async def test_rule_6_1_every_span_ends_however_the_run_ends(traced: Traced, end: str, caplog) -> None:
    """Spans are begun and ended by hand: none stays open, and nobody fails to detach a context."""

    @node
    async def gives(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i
            await anyio.sleep(0)
        if end == "failed":
            raise ValueError(n)
        if end in ("cancelled", "expired"):
            await anyio.sleep_forever()

    async def read(runtime: Any) -> None:
        async with runtime.run(3, deadline=0.05 if end == "expired" else None) as run:
            async for item in run:
                if end == "left":
                    break
                if end == "cancelled" and item.payload == 2:
                    await run.cancel()
                    break

    async with Flow("f", gives >> hop).open(observers=traced.observers) as runtime:
        if end in ("failed", "expired"):
            with pytest.raises((StepError, DeadlineExceeded)):
                await read(runtime)
        else:
            await read(runtime)
    gc.collect()
    assert traced.open == 0
    assert traced.counts() == {"run f": 1, "step gives": 1, "stream gives": 1, "step hop": 1, "stream hop": 1}
    assert not [record for record in caplog.records if "detach" in record.getMessage()]
    status = {"left": "cancelled"}.get(end, end)
    assert traced.all("run f")[0].attributes["penguiflow.run.status"] == status


async def test_rule_6_1_parents_travel_with_items_and_a_fan_in_has_links(traced: Traced) -> None:
    """A join is linked to the steps whose items it pairs, a gather to those whose parts it takes."""

    def branch(name: str):
        async def work(i: int) -> int:
            return i

        return node(work, name=name)

    @node
    async def both(a: int, b: int) -> Spread[int]:
        return Spread([a, b])

    @node
    async def gather(items: Gathered[int]) -> int:
        return sum(items)

    flow = Flow("f", hop >> [branch("a"), branch("b")] >> both >> branch("part") >> gather)
    async with flow.open(observers=traced.observers) as runtime:
        assert await runtime.call(2) == 4
    linked = {
        name: {link.context.span_id for link in traced.all(f"step {name}")[0].links}
        for name in ("both", "gather")
    }
    assert linked == {
        "both": {*ids(traced.all("step a")), *ids(traced.all("step b"))},
        "gather": {*ids(traced.all("step part"))},
    }
    assert len(ids(traced.all("step part"))) == 2


# 6.4 ----------------------------------------------------------------------------------------------------


@pytest.mark.virtual_time
@pytest.mark.parametrize("slow", ["source", "node", "credit"])
async def test_rule_6_4_a_slow_stream_says_whom_it_waited_for(traced: Traced, slow: str) -> None:
    """Most of the time is where the sleep is: in what comes in, in the node, or in the reader."""

    async def numbers() -> AsyncIterator[int]:
        for i in range(10):
            await anyio.sleep(0.02 if slow == "source" else 0)
            yield i

    @node
    async def work(i: int) -> int:
        await anyio.sleep(0.02 if slow == "node" else 0)
        return i

    async with Flow("f", work).open(observers=traced.observers, window=1) as runtime:
        async with runtime.run(numbers()) as run:
            async for _ in run:
                await anyio.sleep(0.02 if slow == "credit" else 0)
    (stream,) = traced.all("stream work")
    names = ("source", "node", "credit")
    waits = {name: stream.attributes[f"penguiflow.stream.wait.{name}"] for name in names}
    assert {type(value) for value in waits.values()} == {float}
    duration = (stream.end_time - stream.start_time) / 1e9
    assert sum(waits.values()) == pytest.approx(duration, abs=3e-9)
    assert duration >= 0.15
    assert waits[slow] > 0.7 * duration, waits


@pytest.mark.virtual_time
async def test_rule_6_4_each_attempt_tells_of_its_own_waits(traced: Traced) -> None:
    """What an attempt that was given up had waited for is told by its own span."""
    tries: list[int] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def shaky(n: int) -> AsyncIterator[int]:
        tries.append(n)
        await anyio.sleep(0.05 * len(tries))
        yield n
        if len(tries) < 2:
            raise OSError

    async with Flow("f", shaky >> total).open(observers=traced.observers) as runtime:
        assert await runtime.call(1) == 1
    first, second = traced.all("stream shaky")
    assert first.end_time <= second.start_time
    for span, least in ((first, 0.05), (second, 0.1)):
        assert span.attributes["penguiflow.stream.wait.node"] >= least
        assert span.attributes["penguiflow.stream.time_to_first_chunk"] >= least
        waits = [span.attributes[f"penguiflow.stream.wait.{name}"] for name in ("source", "node", "credit")]
        assert sum(waits) == pytest.approx((span.end_time - span.start_time) / 1e9, abs=3e-9)
