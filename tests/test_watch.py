"""What observers are told of real flows adds up: steps, attempts, streams and parts (rule 6.1).

The books are kept by the fuzzers' ledger, which believes nothing but what it is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from fuzz.books import Books, anything, watched
from plain_nodes import count, echo, hop, named, numbers, plain, total

from penguiflow import (
    Context,
    DeadlineExceeded,
    Flow,
    Gathered,
    Retry,
    RunCancelled,
    Spread,
    StepError,
    StepTimeout,
    Stream,
    edge,
    node,
    source,
)
from penguiflow.testing import virtual_backend

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both event loops, both on virtual time where that is asked for."""
    if request.node.get_closest_marker("virtual_time"):
        return virtual_backend(request.param)
    return request.param, {}


# -- what begins and ends


@pytest.mark.parametrize("window", [1, 2, 128])
async def test_all_that_a_run_does_is_told(window: int) -> None:
    """Messages, chunks, streams that are taken, `def` nodes: a step each, a stream each, all in their run."""
    flow = Flow("f", plain >> count >> hop >> named("plain2") >> echo >> total >> named("last"))
    books = await watched(flow, 5, window=window)
    assert books.result == 10
    assert [event.node for event in books.of("StepStarted")] == [
        "plain",
        "count",
        "hop",
        "plain2",
        "echo",
        "total",
        "last",
    ]
    assert set(books.outcomes().values()) == {"done"}
    assert {event.node: event.chunks for event in books.of("StreamEnded")} == dict.fromkeys(
        ["count", "hop", "plain2", "echo"], 5
    )
    steps = {event.step: event.node for event in books.of("StepStarted")}
    assert {event.node: steps[event.step] for event in books.of("StreamOpened")} == {
        name: name for name in ("count", "hop", "plain2", "echo")
    }


async def failing(run: Any) -> None:
    with pytest.raises(StepError):
        await run.result()


async def test_an_error_is_that_of_its_own_step_only() -> None:
    """The step that failed ends by it; those that pass it on are cancelled, without an error of their own."""

    @node
    async def breaks(n: int) -> AsyncIterator[int]:
        yield n
        raise ValueError(n)

    books = await watched(Flow("f", plain >> breaks >> hop >> echo >> total), 3, failing)
    assert books.outcomes() == {
        "plain": "done",
        "breaks": "error",
        "hop": "cancelled",
        "echo": "cancelled",
        "total": "cancelled",
    }
    errors = {event.node: event.error for event in books.of("StepEnded") if event.error is not None}
    assert [str(error.__cause__) for error in errors.values()] == ["3"]
    assert {event.node: event.terminal for event in books.of("StreamEnded")} == dict.fromkeys(
        ["breaks", "hop", "echo"], "error"
    )


async def test_a_step_that_deals_with_the_error_of_its_input_is_done() -> None:
    """Who catches what came in band, and gives something instead, has not been cancelled."""

    @node
    async def breaks(n: int) -> AsyncIterator[int]:
        yield n
        raise ValueError(n)

    @node
    async def patient(stream: Stream[int]) -> int:
        try:
            return sum([i async for i in stream])
        except StepError:
            return -1

    @node
    async def mends(error: StepError) -> int:
        return 0

    for reads, outcome in ((patient, "done"), (total, "cancelled")):
        books = await watched(Flow("f", breaks >> reads, breaks >> edge(on_error=True) >> mends), 3)
        assert books.of("RunEnded")[0].status == "done"
        assert books.outcomes() == {"breaks": "error", reads.name: outcome, "mends": "done"}


@pytest.mark.parametrize("kind", ["message", "chunk", "def message", "def chunk", "thread", "stream"])
async def test_every_kind_of_node_tells_of_its_error(kind: str) -> None:
    """One step ends with the error that the reader gets."""

    def breaks_at_once(i: int) -> int:
        raise ValueError(i)

    async def breaks(i: int) -> int:
        raise ValueError(i)

    async def reads(stream: Stream[int]) -> int:
        raise ValueError(1)

    before = count if "chunk" in kind or kind == "stream" else hop
    function: Any = breaks_at_once if "def" in kind or kind == "thread" else breaks
    failing_node = node(reads if kind == "stream" else function, name="it", thread=kind == "thread")
    books = await watched(Flow("f", before >> failing_node), 1, anything)
    assert books.outcomes()["it"] == "error"
    (told,) = [event.error for event in books.of("StepEnded") if event.error is not None]
    assert told is books.of("RunEnded")[0].error


