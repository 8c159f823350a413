"""Spans of real flows: their tree, what they say, and that all of them end, however a run ends."""

from collections.abc import AsyncIterator

import anyio
import pytest

from penguiflow import (
    Context,
    Control,
    DeadlineExceeded,
    Flow,
    Gathered,
    Retry,
    RunCancelled,
    Spread,
    StepError,
    Stream,
    edge,
    node,
    source,
)

from .otel import Traced, events, id_of, said, seconds, traced_by, waits

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]


@pytest.fixture
def traced(caplog):
    yield from traced_by(caplog)


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def endless(n: int) -> AsyncIterator[int]:
    """Yield for ever."""
    while True:
        yield n


@node
async def hop(i: int) -> int:
    """Hand on."""
    return i


@node
def plus(i: int) -> int:
    """Add one, inline."""
    return i + 1


@node
async def total(stream: Stream[int]) -> int:
    """Sum up."""
    return sum([i async for i in stream])


# the tree -----------------------------------------------------------------------------------------------


async def test_a_run_is_a_tree_of_steps_and_streams(traced: Traced) -> None:
    """Each step is a child of its run, each stream of the step that gives it, all in the run's trace."""
    async with Flow("f", count >> hop >> total >> plus).open(observers=[traced.observer]) as runtime:
        async with runtime.run(3) as run:
            assert await run.result() == 4
    assert traced.tree() == {
        ("", "run f"),
        ("run f", "step count"),
        ("step count", "stream count"),
        ("run f", "step hop"),
        ("step hop", "stream hop"),
        ("run f", "step total"),
        ("run f", "step plus"),
    }
    assert len(traced.spans) == 7
    assert traced.traces() == {run.trace_id}


async def test_spans_say_where_they_belong(traced: Traced) -> None:
    """Run, node, attempt and stream are on every span that has one."""
    async with Flow("f", count >> hop >> total).open(observers=[traced.observer]) as runtime:
        await runtime.call(3, run_id="r")
    assert {said(span, "run.id") for span in traced.spans} == {"r"}
    run, step, stream = traced.one("run f"), traced.one("step hop"), traced.one("stream hop")
    assert (said(run, "flow"), said(run, "run.part"), said(run, "run.status")) == ("f", 0, "done")
    assert (said(step, "node"), said(step, "attempt"), said(step, "step.outcome")) == ("hop", 1, "done")
    assert (
        said(step, "stream.id") == said(stream, "stream.id") == said(traced.one("stream count"), "stream.id")
    )
    assert (said(stream, "node"), said(stream, "attempt")) == ("hop", 1)
    assert (said(stream, "stream.chunks"), said(stream, "stream.terminal")) == (3, "done")
    assert stream.attributes["messaging.batch.message_count"] == 3
    assert stream.attributes["messaging.system"] == "penguiflow"
    assert {said(span, "step.number") for span in traced.spans if span.name.startswith("step")} == {1, 2, 3}
    assert all(span.status.is_unset for span in traced.spans)


async def test_a_stream_as_input_belongs_to_the_run(traced: Traced) -> None:
    """What goes in as a stream has a span too, a child of the run; its error is recorded there."""

    async def numbers(broken: bool) -> AsyncIterator[int]:
        yield 1
        if broken:
            raise ValueError("input")

    async with Flow("f", total).open(observers=[traced.observer]) as runtime:
        assert await runtime.call(numbers(False)) == 1
        (stream,) = [span for span in traced.spans if span.name.startswith("stream")]
        assert traced.parent(stream) == "run f"
        traced.collected.ended.clear()
        with pytest.raises(StepError):
            await runtime.call(numbers(True))
    assert traced.exceptions() == [(stream.name, "ValueError")]


async def test_a_session_has_a_stream_as_input(traced: Traced) -> None:
    """The stream that is fed by hand has a span, with its chunks."""
    async with Flow("f", hop >> total).open(observers=[traced.observer]) as runtime:
        async with runtime.session() as session:
            for i in range(3):
                await session.send(i)
            await session.end_input()
            assert await session.result() == 3
    (stream,) = [span for span in traced.spans if traced.parent(span) == "run f" and "stream" in span.name]
    assert said(stream, "stream.chunks") == 3


