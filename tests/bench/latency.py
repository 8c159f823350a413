"""Latency: one chunk at a time through four nodes, in wake-ups of the same event loop.

The clock runs from just before the source yields until the reader has the item. The other side wakes task
after task by a future, five times: what four nodes and a reader cost that are each a task.
Invariant: the next chunk is not sent before the last has arrived and all have had time to fall asleep again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from statistics import median
from time import perf_counter

from penguiflow import Flow, Runtime, node

from . import bare, peers
from .chains import chain
from .measure import Measured, Scale, alternate, drive

IDLE_TURNS = 4
WAKE_UPS = bare.HOPS + 1


class Pace:
    """Lets one chunk go at a time, and clocks each.

    Args:
        pause: seconds between two chunks; 0 gives a few turns of the event loop.
    """

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.taken: list[float] = []
        self._sent = 0.0
        self._arrived = asyncio.Event()
        self._arrived.set()

    async def wait_turn(self) -> None:
        """Wait until the last chunk has arrived, and rest; then the clock starts.

        If cancelled, no chunk is sent.
        """
        await self.wait_arrived()
        self._arrived.clear()
        if self.pause:
            await asyncio.sleep(self.pause)
        else:
            for _ in range(IDLE_TURNS):
                await asyncio.sleep(0)
        self._sent = perf_counter()

    async def wait_arrived(self) -> None:
        """Wait until the last chunk has arrived. If cancelled, nothing has changed."""
        await self._arrived.wait()

    def arrive(self) -> None:
        """Stop the clock: the chunk is there."""
        self.taken.append(perf_counter() - self._sent)
        self._arrived.set()


def paced_flow(paces: list[Pace]) -> Flow:
    """Build a chain whose source keeps the latest pace of the list."""

    async def paced(count: int) -> AsyncIterator[int]:
        pace = paces[-1]
        for number in range(count):
            await pace.wait_turn()
            yield number

    return chain(node(paced, name="first"))


async def through_flow(runtime: Runtime, pace: Pace, count: int) -> float:
    """Median seconds of a chunk through a flow. If cancelled, the run is cancelled."""
    async with runtime.run(count) as run:
        async for _ in run:
            pace.arrive()
    if len(pace.taken) != count:
        raise AssertionError(f"{len(pace.taken)} chunks came of {count}")
    return median(pace.taken)


async def through_wake_ups(pace: Pace, count: int) -> float:
    """Median seconds of five bare wake-ups. If cancelled, the tasks are cancelled."""
    loop = asyncio.get_running_loop()
    signals = [loop.create_future() for _ in range(WAKE_UPS)]

    async def hop(place: int) -> None:
        while True:
            await signals[place]
            signals[place] = loop.create_future()
            if place + 1 == WAKE_UPS:
                pace.arrive()
            else:
                signals[place + 1].set_result(None)

    tasks = [asyncio.create_task(hop(place)) for place in range(WAKE_UPS)]
    try:
        for _ in range(count):
            await pace.wait_turn()
            signals[0].set_result(None)
        await pace.wait_arrived()
        return median(pace.taken)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def latency(
    scale: Scale, pause: float = 0.0, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> Measured:
    """Compare the median chunk of a flow with the median of five wake-ups."""
    count = scale.paced

    async def main(stack: AsyncExitStack) -> Measured:
        paces: list[Pace] = []
        runtime = await stack.enter_async_context(paced_flow(paces).open())

        async def ours() -> float:
            paces.append(Pace(pause))
            return await through_flow(runtime, paces[-1], count)

        async def base() -> float:
            return await through_wake_ups(Pace(pause), count)

        return await alternate(ours, base, scale, "lower", "µs")

    return drive(main, loop_factory)


def on_asyncio(scale: Scale) -> Measured:
    """Latency on asyncio's own event loop."""
    return latency(scale)


def on_uvloop(scale: Scale) -> Measured:
    """Latency on uvloop."""
    return latency(scale, loop_factory=peers.uvloop_factory())


def after_a_pause(scale: Scale) -> Measured:
    """Latency of chunks that come a millisecond apart, as a model's do: caches are cold on both sides."""
    return latency(scale, pause=0.001)
