"""Waiting: how a step waits, and how it is interrupted.

Owns a step's waits: for credit, for room, for a place, for the run to go on; and why its node is interrupted.
Invariant: who waits holds no place (it is lent, and taken again), its clock stands still, and what it was
given in a cancelled wait goes back. Knows not what is emitted (`emission`), nor when a step is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from .credit import Ticket
from .errors import RunCancelled, StepTimeout, StreamClosed, StreamIdle
from .leg import LEFT, Leg
from .step_watch import StepWatch, begin_wait, end_wait
from .waits import Clock, Room, Wait

if TYPE_CHECKING:
    from .core import RunCore
    from .items import Item
    from .pool import Worker
    from .station import Station
    from .transaction import Transaction

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


class Waiting:
    """A step as something that waits."""

    __slots__ = (
        "attempt",
        "attempting",
        "clock",
        "dirty",
        "doors",
        "has_place",
        "inner",
        "kept",
        "lane",
        "legs",
        "out",
        "reason",
        "run",
        "scope",
        "settled",
        "spent",
        "stale",
        "station",
        "task",
        "waits",
        "watch",
        "worker",
    )

    attempt: int
    attempting: bool
    clock: Clock | None
    dirty: list[Leg]
    doors: int
    has_place: bool
    inner: Any
    item: Item[Any]
    kept: Transaction | None
    lane: Any
    legs: list[Leg]
    out: Leg | None
    reason: BaseException | None
    run: RunCore
    scope: Any
    settled: bool
    spent: int
    stale: bool
    station: Station
    task: Any
    watch: StepWatch | None
    waits: set[Wait] | None
    worker: Worker | None

    # -- interruptions

    def interrupt(self, reason: BaseException) -> None:
        """Cancel what the node does; `Stopped` for good, anything else this attempt."""
        if isinstance(self.reason, Stopped) or self.task is None:
            return
        if self.reason is not None and not isinstance(reason, Stopped):
            return
        self.reason = reason
        scope = self.scope if self.inner is None or isinstance(reason, Stopped) else self.inner
        self.run.pool.parking.interrupt(self.task, scope)

    def told(self) -> None:
        """Take note that the step's code learns of its interruption now: what follows is cleanup."""
        if self.reason is not None:
            self.run.pool.parking.told((self.scope, self.inner))

    def input_restarted(self) -> None:
        """Give up the attempt at a stream that begins again; between two attempts there is none."""
        if self.attempting:
            self.interrupt(Restarted())

    def timed_out(self, *, idle: bool) -> None:
        """Interrupt the attempt because it takes too long."""
        policy = self.station.policy
        kind: type[StepTimeout] = StreamIdle if idle else StepTimeout
        if idle:
            begun = self.out is not None and self.out.chunks + len(self.out.buffer) > 0
            limit = (
                policy.idle_timeout
                if begun or policy.first_chunk_timeout is None
                else policy.first_chunk_timeout
            )
            text = f"gave no chunk for {limit} s"
        else:
            text = f"took longer than its timeout of {policy.timeout} s"
        stream_id = self.out.stream_id if self.out is not None else None
        where, given = self.station.place(self.run, self.item, self.attempt, stream_id)
        self.interrupt(kind(f"node {self.station.site.key} {text} in {where}", **given))

    def check_alive(self) -> None:
        """Raise where the step can't emit any more."""
        if self.run.stopped:
            self.told()
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
            why = f"has ended ({leg.terminal}); rule 1.3: nothing follows the terminal"
        elif leg.openers == LEFT:
            why = "was left by an exception; rule 1.3: leaving open_stream ends it"
        elif leg.dead:
            why = "is read by nobody any more"
        else:
            return
        self.told()
        raise StreamClosed(f"stream {leg.stream_id} of node {self.station.site.key} {why}")

    # -- places

    def leave_place(self) -> None:
        """Give the place back, if the step holds one."""
        if self.has_place:
            self.has_place = False
            self.station.places.release()

    def abandon_place(self) -> None:
        """Give the place back although the node's code has not ended."""
        self.leave_place()
        if self.lane is not None:
            self.lane.leave_place()

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
        holder = self.holder()
        lent = holder.has_place
        holder.leave_place()
        await anyio.sleep(seconds)
        if lent:
            await self._take_place_again(holder)

    def holder(self) -> Any:
        """Give who holds the step's place: its lane, for steps on chunks in order."""
        return self.lane if self.lane is not None and self.lane.works_in_order else self

    # -- waits

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
        holder = self.holder()
        lent = holder.has_place
        holder.leave_place()
        run.waits_for(wait)
        if self.waits is None:
            self.waits = set()
        self.waits.add(wait)
        timed = run.timed is not None
        if timed:
            begin_wait(self, wait)
        if own and not wait.woken:
            wait.counted = True
            run.busy -= 1
        try:
            await wait.future
            if lent:
                if timed:
                    end_wait(self, wait)  # the time until there is a place is the node's
                    timed = False
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
            if timed:
                end_wait(self, wait)
        if self.clock is not None:
            self.clock.start()

    async def wait_for_resume(self) -> None:
        """Wait while the run is paused."""
        while self.run.paused and not self.run.stopped:
            wait = Wait(self.run, f"{self.station.site.key} is paused", self.run)
            self.run.resumers = (*self.run.resumers, wait)
            await self.wait(wait)

    async def unstuck_leg(self, leg: Leg) -> None:
        """Wait until nothing of a leg stands at a door."""
        while leg.stuck and not leg.dead:
            wait = Wait(self.run, f"{self.station.site.key} waits for room behind it", leg)
            room = Room(wait)
            leg.owners = (*leg.owners, room)
            try:
                await self.wait(wait)
            finally:
                leg.owners = tuple(owner for owner in leg.owners if owner is not room)

    def unstuck(self) -> None:
        """Take note that a leg has room: those who wait for it have waits of their own."""

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

    async def let_others_run(self) -> None:
        """Yield once per window that was spent without a wait (rule 2.8).

        It comes before an emission, never behind it: if cancelled, nothing was emitted.
        """
        if self.spent >= self.run.window:
            self.spent = 0
            self.flush()
            await self.run.pool.parking.turn()

    def replenish(self, leg: Leg) -> None:
        """Hand on what was emitted, and take credit for more, where that needs no wait."""
        leg.flush()
        run = self.run
        self.spent += leg.next_seq - leg.turned
        leg.turned = leg.next_seq
        over = leg.dead or leg.terminal is not None or run.stopped
        if not (over or run.paused or leg.stuck) and self.spent < run.window:
            leg.reserve()

    async def credit(self, leg: Leg, size_bytes: int) -> Ticket:
        """Spend credit for one chunk, waiting for it if need be.

        If cancelled, no credit was spent.
        """
        leg.flush()
        if self.spent >= self.run.window:
            await self.let_others_run()
        if self.run.paused:
            await self.wait_for_resume()
        if leg.stuck:
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
        if ticket is None or leg.dead or leg.terminal is not None or self.run.stopped or self.stale:
            if ticket is not None:
                ticket.home()
            self.check_open(leg)
            raise StreamClosed(f"stream {leg.stream_id} of node {self.station.site.key} was closed")
        return ticket

    async def wait_for_credit(self, leg: Leg) -> None:
        """Wait until a chunk can be emitted; take credit for it, and for what finds room with it.

        For windows in items alone, whose tickets are all the same. If cancelled, no credit was spent.
        """
        await self.credit(leg, 0)
        leg.allow = 1
        leg.reserve()

    async def _room_behind(self, leg: Leg, ticket: Ticket) -> None:
        """Wait until a chunk finds room; a fork serves those first that have some (rule 4.1).

        If cancelled, the ticket goes home.
        """
        while leg.outlet.one_room and leg.room() <= 0 and not (leg.dead or self.run.stopped):
            wait = Wait(self.run, f"{self.station.site.key} waits for room behind it", leg)
            for road in leg.roads:
                road.watch(Room(wait))
            leg.watch_gate(Room(wait))
            try:
                await self.wait(wait)
            except BaseException:
                ticket.home()
                raise
