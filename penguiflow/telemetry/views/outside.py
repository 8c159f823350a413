"""Outside: what held a run up that none of its nodes is to blame for, in sentences.

Owns the words about admission and pauses. Invariant: what is said first is what took most of the run's time.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..records import RunTrace
from .amounts import percent, seconds
from .pauses import Idle

NOTICED_SECONDS = 0.005
"""What took no longer is not told of."""

ADMISSION_HINT = (
    "Let more runs be live at once with max_runs=, make them shorter, or begin fewer at the same time."
)
PAUSE_HINT = "See who paused the run, and why it was not resumed sooner."


class Outside:
    """What held a run up from outside.

    Args:
        trace: the run.
        idle: when it was paused.
        over: whether it has ended.
    """

    def __init__(self, trace: RunTrace, idle: Idle, over: bool) -> None:
        self._trace = trace
        self._idle = idle
        self._over = over
        self._whole = max(idle.now - trace.summary.started, 0.0)
        self._waited = max(trace.summary.waited, 0.0)

    def dominates(self, share: float, other: float) -> bool:
        """Say whether this took at least such a share of the time, and more than something else did."""
        worst = max(self._waited, self._idle.seconds)
        whole = self._whole + (self._waited if self._waits_first() else 0.0)
        return worst >= NOTICED_SECONDS and worst >= share * whole and worst >= other

    def verdict(self, rest: str) -> Iterator[str]:
        """Say what held it up, where that is the cause; ``rest`` is what took most of the other time."""
        first = self._waits_first()
        yield from self._admission() if first else self._pauses()
        yield ADMISSION_HINT if first else PAUSE_HINT
        yield from self._pauses() if first else self._admission()
        yield from [rest] if rest else []

    def sentences(self) -> Iterator[str]:
        """Say what held it up, where something else is the cause."""
        yield from self._admission()
        yield from self._pauses()

    def _waits_first(self) -> bool:
        return self._waited > self._idle.seconds

    def _admission(self) -> Iterator[str]:
        if self._waited >= NOTICED_SECONDS:
            whole = self._waited + self._whole
            share = f"{percent(self._waited, whole)} of {seconds(whole)} in all"
            full = "max_runs= let no more runs be live"
            yield f"The run waited {seconds(self._waited)} to be admitted ({share}): {full}."

    def _pauses(self) -> Iterator[str]:
        pauses = [self._idle.times(pause) for pause in self._idle.pauses]
        total = sum(end - start for start, end in pauses)
        if total < NOTICED_SECONDS:
            return
        open_now = not self._over and self._idle.pauses[-1].ended is None
        was = "has been" if open_now else "was"
        share = f"({percent(total, self._whole)} of its time)"
        first = pauses[0][0] - self._trace.summary.started
        since = "its start" if first < NOTICED_SECONDS else seconds(first)
        if len(pauses) == 1:
            text = f"The run {was} paused for {seconds(total)} {share}, from {since} on"
        else:
            times = f"{len(pauses)} times, for {seconds(total)} in all"
            text = f"The run {was} paused {times} {share}, for the first time from {since} on"
        at_end = self._over and abs(pauses[-1][1] - self._idle.now) < 1e-6
        yield f"{text}, and was not resumed." if at_end else f"{text}."
        worked = total - self._idle.seconds
        if worked >= max(NOTICED_SECONDS, 0.1 * total):
            yield f"For {seconds(worked)} of that, code that was at work already went on."
