"""Lifecycle: the states of a run and the terminals of a stream, as tables.

Owns what may follow what. Invariant: a run has one final state; the first one wins (rules 3.3, 3.8).
"""

from __future__ import annotations

from typing import Literal

from .items import Terminal

Status = Literal["waiting", "running", "paused", "interrupted", "done", "failed", "cancelled", "expired"]

FINAL: frozenset[Status] = frozenset({"interrupted", "done", "failed", "cancelled", "expired"})
"""How a run ends in memory. One that is interrupted goes on from the journal, as another one."""

FOLLOWS: dict[Status, frozenset[Status]] = {
    "waiting": frozenset({"running", "failed", "cancelled", "expired"}),
    "running": frozenset({"paused", "interrupted", "done", "failed", "cancelled", "expired"}),
    "interrupted": frozenset(),
    "paused": frozenset({"running", "done", "failed", "cancelled", "expired"}),
    "done": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
    "expired": frozenset(),
}

TERMINAL_OF: dict[Status, Terminal] = {
    "done": "done",
    "interrupted": "cancelled",
    "failed": "cancelled",
    "cancelled": "cancelled",
    "expired": "expired",
}
"""How streams that are still open end with their run. (The stream that failed says ``error`` itself.)"""


def may_follow(now: Status, then: Status) -> bool:
    """Say whether a run in one state may change to another."""
    return then in FOLLOWS[now]
