"""Part 3 of the rules: runs."""

import asyncio
import contextvars
import itertools
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from penguiflow import (
    Context,
    DeadlineExceeded,
    Flow,
    FlowError,
    Retry,
    RunCancelled,
    Spread,
    StepError,
    StepTimeout,
    Stream,
    StreamEnded,
    edge,
    node,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def parts(n: int) -> Spread[int]:
    """Spread 0 to n - 1."""
    return Spread(range(n))


# 3.1 ----------------------------------------------------------------------------------------------------


async def test_rule_3_1_context_variables_of_one_run_are_never_seen_by_another() -> None:
    """Every step of ten runs through shared nodes sees the value of the place that started its run."""
    wrong: list[tuple[str, str]] = []

    @node(concurrency=2)
    async def look(i: int, ctx: Context) -> int:
        before = WHO.get()
        await anyio.sleep(0)
        if not before == WHO.get() == ctx.run_id:
            wrong.append((ctx.run_id, WHO.get()))
        return i

    @node
    def glance(i: int, ctx: Context) -> int:
        if WHO.get() != ctx.run_id:
            wrong.append((ctx.run_id, WHO.get()))
        return i

    async def call(runtime, name: str) -> None:
        WHO.set(name)
        assert await runtime.call(20, run_id=name) == list(range(20))

    async with Flow("f", count >> look >> glance).open() as runtime, anyio.create_task_group() as tasks:
        for i in range(10):
            tasks.start_soon(call, runtime, f"run{i}")
    assert wrong == []


async def test_rule_3_1_a_variable_set_in_a_step_stays_in_its_run() -> None:
    """What a step sets is seen by no other run and not by the caller."""
    seen: list[str] = []

    @node
    async def mark(text: str) -> str:
        seen.append(WHO.get())
        WHO.set(text)
        return text

    async with Flow("f", mark).open() as runtime:
        for text in ("a", "b", "c"):
            await runtime.call(text)
            assert WHO.get() == "nobody"
    assert seen == ["nobody"] * 3


async def test_rule_3_1_an_error_stays_in_its_run() -> None:
    """Twenty runs at once through the same nodes: the odd ones fail, the even ones don't notice."""

    @node(concurrency=2)
    async def picky(i: int) -> int:
        await anyio.sleep(0)
        if i % 2:
            raise ValueError(i)
        return i

    outcomes: dict[int, object] = {}

    async def call(runtime, i: int) -> None:
        try:
            outcomes[i] = await runtime.call(i)
        except StepError as error:
            outcomes[i] = error.__cause__.args

    async with Flow("f", picky).open() as runtime, anyio.create_task_group() as tasks:
        for i in range(20):
            tasks.start_soon(call, runtime, i)
    assert outcomes == {i: (i,) if i % 2 else i for i in range(20)}


async def test_rule_3_1_a_cancellation_stays_in_its_run(quiet) -> None:
    """Cancelling runs that are suspended in shared nodes leaves their neighbours alone."""
    go = anyio.Event()

    @node
    async def waits(i: int) -> int:
        await go.wait()
        return i

    async with Flow("f", waits).open() as runtime:
        runs = [await runtime.start(i) for i in range(10)]
        await quiet()
        for run in runs[::2]:
            await run.cancel()
        go.set()
        assert [await run.result() for run in runs[1::2]] == [1, 3, 5, 7, 9]


async def test_rule_3_1_items_of_concurrent_runs_do_not_mix() -> None:
    """Each of twenty runs gets exactly its own items, through nodes of one place and edges of one."""

    @node(concurrency=1)
    async def tag(i: int, ctx: Context) -> tuple[str, int]:
        await anyio.sleep(0)
        return ctx.run_id, i

    got: dict[str, list[object]] = {}

    async def call(runtime, name: str) -> None:
        async with runtime.run(10, run_id=name) as run:
            got[name] = [(item.run_id, item.payload) async for item in run]

    flow = Flow("f", count >> edge(capacity=1) >> tag)
    async with flow.open(window=2) as runtime, anyio.create_task_group() as tasks:
        for i in range(20):
            tasks.start_soon(call, runtime, f"r{i}")
    assert got == {f"r{i}": [(f"r{i}", (f"r{i}", k)) for k in range(10)] for i in range(20)}


async def test_rule_3_1_a_single_message_is_served_within_one_round(quiet) -> None:
    """Beside a run with 10,000 queued messages another run's message comes next, not last."""
    order: list[str] = []
    go = anyio.Event()

    @node(concurrency=1)
    async def work(i: int, ctx: Context) -> None:
        await go.wait()
        order.append(ctx.run_id)
        await anyio.sleep(0)

    flow = Flow("f", parts >> edge(capacity=20_000) >> work)
    async with flow.open(window=20_000) as runtime:
        many = await runtime.start(10_000, run_id="many")
        await quiet()
        (road,) = [e for e in runtime.statistics().edges if e.target.endswith("work")]
        assert road.waiting == 9_999
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.call, 1)
            await quiet()
            go.set()
        assert [run_id == "many" for run_id in order].index(False) <= 2
        await many.cancel()


