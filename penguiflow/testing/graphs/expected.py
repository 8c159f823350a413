"""What a run of a random flow should give.

Owns the form of an expectation: messages as a multiset per exit, streams as *tracks*. Invariant: a track is a
sequence whose order is sure; a stream in which several writers meet has a track for each of them, and any
interleaving of its tracks is right (rule 1.1). Knows nothing of how an expectation is found, or compared.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ExpectedStream:
    """One stream at one exit.

    Args:
        tracks: its payloads, one tuple for each writer whose order is sure.
        terminal: how it ends.
        stream_id: its id, where the flow names it.
    """

    tracks: tuple[tuple[Any, ...], ...]
    terminal: Literal["done", "error"] = "done"
    stream_id: str | None = None

    @property
    def length(self) -> int:
        """How many chunks it has."""
        return sum(len(track) for track in self.tracks)


@dataclass(slots=True)
class Expected:
    """What one run should give.

    Args:
        messages: payloads and how often they come, by the key of the exit.
        streams: by the key of the exit.
        trips: keys of the nodes that fail on something of this run, and have no edge for it.
    """

    messages: dict[str, Counter[Any]] = field(default_factory=dict)
    streams: dict[str, list[ExpectedStream]] = field(default_factory=dict)
    trips: set[str] = field(default_factory=set)
