"""The span that a node's code sees, wherever it runs: that of its own step; and whose child a run is."""

import gc
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

from penguiflow import Context, Flow, Headers, Retry, Stream, node
from penguiflow.telemetry.spans.observer import OpenTelemetry

from .otel import Traced, id_of, said, traced_by

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def traced(caplog):
    yield from traced_by(caplog)


@pytest.fixture
def unsampled(caplog):
    yield from traced_by(caplog, ALWAYS_OFF)


def current() -> str:
    """The name of the current span."""
    return getattr(trace.get_current_span(), "name", "")


def current_run() -> object:
    """The run that the current span belongs to."""
    return trace.get_current_span().attributes["penguiflow.run.id"]  # type: ignore[attr-defined]


async def test_each_kind_of_node_sees_its_own_span(traced: Traced) -> None:
    """Generators, chunk by chunk, whole streams, inline on messages and on chunks, threads and tasks."""
    seen: dict[str, set[str]] = {}

    def see(name: str) -> None:
        seen.setdefault(name, set()).add(current())

    @node
    async def gives(n: int) -> AsyncIterator[int]:
        for i in range(n):
            see("gives")
            yield i
            await anyio.sleep(0)
        see("gives")

    @node
    async def chunks(i: int) -> int:
        await anyio.sleep(0)
        see("chunks")
        return i

    @node
    def inline_chunks(i: int) -> int:
        see("inline_chunks")
        return i

    @node
    async def maps(i: int) -> AsyncIterator[int]:
        await anyio.sleep(0)
        see("maps")
        yield i

    @node
    async def whole(stream: Stream[int]) -> int:
        async for _ in stream:
            see("whole")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(in_task)
        await anyio.to_thread.run_sync(see, "whole")
        return 1

    async def in_task() -> None:
        await anyio.sleep(0)
        see("whole")

    @node
    def inline(i: int) -> int:
        see("inline")
        return i

    @node
    async def last(i: int) -> int:
        await anyio.sleep(0)
        see("last")
        return i

    flow = Flow("f", gives >> chunks >> inline_chunks >> maps >> whole >> inline >> last)
    async with flow.open(observers=[traced.observer]) as runtime:
        await runtime.call(5)
    assert seen == {name: {f"step {name}"} for name in seen}
    assert len(seen) == 7
    assert current() == ""


async def test_the_input_of_a_run_sees_the_run(traced: Traced) -> None:
    """A stream that goes in is read under the span of the run."""
    seen: set[str] = set()

    async def numbers() -> AsyncIterator[int]:
        for i in range(3):
            seen.add(current())
            yield i

    @node
    async def hop(i: int) -> int:
        return i

    async with Flow("f", hop).open(observers=[traced.observer]) as runtime:
        async with runtime.run(numbers()) as run:
            assert len([item async for item in run]) == 3
    assert seen == {"run f"}


async def test_a_new_attempt_sees_its_own_span(traced: Traced) -> None:
    """After a failure the code runs under the span of the next attempt, of a step and of a stream."""
    seen: list[tuple[int, int]] = []

    def fail_once(ctx: Context) -> None:
        seen.append((ctx.attempt, trace.get_current_span().get_span_context().span_id))
        assert ctx.span.span_id == format_span_id(seen[-1][1])
        if ctx.attempt == 1:
            raise OSError

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def message(n: int, ctx: Context) -> int:
        await anyio.sleep(0)
        fail_once(ctx)
        return n

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def stream(n: int, ctx: Context) -> AsyncIterator[int]:
        await anyio.sleep(0)
        fail_once(ctx)
        yield n

    @node
    async def hop(i: int) -> int:
        return i

    async with Flow("f", message >> stream >> hop).open(observers=[traced.observer]) as runtime:
        await runtime.call(1)
    expected = [*enumerate(map(id_of, traced.all("step message")), 1)]
    expected += [*enumerate(map(id_of, traced.all("step stream")), 1)]
    assert seen == expected


async def test_a_stream_that_begins_again_is_seen_behind_it(traced: Traced) -> None:
    """A node that goes chunk by chunk sees the span of the attempt whose chunk it works on."""
    seen: list[int] = []
    tries: list[int] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def shaky(n: int) -> AsyncIterator[int]:
        tries.append(n)
        yield 1
        await anyio.sleep(0.01)
        if len(tries) < 2:
            raise OSError
        yield 2

    @node
    async def hop(i: int) -> int:
        await anyio.sleep(0)
        seen.append(trace.get_current_span().get_span_context().span_id)
        return i

    async with Flow("f", shaky >> hop).open(observers=[traced.observer]) as runtime:
        async with runtime.run(1) as run:
            async for _ in run:
                pass
    first, second = map(id_of, traced.all("step hop"))
    assert seen == [first, second, second]