async def test_rule_3_1_a_single_chunk_is_served_within_one_round(quiet) -> None:
    """Places go round between streams too: a short stream is not behind a long one."""
    order: list[str] = []
    go = anyio.Event()

    @node(concurrency=1)
    async def work(i: int, ctx: Context) -> None:
        await go.wait()
        order.append(ctx.run_id)
        await anyio.sleep(0)

    flow = Flow("f", count >> edge(capacity=500) >> work)
    async with flow.open(window=500) as runtime:
        many = await runtime.start(500, run_id="many")
        await quiet()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.call, 1)
            await quiet()
            go.set()
        assert [run_id == "many" for run_id in order].index(False) <= 2
        await many.cancel()


# 3.2 ----------------------------------------------------------------------------------------------------


class Endless:
    """An endless source that notes what it gave and that its cleanup is over."""

    def __init__(self) -> None:
        self.given = 0
        self.ended = False

        @node
        async def endless(n: int) -> AsyncIterator[int]:
            try:
                for i in itertools.count():
                    self.given += 1
                    yield i
                    if n:
                        await anyio.sleep(0)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.01)
                self.ended = True

        self.node = endless


@pytest.mark.parametrize("suspends", [0, 1])
async def test_rule_3_2_break_stops_the_producer_before_the_scope_is_left(suspends: int) -> None:
    """After the first of many chunks: the producer stops within its window, and has ended when we go on."""
    endless = Endless()
    async with Flow("f", endless.node).open(window=8) as runtime:
        async with runtime.run(suspends) as run:
            async for _ in run:
                break
        assert (endless.ended, endless.given <= 10) == (True, True)
        given = endless.given
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert endless.given == given


async def test_rule_3_2_flow_stream_stops_the_producer_too() -> None:
    """The script's way of reading a flow gives the same promise."""
    endless = Endless()
    async with Flow("f", endless.node).stream(0) as chunks:
        async for _ in chunks:
            break
    assert endless.ended


async def test_rule_3_2_an_exception_in_the_scope_comes_out_as_it_is() -> None:
    """What the reader raises leaves the scope unchanged, after the run's work has ended."""
    endless = Endless()
    async with Flow("f", endless.node).open() as runtime:
        with pytest.raises(KeyError, match="reader"):
            async with runtime.run(0) as run:
                async for _ in run:
                    raise KeyError("reader")
        assert endless.ended


async def test_rule_3_2_cancelling_the_reader_cancels_the_run(quiet) -> None:
    """When the task that reads is cancelled, the run's work has ended before the task has."""
    endless = Endless()
    ended: list[bool] = []

    async def read(runtime) -> None:
        try:
            async with runtime.run(0) as run:
                async for _ in run:
                    await anyio.sleep_forever()
        finally:
            ended.append(endless.ended)

    async with Flow("f", endless.node).open() as runtime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, runtime)
            await quiet()
            tasks.cancel_scope.cancel()
    assert ended == [True]


async def test_rule_3_2_cancelling_call_cancels_the_run(in_flight, at_rest) -> None:
    """A cancelled `call` leaves nothing behind."""
    endless = Endless()

    @node
    async def total(stream: Stream[int]) -> int:
        return len([i async for i in stream])

    async with Flow("f", endless.node >> total).open() as runtime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.call, 1)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert (endless.ended, endless.given > 0) == (True, True)
        assert in_flight(runtime) == at_rest


