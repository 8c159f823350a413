"""Plans: the checked blueprint of a flow.

Owns `build_plan`, which makes one of wires, step by step: expand, order, pair, compare types, analyse, check.
Invariant: a plan that exists can be carried out. Knows nothing of runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .analysis import gather, hear, in_order, look_ahead, order, pair, reach
from .checks import attach_joins, check_flow, check_types
from .expand import Draft, expand
from .graph import GATHER, INPUT, Edge, EdgeGroup, JoinPlan, Place, Plan, Site
from .signature import Takes

__all__ = ["GATHER", "INPUT", "Edge", "EdgeGroup", "JoinPlan", "Place", "Plan", "Site", "build_plan"]


def build_plan(name: str, items: Iterable[Any]) -> Plan:
    """Check what a flow is made of, and work out how it is carried out.

    Args:
        name: of the flow, for errors and drawings.
        items: wires, nodes, flows, plain functions, and lists of these.

    Raises:
        GraphError: it can't be carried out; the text names the nodes.
    """
    draft = expand(name, items)
    sites = _numbered(draft)
    attach_joins(sites)
    pair(sites)
    check_types(sites)
    hear(sites)
    order(sites)
    gather(sites)
    reach(sites, draft.edges)
    look_ahead(sites)
    check_flow(sites)
    for site in sites:
        site.is_inline = _is_inline(site)
    return Plan(
        name=name,
        root=draft.root,
        sites=tuple(sites),
        edges=tuple(draft.edges),
        entries=tuple(site for site in sites if site.is_entry),
        exits=tuple(site for site in sites if site.is_exit),
        sources=tuple(site for site in sites if site.is_source),
        has_tokens=any(site.is_gather or site.join is not None for site in sites),
    )


def _numbered(draft: Draft) -> Sequence[Site]:
    """Number sites in order, and edges: those of the root first, then as declared."""
    sites = in_order([draft.root, *draft.sites])
    for index, site in enumerate(sites):
        site.index = index
    draft.edges.sort(key=lambda edge: edge.source is not draft.root)
    for index, edge in enumerate(draft.edges):
        edge.index = index
    return sites


def _is_inline(site: Site) -> bool:
    """Say whether a site can run on the edge, in the step of whoever feeds it."""
    signature = site.signature
    return (
        site.node is not None
        and not signature.is_async
        and not site.policy.thread
        and signature.takes in (Takes.ITEM, Takes.MESSAGE, Takes.CHUNK)
        and all(edge.policy.overflow == "wait" and not edge.policy.feedback for edge in site.ins)
    )
