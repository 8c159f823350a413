"""The contract of running: results, options, sessions, detached runs, statistics, drain and abort."""

from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

import penguiflow
from penguiflow import (
    Chunk,
    Context,
    DeadlineExceeded,
    Flow,
    Headers,
    Message,
    Retry,
    RunCancelled,
    RunRejected,
    Spread,
    StepError,
    Stream,
    StreamEnded,
    StreamOpened,
    edge,
    node,
    source,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def parts(n: int) -> Spread[int]:
    """Spread 0 to n - 1."""
    return Spread(range(n))


@node
async def plus(n: int) -> int:
    """Add one."""
    return n + 1


@node
async def waits(n: int) -> int:
    """Never end."""
    await anyio.sleep_forever()
    return n


# names --------------------------------------------------------------------------------------------------


def test_every_name_of_the_contract_is_importable() -> None:
    """`__all__` has the names of the design, and `import *` gives just these."""
    expected = set(
        "Chunk Message Headers Stream Context Flow Runtime Run Retry Spread Gathered node source edge Control"
        " StreamOpened StreamEnded StreamRestarted WouldBlock ClosedResourceError EndOfStream"
        " FlowError GraphError StepError StepTimeout DeadlineExceeded RunCancelled HopLimitExceeded"
        " RunRejected StreamError StreamClosed SequenceError StreamIdle CreditError JournalError WireError"
        " LocalProtocolError RemoteProtocolError ConnectorError".split()
    )
    assert expected - set(penguiflow.__all__) == set()
    space: dict[str, object] = {}
    exec("from penguiflow import *", space)
    assert set(space) - {"__builtins__"} == set(penguiflow.__all__)


def test_a_runtime_shows_nothing_of_its_engine() -> None:
    """What has no underscore is a promise."""
    shown = {name for name in dir(penguiflow.Runtime) if not name.startswith("_")}
    names = (
        "flow run session start call runs streams statistics measures called diagnose control drain abort "
        "attach answer interrupts feed fork"
    )
    assert shown == set(names.split())


def test_errors_are_one_tree() -> None:
    """Everything the package raises by itself is a `FlowError`; the words of anyio are anyio's."""
    ours = [
        name for name in penguiflow.__all__ if name.endswith(("Error", "Exceeded", "Cancelled", "Rejected"))
    ]
    foreign = {"ClosedResourceError"}
    assert [n for n in ours if not issubclass(getattr(penguiflow, n), penguiflow.FlowError)] == list(foreign)
    assert issubclass(penguiflow.StepTimeout, penguiflow.StepError)
    assert issubclass(penguiflow.StreamIdle, penguiflow.StreamError)
    assert issubclass(penguiflow.StreamIdle, penguiflow.StepTimeout)
    assert issubclass(penguiflow.RemoteProtocolError, penguiflow.WireError)
    assert penguiflow.WouldBlock is anyio.WouldBlock
    assert penguiflow.EndOfStream is anyio.EndOfStream
    assert penguiflow.ClosedResourceError is anyio.ClosedResourceError


# results ------------------------------------------------------------------------------------------------


async def test_the_shapes_of_a_result() -> None:
    """Nothing, one message, one stream, an empty one, several of each by first arrival."""

    @node
    async def nothing(n: int) -> int | None:
        return None

    @node
    async def twice(n: int, ctx: Context) -> None:
        await ctx.emit("first")
        for i in range(n):
            await ctx.emit_chunk(i, stream_id="a")
            await ctx.emit_chunk(-i, stream_id="b")

    assert await Flow("nothing", nothing).call(1) is None
    assert await Flow("message", plus).call(1) == 2
    assert await Flow("stream", count).call(2) == [0, 1]
    assert await Flow("empty", count).call(0) == []
    assert await Flow("messages", parts >> plus).call(3) == [1, 2, 3]
    assert await Flow("streams", parts >> count).call(3) == [[], [0], [0, 1]]
    both = await Flow("both", twice).call(2)
    assert sorted(both, key=str) == [[0, -1], [0, 1], "first"]


async def test_a_message_that_is_a_list_is_not_a_stream() -> None:
    """The payload of one message comes out as it is."""

    @node
    async def listed(n: int) -> list[int]:
        return [n]

    assert await Flow("f", listed).call(1) == [1]
    assert await Flow("f", parts >> listed).call(2) == [[0], [1]]


async def test_a_result_can_be_asked_for_twice() -> None:
    """`result()` gives the same value again, and the same error again."""

    @node
    async def fails(n: int) -> int:
        raise ValueError("no")

    async with Flow("f", count).open() as runtime, runtime.run(2) as run:
        first = await run.result()
        assert (first, await run.result(), run.status) == ([0, 1], [0, 1], "done")
    async with Flow("f", fails).open() as runtime, runtime.run(2) as run:
        for _ in range(2):
            with pytest.raises(StepError):
                await run.result()


async def test_text_joins_what_was_streamed() -> None:
    """`text()` gives the chunks as one text, and the text of one message."""

    @node
    async def letters(word: str) -> AsyncIterator[str]:
        for letter in word:
            yield letter

    @node
    async def same(word: str) -> str:
        return word

    for flow in (Flow("f", letters), Flow("f", same)):
        async with flow.open() as runtime, runtime.run("penguin") as run:
            assert await run.text() == "penguin"


async def test_events_are_items_and_what_happens_around_them() -> None:
    """`events()` gives messages and chunks and the opening and end of the exits' streams."""
    async with Flow("f", count >> plus).open() as runtime, runtime.run(1, meta={"k": 1}) as run:
        opened, chunk, ended = [event async for event in run.events()]
    assert [type(opened), type(chunk), type(ended)] == [StreamOpened, Chunk, StreamEnded]
    assert (opened.run_id, opened.node, opened.path, opened.attempt) == (run.id, "plus", ("plus",), 1)
    assert (opened.stream_id, opened.meta, opened.headers) == (chunk.stream_id, {"k": 1}, Headers())
    assert (ended.stream_id, ended.terminal, ended.error, ended.chunks) == (chunk.stream_id, "done", None, 1)
    async with Flow("f", plus).open() as runtime, runtime.run(1) as run:
        assert [type(event) async for event in run.events()] == [Message]


# options ------------------------------------------------------------------------------------------------


async def test_every_way_in_takes_the_runs_options() -> None:
    """`run`, `call`, `start`, `session`, `flow.call` and `flow.stream` pass them on alike."""
    told: list[tuple[object, ...]] = []

    @node
    async def note(n: int, ctx: Context) -> None:
        left = ctx.message.deadline - anyio.current_time()
        told.append((ctx.run_id, ctx.message.headers, ctx.message.meta, 0 < left <= 60))

    options = {
        "headers": Headers(tenant="acme"),
        "meta": {"k": 1},
        "deadline": 60,
        "run_id": "mine",
        "to": "note",
    }
    flow = Flow("f", note)
    async with flow.open() as runtime:
        async with runtime.run(1, **options) as run:
            await run.result()
        await runtime.call(1, **options)
        await (await runtime.start(1, **options)).result()
        async with runtime.session(**options) as session:
            await session.send(1)
            await session.end_input()
            await session.result()
    await flow.call(1, **options)
    async with flow.stream(1, **options) as items:
        assert [item async for item in items] == []
    assert told == [("mine", Headers(tenant="acme"), {"k": 1}, True)] * 6


async def test_runs_have_their_own_ids_and_traces() -> None:
    """Without `run_id=`, each run has an id and a trace id of its own."""
    async with Flow("f", plus).open() as runtime:
        runs = [await runtime.start(1) for _ in range(20)]
        assert (len({run.id for run in runs}), len({run.trace_id for run in runs})) == (20, 20)
        assert [await run.result() for run in runs] == [2] * 20


async def test_a_thousand_runs_at_once_forty_never_read() -> None:
    """The unread ones, more than any node has places, hold their windows; all the others complete."""

    @node
    async def hop(i: int) -> int:
        return i

    results: list[list[int]] = []

    async def call(runtime) -> None:
        results.append(await runtime.call(10))

    async with Flow("f", count >> hop).open(window=4) as runtime:
        unread = [await runtime.start(100) for _ in range(40)]
        async with anyio.create_task_group() as tasks:
            for _ in range(960):
                tasks.start_soon(call, runtime)
        assert results == [list(range(10))] * 960
        held = [
            (run.status, run.statistics().waiting_for_reader, run.statistics().credit_out) for run in unread
        ]
        assert held == [("running", 4, 4)] * 40
        statistics = runtime.statistics()
        assert (statistics.runs, statistics.unread, statistics.done) == (40, 40, 960)


@pytest.mark.virtual_time
async def test_further_runs_wait_for_admission(quiet) -> None:
    """With `max_runs=`, runs are let in in their order; their deadline counts while they wait."""
    order: list[int] = []
    go = anyio.Event()

    @node
    async def note(n: int) -> int:
        order.append(n)
        await go.wait()
        return n

    async with Flow("f", note).open(max_runs=1) as runtime:
        async with anyio.create_task_group() as tasks:
            for i in range(5):
                tasks.start_soon(runtime.call, i)
                await quiet()
            assert (order, runtime.statistics().waiting_runs) == ([0], 4)
            with pytest.raises(DeadlineExceeded):
                await runtime.call(99, deadline=0.02)
            go.set()
    assert order == [0, 1, 2, 3, 4]


async def test_whoever_comes_at_the_last_moment_takes_nobodys_place() -> None:
    """A place that has become free is that of the run which waits, not of one that asks just then."""
    live: list[int] = []
    async with Flow("f", plus).open(max_runs=1) as runtime:

        async def twice() -> None:
            for _ in range(2):  # the second asks in the very turn in which the first is left
                async with runtime.session():
                    await anyio.lowlevel.checkpoint()
                    live.append(runtime.statistics().runs)

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(twice)
    assert live == [1] * 4


async def test_of_two_runs_that_wait_under_one_id_one_is_refused(quiet) -> None:
    """An id is looked up again when a run that has waited is admitted."""
    results: list[object] = []
    refused = anyio.Event()
    async with Flow("f", plus).open(max_runs=2) as runtime:

        async def call() -> None:
            try:
                async with runtime.session(run_id="same") as run:
                    results.append(run.id)
                    await refused.wait()
            except RunRejected as exc:
                results.append("'same' is in use" in str(exc))
                refused.set()

        async with anyio.create_task_group() as tasks:
            async with runtime.session(), runtime.session():
                for _ in range(2):
                    tasks.start_soon(call)
                await quiet()
                assert runtime.statistics().waiting_runs == 2
    assert results == ["same", True]


# detached runs and sessions -----------------------------------------------------------------------------


async def test_a_detached_run_works_without_a_reader(quiet) -> None:
    """`start` gives a run that goes on by itself, is told apart in the statistics, and can be read later."""
    async with Flow("f", count).open(window=3) as runtime:
        run = await runtime.start(5)
        await quiet()
        statistics = run.statistics()
        assert (statistics.detached, statistics.read, statistics.waiting_for_reader) == (True, False, 3)
        assert (runtime.statistics().unread, [r.id for r in runtime.runs()]) == (1, [run.id])
        assert [item.payload async for item in run] == [0, 1, 2, 3, 4]
        assert (run.status, runtime.runs()) == ("done", ())


async def test_a_detached_run_without_output_ends_unread(quiet) -> None:
    """Nobody has to read a run that gives nothing."""
    done: list[int] = []

    @node
    async def silent(n: int) -> None:
        done.append(n)

    async with Flow("f", silent).open() as runtime:
        run = await runtime.start(1)
        await quiet()
        assert (done, run.status) == ([1], "done")


async def test_a_session_is_a_conversation() -> None:
    """Each answer comes before the next question is asked; ending the input ends the run."""

    @node
    async def echo(word: str) -> str:
        return word.upper()

    async with Flow("f", echo).open() as runtime, runtime.session() as session:
        items = aiter(session)
        for word in ("a", "b", "c"):
            await session.send(word)
            assert (await anext(items)).payload == word.upper()
        await session.end_input()
        with pytest.raises(StopAsyncIteration):
            await anext(items)
        assert session.status == "done"


async def test_a_sessions_input_is_one_stream() -> None:
    """A step that takes the stream gets all that was sent, in order, and its end."""

    @node
    async def total(stream: Stream[int]) -> list[int]:
        return [i async for i in stream]

    async with Flow("f", total).open() as runtime, runtime.session() as session:
        for i in range(5):
            await session.send(i)
        await session.end_input()
        assert await session.result() == [0, 1, 2, 3, 4]


# statistics ---------------------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_a_session_waits_for_credit_no_longer_than_it_is_told() -> None:
    """What found no credit in time was not sent, and takes no number."""

    @node
    async def hop(i: int) -> int:
        return i

    async with Flow("f", hop).open(window=1) as runtime, runtime.session() as session:
        await session.send(0, timeout=1)
        began = anyio.current_time()
        with pytest.raises(TimeoutError):
            await session.send(1, timeout=0.02)
        assert anyio.current_time() - began > 0.019
        reader = aiter(session)
        assert (await anext(reader)).payload == 0
        assert (await session.send(2, timeout=1)).seq == 1
        await session.end_input()
        assert [chunk.payload async for chunk in reader] == [2]


async def test_a_quiet_runtime_tells_what_it_did() -> None:
    """Runs by their end, steps, retries and failures by node, deliveries by edge."""

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def shaky(n: int, ctx: Context) -> int:
        if ctx.attempt == 1 or n == 99:
            raise ValueError("shaky")
        return n

    async with Flow("f", plus >> edge(capacity=7) >> shaky).open() as runtime:
        assert await runtime.call(1) == 2
        with pytest.raises(StepError):
            await runtime.call(98)
        statistics = runtime.statistics()
    assert (statistics.flow, statistics.started, statistics.done, statistics.failed) == ("f", 2, 1, 1)
    nodes = {n.path: n for n in statistics.nodes}
    assert (nodes["plus"].steps, nodes["plus"].retries, nodes["plus"].concurrency) == (2, 0, 16)
    assert (nodes["shaky"].retries, nodes["shaky"].active, nodes["shaky"].waiting) == (2, 0, 0)
    assert nodes["shaky"].failures >= 1
    (road,) = [e for e in statistics.edges if (e.source, e.target) == ("plus", "shaky")]
    assert (road.capacity, road.offered, road.delivered, road.dropped, road.waiting) == (7, 2, 2, 0, 0)


async def test_open_streams_are_told(quiet) -> None:
    """`streams()` names each open stream with its numbers; a closed one is gone."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        async with ctx.open_stream("mine") as stream:
            for i in range(n):
                await stream.send(i)

    async with Flow("f", talk).open(window=3) as runtime, runtime.run(10) as run:
        await quiet()
        (told,) = runtime.streams()
        assert (told.run_id, told.node, told.stream_id, told.attempt) == (run.id, "talk", "mine", 1)
        assert (told.next_seq, told.window, told.credit, told.in_flight, told.terminal) == (3, 3, 0, 3, None)
        await run.result()
        assert runtime.streams() == ()


async def test_statistics_are_frozen() -> None:
    """A snapshot does not change, and can't be changed."""
    async with Flow("f", plus).open() as runtime:
        before = runtime.statistics()
        await runtime.call(1)
        assert (before.started, runtime.statistics().started) == (0, 1)
        with pytest.raises(AttributeError):
            before.started = 5


# drain and abort ----------------------------------------------------------------------------------------


async def test_drain_finishes_what_is_inside_and_refuses_what_is_new(quiet) -> None:
    """A draining runtime rejects new runs, and returns when the last one is over."""
    go = anyio.Event()
    drained: list[object] = []

    @node
    async def work(n: int) -> int:
        await go.wait()
        return n

    async with Flow("f", work).open() as runtime:
        run = await runtime.start(1)
        await quiet()

        async def drain() -> None:
            await runtime.drain()
            drained.append(run.status)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain)
            await quiet()
            assert drained == []
            with pytest.raises(RunRejected):
                await runtime.call(2)
            go.set()
            assert await run.result() == 1
    assert drained == ["done"]


