"""Part 1 of the rules: items and streams."""

from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import pytest

from penguiflow import (
    Chunk,
    Context,
    DeadlineExceeded,
    Flow,
    GraphError,
    Headers,
    Message,
    Retry,
    SequenceError,
    Spread,
    StepError,
    Stream,
    StreamClosed,
    StreamEnded,
    StreamOpened,
    StreamRestarted,
    edge,
    node,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


async def items_of(flow: Flow, payload: object, **options: object) -> list[Chunk | Message]:
    async with flow.open() as runtime, runtime.run(payload, **options) as run:
        return [item async for item in run]


async def events_of(flow: Flow, payload: object, **options: object) -> list[object]:
    async with flow.open() as runtime, runtime.run(payload, **options) as run:
        return [event async for event in run.events()]


# 1.1 ----------------------------------------------------------------------------------------------------


async def test_rule_1_1_seq_starts_at_zero_and_grows_by_one() -> None:
    """The chunks of a stream are numbered from 0 without gaps."""
    chunks = await items_of(Flow("f", count), 5)
    assert [(c.seq, c.payload) for c in chunks] == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]
    assert {type(c) for c in chunks} == {Chunk}


async def test_rule_1_1_yield_and_emit_chunk_number_one_stream() -> None:
    """`yield x` is the same as `await ctx.emit_chunk(x)`: both go into the step's one stream."""

    @node
    async def mixed(n: int, ctx: Context) -> AsyncIterator[int]:
        yield 10
        await ctx.emit_chunk(11)
        yield 12

    chunks = await items_of(Flow("f", mixed), 0)
    assert [(c.seq, c.payload) for c in chunks] == [(0, 10), (1, 11), (2, 12)]
    assert len({c.stream_id for c in chunks}) == 1


async def test_rule_1_1_two_steps_of_a_node_number_one_stream_together() -> None:
    """A stream is known by run, node and id: whichever step emits takes the next number."""

    @node
    async def parts(n: int) -> Spread[int]:
        return Spread(range(n))

    @node(concurrency=2)
    async def log(i: int, ctx: Context) -> None:
        for _ in range(5):
            await ctx.emit_chunk(i, stream_id="log")
            await anyio.sleep(0)

    chunks = await items_of(Flow("f", parts >> log), 2)
    assert [(c.stream_id, c.seq) for c in chunks] == [("log", seq) for seq in range(10)]
    assert sorted(c.payload for c in chunks) == [0] * 5 + [1] * 5


async def test_rule_1_1_chunk_by_chunk_keeps_the_id_and_renumbers() -> None:
    """A filter leaves no hole in the numbers, and the stream keeps its id, at `async def` and `def` nodes."""

    @node
    async def numbers(n: int, ctx: Context) -> None:
        async with ctx.open_stream("s") as stream:
            for i in range(n):
                await stream.send(i)

    @node
    async def odd(i: int) -> int | None:
        return i if i % 2 else None

    @node
    def big(i: int) -> int | None:
        return i if i > 2 else None

    chunks = await items_of(Flow("f", numbers >> odd >> big), 8)
    assert [(c.stream_id, c.seq, c.payload, c.node) for c in chunks] == [
        ("s", 0, 3, "big"),
        ("s", 1, 5, "big"),
        ("s", 2, 7, "big"),
    ]


async def test_rule_1_1_flat_map_stays_in_one_stream() -> None:
    """A node that yields several chunks for one numbers what it emits itself, in the same stream."""

    @node
    async def twice(i: int) -> AsyncIterator[str]:
        yield f"{i}a"
        yield f"{i}b"

    chunks = await items_of(Flow("f", count >> twice), 3)
    assert [(c.seq, c.payload) for c in chunks] == list(enumerate(["0a", "0b", "1a", "1b", "2a", "2b"]))
    assert len({c.stream_id for c in chunks}) == 1


async def test_rule_1_1_default_ids_are_unique_in_the_run() -> None:
    """Twenty streams of one node in one run have twenty ids, each numbered on its own."""

    @node
    async def parts(n: int) -> Spread[int]:
        return Spread([2] * n)

    chunks = await items_of(Flow("f", parts >> count), 20)
    seqs: dict[str, list[int]] = {}
    for chunk in chunks:
        seqs.setdefault(chunk.stream_id, []).append(chunk.seq)
    assert list(seqs.values()) == [[0, 1]] * 20


def writer(name: str, offset: int):
    """Make a node that opens the stream "s" and sends offset to offset + 4."""

    async def write(n: int, ctx: Context) -> None:
        async with ctx.open_stream("s") as stream:
            for i in range(5):
                await stream.send(offset + i)
                await anyio.sleep(0)

    return node(write, name=name)


