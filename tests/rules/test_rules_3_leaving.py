"""Rules 3.2, 3.3 and 3.6 at the moments between two waits: who is told what, and what has ended by then."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from penguiflow import Context, DeadlineExceeded, Flow, RunRejected, StepError, Stream, node

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def hop(i: int) -> int:
    """Give back what came."""
    return i


def with_slow_cleanup(form: str, cleaned: list[str]) -> Flow:
    """Make a flow whose step never waits in its own code, but in its cleanup."""

    @node
    async def yields(n: int) -> AsyncIterator[int]:
        try:
            for i in range(n):
                yield i
        finally:
            await anyio.sleep(0.01)
            cleaned.append(form)

    @node
    async def emits(n: int, ctx: Context) -> None:
        try:
            for i in range(n):
                await ctx.emit_chunk(i)
        finally:
            await anyio.sleep(0.01)
            cleaned.append(form)

    return Flow("f", {"yields": yields, "emits": emits}[form] >> hop)


@pytest.mark.parametrize("form", ["yields", "emits"])
@pytest.mark.parametrize("window", [1, 3, 128])
async def test_rule_3_2_cleanup_may_wait_though_the_step_did_not(form: str, window: int) -> None:
    """The reader leaves right behind an item, when the step is on its way, not in a wait of its own."""
    cleaned: list[str] = []
    async with with_slow_cleanup(form, cleaned).open(window=window) as runtime:
        for taken in (1, 2, 5):
            async with runtime.run(1_000_000) as run:
                reader = aiter(run)
                for _ in range(taken):
                    await anext(reader)
            assert cleaned == [form]
            cleaned.clear()


@pytest.mark.parametrize("form", ["yields", "emits"])
async def test_rule_3_2_cleanup_may_wait_when_time_is_up(form: str) -> None:
    """The same where the deadline ends the run."""
    cleaned: list[str] = []
    async with with_slow_cleanup(form, cleaned).open(window=3) as runtime:
        with pytest.raises(DeadlineExceeded):
            await runtime.call(100_000_000, deadline=0.02)
        assert cleaned == [form]


async def test_rule_3_2_an_input_iterators_cleanup_may_wait() -> None:
    """The caller's own generator is closed like a step's."""
    cleaned: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for i in range(1_000_000):
                yield i
        finally:
            await anyio.sleep(0.01)
            cleaned.append(1)

    async with Flow("f", hop).open(window=3) as runtime:
        async with runtime.run(numbers()) as run:
            async for _ in run:
                break
        assert cleaned == [1]


async def test_rule_3_2_an_early_reader_lets_its_producer_clean_up() -> None:
    """A step that takes a stream and returns early closes the generator, whose cleanup may wait."""
    cleaned: list[str] = []

    @node
    async def first(stream: Stream[int]) -> int:
        return (await stream.next()).payload

    producer = with_slow_cleanup("yields", cleaned)
    async with Flow("f", producer >> first).open(window=3) as runtime:
        assert await runtime.call(1_000_000) == 0
        assert cleaned == ["yields"]


@pytest.mark.parametrize("window", [1, 4, 128])
async def test_rule_3_2_a_cancel_scope_around_a_busy_run_is_heard(window: int) -> None:
    """However busy the run keeps the event loop: the reader looks now and then."""
    async with Flow("f", count >> hop).open(window=window) as runtime:
        with anyio.move_on_after(0.05) as scope:
            await runtime.call(100_000_000)
        assert scope.cancelled_caught
        assert runtime.runs() == ()


@pytest.mark.parametrize("what", ["run", "open", "call", "stream"])
async def test_rule_3_2_a_native_cancellation_while_leaving_leaves_nothing_behind(
    what: str, anyio_backend_name: str
) -> None:
    """`task.cancel()` goes through anyio's shields; the work has ended all the same when it comes out."""
    cleaned: list[str] = []
    leaving = anyio.Event()

    @node
    async def slow(n: int) -> AsyncIterator[int]:
        try:
            yield n
            leaving.set()
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(0.05)
            cleaned.append(what)

    async def use() -> None:
        flow = Flow("f", slow)
        if what == "stream":
            async with flow.stream(1) as chunks:
                async for _ in chunks:
                    break
                await leaving.wait()
        elif what == "call":
            await flow.call(1)
        elif what == "open":
            async with flow.open() as runtime:
                await runtime.start(1)
                await leaving.wait()
        else:
            async with flow.open() as runtime, runtime.run(1) as run:
                async for _ in run:
                    break
                await leaving.wait()

    if anyio_backend_name == "trio":
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(use)
                await leaving.wait()
                scope.cancel()
    else:
        task = asyncio.ensure_future(use())
        await leaving.wait()
        await asyncio.sleep(0)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.01)
        with pytest.raises(asyncio.CancelledError):
            await task
    assert cleaned == [what]


