"""Where the time of real streams and steps went: who was slow is whom they waited for (rule 6.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from fuzz.books import Books, watched
from plain_nodes import count, hop, named, numbers, plain

from penguiflow import (
    Context,
    Flow,
    Retry,
    Stream,
    edge,
    node,
)
from penguiflow.testing import virtual_backend

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both event loops, both on virtual time where that is asked for."""
    if request.node.get_closest_marker("virtual_time"):
        return virtual_backend(request.param)
    return request.param, {}


# -- what is measured of a stream


async def test_sizes_are_those_of_text_in_utf_8_and_of_bytes() -> None:
    """Whatever comes first; other payloads have none, and alone give none."""

    @node
    async def gives(which: str) -> AsyncIterator[Any]:
        for payload in {
            "text": ["a", "\u00e9\ud800", ""],
            "bytes": [b"12", b""],
            "mixed": [1, "ab", b"c"],
        }.get(which, [1, 2]):
            yield payload

    sizes = {}
    for which in ("text", "bytes", "mixed", "numbers"):
        books = await watched(Flow("f", gives), which)
        sizes[which] = books.stream("gives").timing.bytes
    assert sizes == {"text": 6, "bytes": 2, "mixed": 3, "numbers": None}


@pytest.mark.virtual_time
async def test_the_first_chunk_is_told() -> None:
    """How long it took from the opening; a stream without any has none."""

    @node
    async def slow(n: int) -> AsyncIterator[int]:
        await anyio.sleep(3)
        for i in range(n):
            yield i
            await anyio.sleep(1)

    books = await watched(Flow("f", slow >> hop), 2)
    assert books.stream("hop").timing.first_chunk == pytest.approx(3)
    books = await watched(Flow("f", slow >> hop), 0)
    assert books.stream("hop").timing.first_chunk is None


async def test_drops_are_counted_where_they_are_told() -> None:
    """Each has its stream; the stream's end says how many they were, and what was delivered is the rest."""
    flow = Flow("f", count >> edge(capacity=1, overflow="drop_oldest") >> named("it", 0.001))
    books = await watched(flow, 20)
    drops = books.of("Drop")
    assert len(drops) > 5
    assert books.stream("count").timing.drops == len(drops)
    assert {(drop.run_id, drop.part) for drop in drops} == {(books.of("RunStarted")[0].run_id, 0)}
    assert books.stream("it").chunks == 20 - len(drops)


@pytest.mark.virtual_time
async def test_how_long_a_step_was_queued() -> None:
    """What waits for a place waits in the queue; the step's own time begins with its code."""
    it = named("it", 1.0, concurrency=1)
    books = Books()
    async with Flow("f", it).open(observers=[books]) as runtime:
        async with anyio.create_task_group() as tasks:
            for i in range(3):
                tasks.start_soon(runtime.call, i)
    assert books.left() == []
    assert [event.queued for event in books.of("StepStarted")] == pytest.approx([0.0, 1.0, 2.0])
    assert [event.waits.node for event in books.of("StepEnded")] == pytest.approx([1.0] * 3)


# -- who is slow (rule 6.4)


def slow_flows(slow: str) -> dict[str, tuple[Flow, Any]]:
    """Give flows of many shapes in which one thing is slow: where the time of their last streams goes."""
    seconds = 0.1 if slow == "node" else 0.0

    @node
    async def by_hand(i: int, ctx: Context) -> None:
        await anyio.sleep(seconds)
        await ctx.emit_chunk(i)

    @node
    async def reads(stream: Stream[int]) -> AsyncIterator[int]:
        async for i in stream:
            await anyio.sleep(seconds)
            yield i

    @node(retry=Retry(attempts=2))
    async def careful(i: int) -> int:
        await anyio.sleep(seconds)
        return i

    async def both(a: int, b: int) -> int:
        await anyio.sleep(seconds)
        return a

    joins = node(both, name="it")
    work = named("it", seconds)
    pause = 0.1 if slow == "source" else 0.0

    def fed() -> AsyncIterator[int]:
        return numbers(10, pause)

    return {
        "a node": (Flow("f", work), fed()),
        "behind others": (Flow("f", hop >> plain >> named("h2") >> work), fed()),
        "by hand": (Flow("f", hop >> node(by_hand.fn, name="it")), fed()),
        "a reader of streams": (Flow("f", hop >> plain >> node(reads.fn, name="it")), fed()),
        "with a policy": (Flow("f", hop >> node(careful.fn, name="it", retry=Retry(attempts=2))), fed()),
        "unordered": (Flow("f", hop >> named("it", seconds, ordered=False, concurrency=1)), fed()),
        "a join": (Flow("f", hop >> [node(hop.fn, name="a"), node(plain.fn, name="b")] >> joins), fed()),
        "a flow in it": (Flow("f", Flow("g", hop >> plain) >> work), fed()),
    }