async def test_rule_3_2_leaving_the_runtime_ends_its_runs(quiet) -> None:
    """Leaving `open()` aborts what still runs, and returns when it has ended."""
    endless = Endless()
    async with Flow("f", endless.node).open(window=3) as runtime:
        await runtime.start(0)
        await quiet()
    assert endless.ended


@pytest.mark.virtual_time
async def test_rule_3_2_a_message_that_waits_for_room_does_not_delay_a_cancel(quiet) -> None:
    """Its step has nothing to clean up: the run is over at once, not after the cleanup timeout."""

    @node
    async def hop(i: int) -> int:
        return i

    @node(concurrency=1)
    async def stuck(i: int) -> int:
        await anyio.sleep(1000)
        return i

    flow = Flow("f", parts >> hop >> edge(capacity=1) >> stuck)
    async with flow.open(cleanup_timeout=0.5) as runtime:
        await runtime.start(1)  # has the place
        await quiet()
        run = await runtime.start(2)
        await quiet()
        began = anyio.current_time()
        await run.cancel()
        assert anyio.current_time() - began < 0.4


@pytest.mark.parametrize("form", ["return", "yield", "stream"])
async def test_rule_3_2_cleanup_of_a_cancelled_step_may_wait(form: str, quiet) -> None:
    """Plain cleanup code that awaits is carried through, in a step of any form, on every event loop."""
    cleaned: list[str] = []

    async def clean() -> None:
        for _ in range(3):
            await anyio.sleep(0.01)
        cleaned.append(form)

    @node
    async def returning(n: int) -> int:
        try:
            await anyio.sleep_forever()
        finally:
            await clean()
        return n

    @node
    async def yielding(n: int) -> AsyncIterator[int]:
        try:
            yield n
            await anyio.sleep_forever()
        finally:
            await clean()

    @node
    async def reading(stream: Stream[int]) -> int:
        try:
            return sum([i async for i in stream])
        finally:
            await clean()

    @node
    async def never_ends(n: int) -> AsyncIterator[int]:
        yield n
        await anyio.sleep_forever()

    wires = {"return": returning, "yield": yielding, "stream": never_ends >> reading}
    async with Flow("f", wires[form]).open() as runtime, runtime.run(1):
        await quiet()
    assert cleaned == [form]


async def test_rule_3_2_cleanup_of_a_generator_that_sleeps_at_its_yield_may_wait(quiet) -> None:
    """A generator that waits for credit at its `yield` when its run is left may await in its `finally`."""
    cleaned: list[int] = []

    @node
    async def talk(n: int) -> AsyncIterator[int]:
        try:
            for i in itertools.count():
                yield i
        finally:
            await anyio.sleep(0.01)
            cleaned.append(n)

    async with Flow("f", talk).open(window=2) as runtime, runtime.run(7):
        await quiet()
    assert cleaned == [7]


