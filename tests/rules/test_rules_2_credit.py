"""Part 2 of the rules: credit."""

import itertools
from collections.abc import AsyncIterator, Iterable

import anyio
import anyio.lowlevel
import pytest

from penguiflow import (
    Context,
    CreditError,
    Flow,
    Gathered,
    GraphError,
    HopLimitExceeded,
    Retry,
    Spread,
    StepError,
    Stream,
    StreamClosed,
    WouldBlock,
    edge,
    node,
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


def emitter(accepted: list[object], *, values: Iterable[object] | None = None, messages: bool = False):
    """Make a node that emits for ever (or the values) and notes what was accepted."""

    @node
    async def emits(n: int, ctx: Context) -> None:
        for value in itertools.count() if values is None else values:
            await (ctx.emit(value) if messages else ctx.emit_chunk(value))
            accepted.append(value)

    return emits


# 2.1 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [False, True], ids=["chunks", "messages"])
@pytest.mark.parametrize("window", [1, 3, 8])
async def test_rule_2_1_no_more_is_sent_than_granted(quiet, window: int, messages: bool) -> None:
    """With nobody reading, exactly a window is accepted; the next emission waits."""
    accepted: list[object] = []
    flow = Flow("f", emitter(accepted, messages=messages))
    async with flow.open(window=window) as runtime, runtime.run(0) as run:
        await quiet()
        assert accepted == list(range(window))
        assert run.statistics().credit_out == window


async def test_rule_2_1_credit_is_granted_back_as_the_reader_takes(quiet) -> None:
    """The sender is never more than a window ahead of the reader."""
    accepted: list[object] = []
    ahead: list[int] = []
    async with Flow("f", emitter(accepted)).open(window=4) as runtime, runtime.run(0) as run:
        async for chunk in run:
            await quiet()
            ahead.append(len(accepted) - chunk.seq)
            if chunk.seq == 20:
                break
    assert max(ahead) <= 5  # a window behind the one in the reader's hand


async def test_rule_2_1_nowait_raises_where_it_had_to_wait() -> None:
    """Without credit, `emit_nowait` and `emit_chunk_nowait` raise `WouldBlock` and emit nothing."""
    accepted: list[str] = []

    @node
    async def eager(n: int, ctx: Context) -> None:
        for name, emit in (("chunk", ctx.emit_chunk_nowait), ("message", ctx.emit_nowait)):
            with pytest.raises(WouldBlock):
                for _ in range(10):
                    emit(name)
                    accepted.append(name)

    async with Flow("f", eager).open(window=3) as runtime, runtime.run(0) as run:
        items = [item.payload async for item in run]
    assert accepted == ["chunk"] * 3 + ["message"] * 3
    assert items == accepted


async def test_rule_2_1_an_input_stream_is_taken_under_credit(quiet) -> None:
    """An async iterable given as the payload is not read further than its window."""
    asked: list[int] = []

    async def endless() -> AsyncIterator[int]:
        for i in itertools.count():
            asked.append(i)
            yield i

    @node
    async def same(i: int) -> int:
        return i

    async with Flow("f", same).open(window=3) as runtime, runtime.run(endless()):
        await quiet()
        assert len(asked) in (3, 4)  # one may be in hand, waiting for credit


async def test_rule_2_1_a_session_sends_under_credit(quiet) -> None:
    """`send` waits when its window is spent and nobody reads."""
    sent: list[int] = []

    @node
    async def same(i: int) -> int:
        return i

    async with Flow("f", same).open(window=3) as runtime, runtime.session() as session:

        async def feed() -> None:
            for i in itertools.count():
                await session.send(i)
                sent.append(i)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed)
            await quiet()
            tasks.cancel_scope.cancel()
    assert sent == [0, 1, 2]


# 2.2 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [1, 2, 5])
async def test_rule_2_2_waiting_on_an_edge_never_exceeds_its_capacity(quiet, capacity: int) -> None:
    """Before a stuck node the edge fills up to its capacity and no further, with messages as with chunks."""
    release = anyio.Event()

    @node(concurrency=1)
    async def stuck(x: object) -> None:
        await release.wait()

    for messages in (False, True):
        accepted: list[object] = []
        flow = Flow("f", emitter(accepted, messages=messages) >> edge(capacity=capacity) >> stuck)
        async with flow.open() as runtime, runtime.run(0):
            await quiet()
            (road,) = [e for e in runtime.statistics().edges if e.target.endswith("stuck")]
            assert (road.capacity, road.most_waiting, road.waiting <= capacity) == (capacity, capacity, True)
            assert len(accepted) == road.waiting + 1  # one is in the node


async def test_rule_2_2_capacity_is_per_run(quiet) -> None:
    """What one run has waiting takes nothing of another run's capacity."""
    release = anyio.Event()
    accepted: dict[str, int] = {"a": 0, "b": 0}

    @node
    async def emits(n: int, ctx: Context) -> None:
        for i in range(10):
            await ctx.emit(i)
            accepted[ctx.run_id] += 1

    @node(concurrency=1)
    async def stuck(x: object) -> None:
        await release.wait()

    async with Flow("f", emits >> edge(capacity=3) >> stuck).open() as runtime:
        async with runtime.run(0, run_id="a"), runtime.run(0, run_id="b"):
            await quiet()
            assert sorted(accepted.values()) == [3, 4]


