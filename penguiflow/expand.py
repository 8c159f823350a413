"""Expansion: from wires to sites and edges, nested flows flattened.

Owns what the parts and links of wires become. Invariant: every edge is declared once, whoever repeats it;
names are unique within their flow. Knows nothing of what can be reached or paired: see `analysis`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from .analysis import find_cycle
from .errors import GraphError
from .graph import Edge, EdgeGroup, Site, make_root
from .node import Node, node
from .policy import EdgePolicy
from .wiring import Link, Part, Wirable, as_wire


@dataclass(slots=True)
class Draft:
    """A graph in the making."""

    root: Site = field(default_factory=make_root)
    sites: list[Site] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)


@dataclass(slots=True)
class _Placed:
    """A part at its place: where one goes in, comes out, and what may fail without anybody inside caring."""

    name: str
    entries: list[Site]
    exits: list[Site]
    failing: list[Site]


def expand(name: str, items: Iterable[Any]) -> Draft:
    """Make sites and edges of what a flow is built of."""
    draft = Draft()
    placed = _Level(draft, name, (), items).place()
    for site in placed.entries:
        site.is_entry = True
        _connect(draft, draft.root, site, EdgePolicy(), draft.root.name)
    for site in placed.exits:
        site.is_exit = True
    _check_keys(draft.root, draft.sites)
    return draft


class _Level:
    """One flow within the nesting."""

    def __init__(self, draft: Draft, name: str, path: tuple[str, ...], items: Iterable[Any]) -> None:
        self.draft = draft
        self.name = name
        self.path = path
        self.shown = f"flow {'/'.join(path) or name!r}"
        self.wires = [as_wire(item) for item in items]
        self.placed: dict[Any, _Placed] = {}
        self.named: dict[str, Any] = {}
        self.declared: dict[Any, Any] = {}
        self.groups: dict[Any, EdgeGroup] = {}

    def place(self) -> _Placed:
        """Place all parts, then join them."""
        first = len(self.draft.sites)
        for wire in self.wires:
            for part in wire.parts:
                self._part(part)
        for wire in self.wires:
            for link in wire.links:
                self._link(link)
        sites = self.draft.sites[first:]
        cycle = find_cycle(sites)
        if cycle is not None:
            way = " → ".join(site.key for site in cycle)
            raise GraphError(f"{self.shown}: {way} is a cycle; close it with edge(feedback=True)")
        entries = [
            site for site in sites if not site.is_source and all(edge.policy.feedback for edge in site.ins)
        ]
        if not entries and not any(site.is_source for site in sites):
            raise GraphError(f"{self.shown}: there is nothing to enter by{_round(sites)}")
        exits = [site for site in sites if not site.outs]
        return _Placed(self.name, entries, exits, [site for site in sites if not site.error_outs])

    def _part(self, part: Part) -> _Placed:
        key = _identity(part)
        if key not in self.placed:
            made: Any = part if isinstance(part, Wirable) else node(part)
            if self.named.setdefault(made.name, made) is not made:
                remedy = "flow.named(…)" if made.wires is not None else "node(fn, name=…)"
                raise GraphError(f"{self.shown}: two parts are named {made.name!r}; rename one with {remedy}")
            self.placed[key] = self._place(made)
        return self.placed[key]

    def _place(self, part: Any) -> _Placed:
        path = (*self.path, part.name)
        if part.wires is not None:
            return _Level(self.draft, part.name, path, part.wires).place()
        if not isinstance(part, Node):
            raise GraphError(f"{self.shown}: {part!r} is neither a node nor a flow")
        site = Site(len(self.draft.sites) + 1, path, part, part.signature, part.policy)
        self.draft.sites.append(site)
        return _Placed(part.name, [site], [site], [site])

    def _link(self, link: Link) -> None:
        """Join two parts, unless that was said before in the same words."""
        source, target, policy = self._part(link.source), self._part(link.target), link.policy
        bundle = tuple(map(_identity, link.bundle)) if link.bundle else None
        ends = (_identity(link.source), _identity(link.target), policy.feedback, policy.on_error)
        if ends not in self.declared:
            self.declared[ends] = (policy, bundle)
            self._edges(source, target, policy, (ends[0], bundle))
        elif self.declared[ends] != (policy, bundle):
            pair = f"{source.name} → {target.name}"
            raise GraphError(
                f"{self.shown}: {pair} is declared twice, with different options; keep one of them"
            )

    def _edges(self, source: _Placed, target: _Placed, policy: EdgePolicy, bundle: Any) -> None:
        origins = source.failing if policy.on_error else source.exits
        if not origins:
            raise GraphError(f"{self.shown}: nothing comes out of {source.name}, so nothing can follow it")
        if not target.entries:
            raise GraphError(
                f"{self.shown}: {target.name} has nothing to enter by, so nothing can come before it"
            )
        grouped = policy.balance or policy.partition is not None
        if grouped and len(target.entries) > 1:
            names = ", ".join(site.key for site in target.entries)
            raise GraphError(
                f"{self.shown}: {target.name} has several entries ({names}) and can't be one branch"
            )
        for origin in origins:
            for entry in target.entries:
                edge = _connect(self.draft, origin, entry, policy, source.name, len(self.path))
                if grouped:
                    self._group(edge, (origin.index, bundle))

    def _group(self, edge: Edge, key: Any) -> None:
        policy = edge.policy
        kind: Literal["partition", "balance"] = "balance" if policy.balance else "partition"
        edge.group = self.groups.setdefault(key, EdgeGroup(kind, policy.partition))
        edge.group.edges += (edge,)


def _connect(
    draft: Draft, source: Site, target: Site, policy: EdgePolicy, called: str, depth: int = 0
) -> Edge:
    edge = Edge(len(draft.edges), source, target, policy, called, depth)
    draft.edges.append(edge)
    target.ins += (edge,)
    if policy.on_error:
        source.error_outs += (edge,)
    else:
        source.outs += (edge,)
    return edge


def _identity(part: Part) -> Any:
    """Tell the same part: nodes and flows by identity, functions (bound methods, too) by equality."""
    if isinstance(part, Wirable):
        return id(part)
    try:
        hash(part)
    except TypeError:
        return id(part)
    return ("function", part)


def _round(sites: list[Site]) -> str:
    return (
        f"; each of {', '.join(site.key for site in sites)} has something before it"
        if sites
        else ", it is empty"
    )


def _check_keys(root: Site, sites: list[Site]) -> None:
    seen: set[str] = set()
    for site in sites:
        if site.key == root.key:
            raise GraphError(
                f"a node is named {root.key!r}, as the run's own input is in traces, metrics and drawings; "
                f"give it another name: node(…, name=…)"
            )
        if site.key in seen:
            raise GraphError(f"two nodes have the path {site.key!r}; give one of them a name without '/'")
        seen.add(site.key)
