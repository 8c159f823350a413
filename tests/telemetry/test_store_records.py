"""What a trace store keeps of runs: steps, attempts, streams, errors, what nodes say; and never a payload."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from penguiflow import Context, Flow, FlowError, Headers, Retry, Stream, edge, node
from penguiflow.observe import SPAN, RunStarted, StepStarted
from penguiflow.telemetry import TraceStore, why
from penguiflow.telemetry.records import RunTrace
from penguiflow.telemetry.store.reading import TraceStoreError, open_store

SECRET = "what nobody may read in a trace"


@node
async def words(text: str) -> AsyncIterator[str]:
    for word in text.split():
        await anyio.sleep(0.005)
        yield word


@node
async def loud(word: str) -> str:
    return word.upper()


@node
async def count(text: Stream[str]) -> int:
    return len([word async for word in text])


def fails_first(times: int) -> Callable[..., Any]:
    """Give a node that fails so many times, then gives its input."""
    attempts = iter(range(1000))

    @node(name="unsure", retry=Retry(attempts=times + 1, backoff=0.01))
    async def unsure(text: str) -> str:
        if next(attempts) < times:
            raise OSError("no route") from KeyError("host")
        return text

    return unsure


async def traced(flow: Flow, path: Path, payload: Any, *others: Any, **options: Any) -> RunTrace:
    """Run a flow, and read what is kept of it."""
    store = TraceStore(path)
    async with flow.open(observers=[*others, store]) as runtime:
        with contextlib.suppress(FlowError):
            await runtime.call(payload, **options)
    assert (store.errors, store.lost, store.pending) == (0, 0, 0)
    with open_store(path) as reader:
        return reader.trace("last")


async def test_steps_and_streams_of_a_run(tmp_path: Path) -> None:
    """Each step and each stream is there, with its times, counts, waits and a timeline that adds up."""
    before = time.time()
    trace = await traced(
        Flow("hello", words >> loud), tmp_path / "r.db", "a bb ccc", headers=Headers(tenant="acme")
    )
    run = trace.summary
    assert (run.flow, run.status, run.tenant, run.steps, run.streams, run.error) == (
        "hello",
        "done",
        "acme",
        2,
        2,
        "",
    )
    assert before <= run.started <= run.started + run.seconds <= time.time() + 0.1
    assert [(step.node, step.attempt, step.outcome) for step in trace.steps] == [
        ("words", 1, "done"),
        ("loud", 1, "done"),
    ]
    first, second = trace.streams
    assert (first.node, first.terminal, first.chunks, first.bytes, first.gaps) == ("words", "done", 3, 6, 0)
    assert (second.node, second.stream_id, second.chunks) == ("loud", first.stream_id, 3)
    assert trace.steps[1].stream_id == first.stream_id
    assert first.ended is not None
    assert first.waits.seconds == pytest.approx(first.ended - first.started, abs=1e-6)
    assert first.first_chunk is not None
    assert 0.005 <= first.first_chunk <= first.waits.seconds
    assert first.timeline is not None
    spent = [sum(part[state] for part in first.timeline[1]) for state in range(3)]
    assert sum(spent) == pytest.approx(first.waits.seconds, rel=0.01)
    assert sum(part[3] for part in first.timeline[1]) == 3


async def test_the_topology_is_kept(tmp_path: Path) -> None:
    """Nodes and edges of the flow, from the input to the reader."""
    trace = await traced(Flow("hello", words >> loud), tmp_path / "r.db", "a")
    (root,) = trace.parts
    assert root.nodes == ("words", "loud")
    assert set(root.edges) == {("input", "words"), ("words", "loud"), ("loud", "reader")}


async def test_payloads_are_never_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    await traced(Flow("hello", words >> loud), path, f"{SECRET} {SECRET}", meta={"secret": SECRET})
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240
    assert SECRET.encode() not in kept
    assert SECRET.split()[-1].upper().encode() not in kept


async def test_attempts_are_told_apart(tmp_path: Path) -> None:
    """Each attempt is a record of its own; those that failed say with what, and where in the user's code."""
    trace = await traced(Flow("retries", fails_first(2)), tmp_path / "r.db", "x")
    assert [(step.attempt, step.outcome) for step in trace.steps] == [(1, "error"), (2, "error"), (3, "done")]
    assert trace.summary.status == "done"
    error = trace.steps[0].error
    assert error is not None
    assert (error.kind, error.text, error.causes) == ("OSError", "no route", ("KeyError: 'host'",))
    file, _, place = error.where.rpartition(":")
    assert file == __file__
    assert place.endswith("in fails_first.<locals>.unsure")
    ends = [step.ended for step in trace.steps]
    assert all(
        end is not None and end <= step.started for end, step in zip(ends, trace.steps[1:], strict=False)
    )


