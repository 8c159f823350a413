"""The contract of policies: which failures are tried again, how often, how soon, and what time counts."""

import itertools
from collections.abc import AsyncIterator

import anyio
import pytest

from penguiflow import (
    ConnectorError,
    Context,
    Flow,
    RemoteProtocolError,
    Retry,
    Spread,
    StepError,
    StepTimeout,
    Stream,
    StreamIdle,
    node,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]


@node
async def parts(n: int) -> Spread[int]:
    """Spread 0 to n - 1."""
    return Spread(range(n))


def failing(calls: list[int], retry: Retry | None, error: type[Exception] = ValueError, times: int = 10**9):
    """Make a node that notes its attempts and fails so many times."""

    @node(retry=retry, concurrency=1)
    async def fails(n: int, ctx: Context) -> int:
        calls.append(ctx.attempt)
        if len(calls) <= times:
            raise error(f"attempt {ctx.attempt}")
        return n

    return fails


async def test_without_a_retry_there_is_one_attempt() -> None:
    """A failure is final unless the node says otherwise."""
    calls: list[int] = []
    with pytest.raises(StepError):
        await Flow("f", failing(calls, None)).call(1)
    assert calls == [1]


async def test_attempts_count_the_first_try() -> None:
    """`Retry(attempts=3)` invokes three times in all; the last error comes out, with its attempt."""
    calls: list[int] = []
    with pytest.raises(StepError) as caught:
        await Flow("f", failing(calls, Retry(attempts=3, backoff=0, jitter=0))).call(1)
    assert (calls, caught.value.attempt, str(caught.value.__cause__)) == ([1, 2, 3], 3, "attempt 3")


@pytest.mark.parametrize(
    ("on", "attempts"),
    [
        (ValueError, 3),
        ((KeyError, ValueError), 3),
        (KeyError, 1),
        (lambda error: "1" in str(error), 2),
    ],
    ids=["a class", "several", "another", "a predicate"],
)
async def test_only_the_failures_named_are_tried_again(on, attempts: int) -> None:
    """`on=` is an exception class, several, or a predicate on the exception."""
    calls: list[int] = []
    with pytest.raises(StepError):
        await Flow("f", failing(calls, Retry(attempts=3, on=on, backoff=0, jitter=0))).call(1)
    assert calls == list(range(1, attempts + 1))


async def test_a_budget_bounds_the_retries_of_a_node_in_one_run() -> None:
    """All steps of the node in one run use up one budget; another run has its own."""
    calls: list[int] = []
    flow = Flow("f", parts >> failing(calls, Retry(attempts=10, budget=4, backoff=0, jitter=0)))
    async with flow.open() as runtime:
        for _ in range(2):
            calls.clear()
            with pytest.raises(StepError):
                await runtime.call(1)
            assert calls == [1, 2, 3, 4, 5]


@pytest.mark.virtual_time
async def test_pauses_double_up_to_their_maximum() -> None:
    """The pauses before attempts 2 to 5 are 0.02, 0.04, 0.05, 0.05 s, plus the jitter at most."""
    times: list[float] = []

    @node(retry=Retry(attempts=5, backoff=0.02, max_backoff=0.05, jitter=0.01))
    async def fails(n: int) -> int:
        times.append(anyio.current_time())
        raise ValueError("always")

    with pytest.raises(StepError):
        await Flow("f", fails).call(1)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    least = [0.02, 0.04, 0.05, 0.05]
    assert [pause >= at_least - 1e-3 for pause, at_least in zip(pauses, least, strict=True)] == [True] * 4
    assert sum(pauses) < 0.16 + 4 * 0.01 + 1  # asyncio's half may be late, not early


@pytest.mark.virtual_time
async def test_a_pause_ends_with_its_run(quiet, in_flight, at_rest) -> None:
    """A run that waits for a next attempt is cancelled at once."""
    calls: list[int] = []
    async with Flow("f", failing(calls, Retry(attempts=2, backoff=600, max_backoff=600))).open() as runtime:
        run = await runtime.start(1)
        await quiet()
        begun = anyio.current_time()
        await run.cancel()
        assert (calls, anyio.current_time() - begun < 1) == ([1], True)
        assert in_flight(runtime) == at_rest