@pytest.mark.virtual_time
@pytest.mark.parametrize("how", ["break", "cancel", "deadline", "timeout", "idle"])
@pytest.mark.parametrize("window", [1, 128])
async def test_every_ending_is_told(how: str, window: int) -> None:
    """However a run is cut off, all that began has ended before it."""

    @node(timeout=0.5 if how == "timeout" else None, idle_timeout=0.5 if how == "idle" else None)
    async def slow(n: int) -> AsyncIterator[int]:
        yield n
        yield n + 1
        await anyio.sleep(60)

    async def read(run: Any) -> None:
        async for item in run:
            if how == "break" and item.payload == 1:
                break
            if how == "cancel" and item.payload == 1:
                await run.cancel()

    flow = Flow("f", slow >> hop >> plain >> named("careful", retry=Retry(attempts=2)) >> echo)
    books = await watched(flow, 0, read, deadline=0.5 if how == "deadline" else None, window=window)
    kinds = {"cancel": RunCancelled, "deadline": DeadlineExceeded, "timeout": StepTimeout}
    assert type(books.error) is kinds.get(how, type(books.error))
    failed = {"slow"} if how in ("timeout", "idle") else set()
    assert {name for name, outcome in books.outcomes().items() if outcome == "error"} == failed
    assert set(books.outcomes().values()) <= {"error", "cancelled"}
    status = {"break": "cancelled", "cancel": "cancelled", "deadline": "expired"}.get(how, "failed")
    assert books.of("RunEnded")[0].status == status


@pytest.mark.virtual_time
async def test_a_cleanup_that_is_given_up_ends_behind_its_run() -> None:
    """It is the only thing that is told of a run that is over; its waits add up all the same."""
    release = anyio.Event()

    @node
    async def stubborn(n: int) -> int:
        while not release.is_set():
            with anyio.CancelScope(shield=True):
                await release.wait()
        return n

    async def read(run: Any) -> None:
        await anyio.sleep(0.1)
        await run.cancel()

    books = Books(gives_up=True)
    async with Flow("f", stubborn).open(observers=[books], cleanup_timeout=0.2) as runtime:
        async with runtime.run(1) as run:
            await read(run)
        assert [type(event).__name__ for event in books.events][-1] == "RunEnded"
        release.set()
        await anyio.sleep(0.1)
    assert books.left() == []
    assert books.outcomes() == {"stubborn": "cancelled"}


@pytest.mark.virtual_time
async def test_cleanup_belongs_to_the_step(anyio_backend_name: str) -> None:
    """A step ends when its code has, not when it is told to."""

    @node
    async def tidy(n: int) -> AsyncIterator[int]:
        try:
            yield n
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.5)

    async def read(run: Any) -> None:
        async for _ in run:
            break

    books = await watched(Flow("f", tidy), 0, read)
    (began,), (ended,) = books.of("StepStarted"), books.of("StepEnded")
    assert ended.at - began.at >= 0.5
    assert books.of("RunEnded")[0].at >= ended.at


@pytest.mark.virtual_time
@pytest.mark.parametrize("kind", ["walking", "stepping", "unordered", "join"])
@pytest.mark.parametrize("how", ["left", "cancelled"])
async def test_a_node_on_chunks_ends_when_its_code_has(kind: str, how: str) -> None:
    """Also where nobody reads its stream any more, or its run is over: it may still call other flows."""
    options = {
        "walking": {},
        "stepping": {"retry": Retry(attempts=2)},
        "unordered": {"ordered": False, "concurrency": 2},
        "join": {},
    }[kind]

    async def finish() -> None:
        try:
            await anyio.sleep(1)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.5)

    async def works(i: int) -> int:
        if i > 0:
            await finish()
        return i

    async def joins(a: int, b: int) -> int:
        return await works(a)

    @node
    async def first(stream: Stream[int]) -> int:
        chunk = await stream.next()
        await anyio.sleep(0.2)  # the next one is at work
        return chunk.payload

    it = node(joins if kind == "join" else works, name="it", **options)
    before = count >> [named("a"), named("b")] if kind == "join" else count

    async def cancel(run: Any) -> None:
        await anyio.sleep(0.2)
        await run.cancel()

    flow = Flow("f", before >> it >> first if how == "left" else before >> it)
    books = await watched(flow, 3, anything if how == "left" else cancel)
    (began,), (ended,) = books.of("StepStarted", "it"), books.of("StepEnded", "it")
    assert ended.at - began.at >= (0.7 if how == "cancelled" else 1.5)
    assert ended.outcome == "cancelled"


