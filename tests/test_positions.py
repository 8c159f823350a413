"""Rule 5.4 as a state machine: what is committable is the settled beginning of what was taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow.positions import Positions


@given(st.permutations(list(range(12))), st.integers(0, 12))
def test_positions_are_committable_in_order(order: list[int], late: int) -> None:
    """In whatever order they are settled, and with more taken in between, each comes out once, in order."""
    positions: Positions[int] = Positions()
    for position in range(late):
        assert positions.take(position) == position
    settled: set[int] = set()
    committed: list[int] = []
    for number in sorted(order, key=lambda number: (number >= late, order.index(number))):
        if number >= late and number >= len(committed) + len(positions):
            for position in range(len(committed) + len(positions), 12):
                positions.take(position)
        committed += positions.settle(number)
        settled.add(number)
        expected = next(at for at in range(13) if at not in settled)
        assert committed == list(range(expected))
    assert len(positions) == 0


def test_settling_twice_is_an_error() -> None:
    """Nobody settles what was not taken, or what is settled."""
    positions: Positions[str] = Positions()
    number = positions.take("a")
    assert positions.settle(number) == ["a"]
    for wrong in (number, number + 1, -1):
        with pytest.raises(ValueError, match="was not taken, or is settled already"):
            positions.settle(wrong)
