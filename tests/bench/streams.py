"""Many streams at once through one warm runtime, each a run with a reader of its own.

The clock includes opening, reading and leaving every run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import perf_counter

from penguiflow import Flow, Runtime, node

from . import bare
from .chains import chain, numbers, read
from .measure import Measured, Scale, Side, alternate, drive


async def slow_numbers(count: int) -> AsyncIterator[int]:
    """Yield ``count`` numbers, and let everybody else go first after each."""
    for number in range(count):
        yield number
        await asyncio.sleep(0)


async def read_all(runtime: Runtime, streams: int, count: int) -> float:
    """Seconds to read ``streams`` runs of ``count`` chunks at once. If cancelled, all of them are."""
    started = perf_counter()
    async with asyncio.TaskGroup() as readers:
        for _ in range(streams):
            readers.create_task(read(runtime, count, count))
    return perf_counter() - started


def compare_streams(flow: Flow, streams: int, count: int, base: Side, scale: Scale) -> Measured:
    """Compare many streams of a flow with a baseline of as many chunks."""

    async def main(stack: AsyncExitStack) -> Measured:
        runtime = await stack.enter_async_context(flow.open())

        async def ours() -> float:
            return await read_all(runtime, streams, count) / (streams * count)

        return await alternate(ours, base, scale, "higher", "µs/item")

    return drive(main)


def against_one_stream(scale: Scale) -> Measured:
    """Many streams against ONE stream of as many chunks through the bare queues."""
    total = scale.streams * scale.stream_chunks

    async def base() -> float:
        return await bare.through_queues(total) / total

    return compare_streams(chain(numbers), scale.streams, scale.stream_chunks, base, scale)


def interleaved(scale: Scale) -> Measured:
    """Many slow streams, chunk by chunk in turns, against as many slow sources on one bare chain."""
    count = max(1, scale.stream_chunks // 5)

    async def base() -> float:
        return await bare.many_through_queues(scale.streams, count) / (scale.streams * count)

    flow = chain(node(slow_numbers, name="first", concurrency=scale.streams))
    return compare_streams(flow, scale.streams, count, base, scale)