@pytest.mark.virtual_time
@pytest.mark.parametrize("window", [1, 3, 128])
@pytest.mark.parametrize("shape", [*slow_flows("node")])
@pytest.mark.parametrize("slow", ["source", "node", "credit"])
async def test_a_stream_says_who_was_slow(slow: str, shape: str, window: int) -> None:
    """Nine tenths of the time is where the sleep is; behind it, streams wait for their source."""
    if slow == "credit" and window > 8:
        window = 8  # else nobody has to wait for the reader
    flow, payload = slow_flows(slow)[shape]

    async def read(run: Any) -> None:
        async for _ in run:
            await anyio.sleep(0.1 if slow == "credit" else 0.0)

    books = await watched(flow, payload, read, window=window)
    waits = books.stream("it").timing.waits
    if slow == "credit" and window > 1:
        assert waits.credit > 0.9 * waits.seconds > 0.05, waits
    else:
        assert getattr(waits, slow) > 0.85 * waits.seconds > 0.4, waits
    if shape == "behind others":
        before = books.stream("h2").timing.waits
        expected = {"source": "source", "node": "credit", "credit": "credit"}[slow]
        if window < 10:
            assert getattr(before, expected) > 0.75 * before.seconds, before


@pytest.mark.virtual_time
async def test_an_edge_that_drops_does_not_hide_a_slow_reader() -> None:
    """What waits at its gate waits for credit: the node is not handed anything, because nobody reads."""
    flow = Flow("f", hop >> edge(capacity=1, overflow="drop_oldest") >> named("it"))

    async def read(run: Any) -> None:
        async for _ in run:
            await anyio.sleep(1.0)

    books = await watched(flow, numbers(50, 0.1), read)
    waits = books.stream("it").timing.waits
    assert waits.credit > 0.6 * waits.seconds, waits


@pytest.mark.virtual_time
async def test_a_place_that_is_waited_for_is_the_nodes_time() -> None:
    """Also behind a wait for credit, during which the place was lent to others."""

    @node(concurrency=1)
    async def gives(n: int) -> AsyncIterator[int]:
        yield n
        yield n
        await anyio.sleep(5)

    books = Books()
    async with Flow("f", gives).open(observers=[books], window=1) as runtime:
        async with runtime.run(1) as one, anyio.create_task_group() as tasks:
            await anyio.sleep(1)  # it waits for credit, and its place is free
            tasks.start_soon(runtime.call, 2)
            await anyio.sleep(1)
            async for _ in one:
                pass
    assert books.left() == []
    waits = next(event.waits for event in books.of("StepEnded") if event.run_id == one.id)
    assert (waits.credit, waits.node) == pytest.approx((2.0, 9.0), abs=0.01)


@pytest.mark.virtual_time
async def test_tasks_of_a_node_do_not_spoil_each_others_waits() -> None:
    """While one task waits to emit, others read on: the stream waits for credit all the time."""

    @node
    async def side_by_side(stream: Stream[int], ctx: Context) -> None:
        async def emit() -> None:
            for i in range(3):
                await ctx.emit_chunk(i)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(emit)
            async for _ in stream:
                await anyio.sleep(0)

    async def read(run: Any) -> None:
        async for _ in run:
            await anyio.sleep(5.0)

    books = await watched(Flow("f", side_by_side), numbers(50, 0.1), read, window=1)
    waits = books.stream("side_by_side").timing.waits
    assert waits.credit > 0.6 * waits.seconds, waits


@pytest.mark.virtual_time
async def test_a_merge_of_several_writers_waits_for_credit_too() -> None:
    """A slow reader is a slow reader, whoever writes; also when one of the writers is through."""

    async def few(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    one, two = node(few, name="one"), node(few, name="two")

    @node
    async def start(n: int, ctx: Context) -> None:
        await ctx.emit(2, to="one")
        await ctx.emit(n, to="two")

    async def read(run: Any) -> None:
        async for _ in run:
            await anyio.sleep(1.0)

    books = await watched(Flow("f", start >> [one, two] >> named("it")), 20, read, window=1)
    slowest = max(
        (event.timing.waits for event in books.of("StreamEnded", "it")), key=lambda waits: waits.seconds
    )
    assert slowest.credit > 0.9 * slowest.seconds > 10, slowest
