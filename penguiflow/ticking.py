"""Ticking: tell observers that a runtime is open, that time passes, and that it is closed.

Owns a timer per observer that wants one. Invariant: nothing is told after the end.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from .observe import Observer, Observers, RuntimeClosed, RuntimeOpened, RuntimeTick
from .parking import Cancellable, Parking
from .watchdog import Watchdog

if TYPE_CHECKING:
    from .engine import Engine
    from .runtime import Runtime


class Attendant(Protocol):
    """Something that goes on beside a runtime for as long as it is open."""

    def end(self) -> None:
        """Go on no more."""


class Ticking:
    """Tells the observers of one runtime; it is open from now on.

    Args:
        observers: who is told.
        parking: keeps the time.
        runtime: what they are told of.
    """

    __slots__ = ("_observers", "_parking", "_runtime", "_timers")

    def __init__(self, observers: Observers, parking: Parking, runtime: Runtime) -> None:
        self._observers = observers
        self._parking = parking
        self._runtime = runtime
        self._timers: dict[int, Cancellable] = {}
        observers.tell(RuntimeOpened(runtime))
        for index, (observer, seconds) in enumerate(observers.intervals()):
            self._later(index, observer, seconds)

    def _later(self, index: int, observer: Observer, seconds: float) -> None:
        call = partial(self._tick, index, observer, seconds)
        self._timers[index] = self._parking.later(seconds, call)

    def _tick(self, index: int, observer: Observer, seconds: float) -> None:
        self._observers.tell(RuntimeTick(self._runtime), (observer,))
        self._later(index, observer, seconds)

    def end(self) -> None:
        """End the timers, and tell that the runtime is closed."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._observers.tell(RuntimeClosed(self._runtime))


def attend(engine: Engine, face: Runtime) -> tuple[Attendant, ...]:
    """Begin what goes on beside a runtime: what its observers want, and its watchdog."""
    attendants: list[Attendant] = []
    if engine.options.watchdog is not None:
        attendants.append(Watchdog(engine, engine.options.watchdog))
    if engine.observers.active:
        attendants.append(Ticking(engine.observers, engine.parking, face))
    return tuple(attendants)
