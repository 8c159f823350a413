"""Waits: the three things that a step waits for, and the clock that stands still meanwhile.

Owns one wait (`Wait`) and a step's own time limits (`Clock`). Invariant: a wait is counted out of its run's
busy work by the one who waits, and in again by the one who wakes, so that a run with nothing busy has nobody
on his way (rule 2.5). Knows nothing of what the waited-for means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .credit import Ticket
from .timing import CREDIT

if TYPE_CHECKING:
    from .core import RunCore
    from .leg import Leg
    from .parking import Parking
    from .step import Step


class Wait:
    """One wait of one task, for credit, for input, for a place, or for room.

    Args:
        run: the run that waits.
        reason: what for, in words, for whoever asks why the run does not go on.
        leg: the stream, or the step, whose room or credit is waited for.
        size_bytes: how large the item is that waits for credit.
        state: what is waited for, as `timing` tells it apart.
    """

    __slots__ = (
        "counted",
        "future",
        "leg",
        "reason",
        "run",
        "since",
        "size_bytes",
        "state",
        "ticket",
        "woken",
    )

    def __init__(
        self, run: RunCore, reason: str, leg: Any = None, size_bytes: int = 0, state: int = CREDIT
    ) -> None:
        self.run: RunCore = run
        self.reason: str = reason
        self.leg: Any = leg
        self.size_bytes: int = size_bytes
        self.future: Any = run.pool.parking.waiter()
        self.woken: bool = False
        self.counted: bool = False
        self.ticket: Ticket | None = None
        self.state: int = state
        self.since: float = 0.0

    def wake(self) -> None:
        """End the wait."""
        if not self.woken:
            self.woken = True
            if self.counted:
                self.run.busy += 1
            self.run.pool.parking.wake(self.future)

    def granted(self, ticket: Ticket) -> None:
        """Take credit over, and end the wait."""
        self.ticket = ticket
        self.wake()

    def placed(self) -> None:
        """End the wait; the place is taken."""
        self.wake()


class Room:
    """Ends a wait for room."""

    __slots__ = ("wait",)

    def __init__(self, wait: Wait) -> None:
        self.wait: Wait = wait

    def entered(self) -> None:
        """There is room on a road."""
        self.wait.wake()

    def unstuck(self) -> None:
        """Nothing of the leg stands at a door."""
        self.wait.wake()

    def unread(self, leg: Leg) -> None:
        """Nobody reads the leg any more."""
        self.wait.wake()


class Clock:
    """A step's own time limits: its ``timeout``, and how long it may give nothing.

    It stands still while the step waits for credit, for input or for a place, and while the run is paused.
    """

    __slots__ = ("_handle", "_parking", "_since", "_step", "left", "output_left", "running")

    def __init__(self, step: Step, parking: Parking) -> None:
        policy = step.station.policy
        self._step = step
        self._parking = parking
        self.left: float | None = policy.timeout
        self.output_left: float | None = policy.first_chunk_timeout or policy.idle_timeout
        if policy.first_chunk_timeout is None and policy.idle_timeout is not None:
            self.output_left = None if not step.station.emits else policy.idle_timeout
        self._since = 0.0
        self._handle: Any = None
        self.running: bool = False

    def start(self) -> None:
        """Let the time run."""
        if self.running:
            return
        self.running = True
        self._since = self._parking.now()
        limits = [limit for limit in (self.left, self.output_left) if limit is not None]
        if limits:
            self._handle = self._parking.later(max(0.0, min(limits)), self._expired)

    def stop(self) -> None:
        """Let the time stand still."""
        if not self.running:
            return
        self.running = False
        spent = self._parking.now() - self._since
        if self.left is not None:
            self.left -= spent
        if self.output_left is not None:
            self.output_left -= spent
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def output(self) -> None:
        """Take note that the step has given something."""
        running = self.running
        self.stop()
        self.output_left = self._step.station.policy.idle_timeout
        if running:
            self.start()

    def _expired(self) -> None:
        self.stop()
        if self.output_left is not None and self.output_left <= 1e-9:
            self._step.timed_out(idle=True)
        else:
            self._step.timed_out(idle=False)
