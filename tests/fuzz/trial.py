"""A trial: one random flow, open, and the runs that are made of it.

Owns what every kind of trial does: growing the flow, beginning a run for a tenant, reading it, checking each
item. Invariant: whatever a trial blames is wrong in every order of events.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import anyio.lowlevel

from penguiflow import Chunk, Headers, Message, Run, Runtime
from penguiflow.testing import KINDS, RandomGraph, Seen, random_graph
from penguiflow.testing.graphs.conduct import TENANT

Kind = Literal["values", "failures", "cancels", "retries", "durable"]
TRIALS: tuple[Kind, ...] = ("values", "failures", "cancels", "retries", "durable")
RUNS = 3
LONG = 2500.0  # virtual seconds: a deadline that nothing meets


def graph_of(kind: Kind, seed: int) -> RandomGraph:
    """Grow the flow of a trial."""
    kinds = set(KINDS)
    if kind in ("values", "cancels") and seed % 5 in (1, 2):
        kinds |= {"drop", "merge"}
    if seed % 10 in (3, 4):
        kinds.add("thread")
    faults: Any = kind if kind in ("failures", "retries") else None
    if kind == "durable":
        faults = ("retries", "failures", None, None, None, None)[seed // 2 % 6]
    return random_graph(seed, kinds, faults=faults)


def uses_threads(graph: RandomGraph) -> bool:
    """Say whether virtual time has to wait for threads."""
    return any(shape.form == "thread" for shape in graph.layout.shapes.values())


def loses(graph: RandomGraph) -> bool:
    """Say whether edges of a flow drop."""
    return any(road.overflow.startswith("drop") for road in graph.layout.roads)


@dataclass
class Trial:
    """The runs of one flow, and what is wrong with them."""

    graph: RandomGraph
    rng: random.Random
    runtime: Runtime
    wrong: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def blame(self, number: int, what: list[str]) -> None:
        """Keep what is wrong with a run."""
        self.wrong += [f"run {number}: {text}" for text in what]

    async def linger(self, rng: random.Random) -> None:
        """Wait a little, or not. If cancelled, nothing was taken."""
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            await anyio.lowlevel.checkpoint()
        if rng.random() < 0.1 and not uses_threads(self.graph):
            await anyio.sleep(rng.choice([0.001, 0.02, 0.2]))

    async def read(self, run: Run, seen: Seen, rng: random.Random, most: int | None = None) -> None:
        """Read a run into what is seen of it, up to so many items. If cancelled, what was read is seen."""
        items: AsyncIterator[Any] = aiter(run.events() if seen.events else run)
        while most is None or seen.count < most:
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            seen.add(item)
            self.check(run, item)
            await self.linger(rng)

    def check(self, run: Run, item: Any) -> None:
        """See that an item belongs to its run, and has what it inherits (rules 1.2, 3.1)."""
        if item.run_id != run.id:
            self.wrong.append(f"run {run.id} gave {item!r} of run {item.run_id}")
        if not isinstance(item, (Message, Chunk)):
            return
        inherited = item.headers.tenant, item.trace_id
        if inherited != (TENANT.get(), run.trace_id):
            self.wrong.append(f"{item!r} of {TENANT.get()} in trace {run.trace_id} came with {inherited}")

    def start(self, payload: Any, **options: Any) -> Any:
        """Begin a run for the tenant that this task stands for."""
        return self.runtime.run(self.graph.fed(payload), headers=self.headers(), **options)

    def headers(self) -> Headers:
        """Give headers that name the tenant that this task stands for."""
        return Headers(tenant=TENANT.get())

    def seen(self, rng: random.Random) -> Seen:
        """Begin to see a run, with or without its events."""
        return Seen(events=rng.random() < 0.5)
