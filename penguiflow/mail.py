"""Mail: the messages of one run at one node.

Owns what waits there to begin a step: messages on edges, and what joins and gathers have completed. Invariant:
as long as something waits or is at work, the run is open. One message is served per turn, so that runs which
share a node take turns (rule 3.1).
"""

from __future__ import annotations

from collections import deque
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any

from .items import Item
from .lane import Lane
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

    __slots__ = ("active", "by_edge", "complete", "occupied")

    def __init__(self, run: RunCore, station: Station) -> None:
        super().__init__(run, station, "", explicit=False)
        run.open -= 1  # it is open only while something is here
        self.by_edge: dict[int, Any] = {}
        self.complete: deque[Step] = deque()
        self.active = 0
        self.occupied = False

    def inbox(self, edge: Edge) -> Any:
        """Give the inbox of an edge."""
        inbox = self.by_edge.get(edge.index)
        if inbox is None:
            inbox = self.by_edge[edge.index] = self.run.runtime.new_inbox(edge, self, None)
            self.inboxes.append(inbox)
        return inbox

    def begin(self, step: Step) -> None:
        """Queue a step of a join or a gather; it waits on no edge."""
        self.complete.append(step)
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
        if not self.occupied:
            self.occupied = True
            self.run.open += 1
        super().wake()

    def rest(self) -> None:
        """Take note that something is over."""
        if self.occupied and not (self.scheduled or self.active or self.complete):
            if all(inbox.empty for inbox in self.inboxes):
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
        complete, self.complete = self.complete, deque()
        for step in complete:
            step.over()
        self.rest()

    def count(self) -> int:
        """Say how many messages wait or are at work here."""
        return self.active + len(self.complete) + sum(len(inbox.items) for inbox in self.inboxes)

    async def work(self, worker: Worker) -> None:
        """Do one message's step; the next one may begin as soon as there is a place."""
        step = self._next()
        self.scheduled = False
        if step is None:
            self.leave_place()
            self.run.busy -= 1
            self.rest()
            return
        self.has_place = False
        step.has_place = True
        self.active += 1
        self.station.steps += 1
        self.wake()
        try:
            await step.perform(worker)
        except BaseException as exc:
            step.fail(exc)
        finally:
            step.over()
            step.leave_place()
            self.active -= 1
            self.run.busy -= 1
            self.wake_if_needed()
            self.rest()

    def wake_if_needed(self) -> None:
        """Schedule the lane again if it was held back meanwhile."""
        if not self.scheduled and self.runnable():
            self.wake()

    def _next(self) -> Step | None:
        if self.complete:
            return self.complete.popleft()
        if not self.inboxes:
            return None
        inbox = self.next_inbox()
        batch = inbox.take(1)
        inbox.freed()
        if not batch:
            return None
        return self._step(batch[0])

    def _step(self, item: Item[Any]) -> Step:
        takes = self.station.signature.takes.name
        value = item if takes == "MESSAGE" else item.payload
        return Step(self.run, self.station, value, item, item._ticket, item._tokens)


