"""Memory of an open, idle stream through four nodes, all in: run, streams, step, its generator and its task.

Each stream has given one chunk, which was read, and now waits for something that does not come. Measured in
fresh interpreters (``python -m tests.bench.memory COUNT METER READER``): a used one has room to spare.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

from penguiflow import Flow, Run, Runtime, node

from .chains import chain
from .measure import Measured, PeerMissing, Scale, drive
from .processes import figure

METERS = ("tracemalloc", "rss")
READERS = ("away", "waiting")
STATM = Path("/proc/self/statm")


def traced_bytes() -> int:
    """Give what Python has allocated."""
    return tracemalloc.get_traced_memory()[0]


def resident_bytes() -> int:
    """Give what the process has in memory (Linux)."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def idle_flow(places: int) -> Flow:
    """Build a chain whose source gives one chunk and then waits for ever."""

    async def one_and_wait(number: int) -> AsyncIterator[int]:
        yield number
        await asyncio.Event().wait()

    return chain(node(one_and_wait, name="first", concurrency=places))


async def read_one(run: Run) -> AsyncIterator[Any]:
    """Read the first item and give the reader, which stands behind it. If cancelled, nothing is kept."""
    reader = aiter(run)
    await anext(reader)
    return reader


async def read_on(reader: AsyncIterator[Any]) -> None:
    """Wait for what does not come. If cancelled, nothing was taken."""
    await anext(reader)


async def open_stream(runtime: Runtime, number: int, reader_waits: bool) -> tuple[Any, ...]:
    """Open a run, read its only chunk, and give all that keeps it open. If cancelled, the run is."""
    scope = runtime.run(number)
    run = await scope.__aenter__()
    reader = await read_one(run)
    return scope, run, asyncio.create_task(read_on(reader)) if reader_waits else reader


async def settle() -> None:
    """Let everybody come to rest. If cancelled, returns at once."""
    for _ in range(10):
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    gc.collect()


async def close_stream(scope: Any, run: Run, reader: Any) -> None:
    """Close what `open_stream` opened. If cancelled, it may stay open."""
    if isinstance(reader, asyncio.Task):
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    await scope.__aexit__(None, None, None)


def bytes_per_stream(count: int, meter: Callable[[], int], reader_waits: bool) -> float:
    """Measure ``count`` idle streams in this process."""

    async def main(stack: AsyncExitStack) -> float:
        runtime = await stack.enter_async_context(idle_flow(count + 1).open())
        held = [await open_stream(runtime, 0, reader_waits)]
        await settle()
        before = meter()
        held += [await open_stream(runtime, number, reader_waits) for number in range(count)]
        await settle()
        after = meter()
        for one in held:
            await close_stream(*one)
        return (after - before) / count

    return drive(main)


def idle(scale: Scale, meter: str, reader: str) -> Measured:
    """Measure idle streams in fresh interpreters."""
    if meter == "rss" and not STATM.exists():
        raise PeerMissing("/proc (Linux)")
    rounds = 1 if scale.processes == 1 else 3
    arguments = ("-m", "tests.bench.memory", str(scale.idle), meter, reader)
    amounts = tuple(figure(*arguments) / 1024 for _ in range(rounds))
    return Measured(amounts, median(amounts), None, "KiB")


def traced(scale: Scale) -> Measured:
    """What Python allocates for a stream whose reader is away."""
    return idle(scale, "tracemalloc", "away")


def resident(scale: Scale) -> Measured:
    """What the process grows by for a stream whose reader is away."""
    return idle(scale, "rss", "away")


def traced_with_reader(scale: Scale) -> Measured:
    """What Python allocates for a stream whose reader waits in a task of its own."""
    return idle(scale, "tracemalloc", "waiting")


def main() -> None:
    """Print the bytes per idle stream of this process."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory")
    parser.add_argument("count", type=int)
    parser.add_argument("meter", choices=METERS)
    parser.add_argument("reader", choices=READERS)
    options = parser.parse_args()
    if options.meter == "tracemalloc":
        tracemalloc.start()
    meter = traced_bytes if options.meter == "tracemalloc" else resident_bytes
    print(bytes_per_stream(options.count, meter, options.reader == "waiting"))


if __name__ == "__main__":
    main()
