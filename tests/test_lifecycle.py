"""The states of a run as a table: what may follow what, and how its streams end with it."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from penguiflow.items import Terminal
from penguiflow.lifecycle import FINAL, FOLLOWS, TERMINAL_OF, Status, may_follow

STATES: tuple[Status, ...] = get_args(Status)

ALLOWED = {
    "waiting": "running failed cancelled expired",
    "running": "paused interrupted done failed cancelled expired",
    "paused": "running done failed cancelled expired",
    "interrupted": "",
    "done": "",
    "failed": "",
    "cancelled": "",
    "expired": "",
}


@pytest.mark.parametrize(("now", "then"), list(itertools.product(STATES, STATES)))
def test_what_may_follow_what(now: Status, then: Status) -> None:
    """Every pair of states: the first final state wins, and none follows itself (rules 3.3, 3.8)."""
    assert may_follow(now, then) == (then in ALLOWED[now].split())


def test_the_states_are_those_of_the_contract() -> None:
    """Nobody added a state without a place in the tables."""
    assert " ".join(STATES) == "waiting running paused interrupted done failed cancelled expired"
    assert set(FOLLOWS) == set(STATES)


def test_a_final_state_is_one_that_nothing_follows() -> None:
    """And each can be reached from where a run is alive, but some only from where it is at work."""
    assert {state for state in STATES if not FOLLOWS[state]} == FINAL
    for alive in set(STATES) - FINAL:
        unreachable = {"waiting": {"done", "interrupted"}, "paused": {"interrupted"}}
        assert FINAL - FOLLOWS[alive] == unreachable.get(alive, set())


def test_how_streams_end_with_their_run() -> None:
    """Each final state says how streams that are still open end; only the one that failed says `error`."""
    assert TERMINAL_OF == {
        "done": "done",
        "interrupted": "cancelled",
        "failed": "cancelled",
        "cancelled": "cancelled",
        "expired": "expired",
    }
    assert set(TERMINAL_OF) == FINAL
    assert set(TERMINAL_OF.values()) == set(get_args(Terminal)) - {"error"}
