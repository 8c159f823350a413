"""Injected faults strike where they are told to, and nowhere else."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from penguiflow import Flow, StepError, node, source
from penguiflow.testing import (
    assert_conserved,
    cancelling,
    dropping,
    duplicating,
    failing,
    stalling,
)
from penguiflow.testing.fixtures import virtual_clock as anyio_backend  # noqa: F401

pytestmark = pytest.mark.limit(100_000)  # virtual seconds


async def numbers(count: int = 4) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def inc(x: int) -> int:
    await anyio.lowlevel.checkpoint()
    return x + 1


def double(x: int) -> int:
    return 2 * x


async def count(x: int) -> AsyncIterator[int]:
    for number in range(x):
        yield number


async def items(iterable: Any) -> list[Any]:
    return [item async for item in iterable]


async def test_async_iterables() -> None:
    """Truth: the n-th item fails, stalls, is left out or comes twice."""
    with pytest.raises(RuntimeError, match="injected at 3"):
        await items(failing(numbers(), at=3))
    assert await items(dropping(numbers(), at=2)) == [0, 2, 3]
    assert await items(duplicating(numbers(), at=2)) == [0, 1, 1, 2, 3]
    began = anyio.current_time()
    assert await items(stalling(numbers(), at=4, seconds=5)) == [0, 1, 2, 3]
    assert anyio.current_time() - began == pytest.approx(5)
    with anyio.move_on_after(100) as scope:
        await items(stalling(numbers()))
    assert scope.cancelled_caught


async def test_functions_in_a_flow() -> None:
    """Truth: wrapped functions are nodes like others; the n-th call is struck."""
    flow = Flow("f", node(failing(inc, at=2, error=LookupError("mine"))) >> node(double))
    async with flow.open() as runtime:
        assert await runtime.call(1) == 4
        with pytest.raises(StepError) as caught:
            await runtime.call(1)
        assert isinstance(caught.value.__cause__, LookupError)
        assert caught.value.node == "inc"
        assert await runtime.call(1) == 4
        assert_conserved(runtime.statistics())


async def test_dropping_and_duplicating_calls() -> None:
    """Truth: a dropped result is a filter, a doubled one two messages; annotations follow."""
    assert await Flow("f", node(dropping(inc)) >> node(double)).call(1) is None
    assert await Flow("f", node(duplicating(inc)) >> node(double)).call(1) == [4, 4]
    assert await Flow("f", node(inc) >> node(dropping(double))).call(1) is None
    assert await Flow("f", node(inc) >> node(duplicating(double))).call(1) == [4, 4]


async def test_generators() -> None:
    """Truth: of a node that yields, the n-th item is struck."""
    assert await Flow("f", node(dropping(count, at=1)) >> node(double)).call(3) == [2, 4]
    assert await Flow("f", node(duplicating(count, at=3)) >> node(double)).call(3) == [0, 2, 4, 4]
    with pytest.raises(StepError):
        await Flow("f", node(failing(count, at=3))).call(3)


async def test_nodes_keep_name_and_policy() -> None:
    """Truth: a wrapped node is a node of the same name and policy."""
    wrapped = failing(node(inc, name="plus", concurrency=3), at=9)
    assert (wrapped.name, wrapped.policy.concurrency) == ("plus", 3)
    assert failing(node(double, name="twice"), at=9).name == "twice"

    @source
    async def ticks() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="not the source"):
        failing(ticks)


async def test_a_stall_runs_into_the_timeout_of_the_node() -> None:
    """Truth: a step that never comes back is ended by its timeout."""
    with pytest.raises(StepError, match="2 s"):
        await Flow("f", node(stalling(inc), timeout=2)).call(1)


async def test_a_step_cancels_itself_although_its_wake_up_is_due() -> None:
    """Truth: the cancellation strikes at the checkpoint it was told to, on asyncio, too."""

    async def woken(x: int) -> int:
        event = anyio.Event()
        event.set()
        await event.wait()
        return x

    flow = Flow("f", node(cancelling(woken)))
    async with flow.open() as runtime:
        for _ in range(3):
            with pytest.raises(StepError):
                await runtime.call(1)
        assert_conserved(runtime.statistics())


async def test_a_step_that_cancels_itself_fails() -> None:
    """Truth (3.6): a cancellation that a node caused itself is that node's error; the worker survives."""
    async with Flow("f", node(cancelling(inc)) >> node(double)).open() as runtime:
        for _ in range(3):
            with pytest.raises(StepError):
                await runtime.call(1)
        assert_conserved(runtime.statistics())
    assert await Flow("f", node(cancelling(inc, at=99))).call(1) == 2


def test_nonsense_is_refused() -> None:
    """Truth: a plain def can't wait, places are counted from 1, only functions can be wrapped."""
    with pytest.raises(TypeError, match="plain def can't wait"):
        stalling(double)
    for at in (0, -1):
        for wrap in (failing, stalling, dropping, duplicating, cancelling):
            with pytest.raises(ValueError, match=f"and checkpoints are counted from 1, not from {at}"):
                wrap(inc, at=at)
    with pytest.raises(TypeError, match="neither a node"):
        failing(3)
    with pytest.raises(TypeError, match="only an async function"):
        cancelling(double)
