"""Mail: the messages of one run at one node.

Owns what waits there to begin a step: messages on edges, and what joins and gathers have completed.
Invariant: as long as something waits or is at work, the run is open. One message is served per turn, so that
runs which share a node take turns (rule 3.1).
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any

from .credit import FREE
from .items import Message
from .lane import Lane
from .parking import absorb
from .pool import switch
from .settling import settle
from .signature import Takes
from .step import Step

if TYPE_CHECKING:
    from .core import RunCore
    from .graph import Edge
    from .pool import Worker
    from .station import Station


class MailLane(Lane):
    """All messages of one run at one node.

    Args:
        run: the run.
        station: the node at work.
    """

    __slots__ = ("active", "complete", "occupied")

    begins = True

    def __init__(self, run: RunCore, station: Station) -> None:
        super().__init__(run, station, (station.site.index, ""), explicit=False)
        run.open -= 1  # it is open only while something is here
        self.complete: tuple[Step, ...] = ()
        self.active: int = 0
        self.occupied: bool = False

    def inbox(self, edge: Edge) -> Any:
        """Give the inbox of an edge."""
        inbox = self.known(edge)
        if inbox is None:
            inbox = self.run.engine.new_inbox(edge, self, None)
            self.inboxes = (*self.inboxes, inbox)
        return inbox

    def known(self, edge: Edge) -> Any:
        """Give the inbox of an edge, if something has come on it."""
        for inbox in self.inboxes:
            if inbox.edge is edge:
                return inbox
        return None

    def begin(self, step: Step) -> None:
        """Queue a step of a join or a gather; it waits on no edge."""
        self.complete = (*self.complete, step)
        self.wake()

    def context(self) -> Variables:
        """Give the context variables that one message's step sees."""
        return self.run.variables.copy()

    def runnable(self) -> bool:
        """Say whether there is something to do."""
        if self.complete and not self.run.paused and not self.dead:
            return True
        return super().runnable()

    def wake(self) -> None:
        """Schedule the lane if there is something to do."""
        self.occupy()
        super().wake()

    def occupy(self) -> None:
        """Take note that there is something here: the run is open."""
        if not self.occupied:
            self.occupied = True
            self.run.open += 1

    def rest(self) -> None:
        """Take note that something is over."""
        if self.occupied and not (self.scheduled or self.active) and self.is_empty():
            self.occupied = False
            self.run.one_less_open()

    def abandon(self) -> None:
        """Be taken off the schedule, because the run is over or paused."""
        super().abandon()
        self.rest()

    def finish_if_over(self) -> None:
        """Do nothing: mail has no end but its run's."""

    def die(self, terminal: Any, error: BaseException | None = None) -> None:
        """Let everything go that waits."""
        self.dead = True
        for inbox in self.inboxes:
            inbox.purge()
        complete, self.complete = self.complete, ()
        for step in complete:
            step.over()
        self.rest()

    def count(self) -> int:
        """Say how many messages wait or are at work here."""
        return self.active + len(self.complete) + sum(len(inbox.items) for inbox in self.inboxes)

    def work(self, worker: Worker) -> Coroutine[Any, Any, None]:
        """Do one message's step; the next one may begin as soon as there is a place."""
        run = self.run
        if not self.station.fast or self.complete or run.timed is not None or run.journal is not None:
            return self._serve(worker)
        if self.run.pool.parking.by_level:
            return self._walk_in_scope(worker)
        return self._walk(worker)

    async def _serve(self, worker: Worker) -> None:
        """Do a step with a policy, a context, or several inputs."""
        step = self._next_step()
        if step is None:
            self._nothing_to_do()
            return
        self._take_up()
        step.has_place = True
        try:
            await step.perform(worker)
        except BaseException as exc:
            step.fail(exc)
        finally:
            step.over()
            step.leave_place()
            self._put_down()

    def _nothing_to_do(self) -> None:
        self.scheduled = False
        self.leave_place()
        self.run.busy -= 1
        self.rest()

    def _take_up(self) -> None:
        """Let a message begin: it has the lane's place, and the lane may be scheduled for the next one."""
        self.scheduled = self.has_place = False
        self.active += 1
        self.station.steps += 1
        self._come_again()

    def _put_down(self) -> None:
        """Let a message be over; its place was given back."""
        self.active -= 1
        self.run.busy -= 1
        self._come_again()
        self.rest()

    async def _walk_in_scope(self, worker: Worker) -> None:
        with self.run.pool.parking.scope() as worker.scope:
            try:
                await self._walk(worker)
            finally:
                worker.scope = None

    async def _walk(self, worker: Worker) -> None:
        """Carry a message through nodes without policy or context, as long as the next one is free."""
        item = self._next()
        if item is None:
            self._nothing_to_do()
            return
        run = self.run
        self._take_up()
        worker.has_place = True
        try:
            await self._carry(worker, item)
            if worker.interrupted:
                await absorb(run.pool.parking, worker.task)
        finally:
            if worker.has_place and worker.at is not None:
                worker.has_place = False
                worker.at.places.release()
            worker.disengage(run)
            self._put_down()

    async def _carry(self, worker: Worker, item: Message[Any]) -> None:
        """Carry a message as far as it goes; an interruption of ours ends here."""
        try:
            last = await self._through(worker, item)
            if last is not None:
                await self._send(worker, last, item)
        except self.run.pool.parking.cancelled:
            if not worker.interrupted:
                raise

    async def _through(self, worker: Worker, item: Message[Any]) -> Station | None:
        """Run node after node; gives the one whose result must be sent on, ``None`` where there is none."""
        run, station = self.run, self.station
        worker.at = station
        try:
            while True:
                result = await station.function(item.payload)
                if result is None or run.stopped:
                    settle(item)
                    return None
                if type(result) is not station.promise.expected:
                    station.promise.check(result)
                item.payload = result
                following = self._free_to_go_on(station, item)
                if following is None:
                    self._address(station, item)
                    return station
                station.places.release()
                worker.at = station = following
                await switch(run.variables.copy())
        except BaseException as exc:
            self._broke(worker, station, item, exc)
            return None

    def _broke(self, worker: Worker, station: Station, item: Message[Any], exc: BaseException) -> None:
        run = self.run
        step = Step(run, station, None, item, item._ticket, item._tokens)
        item._ticket, item._tokens = FREE, ()
        if isinstance(exc, run.pool.parking.cancelled) and not worker.interrupted:
            run.pool.forgive(worker.task)
        step.fail(exc)
        step.over()

    def _free_to_go_on(self, station: Station, item: Message[Any]) -> Station | None:
        """Give the next node, with a place taken there, where nobody else has a claim on it."""
        run = self.run
        edge = station.only_way
        if edge is None or item._tokens or run.paused:
            return None
        following = run.engine.stations[edge.target.index]
        if not following.fast:
            return None
        waiting = run.mail.get(edge.target.index)
        if (waiting is not None and waiting.occupied) or not following.places.take():
            return None
        run.engine.meters[edge.index].pass_through(1)
        following.steps += 1
        return following

    def _address(self, station: Station, item: Message[Any]) -> None:
        """Make a message that has walked one of the node that it leaves."""
        run, site = self.run, station.site
        if site.outs:
            run.check_accepted(site, item.payload, None)
        item._heading = item._heading.at(site.path, 1)
        item._number = run.next_number()

    async def _send(self, worker: Worker, station: Station, item: Message[Any]) -> None:
        """Send a result on; waits where there is no room."""
        run, site = self.run, station.site
        if site.is_exit:
            run.outbox.put([item])
            return
        step = Step(run, station, None, item, FREE, ())
        step.worker = worker
        step.has_place = True
        worker.has_place = False
        try:
            run.forward(site, item, step)
            if step.doors:
                await step.accepted()
        finally:
            step.leave_place()

    def is_empty(self) -> bool:
        """Say whether nothing waits here."""
        if self.complete:
            return False
        return not any(inbox.items or inbox.door for inbox in self.inboxes)

    def _come_again(self) -> None:
        if not self.scheduled and not self.is_empty() and self.runnable():
            self.wake()

    def _next(self) -> Message[Any] | None:
        if not self.inboxes:
            return None
        inbox = self.next_inbox()
        batch = inbox.take(1)
        inbox.freed()
        return batch[0] if batch else None

    def _next_step(self) -> Step | None:
        if self.complete:
            step, *rest = self.complete
            self.complete = tuple(rest)
            return step
        item = self._next()
        if item is None:
            return None
        value = item if self.station.signature.takes is Takes.MESSAGE else item.payload
        step = Step(self.run, self.station, value, item, item._ticket, item._tokens)
        if step.watch is not None:
            step.watch.ready_at = getattr(item, "_posted", step.watch.ready_at)
        return step
