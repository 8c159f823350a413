"""A token counts what can still feed a place; the place is told at zero, once."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penguiflow.completion import Token, hold, reaching, release, union


class Place:
    """Writes down which tokens are exhausted."""

    def __init__(self) -> None:
        self.over: list[Token] = []

    def exhausted(self, token: Token) -> None:
        """Take note."""
        self.over.append(token)


class Holders(RuleBasedStateMachine):
    """Whatever order holders come and go in, each place hears of its end once, with its last holder."""

    @initialize(count=st.integers(1, 4))
    def opens(self, count: int) -> None:
        self.begins(count)

    def begins(self, count: int) -> None:
        """Make places with one holder each."""
        self.place = Place()
        self.tokens = [Token(self.place, (7, slot), slot) for slot in range(count)]
        self.holders: list[tuple[Token, ...]] = [(token,) for token in self.tokens]

    @precondition(lambda self: self.holders)
    @rule(number=st.integers(0, 99))
    def another(self, number: int) -> None:
        """An item is copied: the copy can feed what the original can."""
        self.holders.append(hold(self.holders[number % len(self.holders)]))

    @precondition(lambda self: len(self.holders) > 1)
    @rule(number=st.integers(0, 99), other=st.integers(0, 99))
    def together(self, number: int, other: int) -> None:
        """What is made of several items can feed what each of them can."""
        first = self.holders.pop(number % len(self.holders))
        second = self.holders.pop(other % len(self.holders))
        self.holders.append(union([first, second]))

    @precondition(lambda self: self.holders)
    @rule(number=st.integers(0, 99))
    def gone(self, number: int) -> None:
        release(self.holders.pop(number % len(self.holders)))

    @precondition(lambda self: not self.holders)
    @rule(count=st.integers(1, 4))
    def anew(self, count: int) -> None:
        """What is over stays so; other places begin."""
        self.begins(count)

    @invariant()
    def told_at_zero(self) -> None:
        held = [token for tokens in self.holders for token in tokens]
        assert [token.count for token in self.tokens] == [held.count(token) for token in self.tokens]
        over = [token for token in self.tokens if token not in held]
        assert sorted(token.slot for token in self.place.over) == [token.slot for token in over]


Holders.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestHolders = Holders.TestCase


def test_only_what_can_be_reached_is_carried_on() -> None:
    """Behind an edge an item holds the tokens of the places that the edge leads to, in their order."""
    place = Place()
    tokens = tuple(Token(place, key, 0) for key in [(1, 0), (1, 1), (2, -1), (3, 0)])
    assert reaching(tokens, frozenset({(3, 0), (1, 1), (9, 9)})) == (tokens[1], tokens[3])
    assert reaching(tokens, frozenset()) == ()
    assert union([tokens[:1], (), tokens[2:]]) == (tokens[0], tokens[2], tokens[3])


def test_a_place_may_let_others_go_when_it_is_told() -> None:
    """An exhausted slot may decide a join, which lets go of the places behind it: releasing is re-entrant."""
    behind = Place()
    far = Token(behind, (2, 0), 0)

    class Chain:
        def exhausted(self, token: Token) -> None:
            release((far,))

    near = Token(Chain(), (1, 0), 0)
    release((near,))
    assert behind.over == [far]
    assert (near.count, far.count) == (0, 0)


def test_a_token_tells_where_it_leads() -> None:
    """A token is readable in a debugger."""
    token = Token(Place(), (4, 1), 2)
    hold((token,))
    assert repr(token) == "<token (4, 1):2 held 2×>"
