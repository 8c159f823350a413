"""Control: how long a command takes to a node that is busy, parked or idle (rule 2.6).

The clock runs from just before ``run.control`` until the node's ``ctx.controls()`` gives the command; what
counts is the 95th percentile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from statistics import quantiles
from time import perf_counter

import anyio

from penguiflow import Context, Flow, Run, node

from .chains import same
from .measure import Measured, Scale, drive

Work = Callable[[Context], Awaitable[None]]
PAUSE_SECONDS = 0.0005


async def emit_for_ever(ctx: Context) -> None:
    """Emit chunk after chunk. If cancelled, stops."""
    while True:
        await ctx.emit_chunk(0)


async def wait_for_ever(ctx: Context) -> None:
    """Wait for something that does not come. If cancelled, stops."""
    await asyncio.Event().wait()


async def read_all(run: Run) -> None:
    """Read a run. If cancelled, the rest is left."""
    async for _ in run:
        pass


def listening_flow(work: Work, taken: asyncio.Queue[float]) -> Flow:
    """Build a chain whose first node does its work and tells how long each command took to it."""

    async def listen(ctx: Context) -> None:
        async for control in ctx.controls():
            taken.put_nowait(perf_counter() - control.payload)

    async def first(count: int, ctx: Context) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(listen, ctx)
            await work(ctx)

    return Flow("listening", node(first) >> node(same, name="second") >> node(same, name="third"))


def latency(scale: Scale, work: Work, *, read: bool) -> Measured:
    """Give the 95th percentile of commands that come one by one, in seconds."""

    async def one_round() -> float:
        arrived = asyncio.Queue[float]()
        taken: list[float] = []
        async with listening_flow(work, arrived).open() as runtime, runtime.run(0) as run:
            reader = asyncio.create_task(read_all(run)) if read else None
            for _ in range(scale.paced):
                await asyncio.sleep(PAUSE_SECONDS)
                await run.control("hint", perf_counter())
                taken.append(await arrived.get())
            if reader is not None:
                reader.cancel()
        return quantiles(taken, n=20)[-1]

    async def main(stack: AsyncExitStack) -> Measured:
        rounds = tuple([await one_round() for _ in range(scale.rounds)])
        return Measured(tuple(seconds * 1e3 for seconds in rounds), max(rounds) * 1e6, None, "µs")

    return drive(main)


def busy(scale: Scale) -> Measured:
    """A node that emits as fast as its reader reads."""
    return latency(scale, emit_for_ever, read=True)


def parked(scale: Scale) -> Measured:
    """A node that waits for the credit of a reader who does not read."""
    return latency(scale, emit_for_ever, read=False)


def idle(scale: Scale) -> Measured:
    """A node that waits for something outside."""
    return latency(scale, wait_for_ever, read=False)