async def test_rule_2_2_capacity_is_per_stream_of_chunks(quiet) -> None:
    """Each stream of a run has its own capacity on an edge."""
    release = anyio.Event()
    accepted: list[str] = []

    @node
    async def emits(n: int, ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for name in "ab":
                tasks.start_soon(talk, ctx, name)

    async def talk(ctx: Context, name: str) -> None:
        for i in range(10):
            await ctx.emit_chunk(i, stream_id=name)
            accepted.append(name)

    @node(concurrency=2)
    async def stuck(i: int) -> None:
        await release.wait()

    async with Flow("f", emits >> edge(capacity=3) >> stuck).open() as runtime, runtime.run(0):
        await quiet()
        assert sorted(accepted) == ["a"] * 4 + ["b"] * 4


async def test_rule_2_2_a_chunk_counts_once_however_many_copies(quiet) -> None:
    """In a fan-out of ten, a window of 2 lets two chunks in flight: twenty copies, two credits."""
    release = anyio.Event()
    accepted: list[object] = []

    def branch(i: int):
        async def stuck(x: object) -> None:
            await release.wait()

        return node(stuck, name=f"stuck{i}")

    flow = Flow("f", emitter(accepted) >> [branch(i) for i in range(10)])
    async with flow.open(window=2) as runtime, runtime.run(0) as run:
        await quiet()
        assert accepted == [0, 1]
        assert run.statistics().credit_out == 2


async def test_rule_2_2_windows_may_be_limited_in_bytes(quiet) -> None:
    """`window_bytes` bounds what is in flight by its size: bytes, text in UTF-8, else the JSON."""
    for value, fits in ((b"1234", 2), ("ää", 2), ([1, 2], 1)):
        accepted: list[object] = []
        flow = Flow("f", emitter(accepted, values=itertools.repeat(value)))
        async with flow.open(window_bytes=9) as runtime, runtime.run(0):
            await quiet()
            assert (value, len(accepted)) == (value, fits)


async def test_rule_2_2_edges_may_be_limited_in_bytes(quiet) -> None:
    """`capacity_bytes` bounds what waits on an edge, measured by the sizer given."""
    release = anyio.Event()

    @node(concurrency=1)
    async def stuck(x: object) -> None:
        await release.wait()

    for options, fits in (({}, 2), ({"sizer": lambda value: 1}, 9)):
        accepted: list[object] = []
        emits = emitter(accepted, values=[b"1234"] * 30)
        flow = Flow("f", emits >> edge(capacity_bytes=9, **options) >> stuck)
        async with flow.open() as runtime, runtime.run(0):
            await quiet()
            assert len(accepted) == fits + 1  # one is in the node


async def test_rule_2_2_one_item_larger_than_the_whole_budget_passes_alone(quiet) -> None:
    """An item that could never fit is let through when nothing else is in flight, and flows on."""
    accepted: list[object] = []
    flow = Flow("f", emitter(accepted, values=[b"x" * 100, b"y" * 100, b"z"]))
    async with flow.open(window_bytes=10) as runtime, runtime.run(0) as run:
        await quiet()
        assert accepted == [b"x" * 100]
        assert [chunk.payload async for chunk in run] == [b"x" * 100, b"y" * 100, b"z"]


def test_rule_2_2_a_feedback_edge_has_no_capacity() -> None:
    """A feedback edge is bounded by the hop limit: a capacity on it is a `GraphError`."""
    with pytest.raises(GraphError, match="capacity"):
        edge(feedback=True, capacity=4)


async def test_rule_2_2_an_unread_run_holds_at_most_its_window(quiet) -> None:
    """Memory is bounded through a whole chain: what a run that nobody reads holds is its window."""

    @node
    async def plus(i: int) -> int:
        return i + 1

    @node
    def minus(i: int) -> int:
        return i - 1

    accepted: list[object] = []
    async with Flow("f", emitter(accepted) >> plus >> minus).open(window=5) as runtime, runtime.run(0) as run:
        await quiet()
        statistics = run.statistics()
        assert (len(accepted), statistics.waiting_for_reader, statistics.credit_out) == (5, 5, 5)


# 2.3 ----------------------------------------------------------------------------------------------------


def varied(fault: str) -> Flow:
    """Make a flow of many node kinds in which one part of five takes the fault."""

    @node
    async def source(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i
            if fault == "error" and i == 3:
                raise ValueError(fault)
            if fault == "stall" and i == 3:
                await anyio.sleep_forever()

    @node(retry=Retry(attempts=3, backoff=0, jitter=0))
    async def shaky(i: int, ctx: Context) -> int:
        if fault == "retry" and ctx.attempt < 3:
            raise ValueError(fault)
        return i

    @node(timeout=0.02)
    async def late(i: int) -> int:
        if fault == "timeout" and i == 3:
            await anyio.sleep_forever()
        return i

    @node
    def odd(i: int) -> int | None:
        return i if i % 2 else None

    @node
    async def total(stream: Stream[int]) -> int:
        if fault == "early":
            return await anext(aiter(stream))
        return sum([i async for i in stream])

    @node
    async def slow(i: int) -> int:
        await anyio.sleep(0)
        return i

    dropping = edge(capacity=1, overflow="drop_oldest" if fault == "drop" else "wait")
    return Flow("f", source >> shaky >> late >> odd >> total, shaky >> dropping >> slow)


@pytest.mark.parametrize("fault", ["none", "error", "retry", "timeout", "drop", "early"])
async def test_rule_2_3_all_credit_is_home_after_a_run(fault: str, in_flight, at_rest) -> None:
    """After success, errors, retries, timeouts, drops and early returns nothing is held any more."""
    async with varied(fault).open(window=3) as runtime:
        for _ in range(3):
            try:
                await runtime.call(8)
            except StepError:
                assert fault in ("error", "timeout")
        assert in_flight(runtime) == at_rest


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21, 34])
async def test_rule_2_3_cancel_returns_when_all_is_home(turns: int, in_flight, at_rest) -> None:
    """Wherever a cancel hits, the places are home when it returns."""
    async with varied("stall").open(window=2) as runtime:
        run = await runtime.start(8)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        await run.cancel()
        assert in_flight(runtime) == at_rest


