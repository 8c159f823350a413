"""What goes on beside the runs of a trial: somebody counts, somebody observes, somebody pauses.

Owns the truths that hold at every moment (sums of edges, windows, that every run can be asked why it waits).
Those of an observer, its `ledger` keeps. Invariant: watching never changes what a run gives. Knows nothing of
flows.
"""

from __future__ import annotations

import random

import anyio
import anyio.lowlevel

from penguiflow import Runtime
from penguiflow.testing import imbalances


class Deaf:
    """An observer that follows nothing; it must be told of no run, nor of any part of one (rule 6.2)."""

    def __init__(self, wrong: list[str]) -> None:
        self.wrong = wrong

    def follows(self, run: object) -> bool:
        """Follow nothing."""
        return False

    def observe(self, event: object) -> None:
        """Blame whoever tells of a run."""
        if not type(event).__name__.startswith("Runtime"):
            self.wrong.append(f"an observer that follows nothing was told {event!r}")


class Faint:
    """An observer that fails at the n-th event; it is silenced, and nobody notices (rule 6.3)."""

    def __init__(self, at: int) -> None:
        self.left = at

    def observe(self, event: object) -> None:
        """Count down."""
        self.left -= 1
        if self.left == 0:
            raise LookupError("an observer's own error")


async def count_while(runtime: Runtime, wrong: list[str]) -> None:
    """Read the statistics now and then, ever more rarely. If cancelled, nothing was changed."""
    wait = 0.0005
    while not wrong:
        wrong += [f"while running: {text}" for text in imbalances(runtime.statistics(), quiet=False)]
        for stream in runtime.streams():
            if stream.window and stream.in_flight > stream.window:
                wrong.append(f"while running: {stream} has more in flight than its window (rule 2.2)")
        wrong += strange_diagnoses(runtime)
        await anyio.lowlevel.checkpoint()
        await anyio.sleep(wait)
        wait *= 1.6


def strange_diagnoses(runtime: Runtime) -> list[str]:
    """Ask every run what it waits for; tell what is strange about the answers."""
    before = runtime.statistics()
    found = []
    for diagnosis in runtime.diagnose():
        told = repr(diagnosis)
        if not diagnosis.sentences or not all(diagnosis.sentences):
            found.append(f"nothing is said: {told}")
        culprits = {node.path for node in before.nodes} | {"", "the reader", "the input"}
        if diagnosis.culprit not in culprits:
            found.append(f"{diagnosis.culprit!r} is no node: {told}")
    if runtime.statistics() != before:
        found.append("a diagnosis has changed something")
    return [f"while running: {text}" for text in found]


async def pause_and_resume(runtime: Runtime, rng: random.Random) -> None:
    """Pause all runs for a moment. If cancelled, they may stay paused."""
    for _ in range(rng.randint(0, 12)):
        await anyio.lowlevel.checkpoint()
    await runtime.control("pause")
    for _ in range(rng.randint(0, 12)):
        await anyio.lowlevel.checkpoint()
    if rng.random() < 0.5:
        await anyio.sleep(0.05)
    await runtime.control("resume")
