"""What flows in the reference evaluation: items with their lineage, streams as tracks.

Owns these records. Invariant: an item's lineage names, for each node it has passed, the item there that it
descends from; a stream keeps the order of each of its writers, and no order between them. Knows no graph.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .shapes import Road

Lineage = dict[str, int]
Spreads = tuple[tuple[int, int], ...]  # of each spread around an item: which one, and which part of it


@dataclass(frozen=True, slots=True)
class Atom:
    """A message, or one chunk."""

    payload: Any
    lineage: Lineage
    spreads: Spreads


@dataclass(frozen=True, slots=True)
class Flowing:
    """A stream: tracks of chunks, and where it comes from as a whole."""

    sid: Hashable
    tracks: list[list[Atom]]
    lineage: Lineage
    spreads: Spreads
    terminal: Literal["done", "error"] = "done"
    named: str | None = None

    def payloads(self) -> list[Any]:
        """Give what it carries, writer by writer."""
        return [atom.payload for track in self.tracks for atom in track]


@dataclass(slots=True)
class Arrived:
    """What has come to a node and is not worked off yet."""

    messages: list[tuple[Road, Atom]] = field(default_factory=list)
    streams: dict[Hashable, list[tuple[Road, Flowing]]] = field(default_factory=dict)


def merged(sid: Hashable, writers: Sequence[Flowing]) -> Flowing:
    """Put together what several writers send of one stream: each keeps its order."""
    tracks = [track for writer in writers for track in writer.tracks if track]
    terminal: Literal["done", "error"] = "done" if all(w.terminal == "done" for w in writers) else "error"
    first = writers[0]
    lineage = {
        name: item
        for name, item in first.lineage.items()
        if all(w.lineage.get(name) == item for w in writers)
    }
    return Flowing(sid, tracks, lineage, first.spreads, terminal, first.named)