async def test_rule_2_3_steps_side_by_side_lend_their_own_places(quiet, in_flight, at_rest) -> None:
    """Steps of one stream that fail together lend a place each, not the one that the next chunk was given."""
    tried: set[int] = set()
    together = anyio.Event()

    @node(ordered=False, concurrency=2, retry=Retry(attempts=2, backoff=0.01, jitter=0))
    async def flaky(i: int) -> int:
        if i in tried or i == 2:
            return i
        tried.add(i)
        await together.wait()
        raise LookupError(i)

    async with Flow("f", count >> flaky).open() as runtime, runtime.run(3) as run:
        await quiet()
        together.set()
        assert sorted([item.payload async for item in run]) == [0, 1, 2]
        assert in_flight(runtime) == at_rest


async def test_rule_2_3_credit_is_home_while_the_run_goes_on(quiet) -> None:
    """A quiet run that was read holds no credit, though it is not over."""
    async with Flow("f", count).open(window=4) as runtime, runtime.session() as session:
        await session.send(3)
        items = aiter(session)
        assert [(await anext(items)).payload for _ in range(3)] == [0, 1, 2]
        await quiet()
        assert (session.status, session.statistics().credit_out) == ("running", 0)


async def test_rule_2_3_filters_and_drops_bring_credit_home() -> None:
    """A filter that drops everything starves nobody: 1,000 chunks pass a window of 1."""

    @node
    async def never(i: int) -> int | None:
        return i if i == 999 else None

    async with Flow("f", count >> never).open(window=1) as runtime:
        assert await runtime.call(1000) == [999]


# 2.4 ----------------------------------------------------------------------------------------------------


