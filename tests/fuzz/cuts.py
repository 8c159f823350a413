"""The ways to cut a run off.

Owns them. Invariant: each leaves the run's scope, or ends the run, and adds what came before to what is seen.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel

from penguiflow import DeadlineExceeded, RunCancelled, StreamClosed
from penguiflow.testing import RandomGraph, Seen

from .trial import Trial, uses_threads


class LeftEarly(Exception):
    """What a reader raises inside the scope of a run, to leave it."""


async def a_while(rng: random.Random, graph: RandomGraph) -> None:
    """Wait for some turns of the loop, or for some time. If cancelled, nothing was taken."""
    if rng.random() < 0.6 or uses_threads(graph):
        for _ in range(rng.randint(0, 40)):
            await anyio.lowlevel.checkpoint()
    else:
        await anyio.sleep(rng.choice([0.0005, 0.005, 0.05, 0.3]))


async def by_cancel(trial: Trial, payload: Any, seen: Seen, rng: random.Random) -> None:
    """Cancel the run from another task; a read begun after that gives nothing."""
    async with trial.start(payload) as run, anyio.create_task_group() as group:
        trial.runs.append(run)
        cancelled = False

        async def cancel() -> None:
            nonlocal cancelled
            await a_while(rng, trial.graph)
            await run.cancel("fuzz")
            cancelled = True

        group.start_soon(cancel)
        items = aiter(run.events() if seen.events else run)
        while True:
            late = cancelled
            try:
                item = await anext(items)
            except (StopAsyncIteration, RunCancelled):
                break
            if late and run.status == "cancelled":
                trial.wrong.append(f"by_cancel: {item!r} came after the run was cancelled (rule 3.8)")
            seen.add(item)
            await trial.linger(rng)


async def by_break(trial: Trial, payload: Any, seen: Seen, rng: random.Random) -> None:
    """Leave the scope of the run after a few items."""
    async with trial.start(payload) as run:
        trial.runs.append(run)
        await trial.read(run, seen, rng, most=rng.randint(0, 4))
        await a_while(rng, trial.graph)


async def by_error(trial: Trial, payload: Any, seen: Seen, rng: random.Random) -> None:
    """Leave the scope of the run by an exception of the reader's own."""
    try:
        async with trial.start(payload) as run:
            trial.runs.append(run)
            await trial.read(run, seen, rng, most=rng.randint(0, 4))
            raise LeftEarly
    except LeftEarly:
        return


async def by_scope(trial: Trial, payload: Any, seen: Seen, rng: random.Random) -> None:
    """Cancel the reader."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await a_while(rng, trial.graph)
                scope.cancel()

            group.start_soon(cancel)
            async with trial.start(payload) as run:
                trial.runs.append(run)
                await trial.read(run, seen, rng)


async def by_deadline(trial: Trial, payload: Any, seen: Seen, rng: random.Random) -> None:
    """Give the run too little time."""
    deadline = rng.choice([0.0001, 0.002, 0.02, 0.2])
    try:
        async with trial.start(payload, deadline=deadline) as run:
            trial.runs.append(run)
            await trial.read(run, seen, rng)
    except DeadlineExceeded:
        return


async def by_neglect(trial: Trial, payload: Any, seen: Seen, rng: random.Random) -> None:
    """Start the run, never read it, and cancel it."""
    run = await trial.runtime.start(trial.graph.fed(payload), headers=trial.headers())
    trial.runs.append(run)
    await a_while(rng, trial.graph)
    await run.cancel()
    await run.cancel("twice")


async def by_halves(trial: Trial, payload: Any, seen: Seen, rng: random.Random) -> None:
    """Feed a two-way run by halves, and leave it."""
    if not trial.graph.layout.streamed:
        await by_break(trial, payload, seen, rng)
        return
    async with trial.runtime.session(headers=trial.headers()) as run:
        trial.runs.append(run)
        with anyio.move_on_after(0.5), suppress(StreamClosed):
            for x in payload[: rng.randint(0, len(payload))]:
                await run.send(x)
        with anyio.move_on_after(0.5):
            await trial.read(run, seen, rng, most=rng.randint(0, 3))


Cut = Callable[[Trial, Any, Seen, random.Random], Awaitable[None]]
CUTS: tuple[Any, ...] = (
    by_cancel,
    by_cancel,
    by_break,
    by_error,
    by_scope,
    by_deadline,
    by_neglect,
    by_halves,
)