async def test_runs_side_by_side_do_not_mix(traced: Traced) -> None:
    """Whatever takes turns on the event loop: each node sees the span of its own run."""
    wrong: list[object] = []

    def check(ctx: Context, name: str) -> None:
        if (current_run(), current()) != (ctx.run_id, name):
            wrong.append((current_run(), current(), ctx.run_id, name))

    @node
    async def gives(n: int, ctx: Context) -> AsyncIterator[int]:
        for i in range(5):
            check(ctx, "step gives")
            await anyio.sleep(0.001 * (n % 3))
            check(ctx, "step gives")
            yield i

    @node
    async def hop(i: int, ctx: Context) -> int:
        check(ctx, "step hop")
        await anyio.sleep(0)
        check(ctx, "step hop")
        return i

    @node
    async def total(stream: Stream[int], ctx: Context) -> int:
        found = 0
        async for i in stream:
            check(ctx, "step total")
            found += i
        return found

    async with Flow("f", gives >> hop >> total).open(observers=[traced.observer], window=2) as runtime:
        async with anyio.create_task_group() as tasks:
            for i in range(30):
                tasks.start_soon(runtime.call, i)
    assert wrong == []
    assert len(traced.all("run f")) == len(traced.traces()) == 30
    by_id = {id_of(span): span for span in traced.spans}
    for span in traced.spans:
        if span.parent is not None:
            assert said(by_id[span.parent.span_id], "run.id") == said(span, "run.id")


async def test_spans_of_the_code_are_children_of_its_step(traced: Traced) -> None:
    """`start_as_current_span` around awaits and yields works in nodes, also where the reader breaks off."""

    @node
    async def gives(n: int) -> AsyncIterator[int]:
        with traced.tracer.start_as_current_span("mine"):
            for i in range(n):
                with traced.tracer.start_as_current_span("each"):
                    await anyio.sleep(0)
                    yield i

    @node
    def inline(i: int) -> int:
        with traced.tracer.start_as_current_span("inner"):
            return i

    async with Flow("f", gives >> inline).open(observers=[traced.observer]) as runtime:
        async with runtime.run(3) as run:
            assert len([item async for item in run]) == 3
        async with runtime.run(1000) as run:
            async for _ in run:
                break
    gc.collect()
    assert {
        ("step gives", "mine"),
        ("mine", "each"),
        ("step inline", "inner"),
    } <= traced.tree()
    assert {traced.parent(span) for span in traced.all("inner")} == {"step inline"}


async def test_ctx_span_is_the_span_of_the_step(traced: Traced) -> None:
    """Attributes and events of the code are on it; its headers are those that OpenTelemetry would write."""
    late: list[object] = []

    @node
    async def speaks(n: int, ctx: Context) -> int:
        ctx.span.set_attribute("test.tokens", n)
        ctx.span.add_event("test.said", {"test.word": "hi"})
        carrier: dict[str, str] = {}
        inject(carrier)
        assert ctx.span.headers() == {"traceparent": carrier["traceparent"]}
        assert (ctx.span.trace_id, ctx.span.span_id) == tuple(carrier["traceparent"].split("-")[1:3])
        late.append(ctx.span)
        return n

    async with Flow("f", speaks).open(observers=[traced.observer]) as runtime:
        await runtime.call(3)
    late[0].set_attribute("test.late", 1)  # type: ignore[attr-defined]
    late[0].add_event("test.late")  # type: ignore[attr-defined]
    step = traced.one("step speaks")
    assert said(step, "run.id")
    assert step.attributes["test.tokens"] == 3
    assert "test.late" not in step.attributes
    assert [event.name for event in step.events] == ["test.said"]


# whose child a run is -----------------------------------------------------------------------------------


@node
async def hop(i: int) -> int:
    """Hand on."""
    return i


async def test_a_run_is_a_child_of_its_callers_span(traced: Traced) -> None:
    """Also where it outlives it; the caller's baggage comes along."""
    seen: list[object] = []

    @node
    async def sees(i: int) -> int:
        await anyio.sleep(0.01)
        seen.append(baggage.get_baggage("who"))
        return i

    async with Flow("f", sees).open(observers=[traced.observer]) as runtime:
        token = context.attach(baggage.set_baggage("who", "me"))
        with traced.tracer.start_as_current_span("request"):
            run = await runtime.start(1)
        context.detach(token)
        assert await run.result() == 1
    assert {("request", "run f"), ("run f", "step sees")} <= traced.tree()
    assert seen == ["me"]
    assert traced.one("run f").kind is SpanKind.INTERNAL


async def test_a_traceparent_wins_over_the_callers_span(traced: Traced) -> None:
    """Who sent the item knows better; its tracestate is kept; the run is a consumer."""
    headers = Headers(extra={"traceparent": PARENT, "tracestate": "vendor=a,other=b"})
    found: list[dict[str, str]] = []

    @node
    async def asks(i: int, ctx: Context) -> int:
        found.append(ctx.span.headers())
        return i

    async with Flow("f", asks).open(observers=[traced.observer]) as runtime:
        with traced.tracer.start_as_current_span("request"):
            async with runtime.run(1, headers=headers) as run:
                await run.result()
    span = traced.one("run f")
    assert span.parent.span_id == 0x00F067AA0BA902B7
    assert span.parent.is_remote
    assert span.kind is SpanKind.CONSUMER
    assert run.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736" == format_trace_id(span.context.trace_id)
    assert found[0]["tracestate"] == "vendor=a,other=b"
    assert found[0]["traceparent"].startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    assert found[0]["traceparent"].split("-")[2] == format_span_id(id_of(traced.one("step asks")))


