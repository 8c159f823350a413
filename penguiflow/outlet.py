"""Outlets: the edges that a node's streams leave by, and what these ask of a chunk.

Owns what depends on the edges alone. Invariant: it is decided once, when the flow is opened, so that opening
a stream looks nothing up (a stream through four nodes opens five legs and four lanes). Knows no run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .checks import why_no_stream
from .chunks import SteppingLane, WalkingLane
from .errors import StepError
from .fanin import GatherLane, JoinLane, OpenRoad, SlotLane, TakingLane
from .inline import InlineLane
from .items import Chunk
from .node import Takes
from .parallel import ParallelLane
from .stream import StreamLane

if TYPE_CHECKING:
    from .completion import Tokens
    from .graph import Edge, Site
    from .leg import Leg
    from .station import Station


class MisplacedLane(TakingLane):
    """A stream where none can go, which could not be known when the flow was built: it fails the run."""

    __slots__ = ("writer",)

    writer: Leg

    def road(self, edge: Edge, leg: Leg) -> Any:
        """Give a new road into the lane, and remember who came."""
        self.writer = leg
        return super().road(edge, leg)

    def begin(self) -> None:
        """Fail the run; everything else that the stream comes to is open now."""
        run, key = self.run, self.writer.site.key
        edge = self.inboxes[-1].edge
        error = StepError(f"run {run.id}: {why_no_stream(edge, key)}", run_id=run.id, node=key)
        run.fail(error)

    def take_over(self, road: OpenRoad, chunk: Chunk[Any]) -> None:
        """Let a chunk go: the run has failed."""
        self.discard(chunk)


class Way:
    """One edge of an outlet, and the lane behind it.

    Args:
        edge: the edge.
        station: the node that it leads to.
    """

    __slots__ = ("begins", "edge", "lane_type", "slot", "station")

    def __init__(self, edge: Edge, station: Station) -> None:
        join = station.site.join
        self.edge: Edge = edge
        self.station: Station = station
        self.slot: int | None = edge.slot if join is not None and not join.by_chunk else None
        self.lane_type: Callable[..., Any] = lane_type(station, edge)
        self.begins: bool = self.lane_type in (StreamLane, MisplacedLane)

    def seat(self, tokens: Tokens) -> tuple[Callable[..., Any], int | None]:
        """Say what lane a stream has here, and in front of which slot of a join by item.

        A join by chunk pairs items where the stream descends from one of them: where the nearest common
        ancestor gave a message, and one of the branches a stream.
        """
        if self.lane_type is JoinLane:
            key = (self.edge.target.index, self.edge.slot)
            if any(token.key == key for token in tokens):
                return SlotLane, self.edge.slot
        return self.lane_type, self.slot


class Outlet:
    """The edges that streams of one node leave by: all of them, or those to one successor.

    Args:
        site: the node's place in the plan.
        edges: the edges.
        stations: all nodes at work, as the plan numbers them.
    """

    __slots__ = (
        "balances",
        "checks",
        "edges",
        "fails",
        "forks",
        "forks_if_emitted",
        "gated",
        "kept",
        "one_room",
        "plain",
        "site",
        "sure",
        "ways",
    )

    def __init__(self, site: Site, edges: Sequence[Edge], stations: Sequence[Station]) -> None:
        forward = tuple(edge for edge in edges if not edge.policy.feedback)
        choosy = any(edge.policy.when is not None or edge.group is not None for edge in forward)
        unproven = any(edge.accepts is not None and not edge.proven for edge in forward)
        self.site: Site = site
        self.kept: bool = stations[site.index].keeps
        self.edges: tuple[Edge, ...] = forward
        self.ways: tuple[Way, ...] = tuple(Way(edge, stations[edge.target.index]) for edge in forward)
        self.checks: bool = any(edge.accepts is not None for edge in forward)
        self.fails: bool = any(edge.policy.overflow == "fail" for edge in forward)
        self.balances: bool = any(edge.group is not None and edge.group.kind == "balance" for edge in forward)
        self.forks: bool = choosy or unproven or any(plan.by_chunk for plan in site.joins)
        self.forks_if_emitted: bool = self.forks or self.checks
        self.gated: bool = any(plan.by_chunk and plan.reorders for plan in site.joins)
        groups = {id(edge.group) for edge in forward}
        self.one_room: bool = len(forward) + site.is_exit == 1 or (self.balances and len(groups) == 1)
        self.plain: bool = len(edges) == len(forward) == 1 and not (choosy or self.fails)
        self.sure: frozenset[type] = sure_types(forward)

    def accepts_surely(self, payload: object) -> bool:
        """Say whether all successors accept a payload, as far as its type tells without asking them."""
        return not self.fails and (not self.checks or type(payload) in self.sure)


def sure_types(edges: Sequence[Edge]) -> frozenset[type]:
    """Give the types whose every value is accepted by all edges."""
    asking = [edge.type for edge in edges if edge.accepts is not None]
    return frozenset(kind for kind in PLAIN if all(wanted is kind for wanted in asking))


PLAIN: frozenset[type] = frozenset({str, bytes, int, float, bool})
"""Types that are checked by ``isinstance`` alone."""

STREAM_LANES: dict[Takes, Callable[..., Any]] = {Takes.STREAM: StreamLane, Takes.GATHERED: GatherLane}


def lane_type(station: Station, edge: Edge) -> Callable[..., Any]:
    """Say what kind of lane a stream has at a node."""
    site = station.site
    if why_no_stream(edge, "") is not None:
        return MisplacedLane
    if site.join is not None:
        if site.join.by_chunk:
            return JoinLane
        return StreamLane if edge.takes is Takes.STREAM else SlotLane
    special = STREAM_LANES.get(station.signature.takes)
    if special is not None:
        return special
    if station.is_inline:
        return InlineLane
    if not station.policy.ordered:
        return ParallelLane
    return WalkingLane if station.fast else SteppingLane
