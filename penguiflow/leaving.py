"""Leaving: which runs can do nothing but wait for answers, what their steps call included.

Owns the question. Invariant: a run of which any code is at work does not leave memory. Knows not what becomes
of those that do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .diagnosis import parts_of
from .lifecycle import FINAL

if TYPE_CHECKING:
    from .core import RunCore


def let_rest(runs: Iterable[RunCore]) -> None:
    """Let those of some runs leave memory that only wait for answers, and may leave.

    A run with no code at work leaves by itself. One whose steps only wait for what they call is found here.
    """
    for run in list(runs):
        if run.journal is not None and only_waits(run):
            run.journal.rests()


def only_waits(run: RunCore) -> bool:
    """Say whether a run, and all that its steps call, can do nothing but wait for answers.

    A step that calls a flow, and waits for it itself, counts as busy, but is none; tasks that it has started
    beside that are not looked at.
    """
    if run.status in FINAL or run.stopped or run.paused or run.inputs or run.outbox.count():
        return False
    parts = parts_of(run)
    callers = {part.caller for part in parts if part.journal is not None and part.journal.awaited}
    waits = bool(run.asks or callers) and run.busy == len(callers)
    return waits and all(only_waits(part) for part in parts)
