"""The contract of edges: routing, error edges, keys, nested flows, and who comes in by which door."""

from collections.abc import AsyncIterator

import anyio
import pytest

from penguiflow import (
    Context,
    Flow,
    FlowError,
    Headers,
    RunRejected,
    Spread,
    StepError,
    Stream,
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


def tagging(name: str, kind: type = int, **options):
    """Make a node of that name that gives its name with what it took."""

    async def tag(x):
        await anyio.sleep(0)
        return name, x

    tag.__annotations__ = {"x": kind}
    return node(tag, name=name, **options)


async def payloads(flow: Flow, payload: object, **options: object) -> list[object]:
    async with flow.stream(payload, **options) as items:
        return [item.payload async for item in items]


# routing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [False, True])
async def test_a_union_is_routed_by_type(inline: bool) -> None:
    """Each value goes to the successors that accept it, chunk by chunk too, and only to those."""

    def mixed(n: int) -> int | str:
        return n if n % 2 else f"s{n}"

    async def mixed_async(n: int) -> int | str:
        return mixed(n)

    route = node(mixed if inline else mixed_async, name="mixed")
    out = await payloads(Flow("f", count >> route >> [tagging("numbers"), tagging("texts", str)]), 4)
    assert sorted(out) == [("numbers", 1), ("numbers", 3), ("texts", "s0"), ("texts", "s2")]


async def test_a_value_accepted_by_two_goes_to_both() -> None:
    """Routing by type is no choice of one: all successors that accept a value get it."""

    @node
    async def mixed(n: int) -> int | str:
        return n

    both = [tagging("a"), tagging("b", int | str), tagging("c", str)]
    assert sorted(await payloads(Flow("f", mixed >> both), 1)) == [("a", 1), ("b", 1)]


async def test_a_single_type_goes_to_all() -> None:
    """Without a union, each branch gets everything."""
    out = await payloads(Flow("f", parts >> [tagging("a"), tagging("b")]), 2)
    assert sorted(out) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


async def test_when_chooses_and_what_nobody_wants_is_filtered() -> None:
    """`when=` is asked per edge; a value that meets no condition is dropped without an error."""
    low = edge(when=lambda n: n < 3)
    odd = edge(when=lambda n: n % 2 == 1)
    out = await payloads(Flow("f", count >> low >> tagging("low"), count >> odd >> tagging("odd")), 7)
    assert [n for name, n in out if name == "low"] == [0, 1, 2]
    assert [n for name, n in out if name == "odd"] == [1, 3, 5]


async def test_to_names_a_direct_successor() -> None:
    """`to=` sends one emission one way: messages, chunks and opened streams."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit(1, to="a")
        await ctx.emit_chunk(2, to="b")
        async with ctx.open_stream("s", to="a") as stream:
            await stream.send(3)
        ctx.emit_nowait(4, to="b")

    out = await payloads(Flow("f", talk >> [tagging("a"), tagging("b")]), 0)
    assert sorted(out) == [("a", 1), ("a", 3), ("b", 2), ("b", 4)]


async def test_a_stream_that_goes_one_way_only_opens_there() -> None:
    """A stream sent to one branch does not reach the other, not even empty."""
    opened: list[str] = []

    def fold(name: str):
        async def whole(stream: Stream[int]) -> None:
            opened.append(name)
            async for _ in stream:
                pass

        return node(whole, name=name)

    @node
    async def talk(n: int, ctx: Context) -> None:
        async with ctx.open_stream("s", to="a") as stream:
            await stream.send(1)

    await Flow("f", talk >> [fold("a"), fold("b")]).call(0)
    assert opened == ["a"]


async def test_partition_sends_one_key_one_way_in_order() -> None:
    """All items of a key take the same branch, in order; all branches together get everything once."""
    seen: list[tuple[str, int]] = []

    def branch(name: str):
        async def note(i: int) -> None:
            seen.append((name, i))

        return node(note, name=name, concurrency=1)

    flow = Flow("f", parts >> edge(partition=lambda i: i % 5) >> [branch("a"), branch("b"), branch("c")])
    await flow.call(50)
    ways = {key: {name for name, i in seen if i % 5 == key} for key in range(5)}
    assert [len(names) for names in ways.values()] == [1] * 5
    for key in range(5):
        assert [i for _, i in seen if i % 5 == key] == list(range(key, 50, 5))


async def test_partition_is_stable_between_runs() -> None:
    """A key takes the same branch in every run and runtime, text keys too."""
    key = edge(partition=str)
    flow = Flow("f", parts >> key >> [tagging("a"), tagging("b"), tagging("c")])
    assert sorted(await payloads(flow, 30)) == sorted(await payloads(flow, 30))


async def test_balance_sends_to_whoever_is_free(quiet) -> None:
    """A stuck branch does not get more than it has room for; the free one takes the rest."""
    release = anyio.Event()
    seen: dict[str, list[int]] = {"stuck": [], "free": []}

    @node(concurrency=1)
    async def stuck(i: int) -> None:
        await release.wait()
        seen["stuck"].append(i)

    @node(concurrency=1)
    async def free(i: int) -> None:
        await anyio.sleep(0)
        seen["free"].append(i)

    flow = Flow("f", parts >> edge(balance=True, capacity=1) >> [stuck, free])
    async with flow.open() as runtime, runtime.run(30) as run:
        await quiet()
        assert len(seen["free"]) >= 28
        release.set()
        await run.result()
    assert sorted(seen["stuck"] + seen["free"]) == list(range(30))


async def test_an_emission_may_wait_so_long_only() -> None:
    """`timeout=` bounds one emission's wait for credit; then nothing of it was emitted."""
    raised: list[bool] = []
    read_on = anyio.Event()

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit_chunk(0)
        try:
            await ctx.emit_chunk(1, timeout=0.02)
        except (TimeoutError, FlowError):
            raised.append(True)
        read_on.set()
        await ctx.emit_chunk(2, timeout=2)

    async with Flow("f", talk).open(window=1) as runtime, runtime.run(0) as run:
        await read_on.wait()
        assert [(c.seq, c.payload) async for c in run] == [(0, 0), (1, 2)]
    assert raised == [True]


# error edges --------------------------------------------------------------------------------------------


@node
async def picky(i: int) -> int:
    """Fail on 1."""
    if i == 1:
        raise ValueError("one")
    return i


@node
async def handle(error: StepError) -> str:
    """Say what failed."""
    return f"{error.node}: {error.__cause__}"


async def test_an_error_edge_handles_a_failure() -> None:
    """The handler's result is delivered, the run is done; the failing node stays an exit."""
    flow = Flow("f", picky >> edge(on_error=True) >> handle)
    async with flow.open() as runtime:
        assert await runtime.call(1) == "picky: one"
        assert await runtime.call(2) == 2
        statistics = runtime.statistics()
        assert (statistics.done, statistics.failed) == (2, 0)


async def test_a_join_counts_a_handled_failure_as_silent() -> None:
    """The slot of a branch that failed and was handled gets `None`."""

    @node
    async def start(i: int) -> int:
        return i

    @node
    async def other(i: int) -> int:
        return i

    @node
    async def both(picky: int | None, other: int) -> tuple[int | None, int]:
        return picky, other

    flow = Flow("f", start >> [picky, other] >> both, picky >> edge(on_error=True) >> handle)
    assert sorted(map(str, await payloads(flow, 1))) == ["(None, 1)", "picky: one"]


async def test_a_handled_failure_of_a_chunk_ends_its_stream_only() -> None:
    """A failing chunk step ends its stream with error for the handler's flow; another stream goes on."""

    @node
    async def sizes(n: int) -> Spread[int]:
        return Spread([1, 3])

    flow = Flow("f", sizes >> count >> picky, picky >> edge(on_error=True) >> handle)
    async with flow.open() as runtime, runtime.run(0) as run:
        out = [item.payload async for item in run]
        assert run.status == "done"
    assert sorted(map(str, out)) == ["0", "0", "picky: one"]


async def test_a_failing_handler_fails_the_run() -> None:
    """An error in the node that handles errors comes out."""

    @node
    async def worse(error: StepError) -> str:
        raise LookupError("worse")

    with pytest.raises(StepError) as caught:
        await Flow("f", picky >> edge(on_error=True) >> worse).call(1)
    assert (caught.value.node, type(caught.value.__cause__)) == ("worse", LookupError)


# entries ------------------------------------------------------------------------------------------------


async def test_every_entry_that_accepts_the_payload_gets_it() -> None:
    """A flow may have several entries; a payload enters by those that take its type."""
    flow = Flow("f", tagging("a"), tagging("b"), tagging("t", str))
    assert sorted(await payloads(flow, 1)) == [("a", 1), ("b", 1)]
    assert await payloads(flow, "x") == [("t", "x")]
    with pytest.raises(RunRejected):
        await flow.call(b"nobody")


async def test_to_decides_the_entry() -> None:
    """`to=` names one entry; its type is still checked."""
    flow = Flow("f", tagging("a"), tagging("b"), tagging("t", str))
    assert await payloads(flow, 1, to="b") == [("b", 1)]
    with pytest.raises(RunRejected, match="t"):
        await flow.call(1, to="t")


async def test_a_node_with_only_a_feedback_edge_into_it_is_an_entry() -> None:
    """Feedback does not close the door: one enters by the node that the loop goes through."""

    @node
    async def turn(n: int) -> int:
        return n - 1

    flow = Flow(
        "f",
        turn >> edge(feedback=True, when=lambda n: n > 0) >> turn,
        turn >> edge(when=lambda n: n <= 0) >> tagging("out"),
    )
    assert await flow.call(5) == ("out", 0)


# flows in flows -----------------------------------------------------------------------------------------


async def test_a_flow_is_a_node_of_another_flow() -> None:
    """Its entries take what comes in, its exits give what goes out; paths tell the nesting, twice too."""

    @node
    async def plus(n: int) -> int:
        return n + 1

    @node
    async def times(n: int) -> int:
        return n * 10

    inner = Flow("inner", plus >> times)
    middle = Flow("middle", inner)
    async with Flow("outer", count >> middle).stream(3) as items:
        chunks = [item async for item in items]
    assert [(c.seq, c.payload, c.path, c.node) for c in chunks] == [
        (i, (i + 1) * 10, ("middle", "inner", "times"), "times") for i in range(3)
    ]


async def test_a_nested_flow_streams_through_chunk_by_chunk() -> None:
    """A chunk has left the nested flow before the next one enters: nothing is collected on the way."""
    asked: list[int] = []
    delivered = anyio.Event()

    @node
    async def talk(n: int) -> AsyncIterator[int]:
        yield 0
        await delivered.wait()
        asked.append(1)
        yield 1

    inner = Flow("inner", tagging("hop"))
    async with Flow("outer", talk >> inner).stream(0) as items:
        iterator = aiter(items)
        assert ((await anext(iterator)).payload, asked) == (("hop", 0), [])
        delivered.set()
        assert [item.payload async for item in iterator] == [("hop", 1)]


async def test_a_nested_flow_shares_run_trace_and_cancellation(quiet) -> None:
    """Inside a nested flow it is the same run: id, trace, headers; leaving the run ends it there."""
    told: list[object] = []

    @node
    async def inside(n: int, ctx: Context) -> None:
        told.append((ctx.run_id, ctx.message.trace_id, ctx.message.headers.tenant))
        try:
            await anyio.sleep_forever()
        finally:
            told.append("ended")

    flow = Flow("outer", Flow("inner", inside))
    async with flow.open() as runtime:
        async with runtime.run(1, headers=Headers(tenant="acme")) as run:
            await quiet()
        assert told == [(run.id, run.trace_id, "acme"), "ended"]


async def test_a_nested_flow_feeds_a_join_under_its_name() -> None:
    """A join's slot is named after the nested flow."""

    @node
    async def start(n: int) -> int:
        return n

    @node
    async def plain(n: int) -> int:
        return n

    @node
    async def deep(n: int) -> int:
        return n + 1

    @node
    async def both(sub: int, plain: int) -> tuple[int, int]:
        return sub, plain

    assert await Flow("f", start >> [Flow("sub", deep), plain] >> both).call(1) == (2, 1)


async def test_errors_and_statistics_name_the_path() -> None:
    """A step inside a nested flow is named by its path, joined by a slash."""

    @node
    async def deep(n: int) -> int:
        raise ValueError("deep")

    async with Flow("outer", Flow("inner", deep)).open() as runtime:
        with pytest.raises(StepError, match="inner/deep") as caught:
            await runtime.call(1)
        assert caught.value.node == "inner/deep"
        assert [n.path for n in runtime.statistics().nodes] == ["inner/deep"]


async def test_one_flow_may_be_used_twice_under_two_names() -> None:
    """`flow.named(...)` gives the same blueprint another name, so both uses can be told apart."""

    @node
    async def plus(n: int) -> int:
        return n + 1

    inner = Flow("one", plus)
    async with Flow("outer", inner >> inner.named("two")).stream(0) as items:
        (item,) = [item async for item in items]
    assert (item.payload, item.path) == (2, ("two", "plus"))
