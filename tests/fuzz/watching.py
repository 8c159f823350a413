"""What goes on beside the runs of a trial: somebody counts, somebody observes, somebody pauses.

Owns the truths that hold at every moment (sums of edges, windows) and those of an observer (each opening has
one terminal, each start one end). Invariant: watching never changes what a run gives. Knows nothing of flows.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import anyio
import anyio.lowlevel

from penguiflow import Runtime
from penguiflow.testing import imbalances


class Ledger:
    """An observer that keeps books: what was opened must be closed, once."""

    def __init__(self) -> None:
        self.open: Counter[tuple[Any, ...]] = Counter()
        self.wrong: list[str] = []
        self.ends: Counter[tuple[Any, ...]] = Counter()

    def observe(self, event: Any) -> None:
        """Book an event."""
        match type(event).__name__:
            case "RunStarted":  # what a step calls runs under its caller's id, as often as it likes
                self.open["run", event.run_id, event.flow] += 1
            case "RunEnded":
                self.open["run", event.run_id, event.flow] -= 1
            case "StepStarted":
                self.open["step", event.run_id, event.node, event.stream_id] += 1
            case "StepEnded":
                self.open["step", event.run_id, event.node, event.stream_id] -= 1
            case "StreamOpened":
                self.begin("stream", event.run_id, event.path, event.stream_id)
            case "StreamEnded":
                self.end("stream", event.run_id, event.path, event.stream_id)

    def begin(self, *key: Any) -> None:
        """Book what may begin only once."""
        self.open[key] += 1
        if self.open[key] + self.ends[key] > 1:
            self.wrong.append(f"an observer saw {key} begin twice (rule 1.3)")

    def end(self, *key: Any) -> None:
        """Book the end of what may end only once."""
        self.open[key] -= 1
        self.ends[key] += 1
        if self.open[key] < 0:
            self.wrong.append(f"an observer saw {key} end without a beginning (rule 1.3)")

    def left(self) -> list[str]:
        """Tell what is wrong with the books where everything is over."""
        return self.wrong + [
            f"an observer saw {key} begin and end {-count:+d} times too often"
            for key, count in self.open.items()
            if count
        ]


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
        await anyio.lowlevel.checkpoint()
        await anyio.sleep(wait)
        wait *= 1.6


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
