"""The pool: the tasks of a runtime, and what they do next.

Owns the workers. Invariant: as long as something is ready, somebody is awake to do it; a suspended coroutine
is only ever resumed in the task that began it (rule 3.9). Knows jobs as things that want a place and can
work, not what they are.

A worker is a task under a driver, a generator around the coroutine of one job. Every suspension of the job
passes through the driver, which hands on what the job has done so far, wakes a follower when something is
ready, and runs the job under the context variables of its run. A chain of nodes that do not wait needs one
wake-up for all of them.
"""

from __future__ import annotations

import logging
import types
from collections import deque
from collections.abc import Coroutine, Generator
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any, Protocol

from .dispatch import Places
from .parking import Parking

if TYPE_CHECKING:
    from .lane import Lane
    from .station import Station
    from .step import Step

log = logging.getLogger("penguiflow")

ITEMS_PER_TURN = 512
"""After so many items without a wait a worker lets everybody else run once (rule 2.8)."""

TURNS_IN_A_ROW = 16
"""So many turns of streams that go on come before the turn of something that begins."""

IDLE_WORKERS = 64
"""So many workers are kept for later; a burst's others end."""


class JobStation(Protocol):
    """Where a job works."""

    places: Places


class JobRun(Protocol):
    """What a job belongs to."""

    stopped: bool
    paused: bool
    busy: int
    engaged: list[Any]
    names_streams: bool

    def hold_back(self, job: Job) -> None:
        """Keep a job until the run is resumed."""

    def at_rest(self) -> None:
        """See whether the run is over, or stuck."""

    def close_explicit(self) -> bool:
        """End the streams that nothing can write to any more."""

    def maybe_ended(self) -> None:
        """See whether the last step of a run that is over has ended."""

    def crashed(self, exc: BaseException) -> None:
        """End because of an error of the runtime itself."""


class Job(Protocol):
    """Something to do at a node, for a run."""

    has_place: bool
    begins: bool
    """Whether the job begins something, instead of going on with it."""

    @property
    def run(self) -> JobRun:
        """The run."""

    @property
    def station(self) -> JobStation:
        """The node."""

    def context(self) -> Variables:
        """The context variables to work under."""

    def work(self, worker: Worker) -> Coroutine[Any, Any, None]:
        """Do it; the place is given back inside."""

    def placed(self) -> None:
        """Take over a place, and be pushed again."""

    def abandon(self) -> None:
        """Be taken off the schedule."""


@types.coroutine
def switch(variables: Variables) -> Generator[Variables, None, None]:
    """Go on under other context variables, within a job; only the driver sees it."""
    yield variables


class Worker:
    """One task of the pool, and what it works on."""

    __slots__ = (
        "at",
        "engaged",
        "has_place",
        "interrupted",
        "lane",
        "leaving",
        "pool",
        "run",
        "scope",
        "step",
        "task",
        "waiter",
    )

    def __init__(self, pool: Pool) -> None:
        self.pool: Pool = pool
        self.run: JobRun | None = None
        self.at: Station | None = None
        self.engaged: bool = False
        self.has_place: bool = False
        self.leaving: bool = False
        self.task: Any = None
        self.scope: Any = None
        self.interrupted: bool = False
        self.lane: Lane | None = None
        self.step: Step | None = None
        self.waiter: Any = None

    async def main(self) -> None:
        """Work until the pool closes."""
        pool = self.pool
        self.task = pool.parking.task()
        try:
            while not pool.closed and not self.leaving:
                job = pool.next()
                if job is None:
                    if len(pool.idle) >= IDLE_WORKERS:
                        return
                    await pool.rest(self)
                    continue
                run = self.run = job.run
                try:
                    await self._drive(job)
                    if run.stopped or run.names_streams or run.busy == 0:
                        self._done(run)
                except Exception as exc:
                    self.has_place = False
                    self.disengage(run)
                    run.crashed(exc)
                self.lane = self.step = self.run = None
                pool.worked += 1
                if pool.worked >= ITEMS_PER_TURN:
                    pool.worked = 0
                    await pool.parking.turn()
        finally:
            pool.gone(self)

    def _done(self, run: JobRun) -> None:
        """See what the end of a job means for its run."""
        if run.stopped:
            run.maybe_ended()
        elif run.names_streams and run.busy > 0:
            run.close_explicit()
        elif run.busy == 0:
            run.at_rest()

    @types.coroutine
    def _drive(self, job: Job) -> Generator[Any, Any, None]:
        pool = self.pool
        by_level = pool.parking.by_level
        coroutine, variables = job.work(self), job.context()
        send, value = coroutine.send, None
        error: BaseException | None = None
        while True:
            pool.current = self
            try:
                trap = variables.run(send, value) if error is None else variables.run(coroutine.throw, error)
            except StopIteration:
                return
            finally:
                pool.current = None
            value = error = None
            if type(trap) is Variables:
                variables = trap
                continue
            self._suspending()
            try:
                value = yield trap
                if by_level:
                    pool.parking.resuming(value, self._scopes())
            except BaseException as exc:
                error = exc
            pool.awake += 1

    def _scopes(self) -> tuple[Any, ...]:
        """Give what can be interrupted now."""
        if self.step is not None:
            return (self.step.scope, self.step.inner)
        return (self.scope,)

    # -- as what walks through lanes

    @property
    def station(self) -> Station | None:
        """The node that the worker is at."""
        return self.at

    def engage(self, run: JobRun) -> None:
        """Be known to a run as in a walk for it, from the first time that a node's code waits.

        Before that, nobody can look but the code that runs now; see `Pool.engage_current`.
        """
        if not self.engaged:
            self.engaged = True
            run.engaged.append(self)

    def disengage(self, run: JobRun) -> None:
        """End a walk."""
        self.at = None
        if self.engaged:
            self.engaged = self.interrupted = False
            run.engaged.remove(self)

    def interrupt(self, reason: object) -> None:
        """Cancel what the node does."""
        self.interrupted = True
        self.pool.parking.interrupt(self.task, self.scope)

    def pause(self) -> None:
        """Stop behind the chunk in progress."""
        if self.lane is not None:
            self.lane.put_back()

    def resume(self) -> None:
        """Go on: whoever resumes the run wakes the lane."""

    def flush_held(self) -> None:
        """Hold back nothing: there is no retry."""

    def abandon_place(self) -> None:
        """Give the place back although the node's code has not ended."""
        if self.has_place and self.at is not None:
            self.has_place = False
            self.at.places.release()
        elif self.lane is not None:
            self.lane.leave_place()

    def _suspending(self) -> None:
        """Hand on what is done, and see that others go on."""
        pool, run = self.pool, self.run
        assert run is not None
        if self.at is not None:
            self.engage(run)
        if self.lane is not None:
            self.lane.suspending()
        if self.step is not None:
            self.step.flush()
            self.step.spent = 0  # it waits: others run
        if run.busy == 0:
            run.at_rest()
        pool.awake -= 1
        if pool.awake == 0 and (pool.ready or pool.fresh):
            pool.wake_one()


