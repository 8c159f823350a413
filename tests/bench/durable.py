"""Durable runs: what it costs to lose nothing.

Owns the rows about the journal. Invariant: both sides write to files in the same folder, on the same disk, in
turns, and keep what they have written; a store grows while it is measured, as it does in life.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from penguiflow import Runtime
from penguiflow.journal import Journal, RunChange
from penguiflow.journals import MemoryJournal, Retention, SQLiteJournal
from penguiflow.retention import compact
from penguiflow.sealing import sealed

from . import bare, peers
from .calls import repeat
from .chains import chain
from .measure import Measured, Scale, alternate, drive

FOR_EVER = Retention()
"""Nothing is deleted while it is measured."""

ANSWER = "a word of it " * 77
"""What a model says: 1,001 bytes."""

SIDE_BY_SIDE = 50
"""So many runs are under way where there are many."""

UNFINISHED = 10_000
"""So many runs a process has left behind."""

Work = Callable[[Callable[[int], Awaitable[Any]], int], Awaitable[float]]


def folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder on the disk that the project is on: a temporary one may be in memory."""
    return tempfile.TemporaryDirectory(dir=os.environ.get("PENGUIFLOW_BENCH_DIR", "."), prefix=".bench-")


async def one_by_one(call: Callable[[int], Awaitable[Any]], count: int) -> float:
    """Seconds per run, one after the other. If cancelled, the one at work is."""
    started = perf_counter()
    for number in range(count):
        await call(number)
    return (perf_counter() - started) / count


async def side_by_side(call: Callable[[int], Awaitable[Any]], count: int) -> float:
    """Seconds per run, many at a time. If cancelled, those at work are."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await call(number)

    started = perf_counter()
    await asyncio.gather(*[some() for _ in range(SIDE_BY_SIDE)])
    return (perf_counter() - started) / count


def against_langgraph(scale: Scale) -> Measured:
    """Runs of four steps, one after the other, against LangGraph with its SQLite saver."""
    return durable(scale, one_by_one)


def against_langgraph_side_by_side(scale: Scale) -> Measured:
    """The same, 50 runs at a time."""
    return durable(scale, side_by_side)


def durable(scale: Scale, work: Work) -> Measured:
    """Compare durable runs of four steps."""

    async def main(stack: AsyncExitStack) -> Measured:
        place = Path(stack.enter_context(folder()))
        graph = await stack.enter_async_context(peers.langgraph_durable(bare.HOPS, place / "theirs.db"))
        journal = SQLiteJournal(place / "ours.db", retention=FOR_EVER)
        runtime = await stack.enter_async_context(chain().open(journal=journal))
        threads = iter(range(1_000_000))

        async def theirs(_: int) -> None:
            config = {"configurable": {"thread_id": str(next(threads))}}
            assert await graph.ainvoke({"x": 7}, config) == {"x": 7}

        async def mine(_: int) -> None:
            assert await runtime.call(7) == 7

        return await alternate(
            lambda: work(mine, scale.peer_calls * 4),
            lambda: work(theirs, scale.peer_calls),
            scale,
            "higher",
            "µs/run",
        )

    return drive(main)


def step_cost(scale: Scale, make: Callable[[Path], Journal]) -> Measured:
    """What a journal adds to each of four steps, against the same without one."""

    async def main(stack: AsyncExitStack) -> Measured:
        place = Path(stack.enter_context(folder()))
        with_one = await stack.enter_async_context(chain().open(journal=make(place / "ours.db")))
        without = await stack.enter_async_context(chain().open())

        async def calls(runtime: Runtime) -> float:
            return await repeat(lambda: runtime.call(7), scale.peer_calls, 7)

        found = await alternate(lambda: calls(with_one), lambda: calls(without), scale, "higher", "µs/run")
        assert found.base is not None
        added = tuple(max((found.base / ratio - found.base) / bare.HOPS, 0.001) for ratio in found.ratios)
        return Measured(added, median(added), None, "µs/step")

    return drive(main)


def step_in_memory(scale: Scale) -> Measured:
    """In memory: what the runtime itself does for it."""
    return step_cost(scale, lambda path: MemoryJournal(retention=FOR_EVER))


def step_normal(scale: Scale) -> Measured:
    """SQLite, safe from a process that dies."""
    return step_cost(scale, lambda path: SQLiteJournal(path, retention=FOR_EVER))


def step_full(scale: Scale) -> Measured:
    """SQLite, safe from a power cut."""
    return step_cost(scale, lambda path: SQLiteJournal(path, sync="full", retention=FOR_EVER))


def recovery(scale: Scale) -> Measured:
    """Seconds until runs that a dead process has left behind are all over."""
    count = UNFINISHED if scale.calls >= 500 else 100
    flow = chain()

    async def main(stack: AsyncExitStack) -> Measured:
        place = Path(stack.enter_context(folder()))
        journal = SQLiteJournal(place / "ours.db", retention=FOR_EVER)
        await journal.open()
        stack.push_async_callback(journal.close)
        await leave_behind(journal, flow.name, count)
        started = perf_counter()
        runtime = await stack.enter_async_context(flow.open(journal=journal))
        while runtime.statistics().done < count:  # noqa: ASYNC110 - whoever is told of each would slow it down
            await asyncio.sleep(0.01)
        took = perf_counter() - started
        return Measured((took,), took * 1e6, None, "s")

    return drive(main)


async def pass_on(text: str) -> str:
    """Hand on."""
    return text


async def leave_behind(journal: Journal, flow: str, count: int) -> None:
    """Write the beginnings of runs, as a process that died then. If cancelled, some are written."""
    for first in range(0, count, 500):
        ids = [f"run-{number}" for number in range(first, min(first + 500, count))]
        begun = {"flow": flow, "trace": f"{first + 1:032x}", "form": "message", "input": 7}
        records = [sealed(name, 1, "begun", begun) for name in ids]
        await journal.append("dead", records, [RunChange(name, flow, "running") for name in ids], 0.0)
    await journal.release("dead")


def growth(scale: Scale) -> Measured:
    """Bytes of a store per run of four steps that hand on a text of 1,000 bytes."""
    return grown(scale, compacted=False)


def growth_compacted(scale: Scale) -> Measured:
    """The same, when the details are forgotten."""
    return grown(scale, compacted=True)


def grown(scale: Scale, *, compacted: bool) -> Measured:
    """Measure what a store takes up."""
    count = scale.calls

    async def main(stack: AsyncExitStack) -> Measured:
        place = Path(stack.enter_context(folder()))
        journal = SQLiteJournal(place / "ours.db", retention=FOR_EVER)
        await journal.open()
        stack.push_async_callback(journal.close)
        async with chain(hop=pass_on).open(journal=journal) as runtime:
            for _ in range(count):
                await runtime.call(ANSWER)
        if compacted:
            await compact(journal, float("inf"))
            await journal.shrink()
        await journal.close()  # what is in the log goes into the file
        await journal.open()
        size = (await journal.size())[1] / count
        return Measured((size,), size, None, "B/run")

    return drive(main)
