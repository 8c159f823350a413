"""Overflow: what a full edge does.

Owns the policies that drop or merge, as pure functions over what waits. Invariant: at most ``capacity`` items
wait; what was dropped is given back to be reported (rule 2.9). Knows nothing of credit or of who sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Overflow = Literal["wait", "drop_oldest", "drop_newest", "merge", "fail"]

OVERFLOWS: tuple[Overflow, ...] = ("wait", "drop_oldest", "drop_newest", "merge", "fail")

ENDS_WINDOW: frozenset[Overflow] = frozenset({"drop_oldest", "drop_newest", "merge"})
"""Policies at which acceptance brings the credit home."""


def drop_oldest(waiting: list[Any]) -> Any:
    """Let the oldest out, so that there may be room for what comes; gives the one that is dropped."""
    return waiting.pop(0)


def drop_newest(waiting: list[Any], item: Any) -> Any:
    """Keep what waits; gives the one that is dropped: what came."""
    return item


def merge_into_newest(waiting: list[Any], item: Any, merge: Callable[[Any, Any], Any]) -> Any:
    """Merge the payload of an item into the newest that waits; gives the one that is gone."""
    newest = waiting[-1]
    newest.payload = merge(newest.payload, item.payload)
    return item