async def test_a_called_flow_stays_below_its_step_also_with_a_traceparent(traced: Traced) -> None:
    """The headers are inherited, the remote parent is that of the run alone."""
    inner = Flow("inner", hop)

    @node
    async def caller(i: int, ctx: Context) -> int:
        return await ctx.call(inner, i)

    async with Flow("f", caller).open(observers=[traced.observer]) as runtime:
        await runtime.call(1, headers=Headers(extra={"traceparent": PARENT}))
    assert ("step caller", "run inner") in traced.tree()
    assert traced.one("run inner").kind is SpanKind.INTERNAL


@pytest.mark.parametrize("value", ["", "nonsense", PARENT.replace("00-4", "ff-4"), PARENT[:-3], 7, None])
async def test_a_wrong_traceparent_is_ignored(traced: Traced, value: object) -> None:
    """It neither raises nor makes a trace."""
    extra = {"traceparent": value, "tracestate": value}
    async with Flow("f", hop).open(observers=[traced.observer]) as runtime:
        await runtime.call(1, headers=Headers(extra=extra))
    assert traced.one("run f").parent is None


# sampling -----------------------------------------------------------------------------------------------


async def test_what_is_not_sampled_costs_one_span_that_records_nothing(unsampled: Traced, watcher) -> None:
    """No events are told to the tracer, and who is asked next knows that nobody records."""
    told: list[object] = []
    observe = unsampled.observer.observe
    unsampled.observer.observe = told.append  # type: ignore[method-assign]
    found: list[dict[str, str]] = []

    @node
    async def asks(i: int, ctx: Context) -> int:
        found.append(ctx.span.headers())
        assert not trace.get_current_span().is_recording()
        ctx.span.set_attribute("test.any", 1)
        return i

    async with Flow("f", asks).open(observers=[unsampled.observer, watcher]) as runtime:
        async with runtime.run(1) as run:
            await run.result()
    unsampled.observer.observe = observe  # type: ignore[method-assign]
    assert unsampled.spans == []
    assert found[0]["traceparent"].startswith(f"00-{run.trace_id}-")
    assert int(found[0]["traceparent"][-2:], 16) & 1 == 0
    assert {type(event).__name__ for event in told} <= {"RuntimeOpened", "RuntimeClosed"}
    assert len(watcher.of("StepStarted")) == 1


@pytest.mark.parametrize("flag", ["00", "01"])
async def test_a_sampler_may_follow_the_parent(caplog, flag: str) -> None:
    """The flag of the traceparent decides, for the run and for all below it."""
    tracing = traced_by(caplog, ParentBased(ALWAYS_OFF))
    traced = next(tracing)
    async with Flow("f", hop).open(observers=[traced.observer]) as runtime:
        await runtime.call(1, headers=Headers(extra={"traceparent": PARENT[:-2] + flag}))
    assert traced.names() == (["run f", "step hop"] if flag == "01" else [])
    assert list(tracing) == []


async def test_a_sampler_may_take_a_share_of_the_runs(caplog) -> None:
    """A trace is whole, or not there."""
    tracing = traced_by(caplog, TraceIdRatioBased(0.5))
    traced = next(tracing)
    async with Flow("f", hop).open(observers=[traced.observer]) as runtime:
        for i in range(64):
            await runtime.call(i)
    assert 0 < len(traced.all("run f")) < 64
    assert len(traced.all("step hop")) == len(traced.all("run f"))
    assert list(tracing) == []


async def test_without_an_sdk_nothing_is_made(watcher) -> None:
    """Where OpenTelemetry is not set up, the trace that a run came with is handed on."""
    observer = OpenTelemetry(tracer_provider=trace.NoOpTracerProvider())
    found: list[dict[str, str]] = []

    @node
    async def asks(i: int, ctx: Context) -> int:
        found.append(ctx.span.headers())
        return i

    async with Flow("f", asks).open(observers=[observer, watcher]) as runtime:
        async with runtime.run(1) as run:
            await run.result()
        await runtime.call(1, headers=Headers(extra={"traceparent": PARENT, "tracestate": "a=b"}))
    assert len(run.trace_id) == 32
    assert run.trace_id != "0" * 32
    assert found == [{}, {"traceparent": PARENT, "tracestate": "a=b"}]
    assert observer._runs == {}


async def test_the_global_provider_is_looked_up_when_a_flow_is_opened(traced: Traced, monkeypatch) -> None:
    """An observer made before OpenTelemetry is set up works."""
    observer = OpenTelemetry()
    assert not observer.measures
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", traced.provider)
    async with Flow("f", hop).open(observers=[observer]) as runtime:
        await runtime.call(1)
    assert traced.names() == ["run f", "step hop"]
