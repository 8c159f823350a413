"""The contract of `ctx.map`, of nodes in threads, and of what callers may hand over."""

import asyncio
import threading
from collections.abc import AsyncIterator

import anyio
import pytest

from penguiflow import (
    Context,
    Flow,
    FlowError,
    Headers,
    Retry,
    RunRejected,
    Spread,
    StepError,
    StepTimeout,
    WouldBlock,
    node,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


async def error_of(flow: Flow, payload: object = 1, **options) -> BaseException:
    """Give the error that a call ends with."""
    async with flow.open(**options) as runtime:
        try:
            await runtime.call(payload)
        except FlowError as error:
            return error
    raise AssertionError("nothing was raised")


class Odd(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize("kind", [asyncio.CancelledError, Odd, ValueError])
async def test_whatever_a_mapped_call_raises_is_the_steps_error(kind: type[BaseException]) -> None:
    """Never a group, and never lost: also a cancellation that nobody but the call caused (rules 3.3, 3.6)."""
    ended = []

    @node
    async def maps(n: int, ctx: Context) -> list[int]:
        async def call(number: int) -> int:
            if number == 2:
                raise kind
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(number)
            return number

        return await ctx.map(call, [1, 2, 3])

    error = await error_of(Flow("f", maps))
    assert isinstance(error, StepError)
    assert type(error.__cause__) is kind
    assert sorted(ended) in ([1], [1, 3])  # the third was never begun, or has ended


async def test_the_calls_of_a_cancelled_step_may_wait_in_their_cleanup() -> None:
    """So may the step behind them; they were told once (rule 3.2)."""
    cleaned = []

    @node
    async def maps(n: int, ctx: Context) -> None:
        async def call(number: int) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                await anyio.sleep(0.01)
                cleaned.append(number)

        try:
            await ctx.map(call, [1, 2])
        finally:
            await anyio.sleep(0.01)
            cleaned.append(0)

    async with Flow("f", maps).open() as runtime:
        async with runtime.run(1):
            await anyio.sleep(0.01)
        assert sorted(cleaned[:2]) == [1, 2]
        assert cleaned[2:] == [0]


async def test_a_cleanup_that_never_ends_is_cut_off() -> None:
    """The cleanup timeout bounds that of a mapped call too, also where an error of a sibling cancelled it."""

    @node
    async def maps(n: int, ctx: Context) -> None:
        async def call(number: int) -> None:
            try:
                if number == 2:
                    raise ValueError("two")
                await anyio.sleep_forever()
            finally:
                if number == 1:
                    await anyio.sleep_forever()

        await ctx.map(call, [1, 2])

    error = await error_of(Flow("f", maps), cleanup_timeout=0.05)
    assert str(error.__cause__) == "two"


async def test_a_mapped_calls_own_time_limit_is_its_own() -> None:
    """A scope of the user around a call, or inside it, works as everywhere."""

    @node
    async def maps(n: int, ctx: Context) -> list[object]:
        async def call(number: int) -> int:
            with anyio.move_on_after(0.01):
                await anyio.sleep_forever()
            await anyio.sleep(0.001)
            return number

        inside = await ctx.map(call, [1, 2])
        with anyio.move_on_after(0.01) as scope:
            await ctx.map(lambda _: anyio.sleep_forever(), [1, 2])
        return [inside, scope.cancelled_caught]

    assert await Flow("f", maps).call(1) == [[1, 2], True]


# threads ------------------------------------------------------------------------------------------------


async def test_a_node_in_a_thread_emits() -> None:
    """What does not wait is called from the thread; what waits, by `anyio.from_thread`."""

    @node(thread=True)
    def gives(n: int, ctx: Context) -> None:
        assert threading.current_thread() is not threading.main_thread()
        for number in range(n):
            ctx.emit_chunk_nowait(number)
        anyio.from_thread.run(ctx.emit_chunk, n)

    assert await Flow("f", gives).call(3) == [0, 1, 2, 3]

    @node(thread=True)
    def tells(n: int, ctx: Context) -> str:
        ctx.emit_nowait(n)
        return ctx.node

    assert await Flow("f", tells).call(3) == [3, "tells"]


async def test_a_thread_of_somebody_else_is_told() -> None:
    """The context of a node belongs to its own thread and to the event loop's."""
    errors = []

    @node(thread=True)
    def starts(n: int, ctx: Context) -> None:
        def emit() -> None:
            try:
                ctx.emit_nowait(1)
            except RuntimeError as exc:
                errors.append(str(exc))

        other = threading.Thread(target=emit)
        other.start()
        other.join()

    assert await Flow("f", starts).call(1) is None
    (text,) = errors
    assert "node starts" in text


@pytest.mark.parametrize("thread", [True, False])
async def test_a_stop_iteration_is_the_cause(thread: bool) -> None:
    """No coroutine can raise one; the cause is the user's all the same."""

    def stops(n: int, ctx: Context) -> int:
        raise StopIteration("enough")

    error = await error_of(Flow("f", node(stops, thread=thread)))
    assert isinstance(error, StepError)
    assert isinstance(error.__cause__, StopIteration)
    assert str(error.__cause__) == "enough"


# texts --------------------------------------------------------------------------------------------------


async def test_errors_say_where() -> None:
    """Run, node, stream, seq and attempt are in the text of a failed step and of one that took too long."""

    @node(timeout=0.01)
    async def late(x: int) -> int:
        if x == 2:
            await anyio.sleep_forever()
        return x

    @node
    async def fails(x: int) -> int:
        return 1 // (x - 2)

    for last, kind in ((late, StepTimeout), (fails, StepError)):
        error = await error_of(Flow("f", count >> last), 5)
        assert type(error) is kind
        assert isinstance(error, StepError)
        assert (error.node, error.seq, error.attempt) == (last.name, 2, 1)
        assert error.stream_id is not None
        where = f"in run {error.run_id}, stream {error.stream_id}, seq 2, attempt 1"
        assert where in str(error)
    error = await error_of(Flow("f", fails), 2)
    assert str(error).startswith("node fails failed in run ")
    assert ", attempt 1: ZeroDivisionError" in str(error)


async def test_what_waits_too_long_says_for_what() -> None:
    """A `TimeoutError` names stream, node and seconds; a `WouldBlock` says what could not be emitted."""

    @node
    async def gives(n: int, ctx: Context) -> None:
        await ctx.emit_chunk(0)
        with pytest.raises(TimeoutError, match=r"stream gives-\d+ of node gives .* 0.01 s"):
            await ctx.emit_chunk(1, timeout=0.01)
        with pytest.raises(WouldBlock, match=r"stream gives-\d+ of node gives"):
            ctx.emit_chunk_nowait(1)

    async with Flow("f", gives).open(window=1) as runtime:
        run = await runtime.start(1)
        await anyio.sleep(0.05)
        assert await run.result() == [0]

    async with Flow("f", count_input).open(window=1) as runtime, runtime.session() as session:
        with pytest.raises(TimeoutError, match=r"stream input-\d+ of node .* 0.01 s"):
            for _ in range(5):
                await session.send(3, timeout=0.01)


@node
async def count_input(x: int) -> int:
    """Give what comes."""
    await anyio.sleep(0)
    return x


# what is handed over ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"deadline": "x"}, TypeError),
        ({"deadline": True}, TypeError),
        ({"deadline": float("nan")}, ValueError),
        ({"deadline": -1}, ValueError),
        ({"headers": {"tenant": "a"}}, TypeError),
        ({"meta": 3}, TypeError),
        ({"run_id": 3}, TypeError),
    ],
)
async def test_wrong_options_of_a_run_are_named(options: dict[str, object], kind: type[Exception]) -> None:
    """The parameter is in the text; nothing was begun."""
    (name,) = options
    async with Flow("f", count_input).open() as runtime:
        for begin in (runtime.call, runtime.start):
            with pytest.raises(kind, match=f"{name}="):
                await begin(1, **options)
        for scope in (runtime.run(1, **options), runtime.session(**options)):
            with pytest.raises(kind, match=f"{name}="):
                async with scope:
                    raise AssertionError("it was begun")
        assert runtime.statistics().started == 0