async def test_rule_1_1_streams_of_one_id_meet_as_one_stream() -> None:
    """Where two nodes' streams of one id meet, one step sees both, each writer's order kept."""
    seen: list[list[int]] = []

    @node
    async def whole(stream: Stream[int]) -> None:
        seen.append([i async for i in stream])

    await Flow("f", [writer("a", 0), writer("b", 100)] >> whole).call(0)
    assert len(seen) == 1
    assert [i for i in seen[0] if i < 100] == [0, 1, 2, 3, 4]
    assert [i for i in seen[0] if i >= 100] == [100, 101, 102, 103, 104]


async def test_rule_1_1_streams_of_one_id_reach_the_reader_apart() -> None:
    """For the reader of the run, streams of one id are told apart by their node."""
    chunks = await items_of(Flow("f", writer("a", 0), writer("b", 100)), 0)
    apart = {name: [(c.seq, c.payload) for c in chunks if c.node == name] for name in ("a", "b")}
    assert apart == {
        "a": [(i, i) for i in range(5)],
        "b": [(i, 100 + i) for i in range(5)],
    }
    assert {c.stream_id for c in chunks} == {"s"}


# 1.2 ----------------------------------------------------------------------------------------------------


async def test_rule_1_2_chunks_inherit_from_their_message() -> None:
    """Headers, trace id, deadline and meta of the input are those of each chunk."""
    inputs: list[Message] = []

    @node
    async def tokens(n: int, ctx: Context) -> AsyncIterator[int]:
        inputs.append(ctx.message)
        yield n

    flow = Flow("f", tokens)
    async with flow.open() as runtime:
        options = {"headers": Headers(tenant="acme", topic="t", priority=3), "meta": {"k": 1}, "deadline": 60}
        async with runtime.run(0, **options) as run:
            chunks = [item async for item in run]
            told = [(c.headers, c.meta, c.trace_id, c.run_id, c.deadline) for c in chunks]
            headers = Headers(tenant="acme", topic="t", priority=3)
            assert told == [(headers, {"k": 1}, run.trace_id, run.id, inputs[0].deadline)]
    assert inputs[0].deadline is not None


async def test_rule_1_2_messages_inherit_through_every_node() -> None:
    """What a node returns carries its input's headers, meta and trace on, through `async def` and `def`."""

    @node
    async def first(n: int) -> int:
        return n + 1

    @node
    def second(n: int) -> int:
        return n + 1

    (item,) = await items_of(Flow("f", first >> second), 0, headers=Headers(tenant="acme"), meta={"k": 1})
    assert (type(item), item.payload, item.headers, item.meta) == (
        Message,
        2,
        Headers(tenant="acme"),
        {"k": 1},
    )


async def test_rule_1_2_payloads_are_shared_between_branches() -> None:
    """A fan-out copies no payload."""
    seen: list[object] = []

    @node
    async def make(n: int) -> dict:
        payload = {"n": n}
        seen.append(payload)
        return payload

    @node
    async def left(d: dict) -> None:
        seen.append(d)

    @node
    async def right(d: dict) -> None:
        seen.append(d)

    await Flow("f", make >> [left, right]).call(1)
    assert [payload is seen[0] for payload in seen] == [True, True, True]


async def test_rule_1_2_branches_do_not_share_headers_and_meta() -> None:
    """What one branch writes into headers or meta, however deep, the other branch does not see."""
    written = anyio.Event()
    seen: list[object] = []

    @node
    async def start(n: int) -> int:
        return n

    @node
    async def writes(message: Message) -> None:
        message.meta["deep"]["x"] = "changed"
        message.meta["new"] = 1
        message.headers.tenant = "changed"
        message.headers.extra["deep"]["x"] = "changed"
        written.set()

    @node
    async def reads(message: Message) -> None:
        await written.wait()
        seen.append((message.meta, message.headers))

    headers = Headers(tenant="acme", extra={"deep": {"x": 0}})
    await Flow("f", start >> [writes, reads]).call(1, headers=headers, meta={"deep": {"x": 0}})
    assert seen == [({"deep": {"x": 0}}, Headers(tenant="acme", extra={"deep": {"x": 0}}))]
    assert headers == Headers(tenant="acme", extra={"deep": {"x": 0}})


