"""What a full edge does, against a model: at most the capacity waits, and nothing is lost unreported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penguiflow.overflow import ENDS_WINDOW, OVERFLOWS, Overflow, drop_newest, drop_oldest, merge_into_newest


@dataclass
class Item:
    """Something that waits."""

    payload: list[int]


def full(policy: str, waiting: list[Item], item: Item) -> Item:
    """Do what a policy does at a full edge."""
    if policy == "drop_oldest":
        oldest = drop_oldest(waiting)
        waiting.append(item)
        return oldest
    if policy == "drop_newest":
        return drop_newest(waiting, item)
    return merge_into_newest(waiting, item, lambda older, newer: older + newer)


def modelled(policy: str, waiting: list[list[int]], number: int) -> int:
    """Do the same to lists of numbers; gives the number of the item that is gone."""
    if policy == "drop_oldest":
        gone = waiting.pop(0)[0]
        waiting.append([number])
        return gone
    if policy == "merge":
        waiting[-1] = [*waiting[-1], number]
    return number


@pytest.mark.parametrize("policy", sorted(ENDS_WINDOW))
@settings(max_examples=40, deadline=None)
@given(capacity=st.integers(1, 4), arrivals=st.lists(st.booleans(), max_size=30))
def test_offered_is_kept_and_dropped(policy: str, capacity: int, arrivals: list[bool]) -> None:
    """At most the capacity waits, offered = delivered + dropped + waiting, always, as in the model."""
    waiting: list[Item] = []
    model: list[list[int]] = []
    offered, dropped, delivered, gone = 0, 0, 0, []
    for arrives in arrivals:
        if not arrives:
            delivered += len(waiting[:1])
            del waiting[:1], model[:1]
            continue
        item = Item([offered])
        if len(waiting) < capacity:
            waiting.append(item)
            model.append([offered])
        else:
            out = full(policy, waiting, item)
            gone.append((out.payload[0], modelled(policy, model, offered)))
            dropped += 1
        offered += 1
        assert len(waiting) <= capacity
        assert offered == delivered + dropped + len(waiting)
        assert [one.payload for one in waiting] == model
    assert [real for real, _ in gone] == [expected for _, expected in gone]


def test_the_newest_stay_in_order() -> None:
    """`drop_oldest` gives back the one that left; the others stay in order."""
    waiting = [1, 2, 3]
    assert (drop_oldest(waiting), waiting) == (1, [2, 3])


def test_the_oldest_stay() -> None:
    """`drop_newest` leaves what waits as it is, and gives back the one that came."""
    waiting = [1, 2, 3]
    assert (drop_newest(waiting, 4), waiting) == (4, [1, 2, 3])


def test_merging_gives_the_older_first() -> None:
    """The function gets what waits and what came; the item that came is gone, unchanged."""
    waiting, late = [Item([1]), Item([2])], Item([3])
    newest = waiting[-1]
    assert merge_into_newest(waiting, late, lambda older, newer: [*older, -1, *newer]) is late
    assert (waiting, late) == ([Item([1]), Item([2, -1, 3])], Item([3]))
    assert waiting[-1] is newest


def test_a_merge_that_raises_changes_nothing() -> None:
    """The user's error comes out, and what waits is as it was."""
    waiting = [Item([1])]

    def broken(older: list[int], newer: list[int]) -> list[int]:
        raise ValueError("can't")

    with pytest.raises(ValueError, match="can't"):
        merge_into_newest(waiting, Item([2]), broken)
    assert waiting == [Item([1])]


def test_the_policies() -> None:
    """The names are those of the contract; a stream's window ends where data may be dropped or merged."""
    assert OVERFLOWS == get_args(Overflow) == ("wait", "drop_oldest", "drop_newest", "merge", "fail")
    assert set(OVERFLOWS) - ENDS_WINDOW == {"wait", "fail"}