# -- attempts


@pytest.mark.virtual_time
@pytest.mark.parametrize("fails", [1, 2, 9])
@pytest.mark.parametrize("kind", ["message", "stream"])
async def test_attempts_have_no_gaps(kind: str, fails: int) -> None:
    """Each attempt but the first is told with the error of the one before, and when that ended."""
    tries: list[int] = []

    async def shaky(i: int) -> int:
        tries.append(i)
        await anyio.sleep(0.1)
        if len(tries) <= fails:
            raise OSError(len(tries))
        return i

    async def shaky_stream(i: int) -> AsyncIterator[int]:
        yield await shaky(i)

    policy = Retry(attempts=3, backoff=1, max_backoff=1, jitter=0)
    it = node(shaky if kind == "message" else shaky_stream, name="it", retry=policy)
    books = await watched(Flow("f", it >> named("after")), 7, anything)
    retried = books.of("StepRetried", "it")
    wanted = min(fails, 2)
    assert [event.attempt for event in retried] == list(range(2, 2 + wanted))
    assert [str(event.error) for event in retried] == [str(n) for n in range(1, wanted + 1)]
    assert [event.at - event.ended for event in retried] == pytest.approx([1.0] * wanted)
    assert [event.waits.node for event in retried] == pytest.approx([0.1] * wanted)
    (ended,) = books.of("StepEnded", "it")
    assert (ended.outcome, ended.attempts) == ("done" if fails < 3 else "error", wanted + 1)
    assert ended.waits.seconds == pytest.approx(0.1)


@pytest.mark.virtual_time
async def test_a_step_that_is_cancelled_between_two_attempts_has_no_error() -> None:
    """What the last attempt failed with is forgotten: it would have been tried again."""

    @node(retry=Retry(attempts=5, backoff=10, jitter=0))
    async def shaky(i: int) -> int:
        raise OSError(i)

    books = await watched(Flow("f", shaky), 1, anything, deadline=1.0)
    (ended,) = books.of("StepEnded")
    assert (ended.outcome, ended.error) == ("cancelled", None)


async def test_a_chunk_that_is_tried_again_is_named() -> None:
    """A node that works chunk by chunk goes on with its stream; only the chunk has attempts."""
    seen: list[int] = []

    @node(retry=Retry(attempts=3, backoff=0, jitter=0))
    async def shaky(i: int) -> int:
        seen.append(i)
        if i == 1 and seen.count(1) < 3:
            raise OSError(i)
        return i

    books = await watched(Flow("f", count >> shaky), 3)
    assert [(event.seq, event.attempt) for event in books.of("StepRetried")] == [(1, 2), (1, 3)]
    assert [event.attempts for event in books.of("StepEnded", "shaky")] == [1]
    assert len(books.of("StepStarted", "shaky")) == 1


async def test_a_stream_that_begins_again_is_one_stream() -> None:
    """Whatever is behind it begins its next attempt with it: streams, nodes on chunks, steps that read."""
    tries: list[int] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def shaky(n: int) -> AsyncIterator[int]:
        tries.append(n)
        yield 1
        yield 2
        await anyio.sleep(0.01)
        if len(tries) == 1:
            raise OSError

    books = await watched(Flow("f", shaky >> hop >> plain >> echo), 1)
    assert [event.node for event in books.of("StreamRestarted")] == ["shaky", "hop", "plain", "echo"]
    assert {event.node: event.attempt for event in books.of("StepRetried")} == dict.fromkeys(
        ["shaky", "hop", "plain", "echo"], 2
    )
    errors = {event.node: type(event.error) for event in books.of("StepRetried")}
    assert errors["shaky"] is OSError
    assert errors["hop"] is errors["echo"] is type(None)
    assert [(event.chunks, event.attempt) for event in books.of("StreamEnded")] == [(2, 2)] * 4
    assert books.result == [1, 2]


