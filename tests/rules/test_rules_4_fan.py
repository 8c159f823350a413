"""Part 4 of the rules: fan-out and fan-in."""

from collections.abc import AsyncIterator

import anyio
import pytest

from penguiflow import (
    Context,
    Flow,
    Gathered,
    Retry,
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


@node
async def start(n: int) -> int:
    """Hand on."""
    return n


def named(name: str, work=lambda i: i, **options):
    """Make an async node of that name that gives `work(i)`."""

    async def hop(i: int) -> int | None:
        await anyio.sleep(0)
        return work(i)

    return node(hop, name=name, **options)


# 4.1 ----------------------------------------------------------------------------------------------------


async def test_rule_4_1_branches_are_served_in_declared_order() -> None:
    """Each item goes to the branches in the order in which the flow names them."""
    order: list[str] = []

    def branch(name: str):
        async def note(i: int) -> None:
            order.append(f"{name}{i}")

        return node(note, name=name, concurrency=1)

    await Flow("f", start >> [branch("c"), branch("a"), branch("b")]).call(1)
    assert order == ["c1", "a1", "b1"]


async def test_rule_4_1_branches_with_room_are_served_before_the_sender_waits(quiet) -> None:
    """The item for which a full branch makes the sender wait has already reached the others."""
    seen: list[int] = []

    @node
    async def emits(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit(i)

    @node(concurrency=1)
    async def full(i: int) -> None:
        await anyio.sleep_forever()

    @node
    async def free(i: int) -> None:
        seen.append(i)

    flow = Flow("f", emits >> edge(capacity=1) >> full, emits >> free)
    async with flow.open() as runtime, runtime.run(10):
        await quiet()
        assert seen == [0, 1, 2]  # one at work, one on the edge, and the one that waits for room


async def test_rule_4_1_a_slow_branch_holds_others_back_only_by_shared_credit(quiet) -> None:
    """The fast branch gets as many chunks as the window allows beside a stuck one."""
    seen: list[int] = []

    @node
    async def stuck(i: int) -> None:
        await anyio.sleep_forever()

    @node
    async def fast(i: int) -> None:
        seen.append(i)

    async with Flow("f", count >> [stuck, fast]).open(window=6) as runtime, runtime.run(100):
        await quiet()
        assert seen == [0, 1, 2, 3, 4, 5]


async def test_rule_4_1_branches_of_different_streams_do_not_wait_for_each_other(quiet) -> None:
    """Two streams of two steps have two windows: a stuck branch of one does not hold the other."""

    @node
    async def slow_talk(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    @node
    async def stuck(i: int) -> None:
        await anyio.sleep_forever()

    flow = Flow("f", start >> [slow_talk >> stuck, count])
    async with flow.open(window=2) as runtime, runtime.run(50) as run:
        seen = []
        async for chunk in run:
            seen.append(chunk.payload)
            if len(seen) == 50:
                break
    assert seen == list(range(50))


# 4.2 ----------------------------------------------------------------------------------------------------


@node
async def pair(a: int, b: int) -> tuple[int, int]:
    """Pair two branches."""
    return a, b


async def test_rule_4_2_a_join_pairs_messages_of_one_origin() -> None:
    """However the branches reorder, each pair descends from the same item."""

    @node(concurrency=8)
    async def a(i: int) -> int:
        for _ in range(20 - i):
            await anyio.sleep(0)
        return i

    @node(concurrency=8)
    async def b(i: int) -> int:
        for _ in range(i):
            await anyio.sleep(0)
        return i + 100

    result = await Flow("f", parts >> start >> [a, b] >> pair).call(20)
    assert sorted(result) == [(i, i + 100) for i in range(20)]


async def test_rule_4_2_a_join_pairs_chunk_by_chunk() -> None:
    """Where the common ancestor gives a stream, the join gives that stream: same id, numbered from 0."""
    flow = Flow("f", count >> [named("a"), named("b", lambda i: i * 10)] >> pair)
    async with flow.open(window=2) as runtime, runtime.run(5) as run:
        chunks = [item async for item in run]
    assert [(c.seq, c.payload) for c in chunks] == [(i, (i, i * 10)) for i in range(5)]
    assert len({c.stream_id for c in chunks}) == 1


async def test_rule_4_2_a_join_of_streams_takes_them_whole() -> None:
    """Slots of `Stream[T]` get the branches' streams, side by side."""

    @node
    async def side(a: Stream[int], b: Stream[int]) -> list[tuple[int, int]]:
        others = aiter(b)
        return [(i, await anext(others)) async for i in a]

    flow = Flow("f", count >> [named("a"), named("b", lambda i: -i)] >> side)
    async with flow.open(window=1) as runtime:
        assert await runtime.call(5) == [(i, -i) for i in range(5)]


async def test_rule_4_2_the_nearest_common_ancestor_decides() -> None:
    """A join inside one part of a spread pairs within that part, not across parts."""
    flow = Flow("f", parts >> named("mid") >> [named("a"), named("b") >> named("c")] >> join_of("a", "c"))
    assert sorted(await flow.call(10)) == [(i, i) for i in range(10)]


def join_of(*names: str, optional: bool = False):
    """Make a join of those slots that gives their values as a tuple."""
    kind = "int | None" if optional else "int"
    scope: dict[str, object] = {}
    parameters = ", ".join(f"{name}: {kind}" for name in names)
    exec(f"async def join({parameters}) -> object:\n    return ({', '.join(names)},)", scope)
    return node(scope["join"], name="join_" + "_".join(names))


async def test_rule_4_2_joins_nest() -> None:
    """A join may feed a slot of an outer join; both pair what descends from the same item."""

    @node
    async def inner(a: int, b: int) -> int:
        return a * 100 + b

    @node
    async def outer(inner: int, c: int) -> tuple[int, int]:
        return inner, c

    branches = [[named("a"), named("b", lambda i: i + 1)] >> inner, named("c", lambda i: i + 2)]
    for head in (parts >> start, count):
        result = await Flow("f", head >> branches >> outer).call(4)
        assert sorted(result) == [(i * 100 + i + 1, i + 2) for i in range(4)]


async def test_rule_4_2_a_second_item_in_a_slot_is_a_step_error() -> None:
    """A branch that gives two items for one of its origin can't be paired: the run fails, and says where."""

    @node
    async def a(n: int, ctx: Context) -> None:
        await ctx.emit(1)
        await ctx.emit(2)

    @node
    async def b(n: int) -> int:
        await anyio.sleep(0.01)
        return n

    with pytest.raises(StepError, match="pair"):
        await Flow("f", start >> [a, b] >> pair).call(1)


async def test_rule_4_2_a_retried_branch_replaces_its_slot() -> None:
    """Until the join has run, the next attempt's item takes the place of the failed attempt's."""

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def a(n: int, ctx: Context) -> None:
        await ctx.emit(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError("after its emission")
        tried.set()

    tried = anyio.Event()

    @node
    async def b(n: int) -> int:
        await tried.wait()
        return n

    assert await Flow("f", start >> [a, b] >> pair).call(7) == (2, 7)


async def test_rule_4_2_a_join_may_take_the_common_ancestor_itself() -> None:
    """A slot fed directly by the item's origin pairs with a branch that took a detour."""

    @node
    async def both(start: int, a: int) -> tuple[int, int]:
        return start, a

    assert await Flow("f", start >> both, start >> named("a", lambda i: i + 1) >> both).call(1) == (1, 2)


async def test_rule_4_2_a_join_behind_two_entries() -> None:
    """Branches that begin with the run's input meet: the input is their common ancestor."""
    assert await Flow("f", [named("a"), named("b", lambda i: -i)] >> pair).call(3) == (3, -3)


# 4.3 ----------------------------------------------------------------------------------------------------


def odd(i: int) -> int | None:
    """Let odd numbers pass."""
    return i if i % 2 else None


async def test_rule_4_3_a_silent_branch_gives_none_where_it_may() -> None:
    """`X | None` gets `None` when its branch filtered the item; the join runs."""
    flow = Flow("f", parts >> start >> [named("a"), named("b", odd)] >> join_of("a", "b", optional=True))
    assert sorted(await flow.call(4), key=str) == [(0, None), (1, 1), (2, None), (3, 3)]


async def test_rule_4_3_else_the_join_is_skipped_and_counted() -> None:
    """A slot that must have a value skips the join, which is counted at its node."""
    async with Flow("f", parts >> start >> [named("a"), named("b", odd)] >> pair).open() as runtime:
        assert sorted(await runtime.call(5)) == [(1, 1), (3, 3)]
        (join,) = [n for n in runtime.statistics().nodes if n.path == "pair"]
        assert (join.steps, join.skipped_joins) == (2, 3)


async def test_rule_4_3_a_join_without_any_input_does_not_run() -> None:
    """When all branches are silent, an optional join does not run either."""
    flow = Flow("f", start >> [named("a", odd), named("b", odd)] >> join_of("a", "b", optional=True))
    assert await flow.call(2) is None
    assert await flow.call(3) == (3, 3)


async def test_rule_4_3_a_skipped_join_is_silent_itself() -> None:
    """The outer join gets `None` from an inner one that was skipped or had nothing; it never hangs."""

    @node
    async def inner(a: int, b: int) -> int:
        return a + b

    @node
    async def outer(inner: int | None, c: int) -> tuple[int | None, int]:
        return inner, c

    branches = [[named("a"), named("b", odd)] >> inner, named("c")]
    for head in (parts >> start, count):
        result = await Flow("f", head >> branches >> outer).call(4)
        assert sorted(result, key=str) == sorted([(None, 0), (2, 1), (None, 2), (6, 3)], key=str)


async def test_rule_4_3_decisions_are_made_in_order_of_seq() -> None:
    """Chunk by chunk, the pairs come in order though silence is known before the paired values are."""
    both = join_of("a", "b", optional=True)
    flow = Flow("f", count >> [named("a"), named("b", odd)] >> both)
    async with flow.open(window=8) as runtime, runtime.run(8) as run:
        chunks = [(c.seq, c.payload) async for c in run]
    assert chunks == [(i, (i, i if i % 2 else None)) for i in range(8)]


async def test_rule_4_3_silence_overtakes_nothing() -> None:
    """A chunk that was filtered at once does not get ahead of an earlier one that takes long."""
    last = anyio.Event()

    @node
    async def a(i: int) -> int | None:
        if i == 3:
            last.set()
        return None

    @node
    async def b(i: int) -> int | None:
        if i == 0:
            await last.wait()
        return None if i == 1 else i

    flow = Flow("f", count >> [a, b] >> join_of("a", "b", optional=True))
    async with flow.open() as runtime, runtime.run(4) as run:
        assert [(c.seq, c.payload) async for c in run] == [(0, (None, 0)), (1, (None, 2)), (2, (None, 3))]


async def until_error(flow: Flow, n: int) -> list[object]:
    """Give what comes out of a flow before its error."""
    got: list[object] = []
    async with flow.open() as runtime, runtime.run(n) as run:
        with pytest.raises(StepError):
            async for chunk in run:
                got = [*got, chunk.payload]
    return got


@pytest.mark.parametrize("form", ["def", "async", "context"])
async def test_rule_4_3_silence_overtakes_no_error(form: str) -> None:
    """A chunk that failed is not taken for one that was filtered, while its error is still on its way."""

    def fail(i: int) -> int:
        if i == 1:
            raise LookupError(i)
        return i

    async def fail_waiting(i: int) -> int:
        return fail(i)

    async def fail_in_context(i: int, ctx: Context) -> int:
        return fail(i)

    @node
    async def a(i: int) -> int:
        return i

    @node
    async def b(i: int) -> int:
        await anyio.sleep(0.005)
        return i

    forms = {"def": fail, "async": fail_waiting, "context": fail_in_context}
    failing = node(forms[form], name="failing")
    both = join_of("a", "b", optional=True)
    assert await until_error(Flow("f", count >> [a, failing >> b] >> both), 4) == [(0, 0)]


async def test_rule_4_3_what_an_error_takes_along_is_not_silent() -> None:
    """A chunk that is lost because another branch has failed where they meet is not taken for filtered."""
    failed = anyio.Event()

    @node
    async def a(i: int) -> int:
        return i

    @node
    async def late_ones(i: int) -> int | None:
        if i == 3:
            failed.set()
            raise LookupError(i)
        return None

    @node
    async def others(i: int) -> int | None:
        if i == 2:
            await failed.wait()
        return None if i == 1 else i

    @node
    async def meet(i: int) -> int:
        return i

    @node
    async def b(i: int) -> int:
        await anyio.sleep(0.02)
        return i

    both = join_of("a", "b", optional=True)
    flow = Flow("f", count >> [a, [others, late_ones] >> meet >> b] >> both)
    assert await until_error(flow, 4) == [(0, 0), (1, None)]


async def test_rule_4_3_a_branch_not_taken_is_silent() -> None:
    """A condition or a route by type that leads elsewhere makes its slot silent."""

    @node
    async def route(n: int) -> int | str:
        return n if n > 0 else "none"

    @node
    async def number(n: int) -> str:
        return f"number {n}"

    @node
    async def text(s: str) -> str:
        return f"text {s}"

    @node
    async def either(number: str | None, text: str | None) -> tuple[str | None, str | None]:
        return number, text

    flow = Flow("f", route >> [number, text] >> either)
    assert await flow.call(1) == ("number 1", None)
    assert await flow.call(-1) == (None, "text none")


async def test_rule_4_3_a_dropped_item_is_a_silent_branch(quiet) -> None:
    """What a dropping edge dropped does not keep the join waiting."""
    release = anyio.Event()
    flowing: list[int] = []

    @node(concurrency=1)
    async def slow(i: int) -> int:
        flowing.append(i)
        await release.wait()
        return i

    @node
    async def both(quick: int, slow: int | None) -> tuple[int, int | None]:
        return quick, slow

    dropping = edge(capacity=1, overflow="drop_newest")
    head = parts >> start
    flow = Flow("f", head >> dropping >> slow >> both, start >> named("quick") >> both)
    async with flow.open() as runtime, anyio.create_task_group() as tasks:
        results: list[object] = []

        async def call() -> None:
            results.extend(await runtime.call(6))

        tasks.start_soon(call)
        await quiet()
        release.set()
    assert sorted(q for q, _ in results) == list(range(6))
    assert sorted(s for _, s in results if s is not None) == sorted(flowing)
    assert len(flowing) < 6


# 4.4 ----------------------------------------------------------------------------------------------------


@node
async def gather(items: Gathered[int]) -> list[int]:
    """Give the parts as a list."""
    assert type(items) is Gathered
    return list(items)


async def test_rule_4_4_a_gather_keeps_the_order_of_the_spread() -> None:
    """However the parts overtake each other, they are gathered in their order."""

    @node(concurrency=8)
    async def slower_first(i: int) -> int:
        for _ in range(20 - i):
            await anyio.sleep(0)
        return i * 10

    assert await Flow("f", parts >> slower_first >> gather).call(20) == [i * 10 for i in range(20)]


async def test_rule_4_4_filtered_parts_are_left_out() -> None:
    """A part that was filtered away leaves no hole and no `None`."""
    assert await Flow("f", parts >> named("odds", odd) >> gather).call(10) == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("n", [0, 1])
async def test_rule_4_4_empty_and_single_spreads_are_gathered(n: int) -> None:
    """An empty spread gives one empty `Gathered`; so does one whose parts were all filtered away."""
    assert await Flow("f", parts >> start >> gather).call(n) == list(range(n))
    assert await Flow("g", parts >> named("none", lambda i: None) >> gather).call(n) == []


async def test_rule_4_4_gathers_match_the_innermost_spread() -> None:
    """Spreads nest like brackets: the first gather closes the inner spread, the next one the outer."""

    @node
    async def row(i: int) -> Spread[int]:
        return Spread([i * 10 + k for k in range(i)])

    @node
    async def rows(lists: Gathered[list[int]]) -> list[list[int]]:
        return list(lists)

    async with Flow("f", parts >> row >> start >> gather >> rows).open(window=1) as runtime:
        assert await runtime.call(4) == [[], [10], [20, 21], [30, 31, 32]]


async def test_rule_4_4_gathers_of_concurrent_spreads_do_not_mix() -> None:
    """Two messages that are spread at the same time are gathered apart."""

    @node
    async def spread(i: int) -> Spread[int]:
        return Spread([i] * 5)

    result = await Flow("f", parts >> spread >> named("hop") >> gather).call(8)
    assert sorted(result) == [[i] * 5 for i in range(8)]


async def test_rule_4_4_a_part_that_becomes_several_stays_in_its_place() -> None:
    """What descends from one part is gathered together, at that part's place in the order."""

    @node
    async def doubles(i: int, ctx: Context) -> None:
        for _ in range(4 - i):
            await anyio.sleep(0)
        await ctx.emit(i)
        await ctx.emit(i)

    assert await Flow("f", parts >> doubles >> gather).call(3) == [0, 0, 1, 1, 2, 2]


async def test_rule_4_4_more_parts_than_allowed_are_a_step_error() -> None:
    """`max_parts` bounds a gather: as many are fine, one more is a `StepError` of the gathering node."""

    @node(max_parts=5)
    async def few(items: Gathered[int]) -> int:
        return len(items)

    flow = Flow("f", parts >> start >> few)
    assert await flow.call(5) == 5
    with pytest.raises(StepError, match="few"):
        await flow.call(6)


async def test_rule_4_4_an_endless_spread_is_bounded() -> None:
    """A spread is read lazily: gathering an endless one fails at `max_parts`, in bounded memory."""
    drawn: list[int] = []

    def endless():
        while True:
            drawn.append(1)
            yield len(drawn)

    @node
    async def spread(n: int) -> Spread[int]:
        return Spread(endless())

    @node(max_parts=10)
    async def few(items: Gathered[int]) -> int:
        return len(items)

    async with Flow("f", spread >> start >> few).open(window=4) as runtime:
        with pytest.raises(StepError):
            await runtime.call(0)
    assert len(drawn) <= 10 + 4 + 2


async def test_rule_4_4_a_gather_holds_no_credit(quiet) -> None:
    """Parts are taken over at once: while the last part is stuck, the credit of the others is home."""
    release = anyio.Event()

    @node
    async def last_waits(i: int) -> int:
        if i == 9:
            await release.wait()
        return i

    async with Flow("f", parts >> last_waits >> gather).open(window=2) as runtime, runtime.run(10) as run:
        await quiet()
        assert run.statistics().credit_out == 1
        release.set()
        assert await run.result() == list(range(10))


# 4.5 ----------------------------------------------------------------------------------------------------


async def test_rule_4_5_half_filled_joins_of_different_runs_do_not_mix(quiet) -> None:
    """Runs at once through one join: each is paired with its own, though both wait half filled."""
    go = {"x": anyio.Event(), "y": anyio.Event()}

    @node
    async def a(s: str) -> str:
        if s.endswith("late a"):
            await go[s[0]].wait()
        return s + "a"

    @node
    async def b(s: str) -> str:
        if s.endswith("late b"):
            await go[s[0]].wait()
        return s + "b"

    @node
    async def both(a: str, b: str) -> tuple[str, str]:
        return a, b

    @node
    async def head(s: str) -> str:
        return s

    async with Flow("f", head >> [a, b] >> both).open() as runtime:
        runs = [await runtime.start(s) for s in ("x late a", "y late b")]
        await quiet()
        go["y"].set()
        go["x"].set()
        assert [await run.result() for run in runs] == [
            ("x late aa", "x late ab"),
            ("y late ba", "y late bb"),
        ]


async def test_rule_4_5_join_and_gather_state_ends_with_its_run(quiet, in_flight, at_rest) -> None:
    """A cancelled run leaves nothing half filled: the next run of the same id starts from nothing."""
    stall = [True]

    @node
    async def a(i: int) -> int:
        if stall[0]:
            await anyio.sleep_forever()
        return i

    @node
    async def b(i: int) -> int:
        return i + 1000 if stall[0] else i

    @node
    async def late(p: tuple[int, int]) -> tuple[int, int]:
        return p

    @node
    async def gather_all(items: Gathered[tuple[int, int]]) -> list[tuple[int, int]]:
        return list(items)

    async with Flow("f", parts >> start >> [a, b] >> pair >> late >> gather_all).open() as runtime:
        run = await runtime.start(3, run_id="same")
        await quiet()
        await run.cancel()
        assert in_flight(runtime) == at_rest
        stall[0] = False
        assert await runtime.call(3, run_id="same") == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize("form", ["yields", "emits", "yields, and on it goes"])
async def test_rule_4_2_an_item_may_come_as_the_one_chunk_of_a_stream(form: str) -> None:
    """Where the nearest common ancestor gave a message, a stream fills its slot with its one chunk."""

    @node
    async def first(x: int) -> int:
        return x

    @node
    async def left(x: int) -> int:
        return x + 1

    @node(name="right")
    async def yields(x: int) -> AsyncIterator[int]:
        yield x + 2

    @node(name="right")
    async def emits(x: int, ctx: Context) -> None:
        await ctx.emit_chunk(x + 2)

    @node(name="right")
    async def hop(x: int) -> int:
        return x

    @node
    async def both(left: int, right: int) -> tuple[int, int]:
        return left, right

    yields_first = node(yields.fn, name="source")
    branch = {"yields": yields, "emits": emits, "yields, and on it goes": yields_first >> hop}[form]
    async with Flow("f", first >> [left, branch] >> both).open(window=1) as runtime:
        assert [await runtime.call(n) for n in (1, 2)] == [(2, 3), (3, 4)]


async def test_rule_4_3_a_branch_whose_stream_stays_empty_is_silent() -> None:
    """Its slot gets `None` where that is allowed, and no stream comes out of the join."""

    @node
    async def first(x: int) -> int:
        return x

    @node
    async def left(x: int) -> int:
        return x

    @node
    async def right(x: int) -> AsyncIterator[int]:
        if x < 0:
            yield x

    @node
    async def both(left: int, right: int | None) -> tuple[int, int | None]:
        return left, right

    async with Flow("f", first >> [left, right] >> both).open() as runtime, runtime.run(1) as run:
        assert [type(event).__name__ async for event in run.events()] == ["Message"]
        assert await runtime.call(-1) == (-1, -1)
