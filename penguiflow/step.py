"""Steps: one invocation of a node on one input.

Owns what a step holds while it lasts: its input's ticket and tokens, its place, its streams, its attempts.
Invariant: a step is over exactly once; then its place is given back, its streams have their terminal or
belong to the run, and its input is settled, unless what it returned rides on it. Knows the node's policy only
through the call that `invoke` has built. How it waits and what it emits is told in `waiting`, `emission` and
`letters`, layer by layer.
"""

from __future__ import annotations

from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any

from .completion import Tokens, release
from .credit import FREE, Account, Copies, Ticket
from .durable_steps import begin_transaction, conclude
from .emission import inherit
from .errors import FlowError, StreamClosed
from .items import Chunk, Item, Message, Spread, new_chunk
from .leg import Leg
from .letters import Letters
from .node import Takes
from .parking import absorb
from .payloads import Unreadable
from .step_watch import StepWatch, begin_step, end_step, next_step_attempt
from .transaction import Transaction
from .waiting import NO_LEGS, Unread
from .waits import Clock, Wait

if TYPE_CHECKING:
    from .core import RunCore
    from .pool import Worker
    from .station import Station


class Step(Letters):
    """One invocation.

    Args:
        run: the run.
        station: the node.
        value: what the node is called with.
        item: the message or chunk that it inherits from.
        ticket: what the input rides on.
        tokens: the places that the input can feed.
        lane: the lane of the chunk, for a step on one chunk.
    """

    __slots__ = (
        "context_variables",
        "facade",
        "fed_by",
        "reads",
        "state",
        "stream",
        "value",
    )

    begins = False

    def __init__(
        self,
        run: RunCore,
        station: Station,
        value: Any,
        item: Item[Any],
        ticket: Ticket,
        tokens: Tokens,
        lane: Any = None,
    ) -> None:
        self.run: RunCore = run
        self.station: Station = station
        self.value: Any = value
        self.item: Item[Any] = item
        self.ticket: Ticket = ticket
        self.tokens: Tokens = tokens
        self.lane: Any = lane
        self.attempt: int = 1
        self.attempts_spent: bool = False
        self.has_place: bool = False
        self.out: Leg | None = None if lane is None else lane.out
        self.legs: list[Leg] = NO_LEGS
        self.one_way: dict[str, Leg] | None = None
        self.letters: Account | None = None
        self.letters_ride_on: Copies | None = None
        self.doors: int = 0
        self.held: list[tuple[Leg, Chunk[Any]]] | None = None
        self.held_letters: list[tuple[Message[Any], str | None]] | None = None
        self.dirty: list[Leg] = NO_LEGS
        self.spent: int = 0
        self.settled: bool = False
        self.stale: bool = False
        self.reason: BaseException | None = None
        self.scope: Any = None
        self.inner: Any = None
        self.attempting: bool = False
        self.task: Any = None
        self.worker: Worker | None = None
        self.facade: Any = None
        self.state: dict[str, Any] | None = None
        self.stream: Any = None
        self.reads: tuple[Any, ...] = ()
        self.fed_by: BaseException | None = None
        self.waits: set[Wait] | None = None
        self.kept: Transaction | None = None
        self.context_variables: Variables | None = None
        self.watch: StepWatch | None = StepWatch(run) if run.timed is not None else None
        policy = station.policy
        timed = policy.timeout or policy.idle_timeout or policy.first_chunk_timeout
        self.clock: Clock | None = Clock(self, run.pool.parking) if timed else None

    # -- as a job

    def context(self) -> Variables:
        """Give the context variables that the node's code sees."""
        if self.context_variables is None:
            self.context_variables = self.run.variables.copy()
        return self.context_variables

    def placed(self) -> None:
        """Take over a place at the node."""
        self.has_place = True
        self.run.pool.push(self)

    def abandon(self) -> None:
        """Be taken off the schedule, because the run is over or paused."""
        self.leave_place()
        self.run.busy -= 1
        if self.run.stopped:
            self.over()
            self.run.one_less_open()

    async def work(self, worker: Worker) -> None:
        """Do a step that is a job of its own, from its place to its end."""
        try:
            await self.perform(worker)
        except BaseException as exc:
            self.fail(exc)
        finally:
            self.over()
            self.leave_place()
            self.run.busy -= 1
            self.run.one_less_open()

    # -- life

    async def perform(self, worker: Worker) -> None:
        """Call the node and hand on what it gives; raises what it raised.

        If the run is over, it returns when the node's code has ended, and hands on nothing.
        """
        run = self.run
        parking = run.pool.parking
        self.worker = worker
        self.task = parking.task()
        worker.step = self
        run.engaged.append(self)
        if run.journal is not None and self.kept is None:
            self.kept = begin_transaction(self)
        if self.watch is not None:
            begin_step(self, self.watch)
        try:
            with parking.scope() as self.scope:
                try:
                    result = await self.station.invoke(self)
                    await self.hand_on(result)
                except Unread:
                    pass
                except parking.cancelled:
                    if self.reason is None:
                        self.run.pool.forgive(self.task)
                        raise
        finally:
            worker.step = None
            self.flush()
            if self.reason is not None:
                await absorb(parking, self.task)
            run.engaged.remove(self)  # last: the run may end as soon as nobody is engaged

    def over(self) -> None:
        """Let go of what the input rides on, and of the streams."""
        if self.settled:
            return
        self.settled = True
        if self.lane is None:
            for leg in self.legs:
                leg.owners = tuple(owner for owner in leg.owners if owner is not self)
                if leg.terminal is None and not leg.explicit:
                    leg.end("cancelled" if self.run.stopped or leg.dead else "done")
                elif leg.terminal is None and leg.openers and not leg.owners:
                    leg.end("cancelled")
        if self.watch is not None:
            end_step(self, self.watch)
        if self.letters is not None and self.lane is None:
            self.letters.close(self._letters_home)
        for lane in self.reads:
            lane.leave()
        ticket, self.ticket = self.ticket, FREE
        ticket.home()
        tokens, self.tokens = self.tokens, ()
        release(tokens)

    def stop_source(self) -> None:
        """Close the generator of a source; what it gave goes on."""
        self.interrupt(Unread())

    def pause(self) -> None:
        """Let the step's own clock stand still; what it emits waits."""
        if self.clock is not None:
            self.clock.stop()

    def resume(self) -> None:
        """Let the step's own clock go on, unless it waits for something."""
        if self.clock is not None and not self.waits and self.attempting:
            self.clock.start()

    def next_attempt(self) -> None:
        """Begin again: lower attempts' streams are restarted, state is forgotten, the input is as new."""
        self.attempt += 1
        if self.watch is not None:
            next_step_attempt(self, self.watch)
        if self.kept is not None:
            self.kept.begin_again()
        self.state = None
        self.facade = None
        self.held = None
        self.run.pool.parking.calm(self.task)
        if self.reads:
            self.run.restart_input(self)
        if self.lane is None:
            for leg in self.legs:
                if leg.owners == (self,) and leg.terminal is None:
                    leg.restart(self.attempt if self.kept is None else self.kept.stream_attempt)
                    leg.openers = 0

    def unread(self, leg: Leg) -> None:
        """Stop a generator whose stream nobody reads; whoever waits to emit is told (rule 2.10)."""
        for wait in list(self.waits or ()):
            if wait.leg is leg:
                wait.wake()
        if self.worker is None and leg is self.out:
            self.run.end_input(self)
        elif self.lane is None and leg is self.out and self.station.generates:
            self.interrupt(Unread())

    # -- results and errors

    async def hand_on(self, result: Any) -> None:
        """Send on what the node returned; it rides on the input's ticket.

        If cancelled, the result is lost with the step.
        """
        if self.run.stopped or self.stale:
            return
        if self.kept is not None and self.kept.durable:
            await conclude(self, result)
            return
        if self.held is not None:
            await self.let_go()
        if self.held_letters is not None:
            await self.let_letters_go()
        self.commit_state()
        if result is None:
            return
        if isinstance(result, Spread):
            await self.run.spread(self, result)
            return
        self.station.promise.check(result)
        if self.lane is not None:
            self.return_chunk(result)
        else:
            self.run.check_accepted(self.station.site, result, None)
            self.flush()
            self.run.forward(self.station.site, self.result_message(result), self)
            await self.accepted()

    def result_message(self, result: Any) -> Message[Any]:
        """Make the message of what the node returned, on what its input rides on."""
        ticket, self.ticket = self.ticket, FREE
        tokens, self.tokens = self.tokens, ()
        message = self.run.message(self.station.site, result, self.item, ticket, tokens)
        if self.kept is not None:
            message._number = self.kept.next_number()
        if self.watch is not None:
            message._origin = self.watch.span
        return message

    def return_chunk(self, result: Any) -> None:
        """Make the chunk of what the node returned, on what its input rides on."""
        leg = self.lane.out
        leg.verify(result)
        if leg.terminal is not None:
            self.check_open(leg)
        ticket, self.ticket = self.ticket, FREE
        tokens, self.tokens = self.tokens, ()
        chunk = new_chunk(leg.heading, leg.next_seq, result, ticket, tokens)
        leg.next_seq += 1
        inherit(chunk, self.item, leg, None)
        if isinstance(self.item, Chunk):
            chunk.done = self.item.done
        self._append(leg, chunk, chunk.done)

    def commit_state(self) -> None:
        """Make the writes of this attempt those of the node."""
        if self.state:
            self.run.keep(self.station.site.key, self.state)
        self.state = None

    def fail(self, exc: BaseException) -> None:
        """End with an error: in band where there is a stream, else the run fails at once (rule 3.3)."""
        run = self.run
        if run.stopped:
            return
        if self.watch is not None:
            self.watch.passed_on = exc is self.fed_by or isinstance(exc, StreamClosed)
        if exc is self.fed_by and isinstance(exc, FlowError) and run.is_handled(exc):
            return
        if isinstance(exc, StreamClosed) and any(leg.dead for leg in self.legs):
            return  # nobody wants to know any more what it had to say (rule 2.10)
        if isinstance(exc, Unreadable):
            run.fail(exc)  # it is no failure of the step: nothing of the kind is recorded
            return
        error = self.station.failed(run, exc, self.item, self.attempt)
        if self.watch is not None:
            end_step(
                self, self.watch, None if exc is self.fed_by else error
            )  # first: the run may end with it
        if self.kept is not None:
            self.kept.failed(error)
        caught = self.give_away(error)
        heard = False
        for leg in list(self.legs):
            if leg.terminal is None and leg.owners == (self,):
                heard = heard or leg.live > 0
                leg.end("error", error)
        if not caught and not heard:
            run.fail(error)

    def give_away(self, error: BaseException) -> bool:
        """Let an error edge take the error, on what the input rides on; ``False`` where there is none."""
        caught = self.run.catch(self.station.site, error, self.item, self.ticket, self.tokens)
        if caught:
            self.ticket, self.tokens = FREE, ()
        return caught

    def taken(self) -> bool:
        """Say whether the step has taken anything of its input stream."""
        return any(lane.stream.taken > 0 for lane in self.reads)

    def __repr__(self) -> str:
        return f"<step {self.station.site.key} of run {self.run.id}, attempt {self.attempt}>"


def chunk_step(lane: Any, chunk: Chunk[Any]) -> Step:
    """Make the step of one chunk."""
    value = chunk if lane.station.signature.takes is Takes.CHUNK else chunk.payload
    return Step(lane.run, lane.station, value, chunk, chunk._ticket, chunk._tokens, lane)
