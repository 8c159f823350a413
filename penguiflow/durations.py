"""Durations: where time went, as it is told.

Owns the words for it. Invariant: plain data, in seconds. How it is found out, `timing` knows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waits:
    """Where time went, in seconds; source, node and credit add up to the duration.

    Attributes:
        source: waiting for input.
        node: in the node's own code, or waiting for a place there.
        credit: waiting for credit, or for room behind the node.
        again: how much of ``node`` went into tries of a chunk that failed and the waits after them, where the
            node works chunk by chunk and tries again.
    """

    source: float = 0.0
    node: float = 0.0
    credit: float = 0.0
    again: float = 0.0

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.source + self.node + self.credit


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """What came of one attempt at a stream; kept where somebody observes the run.

    Attributes:
        at: when it ended, in seconds on the clock of the event loop.
        waits: where its time went.
        first_chunk: seconds until its first chunk; ``None`` where none came.
        bytes: how many bytes its payloads had, of text (in UTF-8) and bytes; ``None`` for other payloads.
        drops: how many of its chunks a policy dropped.
        timeline: seconds per part, and for each part the seconds of source, node and credit and the number of
            chunks; ``None`` where nobody wants to know.
    """

    at: float
    waits: Waits
    first_chunk: float | None
    bytes: int | None
    drops: int
    timeline: tuple[float, tuple[tuple[float, ...], ...]] | None = None