@pytest.mark.parametrize(
    ("emit", "named"),
    [
        (lambda ctx: ctx.emit(1, meta=3), "meta="),
        (lambda ctx: ctx.emit(1, headers={"a": 1}), "headers="),
        (lambda ctx: ctx.emit_chunk(1, meta=3), "meta="),
        (lambda ctx: ctx.emit_chunk(1, seq="a"), "seq="),
        (lambda ctx: ctx.emit_chunk(1, seq=1.5), "seq="),
        (lambda ctx: ctx.emit_chunk(1, parent=3), "parent="),
        (lambda ctx: ctx.emit_chunk(1, stream_id=3), "stream_id="),
        (lambda ctx: ctx.emit_chunk(1, timeout="x"), "timeout="),
        (lambda ctx: ctx.open_stream(window=1.5).send(1), "window="),
        (lambda ctx: ctx.open_stream(window=True).send(1), "window="),
        (lambda ctx: ctx.open_stream(3).send(1), "stream_id="),
    ],
)
async def test_wrong_options_of_an_emission_are_named(emit, named: str) -> None:
    """A `TypeError` in the node, which names the parameter; nothing was emitted."""
    texts = []

    @node
    async def gives(n: int, ctx: Context) -> None:
        try:
            await emit(ctx)
        except TypeError as exc:
            texts.append(str(exc))

    assert await Flow("f", gives).call(1) is None
    (text,) = texts
    assert named in text


async def test_a_closed_runtime_takes_no_commands() -> None:
    """What nobody can hear is refused, as runs are."""
    async with Flow("f", count_input).open() as runtime:
        await runtime.control("hint")
        assert await runtime.call(1, headers=Headers(tenant="a"), meta={}, deadline=3) == 1
    with pytest.raises(RunRejected, match="closed"):
        await runtime.control("hint")


async def test_a_spread_that_fails_half_way_is_not_tried_again() -> None:
    """Its parts are on their way when it is read: the attempts of its step are spent (see `Spread`)."""
    tries = []

    @node(retry=Retry(3, backoff=0, jitter=0))
    async def parts(n: int, ctx: Context) -> Spread[int]:
        tries.append(ctx.attempt)

        def read():
            yield 1
            raise ValueError("half way")

        return Spread(read())

    error = await error_of(Flow("f", parts))
    assert tries == [1]
    assert str(error.__cause__) == "half way"
    assert isinstance(error, StepError)
    assert "the items of its Spread" in str(error)