async def test_rule_1_2_chunks_of_a_fan_out_do_not_share_meta() -> None:
    """The copies of a chunk in two branches are changed apart, also where a `def` node changes its own."""

    @node
    async def numbers(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit_chunk(i, meta={"who": "nobody"})

    def branch(name: str):
        async def mark(chunk: Chunk) -> int:
            before = chunk.meta["who"]
            chunk.meta["who"] = name
            assert before == "nobody"
            return chunk.payload

        return node(mark, name=name)

    chunks = await items_of(Flow("f", numbers >> [branch("a"), branch("b")]), 3)
    assert sorted((c.node, c.seq, c.payload) for c in chunks) == [
        (name, i, i) for name in ("a", "b") for i in range(3)
    ]


async def test_rule_1_2_a_child_changes_neither_parent_nor_sibling() -> None:
    """Writing into one emission's meta and headers leaves its message and the next emission alone."""
    told: list[object] = []

    @node
    async def talk(n: int, ctx: Context) -> None:
        first = await ctx.emit_chunk(0, meta={"own": {"x": 0}})
        first.meta["own"]["x"] = 1
        first.meta["k"]["x"] = 1
        first.headers.extra["x"] = 1
        second = await ctx.emit_chunk(1)
        told.extend([ctx.message.meta, ctx.message.headers, second.meta, second.headers])

    await Flow("f", talk).call(0, meta={"k": {"x": 0}})
    assert told == [{"k": {"x": 0}}, Headers(), {"k": {"x": 0}}, Headers()]


async def test_rule_1_2_changing_the_parent_later_leaves_emitted_children_alone() -> None:
    """A child has its own copy from the moment it is emitted."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit_chunk(0)
        ctx.message.meta["k"]["x"] = 1
        ctx.message.headers.tenant = "changed"

    (chunk,) = await items_of(Flow("f", talk), 0, meta={"k": {"x": 0}})
    assert (chunk.meta, chunk.headers) == ({"k": {"x": 0}}, Headers())


async def test_rule_1_2_an_emissions_meta_is_laid_over_the_inherited() -> None:
    """`meta=` adds and replaces keys of this emission only; `headers=` replaces the headers."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit("m", meta={"b": 2}, headers=Headers(topic="new"))
        await ctx.emit_chunk("c", meta={"c": 3})

    items = await items_of(Flow("f", talk), 0, meta={"a": 1, "b": 1}, headers=Headers(tenant="acme"))
    assert [(i.payload, i.meta, i.headers) for i in items] == [
        ("m", {"a": 1, "b": 2}, Headers(topic="new")),
        ("c", {"a": 1, "b": 1, "c": 3}, Headers(tenant="acme")),
    ]


async def test_rule_1_2_chunk_by_chunk_inherits_from_its_chunk() -> None:
    """Behind a node that maps or flat maps, each chunk has the meta of the chunk it was made of."""

    @node
    async def numbers(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit_chunk(i, meta={"i": i})

    @node
    async def plus(i: int) -> int:
        return i + 10

    @node
    async def twice(i: int) -> AsyncIterator[int]:
        yield i
        yield i

    chunks = await items_of(Flow("f", numbers >> plus >> twice), 3)
    assert [(c.payload, c.meta["i"]) for c in chunks] == [
        (10, 0),
        (10, 0),
        (11, 1),
        (11, 1),
        (12, 2),
        (12, 2),
    ]


# 1.3 ----------------------------------------------------------------------------------------------------


def shape(events: list[object]) -> list[object]:
    """Give an event's kind, and of chunks the payload."""
    return [e.payload if isinstance(e, Chunk) else (type(e), getattr(e, "terminal", None)) for e in events]


async def test_rule_1_3_one_opening_and_one_terminal() -> None:
    """The opening comes before the first chunk, the terminal after the last."""
    assert shape(await events_of(Flow("f", count), 2)) == [(StreamOpened, None), 0, 1, (StreamEnded, "done")]


async def test_rule_1_3_an_empty_stream_opens_and_ends_too() -> None:
    """A stream without chunks opens and ends behind every node that works chunk by chunk; it is `[]`."""

    @node
    async def same(i: int) -> int:
        return i

    @node
    def minus(i: int) -> int:
        return -i

    @node
    async def twice(i: int) -> AsyncIterator[int]:
        yield i

    flow = Flow("f", count >> same >> minus >> twice)
    events = await events_of(flow, 0)
    assert [(type(e), e.node) for e in events] == [(StreamOpened, "twice"), (StreamEnded, "twice")]
    assert await flow.call(0) == []


async def test_rule_1_3_a_stream_filtered_empty_opens_and_ends_too() -> None:
    """Where a filter drops all chunks, the stream stays a stream: the step behind gets an empty one."""

    @node
    def nothing(i: int) -> int | None:
        return None

    @node
    async def total(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    assert await Flow("f", count >> nothing >> total).call(3) == 0


async def test_rule_1_3_a_stream_step_gets_an_empty_stream_once() -> None:
    """An empty stream is an input like any other: its step is invoked, once."""
    calls: list[list[int]] = []

    @node
    async def fold(stream: Stream[int]) -> int:
        calls.append([i async for i in stream])
        return len(calls[-1])

    assert await Flow("f", count >> fold).call(0) == 0
    assert calls == [[]]


def ends(watcher, name: str) -> list[tuple[str, int]]:
    return [(e.terminal, e.chunks) for e in watcher.of("StreamEnded") if e.node == name]


@node
async def stalls(n: int) -> AsyncIterator[int]:
    """Yield 0, then wait for ever."""
    yield 0
    await anyio.sleep_forever()


async def test_rule_1_3_terminal_error(watcher) -> None:
    """A step that raises ends its stream with error, once, here and behind it."""

    @node
    async def fails(n: int) -> AsyncIterator[int]:
        yield 0
        raise ValueError("no")

    @node
    async def same(i: int) -> int:
        return i

    async with Flow("f", fails >> same).open(observers=[watcher]) as runtime:
        with pytest.raises(StepError):
            await runtime.call(0)
    assert ends(watcher, "fails") == [("error", 1)]
    assert ends(watcher, "same") == [("error", 1)]
    assert len(watcher.of("StreamOpened")) == 2


async def test_rule_1_3_terminal_cancelled(watcher) -> None:
    """Leaving a run ends its open streams as cancelled, once."""
    async with Flow("f", stalls).open(observers=[watcher]) as runtime:
        async with runtime.run(0) as run:
            async for _ in run:
                break
    assert ends(watcher, "stalls") == [("cancelled", 1)]
    assert len(watcher.of("StreamOpened")) == 1


@pytest.mark.virtual_time
async def test_rule_1_3_terminal_expired(watcher) -> None:
    """A run's deadline ends its open streams as expired, once."""
    async with Flow("f", stalls).open(observers=[watcher]) as runtime:
        with pytest.raises(DeadlineExceeded):
            await runtime.call(0, deadline=0.05)
    assert ends(watcher, "stalls") == [("expired", 1)]


async def test_rule_1_3_a_cancelled_stream_ends_as_cancelled_and_the_run_goes_on() -> None:
    """Control may cancel one stream: it ends as cancelled in order, the run's other streams go on."""
    go = anyio.Event()

    @node
    async def other(n: int) -> AsyncIterator[str]:
        await go.wait()
        yield "other"

    async with Flow("f", stalls, other).open() as runtime, runtime.run(0) as run:
        events = run.events()
        seen = [await anext(events)]
        while not isinstance(seen[-1], Chunk):
            seen.append(await anext(events))
        await run.control("cancel", stream_id=seen[-1].stream_id)
        go.set()
        seen += [event async for event in events]
    ended = {e.node: (e.terminal, e.chunks) for e in seen if isinstance(e, StreamEnded)}
    assert ended == {"stalls": ("cancelled", 1), "other": ("done", 1)}


async def test_rule_1_3_emitting_after_done_raises_stream_closed() -> None:
    """After `done=True` the emitter gets `StreamClosed`, and nothing of it is delivered."""
    raised: list[str] = []

    @node
    async def talk(n: int, ctx: Context) -> None:
        for stream_id in (None, "explicit"):
            await ctx.emit_chunk("last", stream_id=stream_id, done=True)
            try:
                await ctx.emit_chunk("late", stream_id=stream_id)
            except StreamClosed:
                raised.append("waiting")
            try:
                ctx.emit_chunk_nowait("late", stream_id=stream_id)
            except StreamClosed:
                raised.append("nowait")

    events = await events_of(Flow("f", talk), 0)
    assert raised == ["waiting", "nowait"] * 2
    assert [(e.payload, e.done) for e in events if isinstance(e, Chunk)] == [("last", True)] * 2
    assert [(e.terminal, e.chunks) for e in events if isinstance(e, StreamEnded)] == [("done", 1)] * 2


async def test_rule_1_3_a_stream_that_an_exception_left_takes_nothing_more() -> None:
    """Also where the node catches the exception; the stream ends with its step then."""
    told: list[str] = []

    @node
    async def opens(n: int, ctx: Context) -> None:
        with suppress(LookupError):
            async with ctx.open_stream("s") as stream:
                await stream.send(n)
                raise LookupError
        for again in (stream.send(2), ctx.emit_chunk(3, stream_id="s")):
            with pytest.raises(StreamClosed) as caught:
                await again
            told.append(str(caught.value))

    async with Flow("f", opens).open() as runtime, runtime.run(1) as run:
        events = [event async for event in run.events()]
    assert [e.payload for e in events if isinstance(e, Chunk)] == [1]
    assert [e.terminal for e in events if isinstance(e, StreamEnded)] == ["cancelled"]
    assert ["left by an exception" in text for text in told] == [True, True]


async def test_rule_1_3_sending_after_open_stream_is_left_raises() -> None:
    """Leaving `open_stream` ends the stream; its `send` and its id are closed from then on."""
    raised: list[type] = []

    @node
    async def talk(n: int, ctx: Context) -> None:
        async with ctx.open_stream("s") as stream:
            await stream.send(1)
        for late in (lambda: stream.send(2), lambda: ctx.emit_chunk(2, stream_id="s")):
            try:
                await late()
            except StreamClosed as error:
                raised.append(type(error))

    assert await Flow("f", talk).call(0) == [1]
    assert raised == [StreamClosed, StreamClosed]


async def test_rule_1_3_an_uncaught_stream_closed_comes_out_as_it_is() -> None:
    """The emitter's mistake is not swallowed: the run raises `StreamClosed`."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit_chunk(1, done=True)
        await ctx.emit_chunk(2)

    with pytest.raises(StreamClosed):
        await Flow("f", talk).call(0)


async def test_rule_1_3_default_id_ends_with_its_step() -> None:
    """The stream of one step ends when that step ends, though another of its node goes on."""
    release = anyio.Event()

    @node
    async def parts(n: int) -> Spread[str]:
        return Spread(["short", "long"])

    @node
    async def speak(word: str) -> AsyncIterator[str]:
        yield word
        if word == "long":
            await release.wait()

    @node
    async def whole(stream: Stream[str]) -> str:
        words = [word async for word in stream]
        release.set()
        return "+".join(words)

    assert sorted(m.payload for m in await items_of(Flow("f", parts >> speak >> whole), 0)) == [
        "long",
        "short",
    ]


async def test_rule_1_3_explicit_id_ends_when_nothing_can_write_to_it_any_more() -> None:
    """A stream of an explicit id spans the steps that write to it, and ends without anybody saying `done`."""

    @node
    async def parts(n: int) -> Spread[int]:
        return Spread(range(n))

    @node(concurrency=1)
    async def log(i: int, ctx: Context) -> None:
        await ctx.emit_chunk(i, stream_id="log")

    @node
    async def total(stream: Stream[int]) -> list[int]:
        return [i async for i in stream]

    assert await Flow("f", parts >> log >> total).call(5) == [0, 1, 2, 3, 4]


async def test_rule_1_3_the_terminal_comes_after_all_data_at_a_merge() -> None:
    """A merged stream ends only after its slowest writer."""
    order = anyio.Event()

    @node
    async def fast(i: int) -> int:
        if i == 2:
            order.set()
        return i

    @node
    async def slow(i: int) -> int:
        await order.wait()
        return i + 100

    @node
    async def whole(stream: Stream[int]) -> list[int]:
        return sorted([i async for i in stream])

    assert await Flow("f", count >> [fast, slow] >> whole).call(3) == [0, 1, 2, 100, 101, 102]


# 1.4 ----------------------------------------------------------------------------------------------------


async def test_rule_1_4_a_lower_seq_raises_in_the_emitter() -> None:
    """An explicit seq that was given before raises `SequenceError` and emits nothing."""
    raised: list[int] = []

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit_chunk("a", seq=0)
        await ctx.emit_chunk("b", seq=1)
        for seq in (1, 0, -1):
            try:
                await ctx.emit_chunk("x", seq=seq)
            except SequenceError:
                raised.append(seq)
        await ctx.emit_chunk("c")

    chunks = await items_of(Flow("f", talk), 0)
    assert raised == [1, 0, -1]
    assert [(c.seq, c.payload) for c in chunks] == [(0, "a"), (1, "b"), (2, "c")]


async def test_rule_1_4_a_higher_seq_is_a_counted_gap() -> None:
    """A skipped number is counted where the stream ends, in the run's statistics, and shows in the chunks."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit_chunk("a")
        await ctx.emit_chunk("c", seq=2)
        await ctx.emit_chunk("d")

    async with Flow("f", talk).open() as runtime, runtime.run(0) as run:
        events = [event async for event in run.events()]
        assert run.statistics().gaps == 1
    assert [(e.seq, e.payload) for e in events if isinstance(e, Chunk)] == [(0, "a"), (2, "c"), (3, "d")]
    assert [(e.chunks, e.gaps) for e in events if isinstance(e, StreamEnded)] == [(3, 1)]


async def test_rule_1_4_a_gap_is_visible_to_the_step_that_takes_the_stream() -> None:
    """`stream.gaps` counts what was skipped."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit_chunk("b", seq=1)
        await ctx.emit_chunk("d", seq=3)

    @node
    async def whole(stream: Stream[str]) -> tuple[list[int], int]:
        return [chunk.seq async for chunk in stream.chunks()], stream.gaps

    assert await Flow("f", talk >> whole).call(0) == ([1, 3], 2)


# 1.5 ----------------------------------------------------------------------------------------------------


def failing_once(after: int, when: anyio.Event | None = None):
    """Make a node whose first attempt fails after so many chunks and the event; payloads tell the attempt."""

    done = anyio.Event()
    done.set()

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def tell(n: int, ctx: Context) -> AsyncIterator[str]:
        for i in range(n):
            if ctx.attempt == 1 and i == after:
                await (when or done).wait()
                raise ValueError("once")
            yield f"{ctx.attempt}.{i}"

    return tell


async def test_rule_1_5_a_retry_opens_a_new_attempt_from_seq_zero() -> None:
    """The reader sees both attempts apart, in one stream, the second from seq 0."""
    chunks = await items_of(Flow("f", failing_once(2)), 3)
    assert [(c.attempt, c.seq, c.payload) for c in chunks] == [
        (1, 0, "1.0"),
        (1, 1, "1.1"),
        (2, 0, "2.0"),
        (2, 1, "2.1"),
        (2, 2, "2.2"),
    ]
    assert len({c.stream_id for c in chunks}) == 1


async def test_rule_1_5_events_tell_the_restart() -> None:
    """One opening, the restart between the attempts, one terminal that counts the last attempt."""
    events = await events_of(Flow("f", failing_once(1)), 2)
    told = [e.payload if isinstance(e, Chunk) else (type(e), e.attempt) for e in events]
    assert told == [(StreamOpened, 1), "1.0", (StreamRestarted, 2), "2.0", "2.1", (StreamEnded, 2)]
    assert (events[-1].terminal, events[-1].chunks) == ("done", 2)


async def test_rule_1_5_result_and_text_are_the_successful_attempts() -> None:
    """The text of two attempts is never spliced."""
    flow = Flow("f", failing_once(2))
    assert await flow.call(3) == ["2.0", "2.1", "2.2"]
    async with flow.open() as runtime, runtime.run(3) as run:
        assert await run.text() == "2.02.12.2"


async def test_rule_1_5_attempts_travel_through_chunk_by_chunk_nodes() -> None:
    """Behind maps and filters the new attempt starts at seq 0, and nothing of the old one follows it."""

    @node
    async def upper(text: str) -> str:
        await anyio.sleep(0)
        return "u" + text

    @node
    def last(text: str) -> str | None:
        return None if text.endswith(".0") else text

    chunks = await items_of(Flow("f", failing_once(3) >> upper >> last), 4)
    second = [c for c in chunks if c.attempt == 2]
    assert [(c.seq, c.payload) for c in second] == [(0, "u2.1"), (1, "u2.2"), (2, "u2.3")]
    assert [c.attempt for c in chunks] == sorted(c.attempt for c in chunks)


async def test_rule_1_5_a_node_drops_what_is_left_of_a_lower_attempt() -> None:
    """What waits of attempt 1 when attempt 2 arrives is dropped, not worked on."""
    seen: list[tuple[int, int]] = []
    second = anyio.Event()

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def tell(n: int, ctx: Context) -> AsyncIterator[int]:
        for i in range(n):
            yield i
        if ctx.attempt == 1:
            raise ValueError("once")
        second.set()

    @node
    async def slow(chunk: Chunk) -> int:
        await second.wait()
        seen.append((chunk.attempt, chunk.seq))
        return chunk.payload

    assert await Flow("f", tell >> slow).call(4) == [0, 1, 2, 3]
    assert [pair for pair in seen if pair[0] == 1] in ([], [(1, 0)])
    assert [pair for pair in seen if pair[0] == 2] == [(2, 0), (2, 1), (2, 2), (2, 3)]


async def test_rule_1_5_a_stream_step_is_restarted_with_its_input() -> None:
    """When its input starts a new attempt before it has settled, the step runs again as its next attempt."""
    attempts: list[int] = []
    begun = anyio.Event()

    @node
    async def whole(stream: Stream[str], ctx: Context) -> str:
        attempts.append(ctx.attempt)
        begun.set()
        return "".join([text async for text in stream])

    assert await Flow("f", failing_once(2, begun) >> whole).call(3) == "2.02.12.2"
    assert attempts == [1, 2]


@pytest.mark.parametrize("in_its_own_task", [True, False])
async def test_rule_1_5_an_input_that_begins_again_while_its_reader_pauses(in_its_own_task: bool) -> None:
    """A step between two attempts of its own reads the new attempt of its input with the next one."""
    calls: list[str] = []
    failed = anyio.Event()

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def source(n: int) -> AsyncIterator[int]:
        calls.append("source")
        if "whole" not in calls:
            await failed.wait()
            raise LookupError(n)
        for i in range(n):
            yield i

    @node(retry=Retry(attempts=2, backoff=0.05, jitter=0))
    async def whole(stream: Stream[int]) -> list[int]:
        calls.append("whole")
        if calls.count("whole") == 1:
            with suppress(anyio.WouldBlock):
                stream.next_nowait()
            failed.set()
            raise LookupError("before anything was taken")
        got: list[int] = []

        async def read() -> None:
            got.extend([i async for i in stream])

        if in_its_own_task:
            await read()
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(read)
        return got

    assert await Flow("f", source >> whole).call(3) == [0, 1, 2]


async def test_rule_1_5_readers_side_by_side_begin_again_with_their_inputs() -> None:
    """The tasks that a step has started to read its inputs end with the attempt."""
    calls: list[int] = []
    begun = anyio.Event()

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def source(n: int) -> AsyncIterator[int]:
        calls.append(n)
        for i in range(n):
            yield i
            if len(calls) == 1:
                await begun.wait()
                raise LookupError(n)

    @node
    async def left(i: int) -> int:
        return i

    @node
    async def right(i: int) -> int:
        return -i

    @node
    async def both(left: Stream[int], right: Stream[int]) -> list[int]:
        got: list[int] = []

        async def read(stream: Stream[int]) -> None:
            async for i in stream:
                begun.set()
                got.append(i)

        async with anyio.create_task_group() as group:
            group.start_soon(read, left)
            group.start_soon(read, right)
        return sorted(got)

    assert await Flow("f", source >> [left, right] >> both).call(3) == [-2, -1, 0, 0, 1, 2]


async def test_rule_1_5_a_restarted_stream_step_restarts_its_own_stream() -> None:
    """A step that turns a stream into a stream carries the new attempt on; the texts are not spliced."""

    shouted = anyio.Event()

    @node
    async def shout(stream: Stream[str]) -> AsyncIterator[str]:
        async for text in stream:
            yield text + "!"
            shouted.set()

    flow = Flow("f", failing_once(2, shouted) >> shout)
    chunks = await items_of(flow, 3)
    assert {c.attempt for c in chunks} == {1, 2}
    assert await flow.call(3) == ["2.0!", "2.1!", "2.2!"]
    assert [(c.seq, c.payload) for c in chunks if c.attempt == 2] == [(0, "2.0!"), (1, "2.1!"), (2, "2.2!")]


async def test_rule_1_5_a_chunk_step_with_a_retry_holds_its_yields_back() -> None:
    """A flat map that fails halfway and is retried repeats nothing: one attempt of the stream, no gaps."""
    failed: set[int] = set()

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def twice(i: int) -> AsyncIterator[str]:
        yield f"{i}a"
        if i == 1 and i not in failed:
            failed.add(i)
            raise ValueError("once")
        yield f"{i}b"

    chunks = await items_of(Flow("f", count >> twice), 3)
    assert [(c.attempt, c.seq, c.payload) for c in chunks] == [
        (1, seq, text) for seq, text in enumerate(["0a", "0b", "1a", "1b", "2a", "2b"])
    ]


async def test_rule_1_5_a_chunk_step_beyond_its_window_is_not_retried() -> None:
    """What does not fit into the window goes out, and then the step is not retried any more."""
    calls: list[int] = []

    @node(retry=Retry(attempts=3, backoff=0, jitter=0))
    async def many(i: int) -> AsyncIterator[int]:
        calls.append(i)
        for part in range(6):
            yield part
        raise ValueError("late")

    seen: list[int] = []
    async with Flow("f", count >> many).open(window=2) as runtime, runtime.run(1) as run:
        with pytest.raises(StepError) as caught:
            async for chunk in run:
                seen.append(chunk.payload)  # noqa: PERF401 - keeps what came before the error
    assert (calls, seen) == ([0], [0, 1, 2, 3, 4, 5])
    assert str(caught.value.__cause__) == "late"


@pytest.mark.parametrize(("taken", "calls"), [(0, 3), (1, 1)])
async def test_rule_1_5_a_stream_step_is_retried_only_while_it_has_taken_nothing(
    taken: int, calls: int
) -> None:
    """A failure before the first chunk is tried again; after it, the chunks are gone and it is not."""
    attempts: list[int] = []

    @node(retry=Retry(attempts=3, backoff=0, jitter=0))
    async def whole(stream: Stream[int], ctx: Context) -> int:
        attempts.append(ctx.attempt)
        if taken:
            await anext(aiter(stream))
        raise ValueError("always")

    with pytest.raises(StepError):
        await Flow("f", count >> whole).call(3)
    assert attempts == list(range(1, calls + 1))


# 1.6 ----------------------------------------------------------------------------------------------------


async def test_rule_1_6_order_is_kept_whatever_the_concurrency() -> None:
    """Early chunks that take longer are not overtaken."""

    @node(concurrency=8)
    async def slower_first(i: int) -> int:
        for _ in range(10 - i):
            await anyio.sleep(0)
        return i

    @node(concurrency=8)
    async def flat(i: int) -> AsyncIterator[int]:
        for _ in range(10 - i):
            await anyio.sleep(0)
        yield i

    chunks = await items_of(Flow("f", count >> slower_first >> flat), 10)
    assert [(c.seq, c.payload) for c in chunks] == [(i, i) for i in range(10)]


async def test_rule_1_6_an_ordered_node_works_one_chunk_of_a_stream_at_a_time() -> None:
    """Order is not repaired afterwards: the node never works at two chunks of one stream at once."""
    at_work: list[int] = [0, 0]

    @node(concurrency=8)
    async def busy(i: int) -> int:
        at_work[0] += 1
        at_work[1] = max(at_work)
        await anyio.sleep(0)
        at_work[0] -= 1
        return i

    await Flow("f", count >> busy).call(10)
    assert at_work == [0, 1]


async def test_rule_1_6_unordered_gives_in_order_of_completion() -> None:
    """`ordered=False` lets up to `concurrency` chunks of a stream overtake each other, renumbered."""
    later = anyio.Event()

    @node(concurrency=2, ordered=False)
    async def loose(i: int) -> int:
        if i == 0:
            await later.wait()
        if i == 2:
            later.set()
        return i

    chunks = await items_of(Flow("f", count >> loose), 3)
    assert [(c.seq, c.payload) for c in chunks] == [(0, 1), (1, 2), (2, 0)]


def test_rule_1_6_unordered_may_not_feed_a_join_by_chunk() -> None:
    """A join that pairs chunk by chunk needs the order: the flow is not built."""

    @node(ordered=False)
    async def loose(i: int) -> int:
        return i

    @node
    async def tight(i: int) -> int:
        return i

    @node
    async def both(loose: int, tight: int) -> int:
        return loose + tight

    with pytest.raises(GraphError, match="loose"):
        Flow("f", count >> [loose, tight] >> both)


# 1.7 ----------------------------------------------------------------------------------------------------

EMPTY = [b"", "", 0, False, 0.0, [], {}]


@pytest.mark.parametrize("value", EMPTY, ids=repr)
async def test_rule_1_7_empty_values_are_data_when_returned(value: object) -> None:
    """What a node returns is delivered, however empty; also through an inline node."""

    @node
    async def give(n: int) -> object:
        return value

    @node
    def same(x: object) -> object:
        return x

    (item,) = await items_of(Flow("f", give >> same), 0)
    assert (item.payload, type(item.payload)) == (value, type(value))


async def test_rule_1_7_empty_values_are_data_when_yielded() -> None:
    """A stream of empty values, `None` included, arrives whole at a stream step and at the reader."""
    values = [*EMPTY, None]

    @node
    async def give(n: int) -> AsyncIterator[object]:
        for value in values:
            yield value

    @node
    async def whole(stream: Stream[object]) -> list[object]:
        return [value async for value in stream]

    assert await Flow("f", give).call(0) == values
    assert await Flow("g", give >> whole).call(0) == values


async def test_rule_1_7_none_is_data_where_it_is_emitted() -> None:
    """A returned `None` emits nothing; an emitted one is a message or a chunk, to nodes and to the reader."""
    seen: list[object] = []

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit(None, to="listen")
        await ctx.emit_chunk(None, stream_id="s", to="listen")

    @node
    async def listen(x: object, ctx: Context) -> None:
        seen.append(x)
        await ctx.emit(None)

    items = await items_of(Flow("f", talk >> listen), 0)
    assert seen == [None, None]
    assert [item.payload for item in items] == [None, None]


@pytest.mark.parametrize("value", [*EMPTY, None], ids=repr)
async def test_rule_1_7_empty_values_are_data_at_the_door(value: object) -> None:
    """Any value may start a run, may be sent in a session, and may be a part of a spread or gather."""
    seen: list[object] = []

    @node
    async def take(x: object, ctx: Context) -> None:
        seen.append(x)

    flow = Flow("f", take)
    await flow.call(value)
    async with flow.open() as runtime, runtime.session() as session:
        await session.send(value)
        await session.end_input()
        await session.result()
    assert seen == [value, value]


async def test_rule_1_7_empty_values_pair_in_joins() -> None:
    """An empty value fills its slot: it is not a silent branch."""

    @node
    async def start(n: int) -> int:
        return n

    @node
    async def zero(n: int) -> int:
        return 0

    @node
    async def false(n: int) -> bool:
        return False

    @node
    async def both(zero: int | None, false: bool | None) -> tuple[object, object]:
        return zero, false

    assert await Flow("f", start >> [zero, false] >> both).call(1) == (0, False)


async def test_rule_1_7_conditions_see_empty_values() -> None:
    """`when=` is asked about empty values as about any other."""

    @node
    async def start(n: int) -> int:
        return n

    @node
    async def empty(n: int) -> str:
        return f"empty {n}"

    assert await Flow("f", start >> edge(when=lambda n: n == 0) >> empty).call(0) == "empty 0"
