"""Watchdog: says in the log why a run makes no progress.

Owns what progress is: anything that was emitted, taken, begun or ended. Invariant: a run that stands still is
told of once, and again only after it has gone on. It never ends a run; a deadline does.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .diagnosis import diagnose, parts_of

if TYPE_CHECKING:
    from .core import RunCore
    from .engine import Engine
    from .parking import Cancellable

log = logging.getLogger("penguiflow")

LOOKS = 4
"""So often a run is looked at in the time that it may stand still."""


class Watchdog:
    """Looks at the runs of an engine again and again.

    Args:
        engine: whose runs.
        seconds: how long a run may stand still.
    """

    __slots__ = ("_engine", "_known", "_seconds", "_timer")

    def __init__(self, engine: Engine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._known: dict[RunCore, tuple[Any, float, bool]] = {}
        self._timer: Cancellable = self._later()

    def _later(self) -> Cancellable:
        return self._engine.parking.later(self._seconds / LOOKS, self._look)

    def _look(self) -> None:
        now = self._engine.parking.now()
        known, self._known = self._known, {}
        for core in list(self._engine.runs.values()):
            self._known[core] = self._look_at(core, known.get(core), now)
        self._timer = self._later()

    def _look_at(
        self, core: RunCore, before: tuple[Any, float, bool] | None, now: float
    ) -> tuple[Any, float, bool]:
        reached = progress(core)
        if before is None or before[0] != reached:
            return reached, now, False
        _, since, told = before
        if told or now - since < self._seconds:
            return before
        name, seconds = self._engine.flow.name, self._seconds
        log.warning(
            "run %s of flow %s has made no progress for %g s: %s", core.id, name, seconds, diagnose(core)
        )
        return reached, since, True

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()


def progress(core: RunCore) -> tuple[Any, ...]:
    """Give what changes whenever something of a run goes on, or of what its steps have called."""
    streams = sum(leg.chunks + leg.next_seq for leg in core.legs.values())
    lanes = [*core.lanes.values(), *core.mail.values()]
    waiting = sum(len(inbox.items) for lane in lanes for inbox in lane.inboxes)
    parts = tuple(progress(part) for part in parts_of(core))
    steps = tuple(sorted((id(step), getattr(step, "attempt", 0)) for step in core.engaged))
    counts = (core.numbers, core.hops, core.retries, core.dropped_count, core.open, len(core.legs))
    return (core.status, streams, waiting, core.credit_out(), core.outbox.count(), counts, steps, parts)
