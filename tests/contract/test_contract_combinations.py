"""The contract where its parts meet: joins, streams, spreads, errors, retries, sessions, pauses and drops."""

from collections.abc import AsyncIterator

import anyio
import pytest

from penguiflow import (
    Chunk,
    Context,
    Flow,
    Gathered,
    Retry,
    Spread,
    StepError,
    Stream,
    StreamClosed,
    StreamEnded,
    edge,
    node,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]

AGAIN = Retry(attempts=2, backoff=0, jitter=0)


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
async def start(n: int) -> int:
    """Hand on."""
    return n


@node
async def left(n: int) -> int:
    """Hand on."""
    await anyio.sleep(0)
    return n


@node
async def right(n: int) -> int:
    """Give the negative."""
    return -n


@node
async def pair(left: int, right: int) -> tuple[int, int]:
    """Pair."""
    return left, right


@node
async def gather(items: Gathered[object]) -> list[object]:
    """Give the parts as a list."""
    return list(items)


@node
async def whole(stream: Stream[object]) -> list[object]:
    """Give the chunks as a list."""
    return [item async for item in stream]


async def payloads(flow: Flow, payload: object, window: int = 128) -> list[object]:
    async with flow.open(window=window) as runtime, runtime.run(payload) as run:
        return [item.payload async for item in run]


# joins --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 3])
async def test_a_spread_in_a_branch_is_gathered_before_its_join(window: int) -> None:
    """One branch spreads and gathers, the other does not; the join pairs what came of one item."""

    @node
    async def fan(n: int) -> Spread[int]:
        return Spread(range(n))

    @node
    async def collected(items: Gathered[int]) -> int:
        return sum(items)

    @node
    async def both(collected: int, right: int) -> tuple[int, int]:
        return collected, right

    flow = Flow("f", parts >> start >> [fan >> left >> collected, right] >> both)
    assert sorted(await payloads(flow, 5, window)) == [(0, -1), (0, 0), (1, -2), (3, -3), (6, -4)]


async def test_a_gather_behind_a_join() -> None:
    """The joined items keep the places of their parts."""
    assert await Flow("f", parts >> start >> [left, right] >> pair >> gather).call(4) == [
        (i, -i) for i in range(4)
    ]


async def test_a_fold_behind_a_join_by_chunk() -> None:
    """A join by chunk gives a stream, which a stream step takes whole, also inside a nested flow."""
    inner = Flow("inner", count >> [left, right] >> pair)
    async with Flow("outer", inner >> whole).open(window=1) as runtime:
        assert await runtime.call(4) == [(i, -i) for i in range(4)]


