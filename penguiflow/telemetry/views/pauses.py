"""Pauses: when a run stood still because somebody had paused it.

Owns how much of a time was such a pause, and what of the waits of a step or stream was. Invariant: what the
nodes' code was at work in a pause is not taken off: it would have taken as long without it. Knows no words.

A pause stops what begins and what is emitted; code that is at work goes on to its next emission. From then on
the run is idle. What a step or stream waits for meanwhile is told as credit, or as input; the time of a node
goes on only while its code is at work.
"""

from __future__ import annotations

from math import isfinite

from penguiflow.durations import Waits

from ..records import PauseRecord, RunTrace, StepRecord, StreamRecord
from .bars import spent


class Idle:
    """When a run was paused and none of its code was at work.

    Args:
        trace: what is kept of the run.
        now: when what is open ends.
    """

    def __init__(self, trace: RunTrace, now: float) -> None:
        self.now: float = now
        self.pauses: tuple[PauseRecord, ...] = tuple(one for one in trace.pauses if not one.part)
        self.spans: list[tuple[float, float]] = []
        for pause in self.pauses:
            start, end = self.times(pause)
            start = max(start, self._worked_until(trace, start, end))
            if start < end:
                self.spans.append((start, end))

    def times(self, pause: PauseRecord) -> tuple[float, float]:
        """Give when a pause began and ended, or now."""
        end = self.now if pause.ended is None else pause.ended
        return (pause.started, max(end, pause.started)) if isfinite(end - pause.started) else (0.0, 0.0)

    def _worked_until(self, trace: RunTrace, start: float, end: float) -> float:
        """Say how long code that was at work when a pause began went on in it."""
        until = start
        for step in trace.steps:
            over = self.now if step.ended is None else step.ended
            if step.started <= start < over and not step.part:
                inside = min(over, end) - start
                waited = step.waits.source + step.waits.credit
                if step.waits.seconds or step.ended is not None:  # else nobody has said what it does
                    until = max(until, start + inside - min(waited, inside))
        return until

    @property
    def seconds(self) -> float:
        """How long that was."""
        return sum(end - start for start, end in self.spans)

    def within(self, start: float, end: float) -> float:
        """Say how much of a time it was."""
        if not self.spans:
            return 0.0
        return sum(max(min(end, right) - max(start, left), 0.0) for left, right in self.spans)

    def queued(self, step: StepRecord) -> float:
        """Say how long the input of a step waited for a place, without the pauses."""
        return max(step.queued - self.within(step.started - step.queued, step.started), 0.0)

    def waits(self, one: StepRecord | StreamRecord) -> Waits:
        """Give the waits of an attempt without the pauses; of a stream, its timeline says which they were."""
        waits = one.waits
        over = self.now if one.ended is None else one.ended
        idle = self.within(one.started, over)
        if idle <= 0:
            return waits
        source, credit = self._seen(one, over)
        if source + credit > 0:
            source = idle * source / (source + credit)
        source = min(source, waits.source)
        credit = min(idle - source, waits.credit)
        source = min(idle - credit, waits.source)
        left = [max(round(wait, 9), 0.0) for wait in (waits.source - source, waits.credit - credit)]
        return Waits(left[0], waits.node, left[1], waits.again)

    def _seen(self, one: StepRecord | StreamRecord, over: float) -> tuple[float, float]:
        """Say what was waited for in the pauses, source and credit, as far as a timeline tells."""
        if isinstance(one, StepRecord) or one.timeline is None or one.timeline[0] <= 0:
            return 0.0, 0.0
        width, parts = one.timeline
        source = credit = 0.0
        for left, right in self.spans:
            start, end = max(left, one.started) - one.started, min(right, over) - one.started
            if start < end:
                found = spent(parts, width, start, end)
                source, credit = source + found[0], credit + found[2]
        return source, credit
