"""As many nodes in a row as are allowed hand a stream on, whatever befalls it; more are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from plain_nodes import count, named, numbers

from penguiflow import Context, Flow, FlowError, Retry, RunRejected, StepError, node
from penguiflow.checks import MOST_IN_A_ROW

pytestmark = [pytest.mark.anyio, pytest.mark.limit(30)]


class Watches:
    """Sees everything, with timelines and measures."""

    timelines = True
    measures = True

    def observe(self, event: object) -> None:
        pass


def row(make: Any, length: int = MOST_IN_A_ROW) -> Any:
    """Put so many nodes in a row."""
    wires: Any = make(0)
    for number in range(1, length):
        wires = wires >> make(number)
    return wires


def awaits(number: int) -> Any:
    return named(f"n{number}")


def inline(number: int) -> Any:
    def hand_on(i: int) -> int:
        return i

    return node(hand_on, name=f"n{number}")


def careful(number: int) -> Any:
    return named(f"n{number}", retry=Retry(attempts=2))


def unordered(number: int) -> Any:
    return named(f"n{number}", ordered=False)


def breaks(number: int) -> Any:
    async def hand_on(i: int) -> int:
        if number == 0 and i == 3:
            raise ValueError(i)
        return i

    return node(hand_on, name=f"n{number}")


KINDS = [awaits, inline, careful, unordered]


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
async def test_a_stream_goes_through_all_of_them(make: Any, observed: bool) -> None:
    async with Flow("f", count >> row(make)).open(observers=[Watches()] if observed else []) as runtime:
        assert sorted(await runtime.call(40)) == list(range(40))


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
async def test_a_reader_leaves_behind_all_of_them(make: Any) -> None:
    async with Flow("f", count >> row(make)).open(window=8) as runtime:
        async with runtime.run(1000) as run:
            async for _ in run:
                break
        assert (runtime.statistics().streams, runtime.statistics().credit_out) == (0, 0)


async def test_a_failure_is_told_through_all_of_them() -> None:
    """It is the deepest that anything goes: six calls for each node."""
    async with Flow("f", count >> row(breaks)).open() as runtime:
        with pytest.raises(StepError, match=r"node n0 failed .*ValueError: 3"):
            await runtime.call(10)
        assert runtime.statistics().streams == 0


async def test_a_stream_that_begins_again_does_so_in_all_of_them() -> None:
    begun: list[int] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def gives(n: int) -> AsyncIterator[int]:
        begun.append(n)
        yield len(begun)
        if len(begun) == 1:
            raise OSError

    async with Flow("f", gives >> row(awaits)).open() as runtime:
        assert await runtime.call(1) == [2]


async def test_where_it_was_not_known_that_a_stream_comes_it_is_refused() -> None:
    """Messages go through any number of nodes; a stream that comes after all is told why it can't."""
    async with Flow("f", row(awaits, 300)).open() as runtime:
        assert await runtime.call(1) == 1
        with pytest.raises(RunRejected, match=r"n0 is the first of 300 nodes in a row .* 128 is the most"):
            await runtime.call(numbers(3))
        assert await runtime.call(2) == 2


async def test_a_stream_that_is_emitted_into_too_many_fails_its_run() -> None:
    @node
    async def emits(i: int, ctx: Context) -> None:
        if i:
            await ctx.emit_chunk(i)
        else:
            await ctx.emit(i)

    async with Flow("f", emits >> row(awaits, 300)).open() as runtime:
        assert await runtime.call(0) == 0
        with pytest.raises(
            FlowError, match=r"emits gave a stream, and node n0 is the first of 300 nodes in a row"
        ):
            await runtime.call(1)
        assert await runtime.call(0) == 0
        assert (runtime.statistics().streams, runtime.statistics().runs) == (0, 0)
