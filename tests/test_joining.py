"""A join decides once, in any order of what comes; a gather is complete once, in the order of its spread."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penguiflow.completion import Token, hold, release
from penguiflow.joining import Gathering, Pairing, Verdict

FEW = settings(max_examples=40, stateful_step_count=30, deadline=None)


def judged(came: tuple[bool, ...], optional: tuple[bool, ...]) -> Verdict:
    """Say what rule 4.3 says of a join: which slots came, and which need not."""
    if not any(came):
        return Verdict.SILENT
    return Verdict.RUN if all(c or o for c, o in zip(came, optional, strict=True)) else Verdict.SKIP


@pytest.mark.parametrize("width", [1, 2, 3])
def test_every_order_of_filling_and_falling_silent(width: int) -> None:
    """Whatever comes first, the verdict is that of the rule, and falls with the last slot (4.2, 4.3)."""
    flags = list(itertools.product([False, True], repeat=width))
    for came, optional, order in itertools.product(flags, flags, itertools.permutations(range(width))):
        decided: list[Pairing] = []
        pairing = Pairing(5, optional, (), decided.append)
        for slot in order:
            assert decided == []
            if came[slot]:
                assert pairing.fill(slot, f"item {slot}")
            release((pairing.tokens[slot],))  # who has brought an item can't bring another
        assert decided == [pairing]
        assert pairing.verdict is judged(came, optional)
        assert pairing.items() == [f"item {slot}" if came[slot] else None for slot in range(width)]
        assert pairing.arrived() == [f"item {slot}" for slot in range(width) if came[slot]]


@pytest.mark.parametrize("payload", [None, 0, "", b"", False])
def test_no_item_is_a_sentinel(payload: Any) -> None:
    """A slot that was given `None`, or anything empty, is filled, not silent (rule 1.7)."""
    decided: list[Pairing] = []
    pairing = Pairing(1, (False, False), (), decided.append)
    assert pairing.fill(0, payload)
    assert not pairing.fill(0, "again")
    assert pairing.fill(1, "x")
    assert (pairing.verdict, pairing.arrived()) == (Verdict.RUN, [payload, "x"])


def test_tokens_of_a_pairing_name_its_slots() -> None:
    """Each slot has a token under the key by which edges list the join in their reach."""
    pairing = Pairing(3, (False, True), (), lambda pairing: None)
    assert [(token.key, token.slot, token.place) for token in pairing.tokens] == [
        ((3, 0), 0, pairing),
        ((3, 1), 1, pairing),
    ]


class Pairings(RuleBasedStateMachine):
    """A pairing against a naive one: a dictionary of what came and a set of what is silent."""

    @initialize(optional=st.lists(st.booleans(), min_size=1, max_size=4))
    def begins(self, optional: list[bool]) -> None:
        self.optional = tuple(optional)
        self.told: list[tuple[Verdict | None, list[Any]]] = []
        self.pairing = Pairing(0, self.optional, (), self.decide)
        self.came: dict[int, int] = {}
        self.silent: set[int] = set()
        self.released: set[int] = set()
        self.number = 0
        self.closed = False
        self.verdict: Verdict | None = None

    def decide(self, pairing: Pairing) -> None:
        """Write down what the join knew when it was decided."""
        self.told.append((pairing.verdict, pairing.items()))

    def judge(self) -> None:
        """Decide the naive pairing, if all is known."""
        width = len(self.optional)
        if self.verdict is None and len(self.came) + len(self.silent) == width:
            self.verdict = judged(tuple(slot in self.came for slot in range(width)), self.optional)

    @rule(number=st.integers(0, 99))
    def fill(self, number: int) -> None:
        """The first item is taken, also when its slot is closed no more; a second one is refused (4.2)."""
        slot = number % len(self.optional)
        self.number += 1
        open_still = not self.closed and self.verdict is None
        expected = open_still and slot not in self.came and slot not in self.silent
        assert self.pairing.fill(slot, self.number) == expected
        if expected:
            self.came[slot] = self.number
            self.judge()

    @rule(number=st.integers(0, 99))
    def exhaust(self, number: int) -> None:
        slot = number % len(self.optional)
        if slot in self.released:
            return
        self.released.add(slot)
        release((self.pairing.tokens[slot],))
        if not self.closed and self.verdict is None and slot not in self.came:
            self.silent.add(slot)
            self.judge()

    @rule()
    def close(self) -> None:
        """What had come is given back once; after that nothing is taken and nothing is decided."""
        expected = [] if self.closed else [self.came[slot] for slot in sorted(self.came)]
        assert self.pairing.close() == expected
        self.closed = True
        assert (self.pairing.closed, self.pairing.verdict) == (True, Verdict.SILENT)

    @invariant()
    def decided_at_most_once(self) -> None:
        slots = range(len(self.optional))
        expected = [(self.verdict, [self.came.get(slot) for slot in slots])] if self.verdict else []
        assert self.told == expected
        if not self.closed:
            assert self.pairing.verdict is self.verdict


class Gatherings(RuleBasedStateMachine):
    """A gather against a naive one: complete when the spread and all its parts are over (4.4)."""

    @initialize()
    def opens(self) -> None:
        self.begins()

    @precondition(lambda self: self.over and not self.live)
    @rule()
    def anew(self) -> None:
        """What is complete stays so; another spread begins."""
        self.begins()

    def begins(self) -> None:
        """Begin a spread."""
        self.complete: list[list[Any]] = []
        self.gathering = Gathering(2, (), lambda gathering: self.complete.append(gathering.payloads()))
        self.live: list[Token] = []
        self.came: list[tuple[int, int]] = []
        self.count = 0
        self.over = False

    @precondition(lambda self: not self.over)
    @rule()
    def part(self) -> None:
        self.live.append(self.gathering.part(self.count))
        assert (self.live[-1].key, self.live[-1].slot) == ((2, -1), self.count)
        self.count += 1

    @precondition(lambda self: self.live)
    @rule(number=st.integers(0, 99))
    def add(self, number: int) -> None:
        """A part may bring one item, none, or several: they stand where the part stands."""
        index = self.live[number % len(self.live)].slot
        self.came.append((index, len(self.came)))
        assert self.gathering.add(index, self.came[-1]) == len(self.came)

    @precondition(lambda self: self.live)
    @rule(number=st.integers(0, 99))
    def copied(self, number: int) -> None:
        """A part that forks is over with its last branch."""
        self.live += hold((self.live[number % len(self.live)],))

    @precondition(lambda self: self.live)
    @rule(number=st.integers(0, 99))
    def part_over(self, number: int) -> None:
        release((self.live.pop(number % len(self.live)),))

    @precondition(lambda self: not self.over)
    @rule()
    def spread_over(self) -> None:
        self.over = True
        self.gathering.one_less()

    @invariant()
    def complete_once_and_in_order(self) -> None:
        payloads = sorted(self.came)  # by part, then by arrival
        assert self.gathering.payloads() == payloads
        assert self.complete == ([payloads] if self.over and not self.live else [])


Pairings.TestCase.settings = Gatherings.TestCase.settings = FEW
TestPairings = Pairings.TestCase
TestGatherings = Gatherings.TestCase


def test_an_empty_spread_is_complete_at_its_end() -> None:
    """A spread without parts gives an empty gather, not none."""
    complete: list[list[Any]] = []
    gathering = Gathering(2, (), lambda gathering: complete.append(gathering.payloads()))
    assert complete == []
    gathering.one_less()
    assert complete == [[]]


def test_parts_come_in_the_order_of_the_spread() -> None:
    """Not in that of their completion; a part that brought nothing is left out."""
    gathering = Gathering(2, (), lambda gathering: None)
    tokens = [gathering.part(index) for index in range(4)]
    for index in (3, 0, 2):
        gathering.add(index, f"part {index}")
    release(tuple(tokens))
    assert gathering.payloads() == ["part 0", "part 2", "part 3"]
