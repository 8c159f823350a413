"""Routing: which successors an item goes to.

Owns the choice among the edges of one node: by type, by condition, by key, by load. Invariant: edges are
looked at in declared order; a value that no successor accepts is an error, one that meets no condition is
filtered.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from .errors import CreditError, StepError

if TYPE_CHECKING:
    from .graph import Edge, EdgeGroup, Site
    from .items import Item
    from .run_journal import RunJournal


class Destination(Protocol):
    """Something behind an edge that says how much room it has."""

    @property
    def edge(self) -> Edge | None:
        """The edge, or ``None`` for the reader of the run."""

    def room(self) -> int:
        """Say how many items can be sent at once."""

    def freedom(self) -> tuple[bool, int]:
        """Say whether an item can wait, and how many could be begun at once beyond what waits."""

    def refuses(self, payload: Any) -> bool:
        """Say whether a payload would find no room, and may not wait for any."""


class Failing(Protocol):
    """A run that can fail."""

    id: str

    def fail(self, error: BaseException) -> None:
        """End with an error."""


def unaccepted(edges: Sequence[Edge], payload: Any) -> str | None:
    """Say why no successor accepts a payload, or ``None`` where one does."""
    if not edges or any(edge.accepts is None or edge.accepts(payload) for edge in edges):
        return None
    takers = ", ".join(f"{edge.target.key} takes {edge.expected}" for edge in edges)
    return f"no successor of {edges[0].source.key} accepts a {type(payload).__name__}: {takers}"


def full(edge: Edge | None, run_id: str) -> CreditError:
    """Make the error of an edge that is full and lets nobody wait."""
    assert edge is not None
    sized = edge.policy.capacity_bytes
    room = f"capacity {edge.policy.capacity}" + (f", {sized} bytes" if sized is not None else "")
    text = f"edge {edge.name} is full ({room}, overflow='fail')"
    return CreditError(f"{text}; run {run_id} can't send faster than {edge.target.key} reads")


def wanted(edge: Edge | None, payload: Any) -> bool:
    """Say whether a payload may take an edge."""
    if edge is None:
        return True
    if edge.accepts is not None and not edge.accepts(payload):
        return False
    return edge.policy.when is None or bool(edge.policy.when(payload))


def refusing(roads: Sequence[Destination], payload: Any) -> Edge | None:
    """Give the edge that a payload would take and that is full and lets nobody wait, if there is one.

    What goes wrong in choosing is told where the payload is sent.
    """
    try:
        chosen = _choose(roads, payload)
    except Exception:
        return None
    return next((roads[index].edge for index in chosen if roads[index].refuses(payload)), None)


Taken = Callable[[Any], bool]
"""Says whether an item has taken an edge before, in a run that is taken up again."""


def before(journal: RunJournal | None, item: Item[Any]) -> Taken | None:
    """Give what says which edges an item has taken before."""
    if journal is None or journal.known is None:
        return None
    return partial(journal.has_taken, item)


def choose(
    run: Failing, site: Site, roads: Sequence[Destination], payload: Any, taken: Taken | None = None
) -> list[int]:
    """Pick the roads that a payload takes, as indices in declared order.

    A condition or key that raises fails the run, with the user's exception as the cause.
    """
    try:
        return _choose(roads, payload, taken)
    except Exception as exc:
        _broke(run, site, exc)
        return []


def error_edges(run: Failing, site: Site, error: StepError) -> tuple[Edge, ...]:
    """Pick the error edges that a failure takes; none where a condition raises, which fails the run."""
    try:
        return tuple(edge for edge in site.error_outs if wanted(edge, error))
    except Exception as exc:
        _broke(run, site, exc)
        return ()


def _broke(run: Failing, site: Site, exc: Exception) -> None:
    error = StepError(
        f"run {run.id}: a condition, key or type check on an edge out of {site.key} raised {exc!r}",
        run_id=run.id,
        node=site.key,
    )
    error.__cause__ = exc
    run.fail(error)


def _choose(roads: Sequence[Destination], payload: Any, taken: Taken | None = None) -> list[int]:
    chosen: list[int] = []
    grouped: dict[int, list[int]] = {}
    for index, road in enumerate(roads):
        if not wanted(road.edge, payload):
            continue
        if road.edge is not None and road.edge.group is not None:
            grouped.setdefault(id(road.edge.group), []).append(index)
        else:
            chosen.append(index)
    for members in grouped.values():
        edge = roads[members[0]].edge
        assert edge is not None
        assert edge.group is not None
        again = [index for index in members if taken(roads[index].edge)] if taken is not None else []
        chosen.append(again[0] if again else _one_of(edge.group, members, roads, payload))
    return sorted(chosen) if grouped else chosen


def _one_of(group: EdgeGroup, members: list[int], roads: Sequence[Destination], payload: Any) -> int:
    if group.kind == "partition":
        assert group.key is not None
        return members[stable_hash(group.key(payload)) % len(members)]
    return max(members, key=lambda index: (roads[index].freedom(), -index))


def stable_hash(key: Any) -> int:
    """Hash a key alike in every process, so that a run which is taken up again is parted alike.

    That of what is no text, bytes, number, ``None``, enum member or tuple of these is Python's own.
    """
    if isinstance(key, str):
        return zlib.crc32(key.encode("utf-8", "surrogatepass"))
    if isinstance(key, bytes):
        return zlib.crc32(key)
    if isinstance(key, tuple):
        return hash(tuple(map(stable_hash, key)))
    if isinstance(key, Enum):
        return stable_hash(key.name)
    return 0 if key is None else hash(key)


def room_of(roads: Sequence[Destination]) -> int:
    """Say how many items can be sent side by side: to all, of a group's branches to one."""
    rooms: list[int] = []
    groups: dict[int, int] = {}
    for road in roads:
        if road.edge is None or road.edge.group is None:
            rooms.append(road.room())
        else:
            key = id(road.edge.group)
            groups[key] = max(groups.get(key, 0), road.room())
    return min([*rooms, *groups.values()], default=1 << 30)