@pytest.mark.virtual_time
async def test_timeouts_are_tried_again_like_errors() -> None:
    """Each attempt has the whole time; a step that is fast the second time succeeds."""
    attempts: list[int] = []

    @node(timeout=0.05, retry=Retry(attempts=2, backoff=0, jitter=0))
    async def slow_once(n: int, ctx: Context) -> int:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await anyio.sleep_forever()
        return n

    assert await Flow("f", slow_once).call(7) == 7
    assert attempts == [1, 2]


@pytest.mark.virtual_time
async def test_a_timeout_hits_its_step_only() -> None:
    """Other steps of the same node and run, at the same time, are not hit; user code sees a cancellation."""
    ended: list[str] = []

    @node(timeout=0.1)
    async def work(n: int) -> int:
        try:
            if n == 1:
                await anyio.sleep_forever()
            await anyio.sleep(0.01)
            ended.append(f"{n} done")
        except anyio.get_cancelled_exc_class():
            ended.append(f"{n} cancelled")
            raise
        return n

    async with Flow("f", parts >> work).open() as runtime:
        with pytest.raises(StepTimeout) as caught:
            await runtime.call(3)
    assert sorted(ended) == ["0 done", "1 cancelled", "2 done"]
    assert (caught.value.node, "0.1" in str(caught.value)) == ("work", True)


@pytest.mark.virtual_time
async def test_the_first_chunk_and_the_next_have_their_own_time() -> None:
    """`first_chunk_timeout` may be longer than `idle_timeout`: the model thinks, then it streams."""

    @node(first_chunk_timeout=0.4, idle_timeout=0.15)
    async def thinks(n: int) -> AsyncIterator[int]:
        await anyio.sleep(0.2)
        yield 0
        if n:
            await anyio.sleep(0.3)
        yield 1

    assert await Flow("f", thinks).call(0) == [0, 1]
    with pytest.raises(StreamIdle):
        await Flow("f", thinks).call(1)


@pytest.mark.virtual_time
async def test_an_idle_timeout_does_not_count_the_wait_for_input() -> None:
    """A step on a slow stream is not idle: its source is."""

    @node
    async def slow(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await anyio.sleep(0.1)
            yield i

    @node(first_chunk_timeout=0.05, idle_timeout=0.05)
    async def echo(stream: Stream[int]) -> AsyncIterator[int]:
        async for i in stream:
            yield i

    assert await Flow("f", slow >> echo).call(3) == [0, 1, 2]


async def test_a_step_whose_reader_has_gone_is_not_tried_again() -> None:
    """A step that was told `StreamClosed` because nobody reads it does not do its work once more."""
    calls: list[int] = []

    @node(retry=Retry(attempts=5, backoff=0, jitter=0))
    async def talk(n: int, ctx: Context) -> None:
        calls.append(ctx.attempt)
        for i in range(100):
            await ctx.emit_chunk(i)

    @node
    async def first(stream: Stream[int]) -> int:
        return await anext(aiter(stream))

    async with Flow("f", talk >> first).open(window=2) as runtime:
        assert await runtime.call(0) == 0
    assert calls == [1]


@pytest.mark.parametrize("error", [ConnectorError, RemoteProtocolError])
async def test_what_happens_on_a_connection_is_the_node_s_own_failure(error: type[Exception]) -> None:
    """It has a name in the package's tree of errors, and is tried again and wrapped like any other."""
    calls: list[int] = []

    @node(retry=Retry(attempts=3, backoff=0, jitter=0))
    async def fetch(n: int, ctx: Context) -> int:
        calls.append(ctx.attempt)
        if n or len(calls) < 3:
            raise error("lost")
        return len(calls)

    assert await Flow("f", fetch).call(0) == 3
    with pytest.raises(StepError, match=r"node fetch failed in run .* lost") as caught:
        await Flow("f", fetch).call(1)
    assert isinstance(caught.value.__cause__, error)
    assert calls == [1, 2, 3, 1, 2, 3]