async def test_a_failed_run_says_why(tmp_path: Path) -> None:
    @node
    async def divide(number: int) -> float:
        return 1 / number

    trace = await traced(Flow("division", divide), tmp_path / "r.db", 0)
    assert trace.summary.status == "failed"
    assert "ZeroDivisionError" in trace.summary.error
    (root,) = trace.parts
    assert root.error is not None
    assert root.error.causes == ("ZeroDivisionError: division by zero",)
    assert root.error.where.startswith(__file__)


async def test_an_error_that_can_not_be_told(tmp_path: Path) -> None:
    """An exception whose text fails is kept by its class."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    @node
    async def breaks(text: str) -> str:
        raise Mute

    trace = await traced(Flow("mute", breaks), tmp_path / "r.db", "x")
    (step,) = trace.steps
    assert step.error is not None
    assert "Mute" in {step.error.kind, *step.error.causes}


async def test_what_a_node_says(tmp_path: Path) -> None:
    """Attributes and events of the span are kept with the attempt, as plain and bounded values."""

    @node
    async def says(text: str) -> str:
        span = SPAN.get()
        assert span is not None
        span.set_attribute("model", "small")
        span.set_attribute("odd", object)
        span.add_event("asked", {"tokens": 12, "nested": [1, [2, [3]]]})
        for number in range(1000):
            span.add_event(f"event {number}")
            span.set_attribute(f"attribute {number}", number)
        return text

    trace = await traced(Flow("speaking", says), tmp_path / "r.db", "x")
    (step,) = trace.steps
    assert step.events[0].name == "attributes"
    assert step.events[0].attributes["model"] == "small"
    assert step.events[0].attributes["odd"] == "<class 'object'>"
    assert (step.events[1].name, step.events[1].attributes["tokens"]) == ("asked", 12)
    assert len(step.events) < 110
    assert step.events[-1].name == "left out"


async def test_a_trace_goes_on(tmp_path: Path) -> None:
    """A run that came with a trace is part of it, and what its nodes call is too."""
    came = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    seen: list[dict[str, str]] = []

    @node
    async def calls(text: str) -> str:
        span = SPAN.get()
        assert span is not None
        seen.append(span.headers())
        assert span.span_id in seen[0]["traceparent"]
        return text

    headers = Headers(extra={"traceparent": came, "tracestate": "vendor=1"})
    trace = await traced(Flow("calling", calls), tmp_path / "r.db", "x", headers=headers)
    assert trace.summary.trace_id == "0af7651916cd43dd8448eb211c80319c"
    (given,) = seen
    assert given["tracestate"] == "vendor=1"
    version, trace_id, span_id, flags = given["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", "0af7651916cd43dd8448eb211c80319c", "01")
    assert span_id != "b7ad6b7169203331"


class Foreign:
    """A tracer that sets spans of its own."""

    is_tracer = True

    class Span:
        """One of these."""

    def observe(self, event: object) -> None:
        """Set one for each step."""
        if isinstance(event, RunStarted):
            event.trace_id = "f" * 32
        if isinstance(event, StepStarted):
            SPAN.set(self.Span())  # type: ignore[arg-type]


@pytest.mark.parametrize("first", [True, False])
async def test_who_traces_in_earnest_goes_first(tmp_path: Path, first: bool) -> None:
    """Where somebody else sets spans, they stay, in whatever order the observers were given."""
    seen: list[str] = []

    @node
    async def looks(text: str) -> str:
        seen.append(type(SPAN.get()).__qualname__)
        return text

    store, foreign = TraceStore(tmp_path / "r.db"), Foreign()
    async with Flow("looking", looks).open(
        observers=[foreign, store] if first else [store, foreign]
    ) as runtime:
        await runtime.call("x")
    assert seen == ["Foreign.Span"]
    with open_store(store.path) as reader:
        assert reader.trace("last").summary.trace_id == "f" * 32


async def test_a_run_inside_a_foreign_span_has_its_own(tmp_path: Path) -> None:
    """A span that is only inherited from around the run is not taken for that of a step."""
    seen: list[str] = []

    @node
    async def looks(text: str) -> str:
        seen.append(type(SPAN.get()).__name__)
        return text

    token = SPAN.set(Foreign.Span())  # type: ignore[arg-type]
    try:
        await traced(Flow("looking", looks), tmp_path / "r.db", "x")
    finally:
        SPAN.reset(token)
    assert seen == ["OwnSpan"]


async def test_what_a_step_calls_is_a_part(tmp_path: Path) -> None:
    inner = Flow("inner", words)

    @node
    async def outer(text: str, ctx: Context) -> int:
        return len(await ctx.call(inner, text))

    trace = await traced(Flow("outer", outer), tmp_path / "r.db", "a b")
    root, part = trace.parts
    assert (root.flow, part.flow, part.caller, part.status) == ("outer", "inner", (0, 1), "done")
    assert [(step.part, step.node) for step in trace.steps] == [(0, "outer"), (part.part, "words")]


async def test_drops_are_counted_at_their_step(tmp_path: Path) -> None:
    @node
    async def many(text: str) -> AsyncIterator[int]:
        for number in range(50):
            yield number

    @node
    async def slow(number: int) -> int:
        await anyio.sleep(0.002)
        return number

    flow = Flow("dropping", many >> edge(capacity=1, overflow="drop_oldest") >> slow)
    trace = await traced(flow, tmp_path / "r.db", "x")
    (drop,) = [event for event in trace.steps[0].events if event.name == "drop"]
    taken = next(stream.chunks for stream in trace.streams if stream.node == "slow")
    assert drop.attributes["edge"] == "many→slow"
    assert drop.attributes["count"] == 50 - taken


async def test_names_that_can_not_be_written(tmp_path: Path) -> None:
    """Half letters in ids and tenants are spelled out, those in errors come back; no record is lost."""
    half = "half \ud800 letter"

    @node
    async def says(text: str) -> str:
        raise ValueError(half)

    flow = Flow("half", says)
    trace = await traced(flow, tmp_path / "r.db", "x", run_id=half, headers=Headers(tenant=half))
    assert trace.summary.run_id == trace.summary.tenant == "half \\ud800 letter"
    assert trace.parts[0].error is not None
    assert trace.parts[0].error.causes == (f"ValueError: {half}",)


async def test_a_stream_input_is_a_stream(tmp_path: Path) -> None:
    async def given() -> AsyncIterator[str]:
        for word in ("a", "b"):
            yield word

    trace = await traced(Flow("counting", count), tmp_path / "r.db", given())
    (stream,) = [one for one in trace.streams if not one.step]
    assert (stream.node, stream.chunks, stream.terminal) == ("input", 2, "done")


async def test_a_cancelled_run_leaves_nothing_open(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "r.db")

    @node
    async def sleeps(text: str) -> AsyncIterator[str]:
        yield text
        await anyio.sleep(60)

    async with Flow("sleeping", sleeps).open(observers=[store]) as runtime:
        async with runtime.run("x") as run:
            async for _ in run:
                break
    with open_store(store.path) as reader:
        trace = reader.trace("last")
    assert trace.summary.status == "cancelled"
    assert [step.outcome for step in trace.steps] == ["cancelled"]
    assert [stream.terminal for stream in trace.streams] == ["cancelled"]
    assert all(one.ended is not None for one in (*trace.steps, *trace.streams))


async def test_a_live_run_can_be_read(tmp_path: Path) -> None:
    """What has begun is there before it ends, with what the run waits for."""
    store = TraceStore(tmp_path / "r.db", interval=0.05)

    @node
    async def sleeps(text: str) -> AsyncIterator[str]:
        yield text
        await anyio.sleep(60)

    async with Flow("sleeping", sleeps).open(observers=[store]) as runtime:
        async with runtime.run("x") as run:
            async for _ in run:
                break
            await anyio.sleep(1.0)
            with open_store(store.path) as reader:
                trace, (live,) = reader.trace(run.id), reader.live()
                assert [one.run_id for one in reader.runs(status="running")] == [run.id]
    assert (trace.summary.status, trace.summary.steps, trace.summary.streams) == ("running", 1, 1)
    (step,), (stream,) = trace.steps, trace.streams
    assert (step.outcome, step.ended, stream.terminal, stream.ended) == ("", None, "", None)
    assert stream.chunks == 1
    assert "sleeps" in trace.diagnosis[0]
    assert (live.flow, live.runs, live.open_streams) == ("sleeping", 1, 1)
    assert [(one.path, one.steps) for one in live.nodes] == [("sleeps", 1)]
    assert [(one.source, one.target) for one in live.edges] == [("input", "sleeps")]
    assert [(one.run_id, one.node, one.next_seq) for one in live.streams] == [(run.id, "sleeps", 1)]
    assert live.diagnosis[0][0] == run.id


async def test_one_store_for_several_runtimes(tmp_path: Path) -> None:
    """At the same time and one after another: all runs are there, and no runtime is left on the board."""
    store, flow = TraceStore(tmp_path / "r.db"), Flow("hello", words)
    for _ in range(2):
        async with flow.open(observers=[store]) as one, flow.open(observers=[store]) as other:
            await one.call("a")
            await other.call("b")
    with open_store(store.path) as reader:
        assert len(reader.runs(limit=None)) == 4
        assert {run.status for run in reader.runs()} == {"done"}
        assert reader.live() == ()


async def test_which_runs_are_wanted(tmp_path: Path) -> None:
    """Each filter of the list; the newest comes first."""
    store = TraceStore(tmp_path / "r.db")

    @node
    async def naps(seconds: float) -> float:
        await anyio.sleep(seconds)
        return 1 / seconds

    async with Flow("napping", naps).open(observers=[store]) as runtime:
        await runtime.call(0.001, run_id="short", headers=Headers(tenant="a"))
        await runtime.call(0.2, run_id="long", headers=Headers(tenant="b"))
        with contextlib.suppress(FlowError):
            await runtime.call(0.0, run_id="wrong")
    async with Flow("hello", words).open(observers=[store]) as runtime:
        await runtime.call("a", run_id="hello")

    with open_store(store.path) as reader:

        def ids(**wanted: Any) -> list[str]:
            return [run.run_id for run in reader.runs(**wanted)]

        assert ids() == ["hello", "wrong", "long", "short"]
        assert ids(limit=2) == ["hello", "wrong"]
        assert ids(status="failed") == ["wrong"]
        assert ids(node="naps") == ["wrong", "long", "short"]
        assert ids(tenant="b") == ["long"]
        assert ids(flow="hello") == ["hello"]
        assert ids(longer_than=0.15) == ["long"]
        assert ids(shorter_than=0.15, flow="napping") == ["wrong", "short"]
        long = reader.trace("long").summary.started
        assert ids(since=long) == ["hello", "wrong", "long"]
        assert ids(until=long) == ["short"]
        assert reader.trace("sho").summary.run_id == "short"
        assert reader.trace("last").summary.run_id == "hello"
        with pytest.raises(TraceStoreError, match="has no run 'x'"):
            reader.trace("x")


async def test_a_prefix_of_several(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "r.db")
    async with Flow("hello", words).open(observers=[store]) as runtime:
        for name in ("ab1", "ab2", "ab"):
            await runtime.call("a", run_id=name)
    with open_store(store.path) as reader:
        with pytest.raises(TraceStoreError, match="'a' is the beginning of several runs: ab, ab2, ab1"):
            reader.trace("a")
        assert reader.trace("ab").summary.run_id == "ab"
        with pytest.raises(TraceStoreError, match="has no run"):
            reader.trace("")


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"max_age": None}, TypeError),
        ({"max_age": -1}, ValueError),
        ({"interval": "x"}, TypeError),
        ({"max_bytes": 0}, ValueError),
        ({"max_records_per_run": 1.5}, TypeError),
    ],
)
def test_limits_are_checked(tmp_path: Path, option: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(option))):
        TraceStore(tmp_path / "r.db", **option)


async def test_a_reader_who_takes_his_time_behind_the_end_is_told_of(tmp_path: Path) -> None:
    """What fits into the windows does not keep a run waiting: it is over, and yet its reader was slow."""
    path = tmp_path / "r.db"

    @node
    async def letters(text: str) -> AsyncIterator[str]:
        for letter in text:
            yield letter

    async with Flow("f", letters).open(observers=[TraceStore(path)]) as runtime:
        async with runtime.run("abc", run_id="slow") as run:
            async for _ in run:
                await anyio.sleep(0.05)
        assert await runtime.call("abc", run_id="quick") == ["a", "b", "c"]
    with open_store(path) as reader:
        slow, quick = reader.trace("slow"), reader.trace("quick")
    assert 0.1 <= slow.summary.read <= 5.0
    assert why(slow)[0].startswith("The reader was slow: the run was over after ")
    assert quick.summary.read == 0.0


async def test_the_members_of_a_group_are_no_causes_of_each_other(tmp_path: Path) -> None:
    """They stand side by side, and are told in one line."""
    path = tmp_path / "r.db"

    @node
    async def breaks(n: int) -> int:
        raise ExceptionGroup("many", [ValueError("a"), KeyError("b")])

    async with Flow("f", breaks).open(observers=[TraceStore(path)]) as runtime:
        with pytest.raises(FlowError):
            await runtime.call(1, run_id="r")
    with open_store(path) as reader:
        error = reader.trace("r").steps[0].error
    assert error is not None
    (cause,) = error.causes
    assert cause.startswith("ExceptionGroup: many (2 sub-exceptions): ValueError: a; KeyError: 'b'")