class Pool:
    """All workers of a runtime, and what is ready for them.

    Args:
        parking: the event loop.
    """

    def __init__(self, parking: Parking) -> None:
        self.parking = parking
        self.ready: deque[Job] = deque()
        self.fresh: deque[Job] = deque()
        self._in_a_row = 0
        self.idle: list[Worker] = []
        self.workers: set[Worker] = set()
        self.awake: int = 0
        self.worked = 0
        self.closed: bool = False
        self.current: Worker | None = None
        self._ending: set[Worker] = set()
        self._closers: list[Any] = []

    def push(self, job: Job) -> None:
        """Make a job ready, and see that somebody is awake."""
        (self.fresh if job.begins else self.ready).append(job)
        if self.awake == 0:
            self.wake_one()

    def engage_current(self, run: JobRun) -> None:
        """Engage the worker whose code runs now, if it is in a walk of a run: it has not waited yet."""
        worker = self.current
        if worker is not None and worker.at is not None and worker.run is run:
            worker.engage(run)

    def rest(self, worker: Worker) -> Any:
        """Give an idle worker what to wait for until there is something to do."""
        self.awake -= 1
        worker.waiter = self.parking.waiter()
        self.idle.append(worker)
        return worker.waiter

    def wake_one(self) -> None:
        """Wake an idle worker, or start one."""
        self.awake += 1
        if self.idle:
            self.parking.wake(self.idle.pop().waiter)
            return
        worker = Worker(self)
        self.workers.add(worker)
        self.parking.spawn(worker.main, "penguiflow worker")

    def next(self) -> Job | None:
        """Give the next job that has a place at its node; others queue for one there."""
        while True:
            job = self._first()
            if job is None:
                return None
            run = job.run
            if run.stopped:
                job.abandon()
            elif run.paused:
                run.hold_back(job)
            elif job.has_place:
                return job
            elif job.station.places.take():
                job.has_place = True
                return job
            else:
                job.station.places.wait(job)

    def _first(self) -> Job | None:
        """Give what has been ready longest: what goes on before what begins, but not for ever.

        So what is under way is out, and its credit home, before more comes in: a thousand streams that begin
        at the same time are a few at a time in memory.
        """
        if self.ready and (not self.fresh or self._in_a_row < TURNS_IN_A_ROW):
            self._in_a_row += 1
            return self.ready.popleft()
        self._in_a_row = 0
        return self.fresh.popleft() if self.fresh else None

    def forgive(self, task: Any) -> None:
        """Let a cancellation that is not ours be the node's error (rule 3.6).

        The worker ends behind it: it may have been the event loop that cancelled all its tasks.
        """
        if self.current is not None:
            self.current.leaving = True
        self.parking.calm(task)

    def gone(self, worker: Worker) -> None:
        """Take note that a worker has ended."""
        self.workers.discard(worker)
        if worker in self.idle:
            self.idle.remove(worker)  # cancelled while it rested
        else:
            self.awake = max(0, self.awake - 1)
        self._ending.discard(worker)
        if self.closed and not self._ending and self._closers:
            closers, self._closers = self._closers, []
            for waiter in closers:
                self.parking.wake(waiter)
        elif (self.ready or self.fresh) and self.awake == 0 and not self.closed:
            self.wake_one()

    async def close(self) -> None:
        """End all workers that are idle; returns when they have ended.

        If cancelled, they end all the same.
        """
        self.closed = True
        idle, self.idle = self.idle, []
        self._ending.update(idle)
        for worker in idle:
            self.awake += 1
            self.parking.wake(worker.waiter)
        while self._ending:
            waiter = self.parking.waiter()
            self._closers.append(waiter)
            await waiter
        self.parking.close()
