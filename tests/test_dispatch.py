"""Places are handed over, first come first served, and there are never more of them than the limit."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penguiflow.dispatch import Places


class Guest:
    """Somebody who waits for a place."""

    def __init__(self, log: list[Guest]) -> None:
        self.log = log

    def placed(self) -> None:
        """Take the place over."""
        self.log.append(self)


class Rooms(RuleBasedStateMachine):
    """Places against a counter and a list: nobody waits beside a free place, nobody is passed over."""

    @initialize(limit=st.integers(1, 4))
    def opens(self, limit: int) -> None:
        self.places = Places(limit)
        self.inside = 0
        self.waiting: list[Guest] = []
        self.placed: list[Guest] = []

    @rule()
    def take_or_wait(self) -> None:
        taken = self.places.take()
        assert taken == (self.inside < self.places.limit and not self.waiting)
        if taken:
            self.inside += 1
        else:
            self.waiting.append(Guest(self.placed))
            self.places.wait(self.waiting[-1])

    @precondition(lambda self: self.inside)
    @rule()
    def release(self) -> None:
        """The first who waits has the place at once: it is never free in between."""
        self.places.release()
        if self.waiting:
            assert self.placed == [self.waiting.pop(0)]
            self.placed.clear()
        else:
            self.inside -= 1
            assert self.placed == []

    @precondition(lambda self: not self.inside)
    @rule()
    def release_too_often(self) -> None:
        with pytest.raises(AssertionError, match=r"rule 2\.3: a place was given back twice"):
            self.places.release()

    @precondition(lambda self: self.waiting)
    @rule(number=st.integers(0, 99))
    def forget(self, number: int) -> None:
        """Who is forgotten is never placed; forgetting twice is forgetting once."""
        guest = self.waiting.pop(number % len(self.waiting))
        self.places.forget(guest)
        self.places.forget(guest)

    @invariant()
    def never_above_the_limit(self) -> None:
        assert self.places.taken == self.inside
        assert 0 <= self.places.taken <= self.places.limit
        assert list(self.places.waiting or ()) == self.waiting
        assert not self.waiting or self.places.taken == self.places.limit


Rooms.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestRooms = Rooms.TestCase


def test_handing_over_is_re_entrant() -> None:
    """Who gives his place back as soon as he has it hands it on, in order, and leaves it free."""
    places = Places(1)
    order: list[int] = []

    class Hasty:
        def __init__(self, name: int) -> None:
            self.name = name

        def placed(self) -> None:
            order.append(self.name)
            places.release()

    assert places.take()
    for name in range(10):
        places.wait(Hasty(name))
    places.release()
    assert (order, places.taken) == (list(range(10)), 0)


def test_a_newcomer_does_not_overtake() -> None:
    """While somebody waits, nobody else is let in, also if the waiting one is about to be forgotten."""
    places = Places(1)
    assert places.take()
    guest = Guest([])
    places.wait(guest)
    assert not places.take()
    places.forget(guest)
    assert not places.take()
    places.release()
    assert places.take()
    assert guest.log == []


def test_places_tell_who_is_there() -> None:
    """Places are readable in a debugger."""
    places = Places(3)
    places.take()
    assert repr(places) == "<places 1/3, 0 waiting>"
    places.wait(Guest([]))
    assert repr(places) == "<places 1/3, 1 waiting>"
