"""Settling: how an item goes that goes no further.

Owns the two ways. Invariant: its credit comes home either way; silence is told where it means something, and
never where an error is on its way (rule 4.3). Knows nothing of what credit and tokens stand for.
"""

from __future__ import annotations

from typing import Any

from .completion import release
from .items import Item


def settle(item: Item[Any]) -> None:
    """Let an item go: its credit comes home, places it could have fed are told."""
    tokens = item._tokens
    if tokens:
        item._tokens = ()
        release(tokens)
    item._ticket.home()


def forfeit(item: Item[Any]) -> None:
    """Let an item go that was lost to an error: its credit comes home, places it could have fed are not told.

    The error itself is on its way to them, in band, and silence may not overtake it (rule 4.3).
    """
    item._tokens = ()
    item._ticket.home()
