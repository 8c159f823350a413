"""Known order: chunks that are made again leave in the order in which they left before.

Owns the order of what is recorded of a stream whose node works chunk by chunk. Where several writers meet, or
steps work side by side, chunks that are made again come in any order; but whatever is behind the node knows
them by their number. Invariant: what is recorded goes first, each chunk in its place and under its number;
what is new follows. It waits for nothing that was not there when the last recorded chunk left, so that no
credit is missing for it.
"""

from __future__ import annotations

from typing import Any

from .items import Chunk
from .kept import KeptStream

Made = tuple[Chunk[Any], int | str]
"""A chunk, and what it was made of."""


class KnownOrder:
    """The order of one attempt at a stream.

    Args:
        known: what is recorded of it.
    """

    __slots__ = ("_claimed", "_held", "_known", "_late", "_next", "_number")

    def __init__(self, known: KeptStream) -> None:
        self._known: KeptStream = known
        self._claimed: dict[int | str, int] = {}  # so many chunks that were made of each have come
        self._held: dict[int, Made] = {}
        self._late: list[Made] = []
        self._next: int = 0
        self._number: int | None = None  # of the next new chunk, where one had to wait

    @property
    def keeps_new(self) -> bool:
        """Whether anything waits that is not recorded yet."""
        return bool(self._late)

    @property
    def is_over(self) -> bool:
        """Whether all that is recorded has left."""
        return self._next == len(self._known.chunks)

    def pass_on(self, made: list[Made]) -> list[Made]:
        """Take chunks; give those whose turn has come."""
        for chunk, source in made:
            count = self._claimed.get(source, 0)
            again = self._known.made_of(source)
            if count < len(again):
                self._claimed[source] = count + 1
                self._held[again[count].index] = chunk, source
            else:
                self._late.append((chunk, source))
        ready: list[Made] = []
        while self._next in self._held:
            chunk, source = self._held.pop(self._next)
            chunk.seq = self._known.chunks[self._next].seq
            ready.append((chunk, source))
            self._next += 1
        if self.is_over:
            return ready + self._new()
        if self._late:
            self._number = self._known.chunks[-1].seq + 1
        return ready

    def _new(self) -> list[Made]:
        """Give what is new, numbered behind what is recorded."""
        late, self._late = self._late, []
        if self._number is not None:
            for chunk, _ in late:
                chunk.seq = self._number
                self._number += 1
        return late

    def rest(self) -> list[Made]:
        """Give all that waits, because nothing else will come."""
        held = [self._held[index] for index in sorted(self._held)]
        self._held.clear()
        late, self._late = self._late, []
        return held + late
