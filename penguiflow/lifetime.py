"""The lifetime of a run: what is open, what is busy, how it ends.

Owns the run's two counters. Invariant: ``open`` counts what descends from the input and is not over; at zero
the run is done (rule 3.4). ``busy`` counts what can go on by itself; at zero, with something open and nothing
for a reader to take, the run is stuck and fails at once (rule 2.5). Cancelling empties the run before and
after its steps have ended, and is over when the last of them is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import CreditError, DeadlineExceeded, RunCancelled
from .lifecycle import FINAL, TERMINAL_OF, Status, may_follow
from .observe import RunEnded, RunPaused, RunRead, RunResumed
from .record import NEVER, NOTHING, RunRecord
from .waiting import Stopped
from .watch import Watch, begin_watch, held_back, let_on
from .wire.traceparent import parse

if TYPE_CHECKING:
    from .pool import Job
    from .waits import Wait

log = logging.getLogger("penguiflow")


class Lifetime(RunRecord):
    """A run as something that begins, rests, pauses and ends."""

    __slots__ = ()

    busy: int
    enders: tuple[Any, ...]
    held_back: tuple[Job, ...]
    open: int
    paused: bool
    paused_at: float
    resumers: tuple[Wait, ...]
    silent: bool
    status: Status
    timed: float | None
    timers: tuple[Any, ...]
    trace_id: str
    watch: Watch | None

    # -- beginning

    def join_trace(self) -> str:
        """Go on in the trace that the run came with; gives its ``traceparent``, or nothing."""
        text = self.headers.extra.get("traceparent")
        parent = parse(text)
        if parent is None:
            return ""
        self.trace_id = parent.trace_id
        return str(text)

    def begin(
        self, parent: str = "", caller: tuple[Lifetime, int] | None = None, waited: float = 0.0
    ) -> None:
        """Be admitted.

        Args:
            parent: the ``traceparent`` that the run came with.
            caller: the run of which this one is a part, and the step there that calls.
            waited: how many seconds that took.
        """
        self.status = "running"
        engine = self.engine
        if engine.observers.active:
            self.watch = begin_watch(self, caller, parent, waited)
            if self.watch is not None or engine.observers.measures:
                self.timed = self.pool.parking.now()
            if waited and engine.measures is not None:
                engine.measures.admission_wait.record(waited)
        if self.deadline is not None:
            self._time(self.deadline - self.pool.parking.now(), self.expire)

    def _time(self, seconds: float, call: Callable[[], None]) -> None:
        self.timers = (*self.timers, self.pool.parking.later(seconds, call))

    def entered(self) -> None:
        """The input is in: whoever started the run has done his part."""
        self.busy -= 1
        self.one_less_open()
        if self.deadline is not None and self.deadline <= self.pool.parking.now():
            self.expire()
        elif self.busy == 0:
            self.at_rest()

    # -- rest

    def one_less_open(self) -> None:
        """Count one thing less that descends from the input."""
        self.open -= 1

    def at_rest(self) -> None:
        """See what it means that nothing is busy: done, streams to close, waiting for a reader, or stuck."""
        if self.stopped or self.paused or self.busy > 0 or self.status in FINAL:
            return
        if self.open == 0:
            if self.names_streams:
                self.close_explicit()
            if self.open == 0 and self.busy == 0:
                self.finish("done")
        elif self.close_explicit():
            self.at_rest()
        elif self.inputs == 0 and self.outbox.count() == 0:
            if self.end_awaited():
                self.at_rest()
            elif self.asks and self.journal is not None:
                self.journal.rests()
            else:
                self.fail(CreditError(self.why_stuck()))

    def tell_reader(self, event: object) -> None:
        """Lay an event out for the reader of the run; of what is kept, he hears from the journal."""
        if not self.outbox.kept:
            self.outbox.put([event])

    def park(self) -> None:
        """Leave memory: the run waits for answers, and goes on from the journal."""
        self.finish("interrupted")

    def close_explicit(self) -> bool:
        """End the streams named by hand: nothing in the run can write to them any more (rule 1.3)."""
        raise NotImplementedError

    def end_awaited(self) -> bool:
        """End the streams that wait for writers who wait themselves, for what these streams hold."""
        raise NotImplementedError

    # -- ending

    def finish(self, status: Status, error: BaseException | None = None) -> None:
        """Take the final status; the first one wins."""
        if not may_follow(self.status, status):
            return
        self.status = status
        self.error = error
        for timer in self.timers:
            timer.cancel()
        if status == "done":
            self.end()
        else:
            self.silent = status == "cancelled"
            self._stop()

    def fail(self, error: BaseException) -> None:
        """End with an error; what was emitted before it stays readable."""
        self.finish("failed", error)

    def crashed(self, exc: BaseException) -> None:
        """End because of an error of the runtime itself; it comes out as it is."""
        log.error("the runtime itself failed in run %s", self.id, exc_info=exc)
        self.fail(exc)

    def expire(self) -> None:
        """End because the deadline has passed."""
        self.finish(
            "expired", DeadlineExceeded(f"run {self.id} of flow {self.engine.flow.name} took too long")
        )

    def stop(self, reason: str) -> None:
        """Begin to cancel: from now on nothing more of the run is delivered."""
        text = f"run {self.id} was cancelled" + (f": {reason}" if reason else "")
        self.finish("cancelled", RunCancelled(text))

    def _stop(self) -> None:
        self.stopped = True
        self.paused = False
        self.pool.engage_current(self)
        for engagement in list(self.engaged):
            engagement.interrupt(Stopped())  # first: whoever waits must not be woken by what is let go below
        self.purge()
        if self.silent:
            self.outbox.clear()
        for listener in self.listeners:
            listener[1].close()
        if self.engaged:
            self._time(self.cleanup_timeout, self._insist)
        self.outbox.wake()
        self.maybe_ended()

    def _insist(self) -> None:
        """Give up on steps whose cleanup takes too long."""
        if self.is_over:
            return
        names = sorted({step.station.site.key for step in self.engaged})
        log.warning(
            "run %s: the cleanup of %s took longer than %s s and was abandoned",
            self.id,
            ", ".join(names),
            self.cleanup_timeout,
        )
        for engagement in list(self.engaged):
            engagement.abandon_place()
            self.pool.parking.interrupt(engagement.task, engagement.scope)
        self.end()

    def maybe_ended(self) -> None:
        """See whether the last step of a run that is over has ended."""
        if self.stopped and not self.is_over and not self.engaged:
            self.purge()
            self.end()

    def purge(self) -> None:
        """Let everything go that waits somewhere in the run, and give shared places back."""
        terminal = TERMINAL_OF[self.status]
        for job in self.held_back:
            job.abandon()
        self.held_back = ()
        for leg in list(self.legs.values()):
            if not leg.is_over():
                leg.abort(terminal)
        for lane in list(self.lanes.values()):
            lane.die(terminal)
            self.forget_place(lane)
        for lane in list(self.mail.values()):
            lane.die(terminal)
            self.forget_place(lane)
        for pairing in list(self.pairings):
            self.drop_pairing(pairing)
        self.gatherings = NEVER
        self.resumers = ()

    def forget_place(self, job: Any) -> None:
        """Take a job out of the queue for a place."""
        waiting = job.station.places.waiting
        if waiting and job in waiting:
            waiting.remove(job)
            job.abandon()

    def drop_pairing(self, pairing: Any) -> None:
        """Let an undecided pairing go."""
        raise NotImplementedError

    def rested(self) -> None:
        """See what it means that something which the run has waited for is done."""
        if self.stopped:
            self.maybe_ended()
        elif self.names_streams and self.busy > 0:
            self.close_explicit()
        elif self.busy == 0:
            self.at_rest()

    def end(self) -> None:
        """Be over, as soon as that is durable."""
        if self.is_over or (self.journal is not None and not self.journal.may_end()):
            return
        self.is_over = True
        for timer in self.timers:
            timer.cancel()
        self.accounts = NOTHING
        if self.stopped:
            self.lanes.clear()
            self.legs.clear()
        for listener in self.listeners:
            listener[1].close()
        self.engine.run_ended(self)
        if self.watch is not None:
            now = self.pool.parking.now()
            self.notify(
                RunEnded(self.id, self.engine.flow.name, self.status, self.error, self.watch.part, now)
            )
        enders, self.enders = self.enders, ()
        for waiter in enders:
            self.pool.parking.wake(waiter)
        self.outbox.wake()
        if self.journal is not None:
            self.journal.ended()

    async def ended(self) -> None:
        """Wait until the run is over and its steps have ended.

        If cancelled, the run goes on.
        """
        while not self.is_over:
            waiter = self.pool.parking.waiter()
            self.enders = (*self.enders, waiter)
            await waiter

    def was_read(self) -> None:
        """Tell, once, that the reader has got everything."""
        watch = self.watch
        if watch is not None and not watch.was_read and self.engine.state != "closed":
            watch.was_read = True
            self.notify(RunRead(self.id, self.engine.flow.name, watch.part, self.pool.parking.now()))

    def read_out(self) -> bool:
        """Say whether the reader has got everything; raises the error that the run ended with."""
        if self.status not in FINAL or (self.journal is not None and not self.journal.closed):
            return False
        if self.error is not None:
            raise self.error
        return True

    # -- pausing

    def hold_back(self, job: Job) -> None:
        """Keep a job until the run is resumed."""
        if job.has_place:
            job.has_place = False
            job.station.places.release()
        self.held_back = (*self.held_back, job)
        if self.watch is not None:
            held_back(job, self.pool.parking.now())

    def pause(self) -> None:
        """Stop within one item per node; credit is kept, the nodes' own clocks stand still."""
        if self.status != "running":
            return
        self.status = "paused"
        self.paused = True
        self.paused_at = self.pool.parking.now()
        self.pool.engage_current(self)
        for engagement in list(self.engaged):
            engagement.pause()
        if self.watch is not None:
            self.notify(RunPaused(self.id, self.engine.flow.name, self.watch.part, self.paused_at))

    def resume(self) -> None:
        """Go on where the run was paused."""
        if self.status != "paused":
            return
        self.status = "running"
        self.paused = False
        if self.watch is not None:  # before anything goes on, which may end it
            now = self.pool.parking.now()
            self.notify(RunResumed(self.id, self.engine.flow.name, self.watch.part, now))
        for engagement in list(self.engaged):
            engagement.resume()
        jobs, self.held_back = self.held_back, ()
        for job in jobs:
            if self.watch is not None:
                let_on(job, self.pool.parking.now())
            self.pool.push(job)
        resumers, self.resumers = self.resumers, ()
        for wait in resumers:
            wait.wake()
        for lane in [*self.lanes.values(), *self.mail.values()]:
            if not lane.scheduled and lane.runnable():
                lane.wake()
        if self.busy == 0:
            self.at_rest()
