"""Observation: passive watchers, and what they are told.

Owns the events. Invariant (rules 6.2, 6.3): without an observer no event is made; an observer that raises is
silenced after its first error and counted, and never hurts the run. This is the one place that catches
everything.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger("penguiflow")


class Observer(Protocol):
    """A passive watcher of a runtime."""

    def observe(self, event: object) -> None:
        """Be told of an event, in the order of events, on the event loop; must not wait."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run was admitted."""

    run_id: str
    flow: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run is over, and its steps have ended."""

    run_id: str
    flow: str
    status: str
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step has begun; a node's work on one stream, chunk by chunk, is one step, named by ``stream_id``."""

    run_id: str
    node: str
    stream_id: str | None


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step is over, after so many attempts."""

    run_id: str
    node: str
    stream_id: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class StepRetried:
    """A step is tried again."""

    run_id: str
    node: str
    attempt: int


class Observers:
    """The watchers of a runtime.

    Args:
        observers: who is told, in this order.
    """

    def __init__(self, observers: tuple[Observer, ...]) -> None:
        self._observers = list(observers)
        self.active: bool = bool(observers)  # looked at before an event is made: without observers, none is
        self.errors: int = 0

    def tell(self, event: object) -> None:
        """Tell every observer."""
        for observer in list(self._observers):
            try:
                observer.observe(event)
            except Exception:
                self.errors += 1
                self._observers.remove(observer)
                self.active = bool(self._observers)
                log.exception("observer %r failed at %r and is silenced", observer, event)
