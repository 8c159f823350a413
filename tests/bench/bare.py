"""What the rows are compared with: the same shapes made of nothing but asyncio.

Owns the baselines. Invariant: nothing in them is for our benefit: no call per hop, no check for the end, no
counting but the reader's. Knows nothing of penguiflow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from time import perf_counter
from typing import Any

HOPS = 4
CAPACITY = 64


async def feed(out: asyncio.Queue[int], count: int) -> None:
    """Put ``count`` numbers. If cancelled, the rest is not put."""
    for number in range(count):
        await out.put(number)


async def feed_slowly(out: asyncio.Queue[int], count: int) -> None:
    """Put ``count`` numbers, each then lets everybody else go first. If cancelled, the rest is not put."""
    for number in range(count):
        await out.put(number)
        await asyncio.sleep(0)


async def forward(source: asyncio.Queue[int], target: asyncio.Queue[int]) -> None:
    """Hand on whatever comes, for ever. If cancelled, one item in hand may be lost."""
    while True:
        await target.put(await source.get())


async def copy_to_all(source: asyncio.Queue[int], targets: list[asyncio.Queue[int]]) -> None:
    """Hand on whatever comes to every target, for ever. If cancelled, some may lack the last item."""
    while True:
        item = await source.get()
        for target in targets:
            await target.put(item)


async def read(queue: asyncio.Queue[int], count: int, crew: list[Coroutine[Any, Any, None]]) -> float:
    """Start a crew and give the seconds until ``count`` items have come.

    If cancelled, the crew is cancelled too.
    """
    started = perf_counter()
    tasks = [asyncio.create_task(member) for member in crew]
    try:
        for _ in range(count):
            await queue.get()
        return perf_counter() - started
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def chain(hops: int) -> tuple[list[asyncio.Queue[int]], list[Coroutine[Any, Any, None]]]:
    """Make the queues of a chain, and those who carry from one to the next."""
    queues = [asyncio.Queue[int](CAPACITY) for _ in range(hops + 1)]
    return queues, [forward(left, right) for left, right in pairwise(queues)]


async def through_queues(count: int, hops: int = HOPS) -> float:
    """Seconds for one stream of ``count`` chunks through a chain of queues. If cancelled, all of it stops."""
    queues, crew = chain(hops)
    return await read(queues[-1], count, [feed(queues[0], count), *crew])


async def many_through_queues(streams: int, count: int) -> float:
    """Seconds for many sources that take turns on one chain of queues. If cancelled, all of it stops."""
    queues, crew = chain(HOPS)
    sources = [feed_slowly(queues[0], count) for _ in range(streams)]
    return await read(queues[-1], streams * count, [*sources, *crew])


async def through_fan_out(count: int, width: int) -> float:
    """Seconds for ``count`` chunks to ``width`` tasks and on to one reader. If cancelled, all of it stops."""
    first, last = asyncio.Queue[int](CAPACITY), asyncio.Queue[int](CAPACITY)
    branches = [asyncio.Queue[int](CAPACITY) for _ in range(width)]
    hops = [forward(branch, last) for branch in branches]
    return await read(last, count * width, [feed(first, count), copy_to_all(first, branches), *hops])
