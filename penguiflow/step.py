"""Steps: one invocation of a node on one input.

Owns what a step holds while it lasts: its input's ticket and tokens, its place, its streams, its attempts.
Invariant: a step is over exactly once; then its place is given back, its streams have their terminal or
belong to the run, and its input is settled, unless what it returned rides on it. Knows the node's policy only
through the call that `invoke` has built.
"""

from __future__ import annotations

import logging
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any

import anyio

from .completion import Tokens, hold, release
from .credit import FREE, Account, Copies, Ticket
from .errors import CreditError, FlowError, RunCancelled, SequenceError, StepTimeout, StreamClosed, StreamIdle
from .items import Chunk, Item, Message, Spread, copy_message
from .leg import Leg, copy_chunk, new_chunk
from .node import Takes
from .observe import StepEnded, StepStarted
from .sequence import skipped
from .waits import Clock, Wait

if TYPE_CHECKING:
    from .core import RunCore
    from .pool import Worker
    from .station import Station

log = logging.getLogger("penguiflow")

NO_LEGS: list[Leg] = []
"""Shared by all steps that have none; never written to."""


class Interruption(BaseException):
    """Why a step is interrupted by the runtime; never seen outside of it."""


class Stopped(Interruption):
    """The run is over."""


class Unread(Interruption):
    """Nobody reads the step's stream any more."""


class Restarted(Interruption):
    """The step's input has begun a new attempt."""