async def test_rule_2_4_an_unread_run_delays_no_other(quiet) -> None:
    """Ten unread runs hold their windows; an eleventh goes through the same nodes of concurrency 1."""

    @node(concurrency=1)
    async def talk(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    @node(concurrency=1)
    async def plus(i: int) -> int:
        return i + 1

    async with Flow("f", talk >> plus).open(window=2) as runtime:
        for _ in range(10):
            await runtime.start(100)
        await quiet()
        assert await runtime.call(20) == list(range(1, 21))


async def test_rule_2_4_a_stuck_stream_delays_no_other_of_its_run() -> None:
    """A stream whose consumer is stuck fills its own window and nobody else's road."""
    release = anyio.Event()

    @node
    async def words(n: int) -> Spread[str]:
        return Spread(["stuck", "free"])

    @node(concurrency=1)
    async def spell(word: str) -> AsyncIterator[str]:
        for letter in word * 20:
            yield letter

    @node(concurrency=1)
    async def same(letter: str) -> str:
        return letter

    @node
    async def whole(stream: Stream[str]) -> str:
        if (first := await anext(aiter(stream))) == "s":
            await release.wait()
        text = first + "".join([letter async for letter in stream])
        release.set()
        return text

    flow = Flow("f", words >> spell >> same >> edge(capacity=1) >> whole)
    async with flow.open(window=2) as runtime:
        assert sorted(await runtime.call(0)) == ["free" * 20, "stuck" * 20]


async def test_rule_2_4_a_step_waiting_for_input_lends_its_place() -> None:
    """Two streams at a stream step of concurrency 1: the one whose input dries up lets the other by."""
    other_is_done = anyio.Event()

    @node
    async def words(n: int) -> Spread[str]:
        return Spread(["dry", "wet"])

    @node
    async def spell(word: str) -> AsyncIterator[str]:
        yield word
        if word == "dry":
            await other_is_done.wait()
        yield word

    @node(concurrency=1)
    async def whole(stream: Stream[str]) -> str:
        text = "".join([word async for word in stream])
        if text == "wetwet":
            other_is_done.set()
        return text

    assert await Flow("f", words >> spell >> whole).call(0) == ["wetwet", "drydry"]


async def test_rule_2_4_a_lent_place_is_taken_up_again() -> None:
    """Steps at work never exceed the concurrency, though their places are lent while they wait."""
    at_work = [0, 0]

    @node(concurrency=2)
    async def fold(stream: Stream[int]) -> int:
        total = 0
        async for i in stream:
            at_work[0] += 1
            at_work[1] = max(at_work)
            total += i
            await anyio.sleep(0)
            at_work[0] -= 1
        return total

    @node
    async def tens(n: int) -> Spread[int]:
        return Spread([10] * n)

    async with Flow("f", tens >> count >> fold).open(window=2) as runtime:
        assert await runtime.call(6) == [45] * 6
    assert at_work == [0, 2]


# 2.5 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 2])
async def test_rule_2_5_the_smallest_windows_do_not_deadlock(window: int, in_flight, at_rest) -> None:
    """Everything at 1: a fan-out of 20 that meets in a fold, five runs at once."""

    def branch(i: int):
        async def shift(x: int) -> int:
            await anyio.sleep(0)
            return x + i

        return node(shift, name=f"shift{i}", concurrency=1)

    @node(concurrency=1)
    async def total(stream: Stream[int]) -> int:
        return sum([x async for x in stream])

    tight = edge(capacity=1)
    flow = Flow("f", count >> tight >> [branch(i) for i in range(20)] >> tight >> total)
    results: list[int] = []

    async def call(runtime) -> None:
        results.append(await runtime.call(5))

    async with flow.open(window=window) as runtime:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(call, runtime)
        assert results == [5 * sum(range(20)) + 20 * sum(range(5))] * 5
        assert in_flight(runtime) == at_rest


async def test_rule_2_5_a_join_behind_a_hundred_branches() -> None:
    """A fan-out of a hundred into one join drains through a window of 1."""
    names = [f"b{i}" for i in range(100)]

    @node
    async def start(n: int) -> int:
        return n

    def branch(i: int):
        async def shift(x: int) -> int:
            return x + i

        return node(shift, name=f"b{i}", concurrency=1)

    scope: dict[str, object] = {}
    source = f"async def total({', '.join(f'{name}: int' for name in names)}) -> int:\n"
    exec(source + f"    return {' + '.join(names)}", scope)
    total = node(scope["total"])
    tight = edge(capacity=1)
    flow = Flow("f", start >> tight >> [branch(i) for i in range(100)] >> tight >> total)
    async with flow.open(window=1) as runtime:
        assert await runtime.call(0) == sum(range(100))


async def test_rule_2_5_a_spread_wider_than_every_window_is_gathered() -> None:
    """A gather takes parts over at once: 500 parts through windows, capacities and places of 1."""

    @node(concurrency=1)
    async def plus(i: int) -> int:
        return i + 1

    @node(concurrency=1)
    async def whole(all_parts: Gathered[int]) -> list[int]:
        return list(all_parts)

    tight = edge(capacity=1)
    async with Flow("f", parts >> tight >> plus >> tight >> whole).open(window=1) as runtime:
        assert await runtime.call(500) == list(range(1, 501))


async def test_rule_2_5_a_place_held_by_a_sender_lets_its_own_node_work() -> None:
    """A node of concurrency 1 feeds itself through others: a step that waits for credit lends its place."""

    @node(concurrency=1)
    async def work(n: int, ctx: Context) -> None:
        for i in range(10):
            await ctx.emit_chunk(n * 10 + i)

    @node
    async def total(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    tight = edge(capacity=1)
    async with Flow("f", parts >> tight >> work >> tight >> total).open(window=1) as runtime:
        assert sum(await runtime.call(5)) == sum(range(50))


@pytest.mark.parametrize("options", [{"window": 1}, {"window": 2}, {"window": 9, "window_bytes": 1}])
async def test_rule_2_5_branches_that_meet_before_a_join_do_not_starve_the_earliest(options) -> None:
    """Where quick chunks overtake a slow one, they leave it the credit that it needs to reach the join."""

    @node
    async def even(i: int) -> int:
        return 2 * i

    @node
    async def odd(i: int) -> int:
        return 2 * i + 1

    @node
    async def meet(i: int) -> int:
        return i

    @node
    async def left(i: int) -> AsyncIterator[int]:
        yield i

    @node
    async def slow(i: int) -> int:
        await anyio.sleep(0.002)
        return i

    @node
    async def quick(i: int) -> int:
        return i

    @node
    async def right(i: int) -> AsyncIterator[int]:
        yield i

    @node
    async def both(left: int, right: int) -> tuple[int, int]:
        return left, right

    slowly, quickly = edge(when=lambda i: i % 4 == 0), edge(when=lambda i: i % 4 != 0)
    ways = [meet >> left, meet >> slowly >> slow >> right, meet >> quickly >> quick >> right]
    flow = Flow("f", count >> [even, odd] >> meet, *ways, [left, right] >> both)
    async with flow.open(**options) as runtime:
        assert sorted(await runtime.call(6)) == [(i, i) for i in range(12)]


@pytest.mark.parametrize("named", [False, True])
async def test_rule_2_5_an_ended_stream_waits_for_no_writer_that_cannot_come(named: bool) -> None:
    """A stream where others could meet it holds its message's credit until it ends, no longer."""

    @node
    async def opens(i: int, ctx: Context) -> None:
        async with ctx.open_stream(f"s{i}" if named else None) as stream:
            await stream.send(i)

    @node
    async def other(n: int, ctx: Context) -> None:
        return None

    @node
    async def total(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    ways = [parts >> opens, other] if named else parts >> [opens, other]
    async with Flow("f", ways >> total).open(window=1) as runtime, runtime.run(4) as run:
        assert sorted([item.payload async for item in run]) == [0, 1, 2, 3]


async def test_rule_2_5_an_ended_stream_waits_for_no_node_that_names_none() -> None:
    """What only hands on streams with default ids can't write to one that was named by hand."""

    @node
    async def opens(i: int, ctx: Context) -> None:
        async with ctx.open_stream(f"s{i}") as stream:
            await stream.send(i)

    @node
    async def generates(i: int) -> AsyncIterator[int]:
        yield 10 * i

    @node
    async def total(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    flow = Flow("f", parts >> [opens, generates] >> total)
    async with flow.open(window=1) as runtime, runtime.run(3) as run:
        assert sorted([item.payload async for item in run]) == [0, 0, 1, 2, 10, 20]


async def test_rule_2_5_an_ended_stream_waits_for_no_node_that_gives_messages() -> None:
    """Messages come to the same node on another edge: a stream that has ended there need not wait."""

    @node
    async def opens(i: int, ctx: Context) -> None:
        async with ctx.open_stream(f"s{i}") as stream:
            await stream.send(i)

    @node
    async def plain(i: int) -> int:
        return 10 * i

    @node
    async def flat(i: int) -> AsyncIterator[int]:
        yield i

    async with Flow("f", parts >> [opens, plain] >> flat).open(window=1) as runtime, runtime.run(3) as run:
        assert sorted([item.payload async for item in run]) == [0, 0, 1, 2, 10, 20]


async def test_rule_2_5_an_ended_stream_does_not_wait_for_a_writer_that_waits_for_it() -> None:
    """Who could still write to it waits for the credit that it holds: nobody will (rule 1.3)."""

    @node
    async def opens(i: int, ctx: Context) -> None:
        async with ctx.open_stream(f"s{i}") as stream:
            await stream.send(i)

    @node
    async def other(i: int, ctx: Context) -> None:
        return None

    @node
    async def total(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    flow = Flow("f", parts >> [opens, other] >> total)
    async with flow.open(window=1) as runtime, runtime.run(4) as run:
        assert sorted([item.payload async for item in run]) == [0, 1, 2, 3]


def stuck_flow(source=count) -> Flow:
    """Make a flow whose last step reads two streams of one origin one after the other."""

    @node
    async def left(i: int) -> int:
        return i

    @node
    async def right(i: int) -> int:
        return i

    @node
    async def both(left: Stream[int], right: Stream[int]) -> tuple[int, int]:
        return sum([i async for i in left]), sum([i async for i in right])

    return Flow("f", source >> [left, right] >> both)


async def test_rule_2_5_a_run_that_is_stuck_fails_and_says_why(in_flight, at_rest) -> None:
    """A run that can't go on by itself raises `CreditError` at once, which names who waits for what."""
    async with stuck_flow().open(window=2) as runtime:
        with pytest.raises(CreditError) as caught:
            await runtime.call(10)
        assert [name in str(caught.value) for name in ("count", "both")] == [True, True]
        assert in_flight(runtime) == at_rest
        assert await runtime.call(2) == (1, 1)  # fits into the window, and the runtime lives


async def test_rule_2_5_a_run_that_gets_stuck_with_its_last_wait_fails(in_flight, at_rest) -> None:
    """So does one whose last step notices it on its way into a wait, which the failure brings to an end."""

    @node
    async def slow(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await anyio.sleep(0.001)  # the reader of both waits before this one does
            yield i

    async with stuck_flow(slow).open(window=2) as runtime:
        with pytest.raises(CreditError):
            await runtime.call(10)
        assert in_flight(runtime) == at_rest


async def test_rule_2_5_waiting_for_the_world_is_not_being_stuck(quiet) -> None:
    """A run whose step waits for something outside, or whose reader is slow, is left alone."""
    go = anyio.Event()

    @node
    async def waits(n: int) -> AsyncIterator[int]:
        await go.wait()
        for i in range(n):
            yield i

    async with Flow("f", waits).open(window=1) as runtime, runtime.run(3) as run:
        await quiet()
        assert run.status == "running"
        go.set()
        await quiet()
        assert [chunk.payload async for chunk in run] == [0, 1, 2]


async def test_rule_2_5_a_session_that_waits_for_its_client_is_not_stuck(quiet) -> None:
    """An open session can always get more input, so it is never stuck."""

    @node
    async def total(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    async with Flow("f", total).open() as runtime, runtime.session() as session:
        await quiet()
        await session.send(1)
        await quiet()
        await session.send(2)
        await session.end_input()
        assert await session.result() == 3


# 2.6 ----------------------------------------------------------------------------------------------------


async def test_rule_2_6_control_overtakes_data_and_keeps_its_own_order() -> None:
    """A busy node with data queued before it gets control items at once, in the order they were sent."""
    seen: list[object] = []
    busy = anyio.Event()

    @node(concurrency=1)
    async def work(i: int, ctx: Context) -> None:
        if i == 0:
            busy.set()
            async for control in ctx.controls():
                seen.append((control.kind, control.payload))
                if len(seen) == 5:
                    break
        seen.append(i)

    async with Flow("f", count >> work).open() as runtime, runtime.run(3) as run:
        await busy.wait()
        for i in range(5):
            await run.control("hint", i)
        await run.result()
    assert seen == [("hint", 0), ("hint", 1), ("hint", 2), ("hint", 3), ("hint", 4), 0, 1, 2]


async def test_rule_2_6_control_needs_no_credit(quiet) -> None:
    """Control reaches a step that waits for credit in a run whose windows are all spent."""
    seen: list[str] = []
    told = anyio.Event()

    @node
    async def talk(n: int, ctx: Context) -> None:
        async def listen() -> None:
            async for control in ctx.controls():
                seen.append(control.kind)
                told.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            for i in range(n):
                await ctx.emit_chunk(i)
            tasks.cancel_scope.cancel()

    async with Flow("f", talk).open(window=1) as runtime, runtime.run(100) as run:
        await quiet()
        await run.control("hint")
        await told.wait()
    assert seen == ["hint"]


# 2.7 ----------------------------------------------------------------------------------------------------


def countdown() -> Flow:
    """Make a flow that goes round n times."""

    @node
    async def turn(n: int) -> int:
        return n - 1

    @node
    async def out(n: int) -> str:
        return "out"

    again = edge(feedback=True, when=lambda n: n > 0)
    return Flow("f", turn >> again >> turn, turn >> edge(when=lambda n: n <= 0) >> out)


async def test_rule_2_7_the_hop_limit_ends_a_loop() -> None:
    """As many hops as the limit are fine; one more is `HopLimitExceeded`, in that run only."""
    async with countdown().open(hop_limit=10) as runtime:
        assert await runtime.call(11) == "out"  # ten hops
        async with runtime.run(1) as other:
            with pytest.raises(HopLimitExceeded):
                await runtime.call(12)
            assert await other.result() == "out"


async def test_rule_2_7_the_hop_limit_is_a_thousand_by_default() -> None:
    """A loop that never ends by itself ends after 1,000 hops."""
    assert await countdown().call(1001) == "out"
    with pytest.raises(HopLimitExceeded):
        await countdown().call(10**9)


async def test_rule_2_7_a_feedback_edge_never_makes_its_sender_wait() -> None:
    """One step feeds 200 messages back to its own node, in a window and a place of 1, and never waits."""
    seen: list[object] = []

    @node(concurrency=1)
    async def work(n: int, ctx: Context) -> None:
        seen.append(("begin", n))
        for i in range(200 if n < 0 else 0):
            ctx.emit_nowait(i)
        seen.append(("end", n))

    async with Flow("f", work >> edge(feedback=True) >> work).open(window=1) as runtime:
        await runtime.call(-1)
    assert seen[:2] == [("begin", -1), ("end", -1)]
    assert [n for kind, n in seen if kind == "end"] == [-1, *range(200)]


def test_rule_2_7_no_stream_may_reach_a_feedback_edge() -> None:
    """A stream could go round for ever under its own credit: the flow is not built."""

    @node
    async def talk(n: int) -> AsyncIterator[int]:
        yield n

    @node
    async def same(i: int) -> int:
        return i

    for loop in (talk >> edge(feedback=True) >> talk, talk >> same >> edge(feedback=True) >> talk):
        with pytest.raises(GraphError, match="talk"):
            Flow("f", loop)


# 2.8 ----------------------------------------------------------------------------------------------------


async def tick(ticks: list[int]) -> None:
    """Count the turns of the event loop."""
    while True:
        ticks[0] += 1
        await anyio.lowlevel.checkpoint()


async def test_rule_2_8_what_need_not_wait_does_not_yield() -> None:
    """Emissions that have credit let no other task run in between."""
    ticks, told = [0], []

    @node
    async def talk(n: int, ctx: Context) -> None:
        await anyio.lowlevel.checkpoint()
        before = ticks[0]
        for i in range(5):
            await ctx.emit_chunk(i)
            await ctx.emit(i)
        told.append(ticks[0] - before)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick, ticks)
        await Flow("f", talk).call(0)
        tasks.cancel_scope.cancel()
    assert told == [0]


@pytest.mark.parametrize("form", ["def", "async def", "fold"])
async def test_rule_2_8_a_long_batch_lets_others_run(form: str) -> None:
    """10,000 chunks that never wait still yield once per window, so other tasks live."""
    ticks = [0]

    @node
    def inline(i: int) -> int:
        return i

    @node
    async def hop(i: int) -> int:
        return i

    @node
    async def fold(stream: Stream[int]) -> int:
        return sum([1 async for _ in stream])

    middle = {"def": inline, "async def": hop, "fold": fold}[form]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick, ticks)
        await Flow("f", count >> middle).call(10_000)
        tasks.cancel_scope.cancel()
    assert ticks[0] >= 10_000 // 256


async def test_rule_2_8_an_emitter_that_never_waits_yields_once_a_window() -> None:
    """Emissions into a dropping edge never wait for credit, but let others run."""
    ticks = [0]

    @node
    async def talk(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit_chunk(i)

    @node
    async def sleepy(i: int) -> None:
        await anyio.sleep(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick, ticks)
        flow = Flow("f", talk >> edge(capacity=1, overflow="drop_newest") >> sleepy)
        await flow.call(10_000)
        tasks.cancel_scope.cancel()
    assert ticks[0] >= 10_000 // 256


# 2.9 ----------------------------------------------------------------------------------------------------


def overflowing(options: dict[str, object]):
    """Make a flow that emits 0 to 9 to a node which waits with its first; give it with what the node saw."""
    seen: list[object] = []
    all_emitted = anyio.Event()

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit_chunk(0, stream_id="s")
        await started.wait()
        for i in range(1, 10):
            await ctx.emit_chunk(i, stream_id="s")
        all_emitted.set()

    started = anyio.Event()

    @node
    async def listen(i: int) -> None:
        started.set()
        await all_emitted.wait()
        seen.append(i)

    return Flow("f", talk >> edge(capacity=3, **options) >> listen), seen


@pytest.mark.parametrize(
    ("options", "expected", "dropped"),
    [
        ({"overflow": "drop_oldest"}, [0, 7, 8, 9], [1, 2, 3, 4, 5, 6]),
        ({"overflow": "drop_newest"}, [0, 1, 2, 3], [4, 5, 6, 7, 8, 9]),
    ],
    ids=["drop_oldest", "drop_newest"],
)
async def test_rule_2_9_drops_are_reported(options, expected, dropped, watcher) -> None:
    """Each drop is told with its stream and number, to the run's statistics and to observers."""
    flow, seen = overflowing(options)
    async with flow.open(window=2, observers=[watcher]) as runtime, runtime.run(0) as run:
        await run.result()
        statistics = run.statistics()
        (road,) = [e for e in runtime.statistics().edges if e.target.endswith("listen")]
    assert seen == expected
    told = [(d.edge, d.stream_id, d.seq, d.reason) for d in statistics.drops]
    assert told == [("talk→listen", "s", seq, options["overflow"]) for seq in dropped]
    assert statistics.dropped == 6
    assert [(d.stream_id, d.seq) for d in watcher.of("Drop")] == [("s", seq) for seq in dropped]
    assert (road.offered, road.delivered, road.dropped, road.waiting) == (10, 4, 6, 0)


async def test_rule_2_9_merging_reports_what_was_merged_away() -> None:
    """What arrives at a full edge is merged into the newest waiting chunk; the sum of all is kept."""
    flow, seen = overflowing({"overflow": "merge", "merge": lambda old, new: old + new})
    async with flow.open() as runtime, runtime.run(0) as run:
        await run.result()
        statistics = run.statistics()
        (road,) = [e for e in runtime.statistics().edges if e.target.endswith("listen")]
    assert seen == [0, 1, 2, 3 + 4 + 5 + 6 + 7 + 8 + 9]
    assert (statistics.dropped, {d.reason for d in statistics.drops}) == (6, {"merge"})
    assert road.offered == road.delivered + road.dropped + road.waiting == 10


async def test_rule_2_9_fail_raises_in_the_emitter() -> None:
    """A full edge with `overflow="fail"` is a `CreditError` in the emitting step, and comes out as it is."""
    caught: list[int] = []
    done = anyio.Event()

    @node
    async def talk(n: int, ctx: Context) -> None:
        for i in range(6):
            try:
                await ctx.emit(i)
            except CreditError:
                caught.append(i)
        done.set()

    @node(concurrency=1)
    async def listen(i: int) -> None:
        await done.wait()

    flow = Flow("f", talk >> edge(capacity=2, overflow="fail") >> listen)
    await flow.call(0)
    assert caught in ([2, 3, 4, 5], [3, 4, 5])  # one may have been taken into the node

    @node
    async def slow(i: int) -> None:
        for _ in range(50):
            await anyio.sleep(0)

    with pytest.raises(CreditError):
        await Flow("g", count >> edge(capacity=1, overflow="fail") >> slow).call(10)


def stuck_node():
    @node
    async def stuck(i: int) -> None:
        await anyio.sleep_forever()

    return stuck


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_rule_2_9_offered_is_delivered_dropped_and_waiting_at_any_time(quiet, overflow: str) -> None:
    """The sum holds while the consumer is stuck, for messages too, and what waits is at most the capacity."""
    accepted: list[object] = []
    emits = emitter(accepted, values=range(50), messages=True)
    flow = Flow("f", emits >> edge(capacity=3, overflow=overflow) >> stuck_node())
    async with flow.open() as runtime, runtime.run(0) as run:
        await quiet()
        (road,) = [e for e in runtime.statistics().edges if e.target.endswith("stuck")]
        assert len(accepted) == road.offered == 50
        assert road.offered == road.delivered + road.dropped + road.waiting
        assert road.waiting <= 3
        assert run.statistics().dropped == road.dropped


async def test_rule_2_9_on_a_dropping_edge_the_window_ends(quiet) -> None:
    """A producer before a dropping edge is never held back by what is behind it."""
    accepted: list[object] = []
    emits = emitter(accepted, values=range(1000))
    flow = Flow("f", emits >> edge(capacity=2, overflow="drop_oldest") >> stuck_node())
    async with flow.open(window=2) as runtime, runtime.run(0) as run:
        await quiet()
        assert len(accepted) == 1000
        (road,) = [e for e in runtime.statistics().edges if e.target.endswith("stuck")]
        assert (road.most_waiting, road.waiting <= 2) == (2, True)
        assert run.statistics().dropped == road.dropped


async def test_rule_2_9_a_slow_reader_behind_a_dropping_edge_gets_the_latest() -> None:
    """Behind a dropping edge the stream goes on under the reader's pace; its end is never dropped."""

    @node
    async def show(i: int) -> int:
        return i

    flow = Flow("f", count >> edge(capacity=1, overflow="drop_oldest") >> show)
    async with flow.open(window=1) as runtime, runtime.run(500) as run:
        seen = [chunk.payload async for chunk in run]
        (road,) = [e for e in runtime.statistics().edges if e.target.endswith("show")]
    assert seen == sorted(set(seen))
    assert seen[-1] == 499
    assert (road.offered, road.delivered) == (500, len(seen))


async def test_rule_2_9_at_most_the_capacity_waits_behind_a_dropping_edge(quiet) -> None:
    """With nobody reading, the producer goes on to its end and two chunks at most wait for the reader."""
    accepted: list[object] = []

    @node
    async def show(i: int) -> int:
        return i

    flow = Flow("f", emitter(accepted, values=range(500)) >> edge(capacity=2, overflow="drop_oldest") >> show)
    async with flow.open() as runtime, runtime.run(0) as run:
        await quiet()
        assert len(accepted) == 500
        assert run.statistics().waiting_for_reader <= 2


# 2.10 ---------------------------------------------------------------------------------------------------


async def test_rule_2_10_an_early_return_closes_the_generator() -> None:
    """When the step that reads a stream returns early, the generator that gives it is closed."""
    closed: list[int] = []

    @node
    async def endless(n: int) -> AsyncIterator[int]:
        try:
            for n in itertools.count():
                yield n
        finally:
            closed.append(n)

    @node
    async def hop(i: int) -> int:
        return i

    @node
    async def first(stream: Stream[int]) -> int:
        return await anext(aiter(stream))

    async with Flow("f", endless >> hop >> first).open(window=4) as runtime:
        assert await runtime.call(0) == 0
    assert len(closed) == 1
    assert closed[0] <= 5


async def test_rule_2_10_an_emitter_to_nobody_gets_stream_closed() -> None:
    """An emitter whose last reader has gone gets `StreamClosed`, at whichever emission comes next."""
    raised: list[str] = []

    @node
    async def emits(n: int, ctx: Context) -> None:
        try:
            for i in itertools.count():
                await ctx.emit_chunk(i)
        except StreamClosed:
            raised.append("waiting")
        try:
            ctx.emit_chunk_nowait(0)
        except StreamClosed:
            raised.append("nowait")

    @node
    async def first(stream: Stream[int]) -> int:
        return await anext(aiter(stream))

    assert await Flow("f", emits >> first).call(0) == 0
    assert raised == ["waiting", "nowait"]


async def test_rule_2_10_as_long_as_one_branch_reads_the_stream_goes_on() -> None:
    """A step that leaves early does not take the stream from the other branch."""

    @node
    async def first(stream: Stream[int]) -> int:
        return await anext(aiter(stream))

    @node
    async def whole(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    async with Flow("f", count >> [first, whole]).open(window=2) as runtime:
        assert sorted(await runtime.call(100)) == [0, sum(range(100))]


async def test_rule_2_10_a_closed_producer_does_not_fail_the_run(watcher) -> None:
    """Being cancelled by one's reader is no error: the stream ends as cancelled, the run as done."""

    @node
    async def emits(n: int, ctx: Context) -> None:
        for i in itertools.count():
            await ctx.emit_chunk(i)

    @node
    async def first(stream: Stream[int]) -> int:
        return await anext(aiter(stream))

    async with Flow("f", emits >> first).open(observers=[watcher]) as runtime, runtime.run(0) as run:
        assert await run.result() == 0
        assert run.status == "done"
    assert [e.terminal for e in watcher.of("StreamEnded") if e.node == "emits"] == ["cancelled"]


async def test_rule_2_10_a_cancelled_stream_is_closed_towards_its_producer() -> None:
    """Control cancels a stream: its generator's cleanup runs while the run goes on."""
    closed = anyio.Event()

    @node
    async def endless(n: int) -> AsyncIterator[int]:
        try:
            for i in itertools.count():
                yield i
        finally:
            closed.set()

    @node
    async def stays(n: int) -> str:
        await closed.wait()
        return "stayed"

    async with Flow("f", endless, stays).open(window=2) as runtime, runtime.run(0) as run:
        items = aiter(run)
        chunk = await anext(items)
        await run.control("cancel", stream_id=chunk.stream_id)
        rest = [item.payload async for item in items]
        assert rest[-1] == "stayed"