async def test_rule_3_3_a_result_may_be_asked_for_by_several(quiet) -> None:
    """Two tasks that wait for one result both get it."""
    got: list[list[int]] = []

    @node
    async def slow(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await anyio.sleep(0)
            yield i

    async with Flow("f", slow).open(window=1) as runtime, runtime.run(20) as run:

        async def ask() -> None:
            got.append(await run.result())

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
    assert got == [list(range(20))] * 2


async def test_rule_3_3_nothing_of_a_failed_run_is_left_when_its_result_has_raised() -> None:
    """A detached run that failed is over when `result` raises: its id is free, its places are."""
    started = anyio.Event()

    @node
    async def lingers(n: int) -> int:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(0.02)
        return n

    @node
    async def fails(n: int) -> int:
        await started.wait()
        raise LookupError(n)

    async with Flow("f", [lingers, fails]).open() as runtime:
        run = await runtime.start(1, run_id="one")
        with pytest.raises(StepError):
            await run.result()
        assert (runtime.runs(), runtime.statistics().places_taken) == ((), 0)


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["entry", "behind a message", "behind a stream"])
async def test_rule_3_6_whatever_a_def_node_raises_is_its_error(
    error: type[BaseException], place: str
) -> None:
    """As with ``task.result()`` of a cancelled task: the worker survives, and the next run finds it alive."""

    @node
    def bad(i: int) -> int:
        if i == 1:
            raise error("own")
        return i

    wires = {"entry": bad, "behind a message": hop >> bad, "behind a stream": count >> bad}[place]
    async with Flow("f", wires).open() as runtime:
        with pytest.raises(StepError) as caught:
            await runtime.call(2 if place == "behind a stream" else 1)
        assert isinstance(caught.value.__cause__, error)
        assert runtime.runs() == ()
        assert await runtime.call(0) == ([] if place == "behind a stream" else 0)


async def test_rule_3_1_a_waiter_that_is_refused_hands_its_place_on(quiet) -> None:
    """Of runs that wait under one id the second is refused, and the next one in the queue is admitted."""
    told: list[str] = []
    go = {name: anyio.Event() for name in "axbcd"}

    @node
    async def waits(name: str) -> str:
        await go[name].wait()
        return name

    async def call(runtime, name: str, run_id: str) -> None:
        try:
            told.append(await runtime.call(name, run_id=run_id))
        except RunRejected:
            told.append(f"no {name}")

    async with Flow("f", waits).open(max_runs=2) as runtime, anyio.create_task_group() as group:
        for name, run_id in (("a", "1"), ("x", "2"), ("b", "same"), ("c", "same"), ("d", "4")):
            group.start_soon(call, runtime, name, run_id)
            await quiet()
        go["a"].set()
        go["x"].set()
        await quiet()
        assert (len(told), runtime.statistics().runs) == (3, 2)  # one of the two was refused, and `d` is in
        for name in "bcd":
            go[name].set()
    assert sorted(told) in (["a", "b", "d", "no c", "x"], ["a", "c", "d", "no b", "x"])