# -- shapes of flows


def shapes() -> dict[str, tuple[Flow, Any]]:
    """Give flows of all shapes, with inputs."""

    @node
    async def both(a: int, b: int) -> int:
        return a + b

    @node
    async def either(a: int | None, b: int | None) -> int:
        return (a or 0) + (b or 0)

    @node
    async def odd(i: int) -> int | None:
        return i if i % 2 else None

    @node
    async def spread(n: int) -> Spread[int]:
        return Spread(range(n))

    @node
    async def gather(parts: Gathered[int]) -> int:
        return sum(parts)

    @node
    async def sends(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit(i)
            await ctx.emit_chunk(i, stream_id="mine")

    @node
    async def by_hand(i: int, ctx: Context) -> None:
        await ctx.emit_chunk(i)
        await ctx.emit_chunk(i)

    @node
    async def again(n: int, ctx: Context) -> None:
        if n > 0:
            await ctx.emit(n - 1, to="again")
        else:
            await ctx.emit(n, to="hop")

    @node
    async def breaks(i: int) -> int:
        raise ValueError(i)

    @node
    async def mends(error: StepError) -> int:
        return 0

    @node
    def sync_error(i: int) -> int:
        raise ValueError(i)

    @node
    def in_thread(i: int) -> int:
        return i

    thread = node(in_thread.fn, name="thread", thread=True)
    a, b = named("a"), named("b", 0.001)
    inner = Flow("inner", named("x") >> named("y"))
    return {
        "join by item": (Flow("f", hop >> [a, b] >> both), 3),
        "join by chunk": (Flow("f", count >> [a, b] >> both), 5),
        "join by chunk with a def": (Flow("f", count >> [node(plain.fn, name="a"), b] >> both), 5),
        "join that is skipped": (Flow("f", hop >> [node(odd.fn, name="a"), b] >> both), 2),
        "join with a silent branch": (Flow("f", hop >> [node(odd.fn, name="a"), b] >> either), 2),
        "join by chunk with silence": (Flow("f", count >> [node(odd.fn, name="a"), b] >> either), 6),
        "filter": (Flow("f", count >> odd >> hop), 6),
        "spread and gather": (Flow("f", spread >> hop >> gather), 5),
        "gather a stream's parts": (Flow("f", spread >> count >> gather), 4),
        "messages and named streams": (Flow("f", sends >> hop), 3),
        "chunks by hand": (Flow("f", count >> by_hand >> hop), 4),
        "unordered": (Flow("f", count >> named("it", 0.001, ordered=False, concurrency=3) >> hop), 6),
        "unordered by hand": (Flow("f", count >> node(by_hand.fn, name="it", ordered=False) >> hop), 6),
        "thread": (Flow("f", count >> thread >> hop), 2),
        "flow in a flow": (Flow("f", count >> inner >> echo), 3),
        "feedback": (Flow("f", again >> edge(feedback=True) >> again, again >> hop), 3),
        "error edge": (Flow("f", hop >> breaks, breaks >> edge(on_error=True) >> mends), 3),
        "error edge on chunks": (Flow("f", count >> breaks, breaks >> edge(on_error=True) >> mends), 3),
        "error edge of a def": (
            Flow("f", hop >> sync_error, sync_error >> edge(on_error=True) >> mends),
            3,
        ),
        "drops": (Flow("f", count >> edge(capacity=1, overflow="drop_oldest") >> named("it", 0.001)), 20),
        "drops the newest": (
            Flow("f", count >> edge(capacity=2, overflow="drop_newest") >> named("it", 0.001)),
            20,
        ),
        "merges": (
            Flow(
                "f",
                count
                >> edge(capacity=1, overflow="merge", merge=lambda one, two: one + two)
                >> named("it", 0.001),
            ),
            20,
        ),
        "refuses": (Flow("f", count >> edge(capacity=1, overflow="fail") >> named("it", 0.01)), 20),
        "two writers": (Flow("f", count >> [a, b] >> echo), 5),
    }


@pytest.mark.parametrize("shape", [*shapes()])
@pytest.mark.parametrize("window", [1, 128])
async def test_flows_of_all_shapes_add_up(shape: str, window: int) -> None:
    """Whatever runs: it is told right, and it gives what it gives where nobody watches."""
    flow, payload = shapes()[shape]
    books = await watched(flow, payload, anything, window=window)
    if books.of("RunEnded")[0].status == "done" and "drop" not in shape and "merge" not in shape:
        async with flow.open(window=window) as runtime:
            given = await runtime.call(payload)
        async with flow.open(window=window, observers=[Books()]) as runtime:
            told = await runtime.call(payload)
        assert given == told or sorted(map(repr, given)) == sorted(map(repr, told))


@pytest.mark.parametrize("order", [True, False])
async def test_calls_are_parts_of_the_run(order: bool) -> None:
    """Each call is a part with its own steps, which names the step that calls; also inside calls."""

    @node
    async def inner(i: int, ctx: Context) -> int:
        return int(await ctx.call(Flow("deep", count >> total), i))

    @node(ordered=order, concurrency=4)
    async def outer(i: int, ctx: Context) -> int:
        first: list[int] = await ctx.map(lambda n: ctx.call(inner, n), [i, i + 1])
        return sum(first)

    books = await watched(Flow("f", count >> outer), 3)
    started = books.of("RunStarted")
    assert {event.run_id for event in started} == {started[0].run_id}
    assert [event.part for event in started] == list(range(13))
    assert sum(event.flow == "inner" for event in started) == 6
    steps = {(event.part, event.step): event.node for event in books.of("StepStarted")}
    for event in started[1:]:
        assert steps[event.caller] == {"inner": "outer", "deep": "inner"}[event.flow]


async def test_a_call_that_is_cancelled_ends_inside_of_its_caller() -> None:
    """The parts of a run are over before the steps that called them."""

    @node
    async def sleeps(i: int) -> int:
        await anyio.sleep_forever()
        return i

    @node
    async def calls(i: int, ctx: Context) -> int:
        with anyio.move_on_after(0.02):
            await ctx.call(sleeps, i)
        return int(await ctx.call(sleeps, i))

    books = await watched(Flow("f", calls), 1, anything, deadline=0.1)
    assert [(event.part, event.status) for event in books.of("RunEnded")] == [
        (1, "cancelled"),
        (2, "expired"),
        (0, "expired"),
    ]


async def test_sources_sessions_and_streams_that_come_in() -> None:
    """What comes from outside is a stream of no step; a source is a step of a run of its own."""
    ticked = anyio.Event()

    @source
    async def ticks() -> AsyncIterator[int]:
        for i in range(3):
            yield i
        ticked.set()

    books = Books()
    async with Flow("f", ticks >> hop).open(observers=[books]) as runtime:
        await ticked.wait()
        await runtime.drain(5)
    assert books.left() == []
    assert {event.node: event.outcome for event in books.of("StepEnded")} == {"ticks": "done", "hop": "done"}
    books = await watched(Flow("f", echo), numbers(4))
    assert next((event.node, event.step) for event in books.of("StreamOpened")) == ("input", 0)
    books = Books()
    async with Flow("f", echo).open(observers=[books], window=1) as runtime, runtime.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.result)
            for i in range(3):
                await session.send(i)
            await session.end_input()
    assert books.left() == []
    assert {event.chunks for event in books.of("StreamEnded")} == {3}


@pytest.mark.parametrize("when", range(0, 40, 3))
async def test_a_pause_at_any_time_changes_nothing(when: int) -> None:
    """Times add up across it, and nothing is told twice."""

    async def read(run: Any) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.result)
            for _ in range(when):
                await anyio.lowlevel.checkpoint()
            await run.control("pause")
            await anyio.sleep(0.005)
            await run.control("resume")

    flow = Flow("f", count >> hop >> plain >> named("it", retry=Retry(attempts=2)) >> echo >> total)
    books = await watched(flow, 8, read, window=2)
    assert books.of("RunEnded")[0].status == "done"
