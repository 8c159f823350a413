"""Watchers are told in order; one that fails is silenced and counted, and hurts nobody (rules 6.2, 6.3)."""

from __future__ import annotations

import logging

import pytest

from penguiflow.observe import Observers, RunEnded, RunStarted


class Keeps:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def observe(self, event: object) -> None:
        """Keep it."""
        self.events.append(event)


class Fails:
    """Raises from the n-th event on."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.told = 0

    def observe(self, event: object) -> None:
        """Count, and raise."""
        self.told += 1
        if self.told >= self.at:
            raise RuntimeError(f"at {event}")


EVENTS = [
    RunStarted("r1", "flow", "t1"),
    RunEnded("r1", "flow", "done", None),
    RunStarted("r2", "flow", "t2"),
]


def test_every_watcher_is_told_in_order() -> None:
    """All events, in the order of events, the watchers in theirs."""
    first, second = Keeps(), Keeps()
    observers = Observers((first, second))
    for event in EVENTS:
        observers.tell(event)
    assert (first.events, second.events, observers.errors) == (EVENTS, EVENTS, 0)


def test_nobody_watches() -> None:
    """Without watchers the runtime sees at a glance that no event need be made."""
    assert not Observers(()).active
    assert Observers((Keeps(),)).active
    Observers(()).tell(EVENTS[0])


def test_who_fails_is_silenced_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """After its first error a watcher is told nothing more; the others miss nothing; the log says who."""
    before, broken, behind = Keeps(), Fails(2), Keeps()
    observers = Observers((before, broken, behind))
    with caplog.at_level(logging.ERROR, logger="penguiflow"):
        for event in EVENTS:
            observers.tell(event)
    assert (before.events, behind.events) == (EVENTS, EVENTS)
    assert (broken.told, observers.errors) == (2, 1)
    (record,) = caplog.records
    assert repr(broken) in record.getMessage()
    assert record.exc_info is not None


def test_the_last_one_silenced_leaves_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """When all have failed, it is as if nobody had ever watched; each is counted once."""
    observers = Observers((Fails(1), Fails(1)))
    observers.tell(EVENTS[0])
    assert not observers.active
    assert observers.errors == 2
    observers.tell(EVENTS[1])
    assert observers.errors == 2
    assert len(caplog.records) == 2


def test_a_watcher_may_not_stop_the_house() -> None:
    """Only errors are silenced: what ends the process goes on its way."""

    class Stops:
        def observe(self, event: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observers((Stops(),)).tell(EVENTS[0])
