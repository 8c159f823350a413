"""The flow that is killed: it parts, joins, goes round, asks, streams, and writes to a sink.

Owns what its nodes do outside: a line per call in one file (`effect`), a row per item in another, each
written by one `os.write` to the end of the file, so that it is there although the process is killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

from penguiflow import Context, Flow, Interrupt, RunRejected, edge, node
from penguiflow.journals import SQLiteJournal

RUNS = 3
FILES: dict[str, int] = {}


def write_line(name: str, line: list[Any]) -> None:
    """Write a line to the end of a file, all of it or nothing."""
    os.write(FILES[name], json.dumps(line).encode() + b"\n")


def effect(ctx: Context) -> None:
    """Do something outside that can be counted: say which step of which run it is."""
    kept = ctx._step.kept
    assert kept is not None
    lane = ctx._step.lane
    stream = f"{lane.out.stream_id} {lane.out.keeper.above}" if lane is not None else ""
    write_line("effects", [ctx.run_id, ctx.node, kept.key, stream, kept.source])


@node
async def start(x: int, ctx: Context) -> int:
    effect(ctx)
    return x + 1


@node
async def left(x: int, ctx: Context) -> int:
    effect(ctx)
    await anyio.lowlevel.checkpoint()
    return 2 * x


@node
async def right(x: int, ctx: Context) -> int:
    effect(ctx)
    return 3 * x


@node
async def meet(left: int, right: int, ctx: Context) -> int:
    effect(ctx)
    return left + right


@node
async def turn(x: int, ctx: Context) -> None:
    effect(ctx)
    ctx.state["turns"] = ctx.state.get("turns", 0) + 1
    if ctx.state["turns"] < 3:
        await ctx.emit(x + 1, to="turn")
    else:
        await ctx.emit(x, to="ask")


@node
async def ask(x: int, ctx: Context) -> int:
    effect(ctx)
    return x + int(await ctx.interrupt({"run": ctx.run_id}, expect=int))


@node
async def count(x: int, ctx: Context) -> AsyncIterator[int]:
    effect(ctx)
    for i in range(4):
        yield x + i
        await anyio.lowlevel.checkpoint()


@node
async def square(x: int, ctx: Context) -> int:
    effect(ctx)
    return x * x


@node
async def sink(x: int, ctx: Context) -> int:
    effect(ctx)
    write_line("rows", [ctx.run_id, ctx.key, ctx._step.item._heading.attempt, x])
    return x


flow = Flow(
    "killed",
    start >> [left, right] >> meet >> turn,
    turn >> edge(feedback=True) >> turn,
    turn >> ask >> count >> square >> sink,
)


def expected(number: int) -> list[int]:
    """Compute what a run gives."""
    x = 5 * (number + 1) + 2 + 100
    return [(x + i) ** 2 for i in range(4)]


class Suicidal:
    """A journal whose process kills itself before the n-th append.

    Args:
        inner: the store.
        appends: how many it takes before that.
    """

    def __init__(self, inner: Any, appends: int) -> None:
        self.inner = inner
        self.left = appends

    async def append(self, *args: Any, **kwargs: Any) -> None:
        """Write records, or die. If cancelled, what the store says holds."""
        if self.left == 0:
            os.kill(os.getpid(), 9)
        self.left -= 1
        await self.inner.append(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def work(folder: Path, appends: int = -1) -> None:
    """Let a process work on the runs until all are over. If cancelled, it is killed."""
    for name in ("effects", "rows"):
        FILES[name] = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    journal: Any = Suicidal(SQLiteJournal(folder / "runs.db"), appends)
    async with flow.open(journal=journal) as runtime:
        async with anyio.create_task_group() as group:
            for number in range(RUNS):
                group.start_soon(follow, runtime, number)


async def follow(runtime: Any, number: int) -> None:
    """Begin a run, or find it, and answer what it asks. If cancelled, the run goes on."""
    run_id = f"run{number}"
    try:
        run = await runtime.start(number, run_id=run_id)
    except RunRejected:
        run = await runtime.attach(run_id)
    given = []
    async for item in run.events():
        if isinstance(item, Interrupt):
            try:
                await runtime.answer(run_id, item.token, 100)
            except Exception as error:
                if "answer already" not in str(error) and "is over" not in str(error):
                    raise
        elif hasattr(item, "payload"):
            given.append((item.attempt, item.payload))
    last = max(attempt for attempt, _ in given)
    found = [payload for attempt, payload in given if attempt == last]
    if found != expected(number):
        raise AssertionError(f"{run_id} gave {given}, expected {expected(number)}")
