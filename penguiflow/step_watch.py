"""Step watches: what is told and measured of a step, because somebody observes.

Owns the beginning, the attempts and the end of a step as observers and statistics see them. Invariant: a step
that has begun ends once, before anything that it brings about does; the work of a node on one stream, chunk
by chunk, is one step, which `watch` tells of.
"""

from __future__ import annotations

from contextvars import Context as Variables
from typing import TYPE_CHECKING

from .durations import Waits
from .items import Chunk
from .leg import Leg
from .observe import SPAN, Outcome, Span, StepEnded, StepRetried, StepStarted
from .timing import CREDIT, NODE, SOURCE, Timing
from .watch import at_work

if TYPE_CHECKING:
    from .core import RunCore
    from .station import Station
    from .step import Step
    from .traffic import Traffic
    from .waiting import Waiting
    from .waits import Wait


class StepWatch:
    """What is kept of one step.

    Args:
        run: the run.

    It begins when the step is made: what comes before its code runs is time in the queue.
    """

    __slots__ = ("failed_at", "failure", "number", "origins", "passed_on", "ready_at", "span", "timing")

    def __init__(self, run: RunCore) -> None:
        self.ready_at: float = run.pool.parking.now()
        self.number: int = 0  # of a run's input, and where nobody follows the run
        self.span: Span | None = None
        self.origins: tuple[Span, ...] = ()
        self.timing: Timing | None = None
        self.failure: BaseException | None = None  # of the last attempt, until the next one begins
        self.failed_at: float = 0.0
        self.passed_on: bool = False  # it ended with an error that is not its own


def begin_step(step: Step, kept: StepWatch) -> None:
    """Begin to keep the time of a step; called where its code will run, under its context variables."""
    run, site, watch = step.run, step.station.site, step.run.watch
    now = run.pool.parking.now()
    kept.timing = Timing(now, NODE)
    if watch is None:
        return
    if step.lane is None and site.node is not None:
        kept.number = watch.next_step()
        queued = max(0.0, now - kept.ready_at)
        ids = (run.id, site.key, None, watch.part, kept.number, step.attempt)
        watch.tell(StepStarted(*ids, queued, kept.origins, now))
    elif step.lane is not None and step.lane.out.watch is not None:
        kept.number = step.lane.out.watch.step
    kept.span = SPAN.get()


def end_step(step: Step, kept: StepWatch, error: BaseException | None = None) -> None:
    """Tell that a step is over, once; with what it has failed, if it has."""
    timing, kept.timing = kept.timing, None
    if timing is None:
        return
    run, station = step.run, step.station
    now = run.pool.parking.now()
    waits = timing.close(now)
    if station.measures is not None:
        station.measures.latency.record(waits.node)
    if step.lane is not None and step.lane.out.watch is not None:
        step.lane.out.watch.used += waits.node
    if run.watch is None or step.lane is not None or not kept.number:
        return
    outcome: Outcome = "done"
    if error is not None:
        outcome = "error"
    elif run.stopped or kept.passed_on or step.reason is not None:
        outcome = "cancelled"
    ids = (run.id, station.site.key, None, step.attempt, run.watch.part, kept.number)
    run.notify(StepEnded(*ids, outcome, error, waits, now))


class InlineStep:
    """A ``def`` node at work on a message, in its sender's turn.

    Args:
        run: the run.
        station: the node.
        number: the number of the step; 0 where nobody follows the run.
        now: when it begins.
    """

    __slots__ = ("_began", "_number", "_run", "_station", "span")

    def __init__(self, run: Traffic, station: Station, number: int, now: float) -> None:
        self._run = run
        self._station = station
        self._number = number
        self._began = now
        self.span: Span | None = None

    def end(self, error: BaseException | None) -> None:
        """Tell that it is over."""
        run, station = self._run, self._station
        now = run.pool.parking.now()
        waits = Waits(node=now - self._began)
        if station.measures is not None:
            station.measures.latency.record(waits.node)
        if run.watch is not None:
            outcome: Outcome = "done" if error is None else "error"
            run.notify(
                StepEnded(
                    run.id,
                    station.site.key,
                    None,
                    1,
                    run.watch.part,
                    self._number,
                    outcome,
                    error,
                    waits,
                    now,
                )
            )


def begin_inline(run: Traffic, station: Station, variables: Variables) -> InlineStep:
    """Tell that a ``def`` node begins to work on a message, under given context variables."""
    now, watch = run.pool.parking.now(), run.watch
    inline = InlineStep(run, station, watch.next_step() if watch is not None else 0, now)
    if watch is not None:
        started = StepStarted(run.id, station.site.key, None, watch.part, inline._number, at=now)
        inline.span = watch.tell_within(variables, started)
    return inline


def attempt_failed(step: Step, error: BaseException) -> None:
    """Keep what an attempt has failed with, and when, until the next one begins."""
    if step.watch is not None:
        step.watch.failure = error
        step.watch.failed_at = step.run.pool.parking.now()


def next_step_attempt(step: Step, kept: StepWatch) -> None:
    """Tell that a step is tried again; called where its code runs."""
    run, item, error = step.run, step.item, kept.failure
    now = run.pool.parking.now()
    ended = kept.failed_at if error is not None else now
    waits = kept.timing.close(ended) if kept.timing is not None else Waits()
    kept.timing, kept.failure = Timing(now, NODE), None
    if step.lane is not None and step.lane.out.watch is not None:
        step.lane.out.watch.lost += waits.node + now - ended
    if run.watch is None or not kept.number:
        return
    ids = (run.id, step.station.site.key, step.attempt, run.watch.part, kept.number)
    chunk = item if step.lane is not None and isinstance(item, Chunk) else None
    stream_id, seq = (chunk.stream_id, chunk.seq) if chunk is not None else (None, None)
    run.notify(StepRetried(*ids, stream_id, seq, error, waits, ended, now))
    kept.span = SPAN.get()


def begin_wait(step: Waiting, wait: Wait) -> None:
    """Take note that a step waits: for its input, for one of its streams, or because its run is paused."""
    now = wait.since = step.run.pool.parking.now()
    if step.watch is not None and step.watch.timing is not None:
        step.watch.timing.turn(wait.state, now)
    for leg in _concerned(step, wait):
        if leg.watch is not None and (wait.state == SOURCE or wait.leg in (leg, step.run)):
            leg.watch.timing.turn(wait.state, now)


def end_wait(step: Waiting, wait: Wait) -> None:
    """Take note that a step goes on."""
    now = step.run.pool.parking.now()
    measures = step.station.measures
    if wait.state == CREDIT and measures is not None:
        measures.credit_wait.record(now - wait.since)
    if step.watch is not None and step.watch.timing is not None:
        step.watch.timing.turn(NODE, now)
    state = at_work(step)
    for leg in _concerned(step, wait):
        if leg.watch is not None:
            leg.watch.timing.turn(state, now)


def _concerned(step: Waiting, wait: Wait) -> list[Leg]:
    """Give the streams whose time a wait of a step is: its own, or all for which no other task waits."""
    legs = [wait.leg] if isinstance(wait.leg, Leg) else step.legs
    if step.waits is None or step.waits <= {wait}:
        return legs
    taken = [other.leg for other in step.waits if other is not wait and not other.woken]
    return [leg for leg in legs if not any(leg is other for other in taken)]
