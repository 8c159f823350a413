"""Cancel to quiet: many runs whose steps are suspended in user code, against as many bare tasks.

Half of the runs have two steps suspended, half three. The clock runs from the first cancel until all have
returned.
Invariant: a step that has not ended by then gives an error, not a figure.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from statistics import median
from time import perf_counter

from penguiflow import Flow, Run, Runtime, node

from . import bare
from .measure import Measured, Scale, Side, alternate, drive

FEW, MANY = 2, 3
REPEATS = 5
"""How often a side cancels in one round: once takes a millisecond, less than a slice of a busy machine."""


class Suspended:
    """Counts who sleeps."""

    def __init__(self) -> None:
        self.asleep = 0
        self._expected = 0
        self._reached = asyncio.Event()

    async def sleep(self) -> None:
        """Sleep for ever. If cancelled, no longer counts."""
        self.asleep += 1
        if self.asleep == self._expected:
            self._reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.asleep -= 1

    async def wait_asleep(self, count: int) -> None:
        """Wait until ``count`` are asleep. If cancelled, nothing has changed."""
        self._expected = count
        self._reached.clear()
        if self.asleep < count:
            await self._reached.wait()


def sleeping_flow(suspended: Suspended, places: int) -> Flow:
    """Build a flow in which a run of payload ``n`` ends up with ``n`` suspended steps."""

    async def first(steps: int) -> AsyncIterator[int]:
        for holder in range(steps - 1, 0, -1):
            yield holder
        await suspended.sleep()

    def hop(place: int) -> Callable[[int], Awaitable[int]]:
        async def hold(holder: int) -> int:
            if holder == place:
                await suspended.sleep()
            return holder

        return hold

    wire = node(first, name="first", concurrency=places)
    for place in range(1, bare.HOPS + 1):
        wire = wire >> node(hop(place), name=f"hop{place}", concurrency=places)
    return Flow("sleeping", wire)


async def start_all(runtime: Runtime, suspended: Suspended, sizes: list[int]) -> list[Run]:
    """Start a run for each number of steps, and wait until all the steps sleep.

    If cancelled, the runs that were started go on.
    """
    runs = [await runtime.start(size) for size in sizes]
    await suspended.wait_asleep(sum(sizes))
    return runs


def quiet(suspended: Suspended) -> None:
    """Make sure that nobody sleeps any more."""
    if suspended.asleep:
        raise AssertionError(f"{suspended.asleep} steps are still suspended after cancel has returned")


def repeated(side: Side) -> Side:
    """Make one round of a side of several short ones: their median."""

    async def several() -> float:
        return median([await side() for _ in range(REPEATS)])

    return several


def cancelling(scale: Scale, stop: Callable[[list[Run]], Awaitable[object]]) -> Measured:
    """Compare a way to cancel runs with cancelling as many bare tasks as they have steps."""
    suspended = Suspended()
    sizes = [FEW if number % 2 else MANY for number in range(scale.cancelled)]
    steps = sum(sizes)

    async def ours(runtime: Runtime) -> float:
        runs = await start_all(runtime, suspended, sizes)
        started = perf_counter()
        await stop(runs)
        took = perf_counter() - started
        quiet(suspended)
        return took / scale.cancelled

    async def base() -> float:
        tasks = [asyncio.create_task(suspended.sleep()) for _ in range(steps)]
        await suspended.wait_asleep(steps)
        started = perf_counter()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        took = perf_counter() - started
        quiet(suspended)
        return took / scale.cancelled

    async def main(stack: AsyncExitStack) -> Measured:
        flow = sleeping_flow(suspended, 2 * scale.cancelled)
        runtime = await stack.enter_async_context(flow.open())
        return await alternate(repeated(lambda: ours(runtime)), repeated(base), scale, "lower", "µs/run")

    return drive(main)


async def at_once(runs: list[Run]) -> None:
    """Cancel all runs at the same time. If cancelled, some may go on."""
    await asyncio.gather(*(run.cancel() for run in runs))


async def in_a_row(runs: list[Run]) -> None:
    """Cancel one run after the other. If cancelled, the rest goes on."""
    for run in runs:
        await run.cancel()


def all_at_once(scale: Scale) -> Measured:
    """All runs cancelled at the same time."""
    return cancelling(scale, at_once)


def one_by_one(scale: Scale) -> Measured:
    """Each run quiet before the next is cancelled."""
    return cancelling(scale, in_a_row)