class Step:
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
        "attempt",
        "attempts_spent",
        "clock",
        "context_variables",
        "dirty",
        "doors",
        "facade",
        "fed_by",
        "has_place",
        "held",
        "held_letters",
        "inner",
        "item",
        "lane",
        "legs",
        "letters",
        "letters_ride_on",
        "one_way",
        "out",
        "reads",
        "reason",
        "run",
        "scope",
        "settled",
        "spent",
        "stale",
        "state",
        "station",
        "stream",
        "task",
        "ticket",
        "tokens",
        "value",
        "waits",
        "worker",
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
        self.task: Any = None
        self.worker: Worker | None = None
        self.facade: Any = None
        self.state: dict[str, Any] | None = None
        self.stream: Any = None
        self.reads: tuple[Any, ...] = ()
        self.fed_by: BaseException | None = None
        self.waits: set[Wait] | None = None
        self.context_variables: Variables | None = None
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

    def leave_place(self) -> None:
        """Give the place back, if the step holds one."""
        if self.has_place:
            self.has_place = False
            self.station.places.release()

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
        run.engaged.add(self)
        if self.lane is None and run.runtime.observers:
            run.notify(StepStarted(run.id, self.station.site.key, None))
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
            if self.lane is None and run.runtime.observers:
                run.notify(StepEnded(run.id, self.station.site.key, None, self.attempt))
            if self.reason is not None:
                await absorb(parking, self.task)
            run.engaged.discard(self)  # last: the run may end as soon as nobody is engaged

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
        if self.letters is not None and self.lane is None:
            self.letters.close(self._letters_home)
        for lane in self.reads:
            lane.leave()
        ticket, self.ticket = self.ticket, FREE
        ticket.home()
        tokens, self.tokens = self.tokens, ()
        release(tokens)

    def _letters_home(self) -> None:
        """All messages of the step are home: what they rode on may go."""
        self.run.account_closed(self.letters)
        if self.letters_ride_on is not None:
            self.letters_ride_on.home()

    def stop_source(self) -> None:
        """Close the generator of a source; what it gave goes on."""
        self.interrupt(Unread())

    def interrupt(self, reason: BaseException) -> None:
        """Cancel what the node does; `Stopped` for good, anything else this attempt."""
        if isinstance(self.reason, Stopped) or self.task is None:
            return
        if self.reason is not None and not isinstance(reason, Stopped):
            return
        self.reason = reason
        scope = self.scope if self.inner is None or isinstance(reason, Stopped) else self.inner
        self.run.pool.parking.interrupt(self.task, scope)

    def input_restarted(self) -> None:
        """Give up the attempt at a stream that begins again; between two attempts there is none."""
        if self.inner is not None:
            self.interrupt(Restarted())

    def pause(self) -> None:
        """Let the step's own clock stand still; what it emits waits."""
        if self.clock is not None:
            self.clock.stop()

    def resume(self) -> None:
        """Let the step's own clock go on, unless it waits for something."""
        if self.clock is not None and not self.waits and self.inner is not None:
            self.clock.start()

    def flush_held(self) -> None:
        """Let go of what is held back for a retry, as far as there is credit; the step is not tried again."""
        while self.held:
            leg, chunk = self.held[0]
            assert leg.account is not None
            leg.flush()
            ticket = leg.account.take(self.run.runtime.size(chunk.payload))
            if ticket is None:
                return
            self.attempts_spent = True
            del self.held[0]
            chunk._ticket = ticket
            self._append(leg, chunk, chunk.done)
            leg.flush()

    def abandon_place(self) -> None:
        """Give the place back although the node's code has not ended."""
        self.leave_place()
        if self.lane is not None:
            self.lane.leave_place()

    def timed_out(self, *, idle: bool) -> None:
        """Interrupt the attempt because it takes too long."""
        policy = self.station.policy
        kind: type[StepTimeout] = StreamIdle if idle else StepTimeout
        if idle:
            given = self.out is not None and self.out.chunks + len(self.out.buffer) > 0
            limit = (
                policy.idle_timeout
                if given or policy.first_chunk_timeout is None
                else policy.first_chunk_timeout
            )
            text = f"gave no chunk for {limit} s"
        else:
            text = f"took longer than its timeout of {policy.timeout} s"
        self.interrupt(
            kind(
                f"node {self.station.site.key} {text} in run {self.run.id}, attempt {self.attempt}",
                run_id=self.run.id,
                node=self.station.site.key,
                stream_id=self.out.stream_id if self.out is not None else None,
                attempt=self.attempt,
            )
        )

    def next_attempt(self) -> None:
        """Begin again: lower attempts' streams are restarted, their state is forgotten."""
        self.attempt += 1
        self.state = None
        self.facade = None
        self.held = None
        self.run.pool.parking.calm(self.task)
        if self.lane is None:
            for leg in self.legs:
                if leg.owners == (self,) and leg.terminal is None:
                    leg.restart(self.attempt)
                    leg.openers = 0

    def fail(self, exc: BaseException) -> None:
        """End with an error: in band where there is a stream, else the run fails at once (rule 3.3)."""
        run = self.run
        if run.stopped:
            return
        if exc is self.fed_by and isinstance(exc, FlowError) and run.is_handled(exc):
            return
        if isinstance(exc, StreamClosed) and any(leg.dead for leg in self.legs):
            return  # nobody wants to know any more what it had to say (rule 2.10)
        error = self.station.failed(run, exc, self.item if self.lane is not None else None, self.attempt)
        caught = self.give_away(error)
        heard = False
        if isinstance(error, CreditError) and not caught:
            run.fail(error)  # whoever reads is too slow by definition: the error does not queue behind it
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

    # -- waiting

    def is_own(self) -> bool:
        """Say whether the code that runs now is the step's own task, not one that it has started."""
        return self.worker is not None and self.run.pool.current is self.worker

    async def wait(self, wait: Wait) -> None:
        """Wait, with the clock standing still and the place lent.

        If cancelled, what was handed over in the meantime is given back.
        """
        run = self.run
        own = self.is_own()
        if self.clock is not None:
            self.clock.stop()
        holder = self._holder()
        lent = holder.has_place
        holder.leave_place()
        run.waits_for(wait)
        if self.waits is None:
            self.waits = set()
        self.waits.add(wait)
        if own and not wait.woken:
            wait.counted = True
            run.busy -= 1
        try:
            await wait.future
            if lent:
                await self._take_place_again(holder)
        except BaseException:
            if wait.counted and not wait.woken:
                wait.woken = True
                run.busy += 1
            if wait.ticket is not None:
                wait.ticket.home()
            if lent and not holder.has_place:
                holder.has_place = self.station.places.take()
            raise
        finally:
            run.waits.discard(wait)
            self.waits.discard(wait)
        if self.clock is not None:
            self.clock.start()

    async def _take_place_again(self, holder: Any) -> None:
        places = self.station.places
        if holder.has_place:
            return
        if not places.take():
            seat = Wait(self.run, f"{self.station.site.key} waits for a place")
            places.wait(seat)
            try:
                await seat.future
            except BaseException:
                if seat.woken:
                    places.release()
                else:
                    places.forget(seat)
                raise
        if holder.has_place:
            places.release()
        holder.has_place = True

    async def pause_between_attempts(self, seconds: float) -> None:
        """Sleep with the place lent. If cancelled, there is no further attempt."""
        holder = self._holder()
        lent = holder.has_place
        holder.leave_place()
        await anyio.sleep(seconds)
        if lent:
            await self._take_place_again(holder)

    def _holder(self) -> Any:
        """Give who holds the step's place: its lane, for steps on chunks in order."""
        return self.lane if self.lane is not None and self.lane.works_in_order else self

    async def wait_for_resume(self) -> None:
        """Wait while the run is paused."""
        while self.run.paused and not self.run.stopped:
            wait = Wait(self.run, f"{self.station.site.key} is paused")
            self.run.resumers = (*self.run.resumers, wait)
            await self.wait(wait)

    async def unstuck_leg(self, leg: Leg) -> None:
        """Wait until nothing of a leg stands at a door."""
        while leg.stuck and not leg.dead:
            wait = Wait(self.run, f"{self.station.site.key} waits for room behind it", leg)
            room = _Room(wait)
            leg.owners = (*leg.owners, room)
            try:
                await self.wait(wait)
            finally:
                leg.owners = tuple(owner for owner in leg.owners if owner is not room)

    def unstuck(self) -> None:
        """Take note that a leg has room: those who wait for it have waits of their own."""

    def unread(self, leg: Leg) -> None:
        """Stop a generator whose stream nobody reads; whoever waits to emit is told (rule 2.10)."""
        for wait in list(self.waits or ()):
            if wait.leg is leg:
                wait.wake()
        if self.worker is None and leg is self.out:
            self.run.end_input(self)
        elif self.lane is None and leg is self.out and self.station.generates:
            self.interrupt(Unread())

    def entered(self) -> None:
        """Take note that messages of the step have left a door."""
        self.doors -= 1
        if self.doors == 0:
            for wait in list(self.waits or ()):
                if wait.leg is self:
                    wait.wake()

    async def accepted(self) -> None:
        """Wait until no message of the step stands at a door."""
        while self.doors > 0 and not self.run.stopped:
            await self.wait(Wait(self.run, f"{self.station.site.key} waits for room for a message", self))

    def flush(self) -> None:
        """Hand on what was emitted."""
        if self.dirty:
            dirty, self.dirty = self.dirty, NO_LEGS
            for leg in dirty:
                leg.flush()

    # -- streams

    def share_ticket(self) -> Copies:
        """Give a reference to what the input rides on, for something that outlives the step."""
        if not isinstance(self.ticket, Copies):
            self.ticket = Copies(self.ticket, 1)
        return self.ticket

    def default_leg(self) -> Leg:
        """Give the stream that is written where no id is given."""
        if self.out is None:
            self.out = self.run.open_leg(self, None, explicit=False)
        return self.out

    def leg_for(self, stream_id: str | None, to: str | None = None) -> Leg:
        """Give the stream of an id, opened if need be."""
        self.check_alive()
        if stream_id is None:
            return self.default_leg() if to is None else self._leg_to(to)
        if self.out is not None and self.out.stream_id == stream_id:
            return self.out
        return self.run.open_leg(self, stream_id, explicit=True, to=to)

    def _leg_to(self, to: str) -> Leg:
        """Give the stream that is written where only a successor is given."""
        if self.one_way is None:
            self.one_way = {}
        leg = self.one_way.get(to)
        if leg is None:
            leg = self.one_way[to] = self.run.open_leg(self, None, explicit=False, to=to)
        return leg

    def check_alive(self) -> None:
        """Raise where the step can't emit any more."""
        if self.run.stopped:
            raise RunCancelled(f"run {self.run.id} is over: {self.station.site.key} can't emit any more")
        if self.settled:
            raise StreamClosed(
                f"the step of {self.station.site.key} is over: its context emits nothing any more"
            )
        if self.stale and self.is_own():
            raise Restarted
        if self.stale:
            raise StreamClosed(f"this attempt at {self.station.site.key} is over: its input has begun again")

    def check_open(self, leg: Leg) -> None:
        """Raise where nothing can be emitted to a stream."""
        self.check_alive()
        if leg.terminal is not None:
            raise StreamClosed(
                f"stream {leg.stream_id} of node {self.station.site.key} has ended ({leg.terminal}); "
                f"rule 1.3: nothing follows the terminal"
            )
        if leg.dead:
            raise StreamClosed(
                f"nobody reads stream {leg.stream_id} of node {self.station.site.key} any more"
            )

    def replenish(self, leg: Leg) -> None:
        """Hand on what was emitted, and take credit for more, where that needs no wait."""
        leg.flush()
        run = self.run
        over = leg.dead or leg.terminal is not None or run.stopped
        if not (over or run.paused or leg.stuck) and self.spent < run.window:
            leg.reserve()

    async def credit(self, leg: Leg, size_bytes: int) -> Ticket:
        """Spend credit for one chunk, waiting for it if need be.

        If cancelled, no credit was spent.
        """
        leg.flush()
        await self.let_others_run()
        if self.run.paused:
            await self.wait_for_resume()
        await self.unstuck_leg(leg)
        self.check_open(leg)
        account = leg.account
        assert account is not None
        ticket = account.take(size_bytes)
        if ticket is None:
            wait = Wait(
                self.run,
                f"{self.station.site.key} waits for credit of stream {leg.stream_id}",
                leg,
                size_bytes,
            )
            account.wait(wait)
            try:
                await self.wait(wait)
            finally:
                account.forget(wait)
            ticket = wait.ticket
        if ticket is not None and leg.room() <= 0:
            await self._room_behind(leg, ticket)
        if ticket is None or leg.dead or leg.terminal is not None or self.run.stopped:
            if ticket is not None:
                ticket.home()
            self.check_open(leg)
            raise StreamClosed(f"stream {leg.stream_id} of node {self.station.site.key} was closed")
        return ticket

    async def _room_behind(self, leg: Leg, ticket: Ticket) -> None:
        """Wait until a chunk finds room; a fork serves those first that have some (rule 4.1).

        If cancelled, the ticket goes home.
        """
        groups = {id(road.edge.group) if road.edge is not None else 0 for road in leg.roads}
        while len(groups) == 1 and (len(leg.roads) == 1 or leg.outlet.balances):
            if leg.room() > 0 or leg.dead or self.run.stopped:
                return
            wait = Wait(self.run, f"{self.station.site.key} waits for room behind it", leg)
            for road in leg.roads:
                road.watch(_Room(wait))
            try:
                await self.wait(wait)
            except BaseException:
                ticket.home()
                raise

    async def let_others_run(self) -> None:
        """Yield once per window that was spent without a wait (rule 2.8).

        It comes before an emission, never behind it: if cancelled, nothing was emitted.
        """
        if self.spent >= self.run.window:
            self.spent = 0
            self.flush()
            await self.run.pool.parking.turn()

    async def emit_chunk(
        self,
        leg: Leg,
        payload: Any,
        *,
        parent: Item[Any] | None = None,
        seq: int | None = None,
        done: bool = False,
        meta: dict[str, Any] | None = None,
    ) -> Chunk[Any]:
        """Emit one chunk under credit.

        If cancelled while it waits for credit, nothing was emitted.
        """
        self.check_open(leg)
        leg.verify(payload)
        self._check_seq(leg, seq)
        if self.held is not None and leg is self.out:
            return await self._hold_back(leg, payload, parent, seq, done, meta)
        if not leg.allow:
            self.replenish(leg)
        if leg.allow:
            leg.allow -= 1
            ticket: Ticket = leg.account  # type: ignore[assignment]
        else:
            ticket = await self.credit(leg, self.run.runtime.size(payload))
        return await self._put(leg, self._chunk(leg, payload, ticket, parent, seq, meta), done)

    async def emittable(self, leg: Leg) -> None:
        """Wait until a chunk can be emitted without waiting.

        If cancelled, nothing was emitted, and no credit was spent.
        """
        if leg.allow == 0:
            ticket = await self.credit(leg, 0)
            ticket.home()
            if leg.account is not None:
                leg.account.grant()

    def emit_chunk_nowait(
        self,
        leg: Leg,
        payload: Any,
        *,
        parent: Item[Any] | None = None,
        seq: int | None = None,
        done: bool = False,
        meta: dict[str, Any] | None = None,
    ) -> Chunk[Any] | None:
        """Emit one chunk if there is credit and room for it; ``None`` where there is not."""
        self.check_open(leg)
        leg.verify(payload)
        self._check_seq(leg, seq)
        if self.held is not None and leg is self.out:
            if len(self.held) >= self.run.window:
                self.flush_held()
            if not self.attempts_spent:
                return self._keep(leg, payload, parent, seq, done, meta)
            if self.held:
                return None
        leg.flush()
        assert leg.account is not None
        if leg.stuck or leg.room() <= 0 or self.run.paused:
            return None
        ticket = leg.account.take(self.run.runtime.size(payload))
        if ticket is None:
            return None
        chunk = self._chunk(leg, payload, ticket, parent, seq, meta)
        shown = copy_chunk(chunk)
        shown.done = done
        self._append(leg, chunk, done)
        leg.flush()
        if done:
            leg.end("done")
        return shown

    def _check_seq(self, leg: Leg, seq: int | None) -> None:
        if seq is not None:
            try:
                skipped(leg.next_seq, seq)
            except ValueError as exc:
                raise SequenceError(
                    f"stream {leg.stream_id} of node {self.station.site.key}: {exc}"
                ) from None

    def _chunk(
        self,
        leg: Leg,
        payload: Any,
        ticket: Ticket,
        parent: Item[Any] | None,
        seq: int | None,
        meta: dict[str, Any] | None,
    ) -> Chunk[Any]:
        if seq is not None:
            gap = skipped(leg.next_seq, seq)
            leg.gaps += gap
            self.run.gaps += gap
            leg.next_seq = seq
        tokens = hold(self.tokens) if self.lane is not None and self.tokens else ()
        chunk = new_chunk(leg.heading, leg.next_seq, payload, ticket, tokens)
        leg.next_seq += 1
        inherit(chunk, parent if parent is not None else self.item, leg, meta)
        return chunk

    def will_flush(self, leg: Leg, chunks: list[Chunk[Any]]) -> None:
        """Begin to collect what is emitted; it is handed on with `flush`."""
        leg.buffer = chunks
        self.dirty = [*self.dirty, leg]

    def _append(self, leg: Leg, chunk: Chunk[Any], done: bool) -> None:
        chunk.done = done
        if leg.buffer:
            leg.buffer.append(chunk)
        else:
            self.will_flush(leg, [chunk])
        if self.clock is not None:
            self.clock.output()

    async def _put(self, leg: Leg, chunk: Chunk[Any], done: bool) -> Chunk[Any]:
        shown = copy_chunk(chunk)
        shown.done = done
        self._append(leg, chunk, done)
        if done:
            leg.end("done")
        elif not self.is_own():
            leg.flush()
            await self.unstuck_leg(leg)
        elif leg.allow == 0:
            leg.flush()
            if leg.stuck:
                await self.unstuck_leg(leg)
            else:
                self.spent += leg.next_seq - leg.turned
                leg.turned = leg.next_seq
                if self.spent < self.run.window:
                    leg.reserve()
        return shown

    async def _hold_back(
        self,
        leg: Leg,
        payload: Any,
        parent: Item[Any] | None,
        seq: int | None,
        done: bool,
        meta: dict[str, Any] | None,
    ) -> Chunk[Any]:
        """Keep a chunk until the step has succeeded, or until a window of them is kept (rule 1.5)."""
        assert self.held is not None
        shown = self._keep(leg, payload, parent, seq, done, meta)
        if len(self.held) >= self.run.window:
            self.attempts_spent = True
            await self.let_go()
        return shown

    def _keep(
        self,
        leg: Leg,
        payload: Any,
        parent: Item[Any] | None,
        seq: int | None,
        done: bool,
        meta: dict[str, Any] | None,
    ) -> Chunk[Any]:
        assert self.held is not None
        chunk = self._chunk(leg, payload, FREE, parent, seq, meta)
        chunk.done = done
        self.held.append((leg, chunk))
        return copy_chunk(chunk)

    async def let_go(self) -> None:
        """Emit what was held back.

        If cancelled, what is left of it is lost with the step.
        """
        held, self.held = self.held or [], None
        for leg, chunk in held:
            chunk._ticket = await self.credit(leg, self.run.runtime.size(chunk.payload))
            self._append(leg, chunk, chunk.done)
            leg.flush()
            if chunk.done:
                leg.end("done")

    def forget_held(self) -> None:
        """Take back the numbers of what was held back by a failed attempt."""
        held, self.held = self.held or [], []
        for leg, chunk in reversed(held):
            leg.next_seq = chunk.seq
            tokens, chunk._tokens = chunk._tokens, ()
            release(tokens)

    # -- messages

    async def emit_message(
        self, payload: Any, to: str | None, headers: Any, meta: dict[str, Any] | None
    ) -> Message[Any]:
        """Emit one message under the step's own window.

        If cancelled while it waits for credit, nothing was emitted.
        """
        self._check_emission(payload, to)
        if self.held_letters is not None:
            message = self._message(payload, FREE, headers, meta)
            self.held_letters.append((message, to))
            if len(self.held_letters) >= self.run.window:
                self.attempts_spent = True
                await self.let_letters_go()
            return copy_message(message, message._number)
        ticket = await self._letter(payload, to)
        message = self._message(payload, ticket, headers, meta)
        await self._send(message, to)
        return copy_message(message, message._number)

    async def emit_part(self, payload: Any, part: Tokens) -> None:
        """Emit one part of a spread under the step's own window.

        If cancelled while it waits for credit, the part is left out.
        """
        try:
            self._check_emission(payload, None)
            ticket = await self._letter(payload, None)
        except BaseException:
            release(part)
            raise
        message = self._message(payload, ticket)
        message._tokens += part
        await self._send(message, None)

    def emit_message_nowait(
        self, payload: Any, to: str | None, headers: Any, meta: dict[str, Any] | None
    ) -> Message[Any] | None:
        """Emit one message if there is credit and room for it; ``None`` where there is not."""
        self._check_emission(payload, to)
        if self.held_letters is not None and len(self.held_letters) < self.run.window:
            message = self._message(payload, FREE, headers, meta)
            self.held_letters.append((message, to))
            return copy_message(message, message._number)
        if self.doors or self.run.paused or not self.run.has_room(self.station.site, payload, to):
            return None
        ticket = self._letter_credit(payload, to)
        if ticket is None:
            return None
        message = self._message(payload, ticket, headers, meta)
        self.flush()
        self.run.forward(self.station.site, message, self, to)
        return copy_message(message, message._number)

    async def let_letters_go(self) -> None:
        """Emit the messages that were held back. If cancelled, what is left of them is lost with the step."""
        held, self.held_letters = self.held_letters or [], None
        for message, to in held:
            message._ticket = await self._letter(message.payload, to)
            await self._send(message, to)

    def forget_letters(self) -> None:
        """Forget the messages that a failed attempt held back."""
        held, self.held_letters = self.held_letters or [], []
        for message, _ in held:
            tokens, message._tokens = message._tokens, ()
            release(tokens)

    def _check_emission(self, payload: Any, to: str | None) -> None:
        self.check_alive()
        self.run.check_accepted(self.station.site, payload, to)

    def _message(
        self, payload: Any, ticket: Ticket, headers: Any = None, meta: dict[str, Any] | None = None
    ) -> Message[Any]:
        return self.run.message(
            self.station.site, payload, self.item, ticket, hold(self.tokens), headers, meta
        )

    async def _send(self, message: Message[Any], to: str | None) -> None:
        if self.clock is not None:
            self.clock.output()
        self.flush()  # what was emitted before goes before
        self.run.forward(self.station.site, message, self, to)
        self.spent += 1
        await self.accepted()

    async def _letter(self, payload: Any, to: str | None) -> Ticket:
        """Spend credit for one message, waiting for it if need be. If cancelled, none was spent."""
        await self.let_others_run()
        if self.run.paused:
            await self.wait_for_resume()
        ticket = self._letter_credit(payload, to)
        if ticket is None:
            account = self._letter_account()
            text = f"{self.station.site.key} waits for credit of its messages"
            wait = Wait(self.run, text, None, self.run.runtime.size(payload))
            account.wait(wait)
            try:
                await self.wait(wait)
            finally:
                account.forget(wait)
            ticket = wait.ticket
        full = self.run.full_inboxes(self.station.site, payload, to)
        while ticket is not None and full and not self.run.stopped:
            wait = Wait(self.run, f"{self.station.site.key} waits for room for a message", full)
            for inbox in full:
                inbox.watch(_Room(wait))
            try:
                await self.wait(wait)
            except BaseException:
                ticket.home()
                raise
            full = self.run.full_inboxes(self.station.site, payload, to)
        if ticket is None or self.run.stopped:
            if ticket is not None:
                ticket.home()
            raise RunCancelled(f"run {self.run.id} is over: {self.station.site.key} can't emit any more")
        return ticket

    def _letter_account(self) -> Account:
        if self.letters is None:
            if self.lane is not None:
                self.letters = self.run.lane_letters(self.lane)
            else:
                self.letters = self.run.account()
                self.run.keep_account(self.letters)
                self.letters_ride_on = self.share_ticket()
                self.letters_ride_on.refs += 1
        return self.letters

    def _letter_credit(self, payload: Any, to: str | None) -> Ticket | None:
        if self.run.only_feedback(self.station.site, payload, to):
            return FREE
        return self._letter_account().take(self.run.runtime.size(payload))

    async def hand_on(self, result: Any) -> None:
        """Send on what the node returned; it rides on the input's ticket.

        If cancelled, the result is lost with the step.
        """
        if self.run.stopped or self.stale:
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
        elif self.lane is not None:
            self._return_chunk(result)
        else:
            self.run.check_accepted(self.station.site, result, None)
            self.flush()
            ticket, self.ticket = self.ticket, FREE
            tokens, self.tokens = self.tokens, ()
            message = self.run.message(self.station.site, result, self.item, ticket, tokens)
            self.run.forward(self.station.site, message, self)
            await self.accepted()

    def _return_chunk(self, result: Any) -> None:
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

    def taken(self) -> bool:
        """Say whether the step has taken anything of its input stream."""
        return any(lane.stream.taken > 0 for lane in self.reads)

    def __repr__(self) -> str:
        return f"<step {self.station.site.key} of run {self.run.id}, attempt {self.attempt}>"


