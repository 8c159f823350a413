"""Graphs: sites, edges and plans, as the runtime walks them.

Owns the words of a checked blueprint. Invariant: resolved once when a flow is built, only read afterwards,
and bound to no event loop and no run. Knows nothing of how it is built (`plan`) or carried out.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .node import AnyNode
from .policy import EdgePolicy, NodePolicy, Resume
from .signature import Gives, Signature, Slot, Takes, envelope_name

INPUT = "input"
"""The name of the pseudo site that the payload of a run comes from."""

GATHER = -1
"""Stands for the slot of a gather in ``reach``."""

CHUNKWISE = frozenset({Takes.ITEM, Takes.CHUNK})
"""What is taken chunk by chunk where a stream comes."""

Place = tuple[int, int]
"""A site and its join slot (a gather: -1)."""


class EdgeGroup:
    """The branches of one fan-out by key or to whoever is free: an item takes exactly one of them."""

    __slots__ = ("edges", "key", "kind")

    def __init__(self, kind: Literal["partition", "balance"], key: Callable[[Any], Any] | None) -> None:
        self.kind: Literal["partition", "balance"] = kind
        self.key: Callable[[Any], Any] | None = key
        self.edges: tuple[Edge, ...] = ()

    def __repr__(self) -> str:
        return f"<{self.kind} of {', '.join(edge.target.key for edge in self.edges)}>"


@dataclass(eq=False, slots=True, repr=False)
class Edge:
    """A bounded road between two sites; compared by identity.

    Args:
        index: its place in ``plan.edges``.
        source: where it begins.
        target: where it ends.
        policy: its options.
        called: the name by which the source feeds a join: its own, or that of the nested flow it is in.
        depth: how many nested flows hold the ``>>`` that it was made by.
        name: both ends, ``a→b``.
        slot: index of the join slot it feeds; ``None`` where the target is no join.
        takes: what envelope the target takes from it.
        type: the type of the payload that the target takes from it.
        expected: both, as an author would write it.
        accepts: a check of the payload; ``None`` where every value is accepted for sure.
        proven: what the source's function declares to give is accepted for sure. With ``accepts`` set, only
            what is emitted through the context has to be checked.
        routed: a value that is not accepted here may go elsewhere.
        group: the fan-out it belongs to, with ``partition=`` or ``balance=``.
        reach: each (site, slot) of a join and (site, -1) of a gather that an item which takes the edge can
            still arrive at, the edge's own target included. As to a join, ways through its dominator do not
            count: behind that a pairing of its own begins.
        addresses: what ``to=`` may call its target: nested flows on the way in, then the node by its path.
    """

    index: int
    source: Site
    target: Site
    policy: EdgePolicy
    called: str
    depth: int = 0
    name: str = ""
    slot: int | None = None
    takes: Takes = Takes.ITEM
    type: Any = Any
    expected: str = "Any"
    accepts: Callable[[Any], bool] | None = None
    proven: bool = False
    routed: bool = False
    group: EdgeGroup | None = None
    reach: frozenset[Place] = frozenset()
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.name = f"{self.source.key}→{self.target.key}"
        inner = self.target.path[self.depth :]
        ways = ("/".join(inner[:count]) for count in range(1, len(inner) + 1))
        self.addresses = tuple(dict.fromkeys((*ways, self.target.key)))
        self.attach(None)

    def attach(self, slot: int | None) -> None:
        """Say which slot of a join the edge feeds, and read from it what is taken."""
        self.slot = slot
        signature = self.target.signature
        if slot is None:
            self.takes, self.type = signature.takes, signature.type
        else:
            parameter = signature.slots[slot]
            self.takes = parameter.takes
            self.type = typing.Union[parameter.type, None] if parameter.optional else parameter.type  # noqa: UP007
        self.expected = envelope_name(self.takes, self.type)

    def __repr__(self) -> str:
        return f"<edge {self.name}>"


def addressed(edges: Sequence[Edge], to: str) -> tuple[tuple[Edge, ...], tuple[str, ...]]:
    """Give the edges that ``to=`` means, and the paths of the nodes where it can mean several.

    A nested flow is meant by its name. The bare name of a node inside one will do, where there is one such.
    """
    found = tuple(edge for edge in edges if to in edge.addresses)
    if not found:
        found = tuple(edge for edge in edges if to == edge.target.name)
        keys = tuple(dict.fromkeys(edge.target.key for edge in found))
        if len(keys) > 1:
            return (), keys
    return found, ()


@dataclass(eq=False, slots=True, repr=False)
class JoinPlan:
    """How a join pairs.

    Args:
        site: the join.
        dominator: the nearest site that everything which reaches the join has passed.
        slots: its parameters.
        by_chunk: where the dominator gives a stream, it is paired chunk by chunk.
        reorders: whether branches meet before it, and spend credit behind that.
    """

    site: Site
    dominator: Site
    slots: tuple[Slot, ...]
    by_chunk: bool = False
    reorders: bool = False

    def __repr__(self) -> str:
        how = "by chunk" if self.by_chunk else "by item"
        return f"<join {self.site.key} of what {self.dominator.key} gives, {how}>"


@dataclass(eq=False, slots=True, repr=False)
class Site:
    """A node at its place in a flow; compared by identity.

    Args:
        index: its place in ``plan.sites``.
        path: the names of nested flows, then that of the node.
        node: the node; ``None`` for the root.
        signature: what it takes and gives.
        policy: how it works.
        ins: all edges that end here.
        outs: forward and feedback edges that begin here, as declared.
        error_outs: ``on_error`` edges that begin here.
        is_entry: payloads of runs come in here.
        is_exit: what it gives goes to the reader of the run.
        is_source: it starts with the runtime.
        is_inline: it runs on the edge, without a place of its own.
        joins: the joins whose dominator it is; one that another one's output can reach comes before that.
        gathers: the gathers that close a `Spread` returned here.
        join: how it pairs, if it is a join.
        hears_streams: a stream can arrive here.
        hears_messages: a message can arrive here.
        ahead: how many nodes in a row, from here on, hand a stream on chunk by chunk; 0 where it does not.
    """

    index: int
    path: tuple[str, ...]
    node: AnyNode | None
    signature: Signature
    policy: NodePolicy
    ins: tuple[Edge, ...] = ()
    outs: tuple[Edge, ...] = ()
    error_outs: tuple[Edge, ...] = ()
    is_entry: bool = False
    is_exit: bool = False
    is_inline: bool = False
    joins: tuple[JoinPlan, ...] = ()
    gathers: tuple[Site, ...] = ()
    join: JoinPlan | None = None
    hears_streams: bool = False
    hears_messages: bool = False
    ahead: int = 0
    name: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        self.name = self.path[-1]
        self.key = "/".join(self.path)

    @property
    def is_source(self) -> bool:
        """Say whether it starts with the runtime."""
        return self.node is not None and self.node.is_source

    @property
    def is_gather(self) -> bool:
        """Say whether it takes all parts of a spread."""
        return self.signature.takes is Takes.GATHERED

    @property
    def works_by_chunk(self) -> bool:
        """Say whether it hands a stream on chunk by chunk, under the same stream id."""
        return self.signature.takes in CHUNKWISE or (self.join is not None and self.join.by_chunk)

    @property
    def all_outs(self) -> tuple[Edge, ...]:
        """All edges that begin here."""
        return self.outs + self.error_outs

    def __repr__(self) -> str:
        return f"<site {self.key}>"


def make_root() -> Site:
    """Make the pseudo site that the payload of a run comes from."""
    signature = Signature(takes=Takes.NOTHING, gives=Gives.VALUE, is_async=False)
    return Site(0, (INPUT,), None, signature, NodePolicy(resume=Resume.CONTINUE))


@dataclass(eq=False, slots=True, repr=False)
class Plan:
    """A checked blueprint.

    Args:
        name: of the flow.
        root: the pseudo site behind all entries.
        sites: the root, then all others; behind each the sites that its forward edges lead to.
        edges: all of them, by index.
        entries: where payloads come in.
        exits: what the reader of a run sees.
        sources: what starts with the runtime.
        has_tokens: there is a join or a gather.
    """

    name: str
    root: Site
    sites: tuple[Site, ...]
    edges: tuple[Edge, ...]
    entries: tuple[Site, ...]
    exits: tuple[Site, ...]
    sources: tuple[Site, ...]
    has_tokens: bool

    def __repr__(self) -> str:
        return f"<plan {self.name}: {len(self.sites) - 1} nodes, {len(self.edges)} edges>"