async def test_a_source_is_a_run(traced: Traced) -> None:
    """A `@source` has a run span, with its step and its stream."""

    @source
    async def ticks() -> AsyncIterator[int]:
        for i in range(3):
            yield i

    async with Flow("f", ticks >> total).open(observers=[traced.observer]) as runtime:
        (run,) = runtime.runs()
        assert await run.result() == 3
    assert {("", "run f"), ("run f", "step ticks"), ("step ticks", "stream ticks")} <= traced.tree()


async def test_a_called_flow_is_a_child_of_the_calling_step(traced: Traced) -> None:
    """`ctx.call` makes a part of the same run, below the step; an error inside is recorded once."""
    inner = Flow("inner", count >> total)

    @node
    def fails(n: int) -> int:
        raise ValueError(n)

    broken = Flow("broken", fails)

    @node
    async def caller(n: int, ctx: Context) -> int:
        return await ctx.call(inner if n else broken, n)

    async with Flow("outer", caller).open(observers=[traced.observer]) as runtime:
        assert await runtime.call(3) == 3
        assert {("step caller", "run inner"), ("run inner", "step count")} <= traced.tree()
        assert len(traced.traces()) == 1
        assert {said(span, "run.part") for span in traced.spans if "run" in span.name} == {0, 1}
        traced.collected.ended.clear()
        with pytest.raises(StepError):
            await runtime.call(0)
    assert traced.exceptions() == [("step fails", "ValueError")]
    failed = {span.name for span in traced.spans if span.attributes.get("error.type") == "ValueError"}
    assert failed == {"run outer", "step caller", "run broken", "step fails"}


async def test_joins_and_gathers_are_linked_to_what_they_take(traced: Traced) -> None:
    """The span of a fan-in has a link to each span that gave a part of its input."""

    def branch(name: str):
        async def work(i: int) -> int:
            return i

        return node(work, name=name)

    @node
    async def both(a: int, b: int) -> int:
        return a + b

    async with Flow("f", hop >> [branch("a"), branch("b")] >> both).open(
        observers=[traced.observer]
    ) as runtime:
        await runtime.call(3)
    linked = {link.context.span_id for link in traced.one("step both").links}
    assert linked == {id_of(traced.one("step a")), id_of(traced.one("step b"))}
    traced.collected.ended.clear()

    @node
    async def spread(n: int) -> Spread[int]:
        return Spread(range(n))

    @node
    async def gather(items: Gathered[int]) -> int:
        return sum(items)

    async with Flow("g", spread >> hop >> gather).open(observers=[traced.observer]) as runtime:
        assert await runtime.call(3) == 3
    linked = {link.context.span_id for link in traced.one("step gather").links}
    assert linked == {id_of(span) for span in traced.all("step hop")}


async def test_a_join_chunk_by_chunk_is_linked_to_both_streams(traced: Traced) -> None:
    """A node that joins two streams chunk by chunk is linked to the steps that give them."""

    def branch(name: str):
        async def work(i: int) -> int:
            return i

        return node(work, name=name)

    @node
    async def both(a: int, b: int) -> int:
        return a + b

    flow = Flow("f", count >> [branch("a"), branch("b")] >> both >> total)
    async with flow.open(observers=[traced.observer]) as runtime:
        assert await runtime.call(3) == 6
    linked = {link.context.span_id for link in traced.one("step both").links}
    assert linked == {id_of(traced.one("step a")), id_of(traced.one("step b"))}


# waits --------------------------------------------------------------------------------------------------


