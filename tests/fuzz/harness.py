"""Many trials on one event loop, on virtual time, with a limit for each.

Owns the loop around the trials: which seeds run where (even ones on asyncio, odd ones on trio), the limit
that turns a hang into a failure, and the report. Invariant: a failure names the seed, shows the flow, and
says how to run it again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import trio.lowlevel

from penguiflow.testing import RandomGraph, VirtualLoop, virtual_backend

from .trial import RUNS, Kind, graph_of, uses_threads
from .trials import attempt

SEEDS = int(os.environ.get("PENGUIFLOW_FUZZ_SEEDS", "300"))
BUSY = 20.0  # seconds of computing that one trial may take
STILL = 20.0  # seconds that it may take in all: virtual time jumps, unless nothing is left that could wake it
BACKENDS = ("asyncio", "trio")


class Endless(BaseException):
    """A trial computes, or waits, without end."""


@contextmanager
def limited(busy: float, still: float) -> Iterator[None]:
    """Raise in whatever computes, or waits in real time, for longer."""
    began = time.process_time()

    def stop(signum: int, frame: Any) -> None:
        raise Endless(f"no end in sight after {time.process_time() - began:.1f} s of computing")

    def wake() -> None:
        signal.pthread_kill(main, signal.SIGVTALRM)

    main = threading.get_ident()
    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, busy, 1.0)
    watch = threading.Timer(still, wake)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def set_threshold(seconds: float) -> None:
    """Let virtual time wait for threads for so long."""
    if trio.lowlevel.in_trio_run():
        trio.lowlevel.current_clock().autojump_threshold = seconds  # type: ignore[attr-defined]
        return
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.autojump_threshold = seconds


def make_repeatable(seed: int) -> None:
    """Let trio pick the next task by a seed, as its own test suite does."""
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[attr-defined]
    trio._core._run._r.seed(seed)  # type: ignore[attr-defined]


async def trial(kind: Kind, graph: RandomGraph, numbers: Sequence[int] = range(RUNS)) -> list[str]:
    """Run the trial of a flow; gives what is wrong. If cancelled, so is the trial."""
    set_threshold(0.05 if uses_threads(graph) else 0.0)
    make_repeatable(graph.seed)
    try:
        return await attempt(kind, graph, numbers)
    except Exception:
        return [traceback.format_exc()]


def batch(kind: Kind, backend: str, seeds: Sequence[int], told: Callable[[int, list[str]], None]) -> None:
    """Run the trials of many seeds on one event loop after the other; a loop ends with a failure."""
    waiting = list(seeds)

    async def until_failure() -> None:
        while waiting:
            seed = waiting.pop(0)
            with limited(BUSY, STILL):
                found = await trial(kind, graph_of(kind, seed))
            told(seed, found)
            if found:
                return

    while waiting:
        name, options = virtual_backend(backend)
        left = len(waiting)
        try:
            anyio.run(until_failure, backend=name, backend_options=options)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or len(waiting) == left:
                raise
            told(seeds[len(seeds) - len(waiting) - 1], ["".join(traceback.format_exception(error))])


def report(kind: Kind, backend: str, seed: int, found: list[str]) -> str:
    """Say what is wrong with a seed, and how to see it again."""
    again = f"python -m tests.fuzz --kind {kind} --first {seed} --seeds 1"
    return "\n".join([f"--- {kind}, seed {seed}, {backend}: {again}", str(graph_of(kind, seed)), *found])


def fuzz(kind: Kind, backend: str, first: int = 0, count: int | None = None) -> None:
    """Run all trials of a kind that belong to an event loop; fail with the first few that are wrong."""
    failures: list[str] = []
    seeds = [
        s for s in range(first, first + (SEEDS if count is None else count)) if BACKENDS[s % 2] == backend
    ]

    def told(seed: int, found: list[str]) -> None:
        if found:
            failures.append(report(kind, backend, seed, found))

    batch(kind, backend, seeds, told)
    if failures:
        raise AssertionError(f"{len(failures)} of {len(seeds)} seeds fail\n" + "\n".join(failures[:3]))


def progress(done: int, all_: int, failed: int, end: str = "") -> None:
    """Show how far it is, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r{done}/{all_} seeds, {failed} failed ", end=end, file=sys.stderr, flush=True)