@pytest.mark.virtual_time
async def test_rule_3_2_cleanup_takes_at_most_the_cleanup_timeout(quiet) -> None:
    """A cleanup that never ends is cut off after `cleanup_timeout`."""

    @node
    async def stubborn(n: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            await anyio.sleep_forever()

    async with Flow("f", stubborn).open(cleanup_timeout=0.1) as runtime:
        run = await runtime.start(0)
        await quiet()
        begun = anyio.current_time()
        await run.cancel()
        assert anyio.current_time() - begun < 1
        assert runtime.statistics().places_taken == 0


# 3.3 ----------------------------------------------------------------------------------------------------


@node
async def two_then_fail(n: int) -> AsyncIterator[int]:
    """Yield 0 and 1, then fail."""
    yield 0
    yield 1
    raise ValueError("broken")


@node
async def same(i: int) -> int:
    """Hand on."""
    return i


@node
def inline(i: int) -> int:
    """Hand on, inline."""
    return i


@pytest.mark.parametrize("hops", [[], [same], [inline], [same, inline]], ids=["0", "async", "def", "both"])
async def test_rule_3_3_what_was_emitted_before_goes_first(hops) -> None:
    """The reader gets every chunk that was emitted, then the error, as one `StepError` with its cause."""
    wire = two_then_fail
    for hop in hops:
        wire = wire >> hop
    seen: list[int] = []
    async with Flow("f", wire).open(window=1) as runtime, runtime.run(0) as run:
        with pytest.raises(StepError) as caught:
            async for chunk in run:
                seen.append(chunk.payload)  # noqa: PERF401 - keeps what came before the error
        assert run.status == "failed"
    assert seen == [0, 1]
    assert (type(caught.value.__cause__), caught.value.node) == (ValueError, "two_then_fail")


async def test_rule_3_3_a_stream_step_gets_the_error_raised() -> None:
    """The error arrives in band: after the chunks, in the `async for` of the step that takes the stream."""
    seen: list[object] = []

    @node
    async def whole(stream: Stream[int]) -> str:
        try:
            async for i in stream:
                seen.append(i)  # noqa: PERF401 - keeps what came before the error
        except StepError as error:
            seen.append(type(error.__cause__))
            raise
        return "not reached"

    with pytest.raises(StepError) as caught:
        await Flow("f", two_then_fail >> whole).call(0)
    assert seen == [0, 1, ValueError]
    assert caught.value.node == "two_then_fail"


async def test_rule_3_3_a_failed_step_cancels_the_rest_of_its_run() -> None:
    """A step without an open stream fails its run at once; a sibling that would never end is cancelled."""
    cancelled: list[bool] = []

    @node
    async def waits(n: int) -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled.append(True)
            raise

    @node
    async def fails(n: int) -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError("broken")

    with pytest.raises(StepError):
        await Flow("f", same >> [waits, fails]).call(0)
    assert cancelled == [True]


async def test_rule_3_3_the_error_says_where() -> None:
    """Run, node, stream, seq and attempt are in the error and in its text."""

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def picky(i: int) -> int:
        if i == 3:
            raise ValueError("three")
        return i

    async with Flow("f", count >> picky).open() as runtime, runtime.run(5, run_id="my-run") as run:
        chunks = []
        with pytest.raises(StepError) as caught:
            async for chunk in run:
                chunks.append(chunk)  # noqa: PERF401 - keeps what came before the error
    error = caught.value
    assert (error.run_id, error.node, error.seq, error.attempt) == ("my-run", "picky", 3, 2)
    assert error.stream_id == chunks[0].stream_id
    assert [part in str(error) for part in ("my-run", "picky", "three")] == [True] * 3


async def test_rule_3_3_never_in_an_exception_group_never_twice() -> None:
    """Three branches that fail at once give one `StepError`; its text is not wrapped again on the way."""

    def failing(name: str):
        async def fail(n: int) -> None:
            raise ValueError(name)

        return node(fail, name=name)

    inner = Flow("inner", same >> [failing("a"), failing("b"), failing("c")])
    with pytest.raises(StepError) as caught:
        await Flow("outer", inner).call(0)
    assert (type(caught.value), type(caught.value.__cause__)) == (StepError, ValueError)
    assert caught.value.__cause__.args[0] in ("a", "b", "c")


async def test_rule_3_3_the_users_exception_group_is_the_cause() -> None:
    """A node that raises a group itself gets it back as the cause, whole."""

    @node
    async def grouped(n: int) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(failing)

    async def failing() -> None:
        raise ValueError("inside")

    with pytest.raises(StepError) as caught:
        await Flow("f", grouped).call(0)
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert [type(error) for error in cause.exceptions] == [ValueError]


async def test_rule_3_3_leaving_the_scope_raises_nothing_reading_does(quiet) -> None:
    """A run that failed and is not read leaves silently; `result` and iterating raise its error."""
    async with Flow("f", two_then_fail).open() as runtime:
        async with runtime.run(0) as run:
            with pytest.raises(StepError):
                await run.result()
        async with runtime.run(0) as unread:
            await quiet()
            assert unread.statistics().read is False


async def test_rule_3_3_an_on_error_edge_takes_the_failure() -> None:
    """The handler gets the `StepError`; the run goes on, its reader sees no error, `events()` tells."""

    @node
    async def fails(i: int) -> int:
        if i == 2:
            raise ValueError("two")
        return i

    @node
    async def handle(error: StepError) -> str:
        return f"handled {error.__cause__}"

    flow = Flow("f", parts >> fails, fails >> edge(on_error=True) >> handle)
    async with flow.open() as runtime, runtime.run(4) as run:
        payloads = [item.payload async for item in run]
        assert run.status == "done"
    assert sorted(map(str, payloads)) == ["0", "1", "3", "handled two"]


async def test_rule_3_3_a_handled_failure_ends_its_streams_with_error() -> None:
    """The failed step's stream ends with error for `events()`; what it gave before is delivered."""

    @node
    async def handle(error: StepError) -> str:
        return "handled"

    flow = Flow("f", two_then_fail, two_then_fail >> edge(on_error=True) >> handle)
    async with flow.open() as runtime, runtime.run(0) as run:
        events = [event async for event in run.events()]
    ended = [(e.node, e.terminal, e.chunks) for e in events if isinstance(e, StreamEnded)]
    assert ended == [("two_then_fail", "error", 2)]
    assert [type(e.error) for e in events if isinstance(e, StreamEnded)] == [StepError]
    assert sorted(str(e.payload) for e in events if hasattr(e, "payload")) == ["0", "1", "handled"]


async def test_rule_3_3_no_call_waits_for_ever_because_something_else_failed(in_flight, at_rest) -> None:
    """Senders, joins, gathers and folds beside a failing branch are released: each call ends by the error."""

    @node
    async def fails(i: int) -> int:
        raise ValueError(i)

    @node
    async def both(same: int, fails: int) -> int:
        return same + fails

    @node
    async def total(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    for flow in (
        Flow("join", parts >> [same, fails] >> both),
        Flow("fold", count >> [same, fails] >> total),
        Flow("chunks", count >> [same, fails] >> both),
    ):
        async with flow.open(window=1) as runtime:
            with pytest.raises(StepError):
                await runtime.call(100)
            assert in_flight(runtime) == at_rest


async def test_rule_3_3_a_session_that_failed_releases_its_sender() -> None:
    """`send` to a run that has failed raises; it does not wait for credit that never comes."""

    @node
    async def fails(i: int) -> int:
        raise ValueError("broken")

    async with Flow("f", fails).open(window=1) as runtime, runtime.session() as session:
        with pytest.raises(FlowError):
            for i in itertools.count():
                await session.send(i)
        with pytest.raises(StepError):
            await session.result()


async def test_rule_3_3_an_error_that_is_taken_hides_none_that_is_not() -> None:
    """Two branches of a stream fail before they meet: only the error that no edge takes comes out."""
    gate = anyio.Event()

    @node
    async def early(x: int) -> int:
        raise ValueError("taken")

    @node
    async def late(x: int) -> int:
        await gate.wait()
        raise ValueError("not taken")

    @node
    async def cure(error: StepError) -> str:
        gate.set()
        return "cured"

    @node
    async def meet(x: int) -> int:
        return x

    flow = Flow("meeting", count >> [early, late] >> meet, early >> edge(on_error=True) >> cure)
    async with flow.open() as runtime:
        with pytest.raises(StepError, match="not taken"):
            await runtime.call(1)


async def test_rule_3_3_an_error_of_the_input_stream_comes_out() -> None:
    """When the async iterable given as input raises, the run fails with it as the cause."""

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("input")

    seen: list[int] = []
    async with Flow("f", same).open() as runtime, runtime.run(broken()) as run:
        with pytest.raises(Exception, match="input") as caught:
            async for chunk in run:
                seen.append(chunk.payload)  # noqa: PERF401 - keeps what came before the error
    assert seen == [1]
    assert type(caught.value.__cause__ or caught.value) is ValueError


# 3.4 ----------------------------------------------------------------------------------------------------


async def test_rule_3_4_a_run_ends_when_all_that_descends_is_settled() -> None:
    """The end waits for the slowest branch, though nothing of it is delivered; then nobody has to say so."""
    log: list[str] = []
    go = anyio.Event()

    @node
    async def fast(n: int) -> str:
        log.append("fast")
        return "fast"

    @node
    async def slow(n: int) -> None:
        await go.wait()
        log.append("slow")

    async with Flow("f", same >> [fast, slow]).open() as runtime, runtime.run(0) as run:
        async for item in run:
            log.append(f"read {item.payload}")
            assert run.status == "running"
            go.set()
        assert run.status == "done"
    assert log == ["fast", "read fast", "slow"]


async def test_rule_3_4_a_filtered_input_ends_its_run() -> None:
    """A run whose input was filtered away is over: its result is `None`."""

    @node
    async def never(n: int) -> int | None:
        return None

    async with Flow("f", never >> same).open() as runtime:
        assert await runtime.call(1) is None
        assert runtime.statistics().done == 1


async def test_rule_3_4_a_loop_ends_its_run_when_nothing_goes_round() -> None:
    """A run with a feedback edge ends by itself too."""

    @node
    async def turn(n: int) -> int | None:
        return n - 1 if n > 0 else None

    assert await Flow("f", turn >> edge(feedback=True) >> turn).call(50) is None


# 3.5 ----------------------------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_rule_3_5_a_deadline_is_enforced_while_a_node_runs(in_flight, at_rest) -> None:
    """A sleeping node is cancelled when the run expires; the reader gets `DeadlineExceeded`."""
    cancelled: list[bool] = []

    @node
    async def sleeps(n: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(True)

    async with Flow("f", sleeps).open() as runtime:
        with pytest.raises(DeadlineExceeded):
            await runtime.call(0, deadline=0.05)
        assert cancelled == [True]
        assert (runtime.statistics().expired, in_flight(runtime)) == (1, at_rest)


@pytest.mark.virtual_time
@pytest.mark.parametrize("what", ["credit", "input", "place"])
async def test_rule_3_5_every_kind_of_waiting_counts_against_the_deadline(what: str, quiet) -> None:
    """A run that waits for its reader's credit, its input or a place expires as well."""

    @node
    async def talk(n: int) -> AsyncIterator[int]:
        for i in range(100):
            yield i

    @node(concurrency=1)
    async def holds(n: int) -> None:
        await anyio.sleep_forever()

    wires = {"credit": talk, "input": same, "place": holds}
    async with Flow("f", wires[what]).open(window=1) as runtime:
        if what == "place":
            await runtime.start(0)
            await quiet()
        options = {"deadline": 0.05}
        async with runtime.session(**options) if what == "input" else runtime.run(0, **options) as run:
            await anyio.sleep(0.2)
            assert run.status == "expired"
            with pytest.raises(DeadlineExceeded):
                await run.result()


@pytest.mark.virtual_time
async def test_rule_3_5_waiting_for_credit_is_not_the_nodes_time() -> None:
    """A node whose reader is slower than the node's timeout does not time out."""

    @node(timeout=0.3, idle_timeout=0.3, first_chunk_timeout=0.3)
    async def talk(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    async with Flow("f", talk).open(window=1) as runtime, runtime.run(4) as run:
        seen = []
        async for chunk in run:
            seen.append(chunk.payload)
            await anyio.sleep(0.2)
    assert seen == [0, 1, 2, 3]


@pytest.mark.virtual_time
async def test_rule_3_5_waiting_for_input_and_a_place_is_not_the_nodes_time() -> None:
    """Neither a slow input stream nor a taken place uses up a step's timeout."""

    @node
    async def slowly(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await anyio.sleep(0.2)
            yield i

    @node(timeout=0.3, concurrency=1)
    async def total(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    @node(timeout=0.4, concurrency=1)
    async def works(n: int) -> int:
        await anyio.sleep(0.15)
        return n

    assert await Flow("input", slowly >> total).call(3) == 3
    assert await Flow("place", parts >> works).call(4) == [0, 1, 2, 3]


@pytest.mark.virtual_time
async def test_rule_3_5_time_at_work_is_the_nodes_time() -> None:
    """A step's own waiting adds up over its chunks, and the timeout is per attempt."""
    attempts: list[int] = []

    @node(timeout=0.3, retry=Retry(attempts=2, backoff=0, jitter=0))
    async def slow(n: int, ctx: Context) -> AsyncIterator[int]:
        attempts.append(ctx.attempt)
        for i in range(n):
            await anyio.sleep(0.1)
            yield i

    with pytest.raises(StepTimeout):
        await Flow("f", slow).call(10)
    assert attempts == [1, 2]
    assert await Flow("f", slow).call(1) == [0]


async def test_rule_3_5_a_step_that_was_paused_has_its_time_limit_again(quiet) -> None:
    """The clock that stands still while the run is paused goes on when it is resumed."""

    @node(timeout=0.05)
    async def sleepy(n: int) -> int:
        await anyio.sleep(3)
        return n

    async with Flow("f", sleepy).open() as runtime, runtime.run(1) as run:
        await quiet()
        await run.control("pause")
        await anyio.sleep(0.1)
        await run.control("resume")
        with pytest.raises(StepTimeout):
            await run.result()


# 3.6 ----------------------------------------------------------------------------------------------------


async def test_rule_3_6_a_cancelled_error_of_the_nodes_own_is_its_error(anyio_backend_name: str) -> None:
    """A node that lets its own cancellation escape fails like any other; the worker lives on."""

    @node
    async def careless(n: int) -> int:
        if n and anyio_backend_name == "asyncio":
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task
        elif n:
            raise ValueError("trio has no such error of one's own")
        return n

    async with Flow("f", careless).open() as runtime:
        for _ in range(40):  # more often than there are places
            with pytest.raises(StepError) as caught:
                await runtime.call(1)
            expected = asyncio.CancelledError if anyio_backend_name == "asyncio" else ValueError
            assert type(caught.value.__cause__) is expected
        assert await runtime.call(0) == 0
        assert runtime.statistics().failed == 40


async def test_rule_3_6_a_nodes_own_cancel_scope_works_as_usual() -> None:
    """A timeout that a node sets and catches itself is its own business, in a generator too."""

    @node
    async def patient(n: int) -> str:
        with anyio.move_on_after(0) as scope:
            await anyio.sleep_forever()
        return f"moved on {scope.cancelled_caught}"

    @node
    async def shout(stream: Stream[str]) -> AsyncIterator[str]:
        with anyio.move_on_after(0):
            await anyio.sleep_forever()
        async for text in stream:
            yield text

    @node
    async def talk(text: str) -> AsyncIterator[str]:
        with anyio.CancelScope() as scope:
            yield text
            scope.cancel()
            await anyio.lowlevel.checkpoint()
        yield "after"

    assert await Flow("f", patient >> talk >> shout).call(0) == ["moved on True", "after"]


# 3.7 ----------------------------------------------------------------------------------------------------


async def test_rule_3_7_once_per_input_and_attempt() -> None:
    """Every node of a branching flow is invoked exactly once for each of its inputs."""
    calls: dict[str, list[int]] = {}

    def counted(name: str):
        async def work(i: int) -> int:
            calls.setdefault(name, []).append(i)
            await anyio.sleep(0)
            return i

        return node(work, name=name, concurrency=3)

    @node
    async def both(b: int, c: int) -> int:
        calls.setdefault("both", []).append(b)
        return b

    flow = Flow("f", parts >> counted("a") >> [counted("b"), counted("c")] >> both)
    async with flow.open(window=3) as runtime:
        await runtime.call(20)
    assert {name: sorted(inputs) for name, inputs in calls.items()} == {
        name: list(range(20)) for name in ("a", "b", "c", "both")
    }


async def test_rule_3_7_one_invocation_for_each_attempt() -> None:
    """A retried step is invoked as often as it has attempts, each once; its successors once."""
    calls: list[tuple[str, int, int]] = []

    @node(retry=Retry(attempts=3, backoff=0, jitter=0))
    async def shaky(i: int, ctx: Context) -> int:
        calls.append(("shaky", i, ctx.attempt))
        if i == 1 and ctx.attempt < 3:
            raise ValueError("again")
        return i

    @node
    async def after(i: int, ctx: Context) -> int:
        calls.append(("after", i, ctx.attempt))
        return i

    await Flow("f", count >> shaky >> after).call(3)
    assert [c for c in calls if c[0] == "shaky"] == [
        ("shaky", 0, 1),
        ("shaky", 1, 1),
        ("shaky", 1, 2),
        ("shaky", 1, 3),
        ("shaky", 2, 1),
    ]
    assert [c[1] for c in calls if c[0] == "after"] == [0, 1, 2]


# 3.8 ----------------------------------------------------------------------------------------------------


async def test_rule_3_8_cancelling_twice_is_like_once(quiet) -> None:
    """A second cancel, also one at the same time or after the end, does nothing and raises nothing."""
    endless = Endless()
    async with Flow("f", endless.node).open() as runtime:
        run = await runtime.start(0)
        await quiet()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.cancel)
            tasks.start_soon(run.cancel)
        await run.cancel("again")
        assert (run.status, endless.ended) == ("cancelled", True)
        assert runtime.statistics().cancelled == 1


async def test_rule_3_8_after_cancel_nothing_more_is_delivered(quiet) -> None:
    """What waited for the reader when the run was cancelled is gone; reading raises `RunCancelled`."""
    async with Flow("f", count).open(window=10) as runtime:
        async with runtime.run(100) as run:
            items = aiter(run)
            await anext(items)
            await quiet()
            await run.cancel("enough")
            with pytest.raises(RunCancelled, match="enough"):
                await anext(items)
        detached = await runtime.start(100)
        await quiet()
        await detached.cancel()
        with pytest.raises(RunCancelled):
            await detached.result()


async def test_rule_3_8_a_reader_that_waits_is_woken_by_cancel(quiet) -> None:
    """Whoever is reading when the run is cancelled gets `RunCancelled` at once."""
    outcomes: list[type] = []

    @node
    async def silent(n: int) -> AsyncIterator[int]:
        await anyio.sleep_forever()
        yield n

    async def read(run) -> None:
        try:
            await run.result()
        except RunCancelled as error:
            outcomes.append(type(error))

    async with Flow("f", silent).open() as runtime:
        run = await runtime.start(0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, run)
            await quiet()
            await run.cancel()
    assert outcomes == [RunCancelled]


async def test_rule_3_8_cancelling_a_finished_run_changes_nothing() -> None:
    """A run that is done stays done, and keeps its result."""
    async with Flow("f", same).open() as runtime:
        run = await runtime.start(7)
        assert await run.result() == 7
        await run.cancel()
        assert (run.status, await run.result()) == ("done", 7)


# 3.9 ----------------------------------------------------------------------------------------------------


async def test_rule_3_9_a_run_may_be_entered_read_and_left_in_different_tasks() -> None:
    """A run's scopes live in the runtime's tasks: entering, reading and leaving need not be one task."""
    endless = Endless()
    seen: list[int] = []

    async with Flow("f", endless.node).open() as runtime:
        scope = runtime.run(0)
        box: list[object] = []

        async def enter() -> None:
            box.append(await scope.__aenter__())

        async def read() -> None:
            items = aiter(box[0])
            seen.extend([(await anext(items)).payload, (await anext(items)).payload])

        async def leave() -> None:
            await scope.__aexit__(None, None, None)

        for act in (enter, read, leave):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(act)
    assert (seen, endless.ended) == ([0, 1], True)


async def test_rule_3_9_a_readers_iterator_may_be_closed_in_another_task() -> None:
    """Closing the iterator of a run from another task raises nothing ("exit cancel scope in …")."""
    async with Flow("f", count).open() as runtime, runtime.run(10) as run:
        items = aiter(run)
        assert (await anext(items)).payload == 0

        async def close() -> None:
            if hasattr(items, "aclose"):
                await items.aclose()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close)


async def test_rule_3_9_reading_leaves_the_readers_context_variables_alone() -> None:
    """No context variable of ours or of a step is set between two items of a reader."""

    @node
    async def talk(n: int) -> AsyncIterator[int]:
        for i in range(n):
            WHO.set(f"step {i}")
            yield i

    token = WHO.set("reader")
    before = dict(contextvars.copy_context())
    async with Flow("f", talk).stream(3) as chunks:
        async for _ in chunks:
            assert dict(contextvars.copy_context()) == before
    WHO.reset(token)


@pytest.mark.parametrize("end", ["exhausted", "break", "early return", "cancel", "retry"])
async def test_rule_3_9_a_users_generator_is_driven_by_one_task(end: str) -> None:
    """From its first step to the end of its `finally` a generator lives in one task, however it ends."""
    tasks: list[set[int]] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0) if end == "retry" else None)
    async def talk(n: int, ctx: Context) -> AsyncIterator[int]:
        own = {anyio.get_current_task().id}
        tasks.append(own)
        try:
            with anyio.CancelScope():  # breaks if another task closes the generator
                for i in range(n):
                    own.add(anyio.get_current_task().id)
                    yield i
                    own.add(anyio.get_current_task().id)
                    await anyio.sleep(0)
                    if end == "retry" and ctx.attempt == 1:
                        raise ValueError("again")
        finally:
            own.add(anyio.get_current_task().id)

    @node
    async def first(stream: Stream[int]) -> int:
        return await anext(aiter(stream))

    flow = Flow("f", talk >> first if end == "early return" else talk)
    async with flow.open(window=2) as runtime, runtime.run(10) as run:
        async for _ in run:
            if end == "break":
                break
            if end == "cancel":
                await run.cancel()
                break
    assert [len(own) for own in tasks] == [1] * (2 if end == "retry" else 1)