async def test_a_join_of_folds_of_one_stream() -> None:
    """Two steps that take the same stream whole give one item each, which are paired."""

    @node
    async def total(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    @node
    async def length(stream: Stream[int]) -> int:
        return len([i async for i in stream])

    @node
    async def mean(total: int, length: int) -> float:
        return total / length

    async with Flow("f", count >> [total, length] >> mean).open(window=1) as runtime:
        assert await runtime.call(5) == 2.0


async def test_a_join_takes_one_branch_as_stream_and_one_as_item() -> None:
    """A slot of `Stream[T]` beside a slot of a message, of one origin."""

    @node
    async def talk(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    @node
    async def both(talk: Stream[int], right: int) -> tuple[list[int], int]:
        return [i async for i in talk], right

    async with Flow("f", parts >> start >> [talk, right] >> both).open(window=2) as runtime:
        assert sorted(await runtime.call(3), key=str) == sorted([([], 0), ([0], -1), ([0, 1], -2)], key=str)


async def test_a_join_by_chunk_in_a_session() -> None:
    """A conversation through a join: each question is answered before the next."""
    async with Flow("f", start >> [left, right] >> pair).open() as runtime, runtime.session() as session:
        items = aiter(session)
        for i in range(3):
            await session.send(i)
            chunk = await anext(items)
            assert (type(chunk), chunk.seq, chunk.payload) == (Chunk, i, (i, -i))
        await session.end_input()


async def test_a_failing_join_is_retried_with_the_same_inputs() -> None:
    """A join is a step like any other: its next attempt gets the same values."""
    seen: list[tuple[int, int, int]] = []

    @node(retry=AGAIN)
    async def both(left: int, right: int, ctx: Context) -> int:
        seen.append((left, right, ctx.attempt))
        if ctx.attempt == 1:
            raise ValueError("once")
        return left + right

    assert await Flow("f", start >> [left, right] >> both).call(3) == 0
    assert seen == [(3, -3, 1), (3, -3, 2)]


async def test_a_restarted_stream_pairs_anew() -> None:
    """When the origin of a join by chunk starts a new attempt, the pairs of the last one are complete."""

    @node(retry=AGAIN)
    async def shaky(n: int, ctx: Context) -> AsyncIterator[int]:
        for i in range(n):
            yield i + 100 * ctx.attempt
        if ctx.attempt == 1:
            raise ValueError("once")

    flow = Flow("f", shaky >> [left, right] >> pair)
    assert await flow.call(3) == [(i, -i) for i in (200, 201, 202)]
    folded = Flow("g", shaky >> [left, right] >> pair >> whole)
    assert await folded.call(3) == [(i, -i) for i in (200, 201, 202)]


async def test_a_dropping_edge_before_a_slot_of_a_join_by_chunk() -> None:
    """Pairs come in order, with `None` for what was dropped, and none is lost or doubled."""

    @node
    async def slow(i: int) -> int:
        for _ in range(5):
            await anyio.sleep(0)
        return i

    @node
    async def both(left: int, slow: int | None) -> tuple[int, int | None]:
        return left, slow

    dropping = edge(capacity=1, overflow="drop_oldest")
    flow = Flow("f", count >> left >> both, count >> dropping >> slow >> both)
    out = await payloads(flow, 30)
    assert [pair[0] for pair in out] == list(range(30))
    assert [pair[1] for pair in out if pair[1] is not None] == [a for a, b in out if b is not None]
    assert out[-1] == (29, 29)


# spreads and gathers ------------------------------------------------------------------------------------


async def test_a_failing_part_that_is_handled_is_left_out() -> None:
    """An `on_error` edge takes one part's failure; the gather gets the others."""

    @node
    async def picky(i: int) -> int:
        if i == 2:
            raise ValueError("two")
        return i

    @node
    async def handle(error: StepError) -> str:
        return "handled"

    flow = Flow("f", parts >> picky >> gather, picky >> edge(on_error=True) >> handle)
    assert sorted(await payloads(flow, 5), key=str) == sorted([[0, 1, 3, 4], "handled"], key=str)


async def test_a_retried_part_is_gathered_once() -> None:
    """Each part appears once, however many attempts it took."""

    @node(retry=AGAIN)
    async def shaky(i: int, ctx: Context) -> int:
        if ctx.attempt == 1 and i % 2:
            raise ValueError("once")
        return i

    assert await Flow("f", parts >> shaky >> gather).call(6) == list(range(6))


async def test_streams_of_parts_are_gathered_behind_their_folds() -> None:
    """Each part becomes a stream, each stream one message, and these one list in the parts' order."""

    async with Flow("f", parts >> count >> left >> whole >> gather).open(window=1) as runtime:
        assert await runtime.call(4) == [[], [0], [0, 1], [0, 1, 2]]


async def test_parts_by_key_are_gathered() -> None:
    """A fan-out by key or balance between spread and gather loses and doubles nothing."""
    for options in ({"partition": lambda i: i % 3}, {"balance": True}):
        flow = Flow("f", parts >> edge(capacity=1, **options) >> [left, right] >> gather)
        async with flow.open(window=2) as runtime:
            assert sorted(map(abs, await runtime.call(20))) == list(range(20))


# streams ------------------------------------------------------------------------------------------------


async def test_a_stream_is_partitioned_into_streams() -> None:
    """Fan-out of one stream by key: each branch sees one stream with its keys' chunks, in order."""

    def fold(name: str):
        async def collect(stream: Stream[int]) -> list[int]:
            return [i async for i in stream]

        return node(collect, name=name)

    flow = Flow("f", count >> edge(partition=lambda i: i % 4) >> [fold("a"), fold("b")])
    out = await payloads(flow, 20)
    assert sorted(i for chunks in out for i in chunks) == list(range(20))
    assert [chunks == sorted(chunks) for chunks in out] == [True, True]
    assert [len({i % 4 for i in a} & {i % 4 for i in b}) for a, b in [out]] == [0]


async def test_unordered_flat_maps_and_failures() -> None:
    """`ordered=False` with `yield`: every part arrives, those of one chunk in order."""

    @node(ordered=False, concurrency=4)
    async def loose(i: int) -> AsyncIterator[tuple[int, int]]:
        for k in range(3):
            for _ in range((7 * i + k) % 4):
                await anyio.sleep(0)
            if i == 50:
                raise ValueError("fifty")
            yield i, k

    chunks = await payloads(Flow("f", count >> loose), 10)
    assert sorted(chunks) == [(i, k) for i in range(10) for k in range(3)]
    assert [[k for j, k in chunks if j == i] for i in range(10)] == [[0, 1, 2]] * 10
    with pytest.raises(StepError):
        await Flow("f", count >> loose).call(60)


async def test_two_streams_of_one_step_reach_two_folds_at_once() -> None:
    """A step that writes two streams in turn, in windows of 1, feeds a step for each side by side."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit_chunk(i, stream_id="a")
            await ctx.emit_chunk(-i, stream_id="b")

    async with Flow("f", talk >> whole).open(window=1) as runtime:
        assert sorted(await runtime.call(4), key=str) == sorted([[0, 1, 2, 3], [0, -1, -2, -3]], key=str)


async def test_chunks_and_messages_into_one_node() -> None:
    """A node that takes `T` hears messages and streams alike; each keeps its form."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit(100)
        for i in range(n):
            await ctx.emit_chunk(i)

    async with Flow("f", talk >> left).stream(2) as items:
        told = [(type(item).__name__, item.payload) async for item in items]
    assert sorted(told) == [("Chunk", 0), ("Chunk", 1), ("Message", 100)]


async def test_a_handled_failure_in_front_of_a_fold() -> None:
    """The fold behind a stream that failed and was handled does not hang, and its run is done."""

    @node
    async def fails(n: int) -> AsyncIterator[int]:
        yield 1
        raise ValueError("handled")

    @node
    async def handle(error: StepError) -> str:
        return f"handled {error.node}"

    flow = Flow("f", fails >> left >> whole, fails >> edge(on_error=True) >> handle)
    async with flow.open() as runtime, runtime.run(0) as run:
        assert "handled fails" in [item.payload async for item in run]
        assert run.status == "done"


async def test_a_cancelled_stream_in_front_of_a_fold() -> None:
    """The fold of a stream that control cancelled does not hang either, and other streams go on."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(endless, ctx)
            for i in range(n):
                await ctx.emit_chunk(i, stream_id="short")

    async def endless(ctx: Context) -> None:
        try:
            while True:
                await ctx.emit_chunk(0, stream_id="endless")
                begun.set()
        except StreamClosed:
            pass

    begun = anyio.Event()

    @node
    async def collect(stream: Stream[int]) -> list[int]:
        try:
            return [i async for i in stream]
        finally:
            ended.append(stream.id)

    ended: list[str] = []
    async with Flow("f", talk >> collect).open(window=2) as runtime, runtime.run(3) as run:
        await begun.wait()
        await run.control("cancel", stream_id="endless")
        payloads_seen = [item.payload async for item in run]
        assert run.status == "done"
    assert [0, 1, 2] in payloads_seen
    assert sorted(ended) == ["endless", "short"]


async def test_events_of_every_attempt_have_one_end() -> None:
    """A stream that fails for good after two attempts ends once, with error, in its last attempt."""

    @node(retry=AGAIN)
    async def fails(n: int, ctx: Context) -> AsyncIterator[int]:
        yield ctx.attempt
        raise ValueError("always")

    events: list[object] = []
    async with Flow("f", fails >> left).open() as runtime, runtime.run(0) as run:
        with pytest.raises(StepError):
            async for event in run.events():
                events.append(event)  # noqa: PERF401 - keeps what came before the error
    ended = [(e.terminal, e.attempt, e.chunks) for e in events if isinstance(e, StreamEnded)]
    assert ended == [("error", 2, 1)]


# pauses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [0, 1, 2, 4, 7, 12, 20])
async def test_a_pause_at_any_time_loses_nothing(turns: int, quiet, in_flight, at_rest) -> None:
    """Wherever a pause hits a flow with joins, spreads and folds, the result after resuming is the same."""

    @node
    async def total(stream: Stream[tuple[int, int]]) -> int:
        return sum([a - b async for a, b in stream])

    flow = Flow("f", parts >> count >> [left, right] >> pair >> total >> gather)
    async with flow.open(window=2) as runtime:
        run = await runtime.start(12)
        for _ in range(turns):
            await anyio.sleep(0)
        await run.control("pause")
        await quiet()
        assert run.status == "paused"
        await run.control("resume")
        assert await run.result() == [2 * sum(range(i)) for i in range(12)]
        assert in_flight(runtime) == at_rest