async def test_drain_stops_sources() -> None:
    """An endless source is closed; what it gave is delivered; then the drain is over."""
    seen: list[int] = []
    closed: list[bool] = []
    enough = anyio.Event()

    @source
    async def ticks() -> AsyncIterator[int]:
        try:
            i = 0
            while True:
                yield i
                i += 1
                await anyio.sleep(0)
        finally:
            closed.append(True)

    @node
    async def note(i: int) -> None:
        seen.append(i)
        if i == 10:
            enough.set()

    async with Flow("f", ticks >> note).open() as runtime:
        await enough.wait()
        await runtime.drain()
        assert closed == [True]
        assert seen == list(range(len(seen)))
        assert runtime.runs() == ()


@pytest.mark.virtual_time
async def test_a_drain_whose_time_is_up_names_the_stuck_nodes_and_aborts(quiet) -> None:
    """The node that did not finish is named, and its run is cancelled."""
    async with Flow("f", plus >> waits).open() as runtime:
        run = await runtime.start(1)
        await quiet()
        try:
            told: object = await runtime.drain(timeout=0.05)
        except Exception as error:
            told = error
        assert ("waits" in str(told), "plus" in str(told)) == (True, False)
        assert (run.status, runtime.runs()) == ("cancelled", ())


async def test_abort_stops_now(quiet, in_flight, at_rest) -> None:
    """All runs are cancelled when `abort` returns; their readers get `RunCancelled`."""
    async with Flow("f", waits).open() as runtime:
        runs = [await runtime.start(i) for i in range(5)]
        await quiet()
        await runtime.abort()
        assert [run.status for run in runs] == ["cancelled"] * 5
        assert in_flight(runtime) == at_rest
        with pytest.raises(RunCancelled):
            await runs[0].result()


async def test_leaving_open_aborts_what_still_runs(quiet) -> None:
    """No run survives its runtime."""
    async with Flow("f", waits).open() as runtime:
        run = await runtime.start(1)
        await quiet()
    assert run.status == "cancelled"


async def test_an_exception_in_the_body_of_open_comes_out_as_it_is(quiet) -> None:
    """Not in a group, and not hidden by the runs that are aborted."""
    with pytest.raises(KeyError, match="mine"):
        async with Flow("f", waits).open() as runtime:
            await runtime.start(1)
            await quiet()
            raise KeyError("mine")


async def test_a_break_out_of_a_stream_of_a_script() -> None:
    """`flow.stream` is a whole runtime for one run; leaving it leaves nothing."""
    async with Flow("f", count).stream(1000) as items:
        async for item in items:
            assert item.payload == 0
            break
    assert await Flow("f", count).call(2) == [0, 1]