class _Room:
    """Ends a wait for room."""

    __slots__ = ("wait",)

    def __init__(self, wait: Wait) -> None:
        self.wait = wait

    def entered(self) -> None:
        """There is room on a road."""
        self.wait.wake()

    def unstuck(self) -> None:
        """Nothing of the leg stands at a door."""
        self.wait.wake()

    def unread(self, leg: Leg) -> None:
        """Nobody reads the leg any more."""
        self.wait.wake()


def inherit(chunk: Chunk[Any], parent: Item[Any] | None, leg: Leg, meta: dict[str, Any] | None) -> None:
    """Let a chunk inherit what its parent has changed since its heading was made (rule 1.2)."""
    heading = leg.heading
    if parent is not None:
        if parent._headers is not None:
            chunk._headers = parent._headers.copy()
        elif parent._heading.headers is not heading.headers:
            chunk._headers = parent._heading.headers.copy()
        if parent._meta is not None or parent._heading.meta is not heading.meta:
            chunk._meta = dict(parent._meta if parent._meta is not None else parent._heading.meta)
    if meta is not None:
        chunk._meta = {**(chunk._meta if chunk._meta is not None else heading.meta), **meta}


def chunk_step(lane: Any, chunk: Chunk[Any]) -> Step:
    """Make the step of one chunk."""
    value = chunk if lane.station.signature.takes is Takes.CHUNK else chunk.payload
    return Step(lane.run, lane.station, value, chunk, chunk._ticket, chunk._tokens, lane)


async def absorb(parking: Any, task: Any) -> None:
    """Let an interruption that was not delivered hit nothing.

    If cancelled from outside, the same happens: whoever cancels says it again.
    """
    try:
        await parking.turn()
    except parking.cancelled:
        parking.calm(task)
    finally:
        parking.calm(task)
