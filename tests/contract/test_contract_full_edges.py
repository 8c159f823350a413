"""The contract of full edges: budgets in bytes, errors in band, merges that fail, and whoever is free."""

from collections.abc import AsyncIterator

import anyio
import pytest

from penguiflow import Context, CreditError, Flow, Spread, StepError, Stream, edge, node

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


@node(concurrency=1)
async def slow(x: int) -> int:
    for _ in range(10):
        await anyio.sleep(0)
    return x


@node
async def fold(stream: Stream[int]) -> list[int]:
    taken = []
    async for x in stream:
        for _ in range(10):
            await anyio.sleep(0)
        taken.append(x)
    return taken


async def read(flow: Flow, payload: object, **options):
    """Give what is read, the error, and the statistics; in the end all accounts are right."""
    got, error = [], None
    async with flow.open(**options) as runtime:
        async with runtime.run(payload) as run:
            try:
                async for item in run:
                    got.append(item.payload)  # noqa: PERF401  # what came before an error counts
            except Exception as exc:
                error = exc
            seen = run.statistics()
        after = runtime.statistics()
    assert (after.credit_out, after.messages, after.streams, after.places_taken) == (0, 0, 0, 0)
    for road in after.edges:
        assert road.offered == road.delivered + road.dropped
        assert road.waiting == 0
    return got, error, seen


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "merge"])
@pytest.mark.parametrize("source", [count, parts])
async def test_a_budget_in_bytes_holds_on_edges_that_drop(source, overflow: str) -> None:
    """The policy acts when either budget is full; what is dropped is reported."""
    options = {"merge": lambda older, newer: newer} if overflow == "merge" else {}
    road = edge(capacity_bytes=25, sizer=lambda x: 10, overflow=overflow, **options)
    got, error, seen = await read(Flow("f", source >> road >> slow), 10)
    assert error is None
    assert 2 <= len(got) < 10
    assert len(got) + seen.dropped == 10
    assert {drop.reason for drop in seen.drops} == {overflow}


async def test_one_item_larger_than_the_budget_passes_alone() -> None:
    """However small the budget is, the last or first of all comes through."""
    for overflow, left in (("drop_oldest", [9]), ("drop_newest", [0])):
        road = edge(capacity_bytes=1, sizer=lambda x: 10, overflow=overflow)
        got, _, seen = await read(Flow("f", count >> road >> fold), 10)
        assert (got, seen.dropped) == ([left], 9)


async def test_a_full_edge_that_fails_ends_the_stream_in_band() -> None:
    """What was accepted goes first, then the error; also where bytes are what is full (rule 3.3)."""
    for road in (
        edge(overflow="fail", capacity=3),
        edge(overflow="fail", capacity_bytes=30, sizer=lambda x: 10),
    ):
        got, error, _ = await read(Flow("f", count >> road >> slow), 10)
        assert got == [0, 1, 2]
        assert isinstance(error, CreditError)
        assert "count→slow" in str(error)


async def test_a_full_edge_behind_a_middle_node_ends_the_stream_in_band() -> None:
    """A node that emits nothing itself has nobody to raise in: its stream ends; what is lost is reported."""
    flow = Flow("f", count >> middle >> edge(overflow="fail", capacity=2) >> slow)
    got, error, seen = await read(flow, 50)
    assert got == list(range(len(got)))
    assert 2 <= len(got) < 50
    assert isinstance(error, CreditError)
    assert all(drop.reason == "fail" for drop in seen.drops)


async def test_an_error_edge_takes_what_a_full_edge_says() -> None:
    """Then the run goes on, and ends by itself."""

    @node
    async def handler(error: StepError) -> str:
        return type(error.__cause__).__name__

    full = count >> edge(overflow="fail", capacity=3) >> slow
    got, error, _ = await read(Flow("f", full, count >> edge(on_error=True) >> handler), 10)
    assert (sorted(map(str, got)), error) == (["0", "1", "2", "CreditError"], None)


@node
async def emits(n: int, ctx: Context) -> None:
    for i in range(n):
        await ctx.emit_chunk(i)


@node
async def middle(x: int) -> int:
    return x


@pytest.mark.parametrize(
    "flow",
    [
        lambda road: count >> road >> slow,
        lambda road: parts >> road >> slow,
        lambda road: emits >> road >> slow,
        lambda road: count >> middle >> road >> slow,
        lambda road: count >> road >> fold,
    ],
)
async def test_a_merge_that_raises_fails_the_run_once(flow) -> None:
    """One `StepError`: its cause is the user's, its text names the edge and the option."""

    def broken(older: int, newer: int) -> int:
        raise ZeroDivisionError

    _, error, _ = await read(Flow("f", flow(edge(overflow="merge", capacity=1, merge=broken))), 10, window=4)
    assert isinstance(error, StepError)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert "merge= of edge" in str(error)


async def test_a_merge_of_the_wrong_type_is_an_error() -> None:
    """What the successor does not take never comes to it."""
    road = edge(overflow="merge", capacity=1, merge=lambda older, newer: "both")
    got, error, _ = await read(Flow("f", count >> road >> slow), 10)
    assert got == []
    assert isinstance(error, StepError)
    assert "merge= of edge count→slow" in str(error)
    assert isinstance(error.__cause__, TypeError)


@pytest.mark.parametrize("overflow", ["wait", "drop_oldest", "drop_newest", "fail"])
@pytest.mark.parametrize("by_chunk", [True, False])
async def test_whoever_is_free_gets_it(by_chunk: bool, overflow: str) -> None:
    """A branch that is busy, or has something waiting, is passed over for one that is idle."""
    gate, busy = anyio.Event(), anyio.Event()

    @node(concurrency=1)
    async def held(x: int) -> str:
        busy.set()
        await gate.wait()
        return f"held {x}"

    @node(concurrency=1)
    async def free(x: int) -> str:
        return f"free {x}"

    async def wait(number: int) -> None:
        await busy.wait()
        for _ in range(20):
            await anyio.sleep(0)
        if number == 5:
            gate.set()

    @node
    async def chunks(n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number
            await wait(number)

    @node
    async def messages(n: int, ctx: Context) -> None:
        for number in range(n):
            await ctx.emit(number)
            await wait(number)

    road = edge(balance=True, capacity=1, overflow=overflow)
    flow = Flow("f", (chunks if by_chunk else messages) >> road >> [held, free])
    got, error, seen = await read(flow, 6)
    assert (error, seen.dropped) == (None, 0)
    assert sorted(got) == [*(f"free {number}" for number in range(1, 6)), "held 0"]


async def test_a_balanced_fan_out_fails_only_where_all_are_full() -> None:
    """One full branch is no full edge as long as another has room."""
    gate = anyio.Event()

    @node(concurrency=1)
    async def one(x: int) -> int:
        await gate.wait()
        return x

    @node(concurrency=1)
    async def other(x: int) -> int:
        await gate.wait()
        return x

    @node
    async def gives(n: int, ctx: Context) -> None:
        for number in range(n):
            try:
                await ctx.emit_chunk(number)
            except CreditError:
                gate.set()
                return

    road = edge(balance=True, capacity=2, overflow="fail")
    got, error, _ = await read(Flow("f", gives >> road >> [one, other]), 10)
    assert (sorted(got), error) == ([0, 1, 2, 3], None)