@pytest.mark.virtual_time
@pytest.mark.parametrize("slow", ["source", "node", "reader"])
async def test_the_three_waits_add_up_to_the_duration(traced: Traced, slow: str) -> None:
    """Whoever is slow, the waits of a stream or a step are its duration to the nanosecond."""

    @node
    async def tokens(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await anyio.sleep(0.01 if slow == "source" else 0)
            yield i

    @node
    async def work(i: int) -> int:
        await anyio.sleep(0.01 if slow == "node" else 0)
        return i

    async with Flow("f", tokens >> edge(capacity=1) >> work).open(
        observers=[traced.observer], window=2
    ) as runtime:
        async with runtime.run(8) as run:
            async for _ in run:
                await anyio.sleep(0.01 if slow == "reader" else 0)
    measured = [span for span in traced.spans if span.name.partition(" ")[0] in ("step", "stream")]
    assert len(measured) == 4
    for span in measured:
        assert sum(waits(span)) == pytest.approx(seconds(span), abs=3e-9)
    first = traced.one("stream tokens")
    assert said(first, "stream.time_to_first_chunk") <= seconds(first)
    assert events(first) == ["first chunk"]
    until_first = (first.events[0].timestamp - first.start_time) / 1e9
    assert until_first == pytest.approx(said(first, "stream.time_to_first_chunk"), abs=3e-9)
    assert said(first, "stream.chunks_per_second") == pytest.approx(8 / seconds(first))


async def test_text_has_a_size(traced: Traced) -> None:
    """Bytes are said where payloads have a cheap size."""

    @node
    async def words(n: int) -> AsyncIterator[str]:
        for _ in range(n):
            yield "é"

    async with Flow("f", words).open(observers=[traced.observer]) as runtime:
        async with runtime.run(3) as run:
            assert await run.text() == "ééé"
    assert said(traced.one("stream words"), "stream.bytes") == 6


async def test_a_step_says_how_long_its_input_waited(traced: Traced) -> None:
    """A queue before a busy node shows at the step that had to wait, and is no part of its duration."""

    @node(concurrency=1)
    async def slow(i: int) -> int:
        await anyio.sleep(0.02)
        return i

    @node
    async def three(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit(i)

    async with Flow("f", three >> slow).open(observers=[traced.observer]) as runtime:
        async with runtime.run(3) as run:
            assert len([item async for item in run]) == 3
    queued = sorted(said(span, "step.wait.queue") for span in traced.all("step slow"))
    assert queued[0] < 0.01 < queued[1] < 0.035 < queued[2]


# ends ---------------------------------------------------------------------------------------------------


async def test_leaving_early_ends_everything(traced: Traced) -> None:
    """A reader that breaks off leaves no span open, and no error."""
    async with Flow("f", endless >> hop).open(observers=[traced.observer]) as runtime:
        async with runtime.run(1) as run:
            async for _ in run:
                break
    assert said(traced.one("run f"), "run.status") == "cancelled"
    assert said(traced.one("stream endless"), "stream.terminal") == "cancelled"
    assert {said(span, "step.outcome") for span in traced.spans if "step" in span.name} == {"cancelled"}
    assert all(span.status.is_unset for span in traced.spans)
    assert traced.exceptions() == []


async def test_an_error_is_recorded_once_where_it_happened(traced: Traced) -> None:
    """The step that raised has the exception with its stack; what failed of it has the class only."""

    @node
    async def fails(n: int) -> AsyncIterator[int]:
        yield n
        raise ValueError("mine")

    async with Flow("f", fails >> hop).open(observers=[traced.observer]) as runtime:
        with pytest.raises(StepError):
            await runtime.call(1)
    assert traced.exceptions() == [("step fails", "ValueError")]
    step, run = traced.one("step fails"), traced.one("run f")
    (event,) = [event for event in step.events if event.name == "exception"]
    assert event.attributes["exception.message"] == "mine"
    assert 'raise ValueError("mine")' in event.attributes["exception.stacktrace"]
    assert event.timestamp == step.end_time
    assert said(step, "step.outcome") == "error"
    for span in (step, run, traced.one("stream fails")):
        assert (span.status.status_code.name, span.attributes["error.type"]) == ("ERROR", "ValueError")
        assert span.status.description == "ValueError: mine"
    assert said(run, "run.status") == "failed"
    assert said(traced.one("stream fails"), "stream.terminal") == "error"


async def test_an_exception_that_cannot_tell_its_text_is_recorded(traced: Traced) -> None:
    """A user's `__str__` that raises hurts nobody."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    @node
    async def fails(n: int) -> int:
        raise MuteError

    async with Flow("f", fails).open(observers=[traced.observer]) as runtime:
        with pytest.raises(StepError):
            await runtime.call(1)
    ((name, kind),) = traced.exceptions()
    assert (name, kind.rpartition(".")[2]) == ("step fails", "MuteError")


async def test_an_error_that_is_handled_stays_with_its_step(traced: Traced) -> None:
    """An error edge takes the error: the step has failed, the run has not."""

    @node
    async def fails(n: int) -> int:
        raise ValueError(n)

    @node
    async def mend(error: StepError) -> int:
        return 0

    flow = Flow("f", fails, fails >> edge(on_error=True) >> mend)
    async with flow.open(observers=[traced.observer]) as runtime:
        assert await runtime.call(1) == 0
    assert traced.exceptions() == [("step fails", "ValueError")]
    assert traced.one("run f").status.is_unset


async def test_a_cancelled_run_has_no_error(traced: Traced) -> None:
    """Cancelling is no failure: statuses stay unset, and the spans say what happened."""
    async with Flow("f", endless >> hop).open(observers=[traced.observer]) as runtime:
        async with runtime.run(1) as run:
            with pytest.raises(RunCancelled):
                async for _ in run:
                    await run.cancel("enough")
    assert said(traced.one("run f"), "run.status") == "cancelled"
    assert traced.exceptions() == []
    assert all(span.status.is_unset for span in traced.spans)


@pytest.mark.virtual_time
async def test_a_deadline_is_the_error_of_the_run(traced: Traced) -> None:
    """The run has the exception; its streams have expired."""

    @node
    async def hangs(n: int) -> AsyncIterator[int]:
        yield n
        await anyio.sleep_forever()

    async with Flow("f", hangs).open(observers=[traced.observer]) as runtime:
        with pytest.raises(DeadlineExceeded):
            await runtime.call(1, deadline=0.05)
    assert traced.exceptions() == [("run f", "penguiflow.errors.DeadlineExceeded")]
    assert said(traced.one("run f"), "run.status") == "expired"
    assert said(traced.one("stream hangs"), "stream.terminal") == "expired"
    assert seconds(traced.one("run f")) == pytest.approx(0.05, abs=0.03)


@pytest.mark.virtual_time
async def test_a_step_whose_cleanup_is_given_up_ends_with_its_run(traced: Traced) -> None:
    """A node that will not go leaves no span open."""

    @node
    async def stubborn(n: int) -> int:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.3)
        return n

    async with Flow("f", stubborn).open(observers=[traced.observer], cleanup_timeout=0.01) as runtime:
        async with runtime.run(1) as run:
            await anyio.sleep(0.01)
            await run.cancel()
        await anyio.sleep(0.5)
    assert said(traced.one("run f"), "run.status") == "cancelled"
    assert said(traced.one("step stubborn"), "step.outcome") in ("abandoned", "cancelled")


# retries ------------------------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_each_attempt_at_a_step_is_a_span(traced: Traced) -> None:
    """Attempts are siblings; a failed one has its error and says so; the time between belongs to none."""
    tries: list[int] = []

    @node(retry=Retry(attempts=3, backoff=0.05, jitter=0))
    async def shaky(n: int) -> int:
        tries.append(n)
        if len(tries) < 3:
            raise OSError(len(tries))
        return n

    async with Flow("f", shaky).open(observers=[traced.observer]) as runtime:
        assert await runtime.call(1) == 1
    one, two, three = traced.all("step shaky")
    assert [said(span, "attempt") for span in (one, two, three)] == [1, 2, 3]
    assert {traced.parent(span) for span in (one, two, three)} == {"run f"}
    assert [said(span, "step.outcome") for span in (one, two, three)] == ["error", "error", "done"]
    assert sorted(events(one)) == ["exception", "retry"]
    assert three.events == ()
    assert traced.exceptions() == [("step shaky", "OSError")] * 2
    assert one.end_time + 0.04e9 < two.start_time
    assert all(sum(waits(span)) == pytest.approx(seconds(span), abs=3e-9) for span in (one, two, three))
    assert traced.one("run f").status.is_unset


async def test_each_attempt_at_a_stream_is_a_span(traced: Traced) -> None:
    """A retried step begins its stream again, and so does every node behind it that goes chunk by chunk."""
    tries: list[int] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def shaky(n: int) -> AsyncIterator[int]:
        tries.append(n)
        yield 1
        yield 2
        await anyio.sleep(0.01)
        if len(tries) < 2:
            raise OSError
        yield 3

    async with Flow("f", shaky >> hop >> total).open(observers=[traced.observer]) as runtime:
        assert await runtime.call(1) == 6
    for name in ("stream shaky", "stream hop"):
        one, two = traced.all(name)
        assert [said(span, "stream.terminal") for span in (one, two)] == ["restarted", "done"]
        assert [said(span, "attempt") for span in (one, two)] == [1, 2]
        assert [said(span, "stream.chunks") for span in (one, two)] == [2, 3]
        for span in (one, two):
            assert sum(waits(span)) == pytest.approx(seconds(span), abs=3e-9)
    first, second = traced.all("step shaky")
    assert [span.parent.span_id for span in traced.all("stream shaky")] == [id_of(first), id_of(second)]
    first, second = traced.all("step hop")
    assert [said(span, "step.outcome") for span in (first, second)] == ["restarted", "done"]
    assert [span.parent.span_id for span in traced.all("stream hop")] == [id_of(first), id_of(second)]


async def test_a_chunk_that_is_tried_again_is_an_event(traced: Traced) -> None:
    """Where a node works chunk by chunk its work goes on, and says which chunk was tried again."""
    tries: list[int] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def shaky(i: int) -> int:
        tries.append(i)
        if tries.count(i) < 2 and i == 1:
            raise OSError
        return i

    async with Flow("f", count >> shaky >> total).open(observers=[traced.observer]) as runtime:
        assert await runtime.call(3) == 3
    step = traced.one("step shaky")
    (retry,) = [event for event in step.events if event.name == "retry"]
    assert dict(retry.attributes) == {
        "penguiflow.attempt": 2,
        "penguiflow.chunk.seq": 1,
        "error.type": "OSError",
    }
    assert said(step, "step.retries") == 1
    assert step.status.is_unset
    assert traced.exceptions() == [("step shaky", "OSError")]


# drops and gaps -----------------------------------------------------------------------------------------


async def test_drops_are_events_of_the_stream_and_bounded(traced: Traced) -> None:
    """The first drops are told one by one, all are counted."""

    @node
    async def burst(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    @node(concurrency=1)
    async def slow(i: int) -> int:
        await anyio.sleep(0.005)
        return i

    flow = Flow("f", burst >> edge(capacity=1, overflow="drop_oldest") >> slow)
    async with flow.open(observers=[traced.observer]) as runtime:
        async with runtime.run(100) as run:
            delivered = len([item async for item in run])
    stream = traced.one("stream burst")
    told = [event for event in stream.events if event.name == "drop"]
    assert len(told) == min(32, 100 - delivered)
    assert said(stream, "stream.drops") == 100 - delivered > 32
    assert told[0].attributes["penguiflow.edge"] == "burst→slow"
    assert told[0].attributes["penguiflow.drop.reason"] == "drop_oldest"
    assert stream.start_time <= told[0].timestamp


async def test_dropped_messages_are_events_of_the_run(traced: Traced) -> None:
    """What belongs to no stream is told by the run."""

    @node
    async def burst(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit(i)

    @node(concurrency=1)
    async def slow(i: int) -> int:
        await anyio.sleep(0.02)
        return i

    flow = Flow("f", burst >> edge(capacity=1, overflow="drop_newest") >> slow)
    async with flow.open(observers=[traced.observer]) as runtime:
        async with runtime.run(10) as run:
            delivered = len([item async for item in run])
    run_span = traced.one("run f")
    assert events(run_span) == ["drop"] * (10 - delivered)
    assert said(run_span, "run.drops") == 10 - delivered > 0


async def test_gaps_are_counted(traced: Traced) -> None:
    """Numbers that were skipped show on the stream."""

    @node
    async def skips(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit_chunk(i, stream_id="s", seq=2 * i)

    async with Flow("f", skips).open(observers=[traced.observer]) as runtime:
        async with runtime.run(3) as run:
            assert len([item async for item in run]) == 3
    assert said(traced.one("stream skips"), "stream.gaps") == 2


async def test_flushed_chunks_are_drops(traced: Traced) -> None:
    """A command that throws away what waits is told like a policy."""

    @node(concurrency=1)
    async def slow(i: int) -> int:
        await anyio.sleep(0.02)
        return i

    async with Flow("f", count >> slow).open(observers=[traced.observer]) as runtime:
        async with runtime.run(10) as run:
            await anyio.sleep(0.01)
            await run.control(Control("flush", {"discard": True}))
            delivered = len([item async for item in run])
    told = [event for span in traced.spans for event in span.events if event.name == "drop"]
    assert len(told) == 10 - delivered > 0
    assert {event.attributes["penguiflow.drop.reason"] for event in told} == {"flush"}
