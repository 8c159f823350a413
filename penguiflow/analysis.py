"""Analysis: what can be reached, paired and gathered in a graph.

Owns order, dominators, pairing, reach, and which sites hear streams. Invariant: it only reads what edges
there are, and writes down what follows from it. Knows nothing of types and of how the graph was written.

Every edge counts for what can be reached, feedback and error edges too; only forward edges (error edges among
them) count for order.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from .errors import GraphError
from .graph import CHUNKWISE, GATHER, Edge, JoinPlan, Place, Site
from .signature import Gives, Takes


def find_cycle(sites: Iterable[Site]) -> list[Site] | None:
    """Give the sites of one cycle that no feedback edge closes, the first one again at the end."""
    done: set[int] = set()
    for start in sites:
        trail: list[Site] = []
        on_trail: set[int] = set()
        stack: list[tuple[Site, int]] = [(start, 0)]
        while stack:
            site, at = stack.pop()
            if at == 0:
                if id(site) in on_trail:
                    return [*trail[trail.index(site) :], site]
                if id(site) in done:
                    continue
                trail.append(site)
                on_trail.add(id(site))
            nexts = [edge.target for edge in site.all_outs if not edge.policy.feedback]
            if at < len(nexts):
                stack += [(site, at + 1), (nexts[at], 0)]
            else:
                trail.pop()
                on_trail.discard(id(site))
                done.add(id(site))
    return None


def in_order(sites: Sequence[Site]) -> list[Site]:
    """Put each site behind all that its forward edges come from; else keep the order."""
    waits = {site.index: sum(not edge.policy.feedback for edge in site.ins) for site in sites}
    by_index = {site.index: site for site in sites}
    ready = [index for index, count in waits.items() if count == 0]
    heapq.heapify(ready)
    ordered: list[Site] = []
    while ready:
        site = by_index[heapq.heappop(ready)]
        ordered.append(site)
        for edge in site.all_outs:
            if not edge.policy.feedback:
                waits[edge.target.index] -= 1
                if waits[edge.target.index] == 0:
                    heapq.heappush(ready, edge.target.index)
    return ordered


def dominators(sites: Sequence[Site]) -> list[Site | None]:
    """Give for each site the nearest other one that all ways to it pass; ``None`` where ways begin apart.

    Sites are in order; ways begin at the root and at sources. Sets of sites are the bits of a number.
    """
    everything = (1 << len(sites)) - 1
    passed = [everything] * len(sites)
    changed = True
    while changed:
        changed = False
        for site in sites:
            found = 0 if site.index == 0 or site.is_source else everything
            for edge in site.ins:
                found &= passed[edge.source.index]
            found |= 1 << site.index
            changed = changed or found != passed[site.index]
            passed[site.index] = found
    nearest: list[Site | None] = []
    for site in sites:
        above = [one for one in sites if one is not site and passed[site.index] >> one.index & 1]
        nearest.append(max(above, key=lambda one: passed[one.index].bit_count(), default=None))
    return nearest


def pair(sites: Sequence[Site]) -> None:
    """Give each join its dominator."""
    joins = [site for site in sites if site.signature.takes is Takes.JOIN]
    if not joins:
        return
    nearest = dominators(sites)
    for site in joins:
        dominator = nearest[site.index]
        if dominator is None:
            raise GraphError(
                f"join {site.key}: what comes to {', '.join(slot.name for slot in site.signature.slots)} "
                "descends from "
                "no common item; each source is a run of its own, so branches must part behind one node"
            )
        site.join = JoinPlan(site, dominator, site.signature.slots)
    for site in sites:
        site.joins = tuple(join.join for join in reversed(joins) if join.join and join.join.dominator is site)


def hear(sites: Sequence[Site]) -> None:
    """Find out which sites streams and messages can come to, and which joins pair chunk by chunk."""
    for site in sites:
        if site.join is not None:
            site.join.by_chunk = _is_chunkwise(site.join)
    while True:
        _spread_hearing(sites)
        wrong = [
            site.join
            for site in sites
            if site.join is not None and site.join.by_chunk and not gives_streams(site.join.dominator)
        ]
        if not wrong:
            return
        for join in wrong:
            join.by_chunk = False


def order(sites: Sequence[Site]) -> None:
    """Find the joins by chunk whose items may come in another order, and spend credit behind where they do.

    Branches that meet keep no order between them; a join inside restores it.
    """
    for site in sites:
        join = site.join
        if join is not None and join.by_chunk:
            mixed: set[int] = set()
            for one in between(join):
                before = [edge.source for edge in one.ins if not edge.policy.on_error]
                if (len(before) > 1 and one.join is None) or any(each.index in mixed for each in before):
                    mixed.add(one.index)
                    emits = one.signature.gives is Gives.STREAM or one.signature.context is not None
                    join.reorders = join.reorders or emits


def _is_chunkwise(join: JoinPlan) -> bool:
    """Say whether all that is between a join and its dominator works chunk by chunk; inner joins are done."""
    return all(slot.takes in CHUNKWISE for slot in join.slots) and all(
        site.works_by_chunk for site in between(join)
    )


def between(join: JoinPlan) -> list[Site]:
    """Give the sites that data passes on its way from a dominator to its join, by forward edges."""
    found: dict[int, Site] = {}
    stack = [edge.source for edge in join.site.ins]
    while stack:
        site = stack.pop()
        if site is not join.dominator and site.index not in found:
            found[site.index] = site
            stack += [
                edge.source for edge in site.ins if not edge.policy.feedback and not edge.policy.on_error
            ]
    return [found[index] for index in sorted(found)]


def _spread_hearing(sites: Sequence[Site]) -> None:
    for site in sites:
        site.hears_streams = site.hears_messages = False
    changed = True
    while changed:
        changed = False
        for site in sites:
            data = [edge.source for edge in site.ins if not edge.policy.on_error]
            streams = any(map(gives_streams, data))
            messages = len(data) < len(site.ins) or any(map(gives_messages, data))
            changed = changed or (streams, messages) != (site.hears_streams, site.hears_messages)
            site.hears_streams, site.hears_messages = streams, messages


def gives_streams(site: Site) -> bool:
    """Say whether a stream can come out of a site."""
    signature = site.signature
    if site.node is None or signature.gives is Gives.STREAM or signature.context is not None:
        return True
    return site.works_by_chunk and site.hears_streams and not signature.spreads


def look_ahead(sites: Sequence[Site]) -> None:
    """Write on each site through how many nodes a stream that comes to it goes chunk by chunk."""
    for site in reversed(sites):
        if site.works_by_chunk:
            behind = (edge.target.ahead for edge in site.outs if not edge.policy.feedback)
            site.ahead = 1 + max(behind, default=0)


def names_streams(site: Site) -> bool:
    """Say whether a stream can come out of a site that was given its id by hand."""
    seen: set[int] = set()
    stack = [site]
    while stack:
        one = stack.pop()
        if one.signature.context is not None:
            return True
        if one.index not in seen and one.works_by_chunk:
            seen.add(one.index)
            stack += [edge.source for edge in one.ins if not edge.policy.on_error]
    return False


def gives_messages(site: Site) -> bool:
    """Say whether a message can come out of a site."""
    signature = site.signature
    if site.node is None or signature.context is not None:
        return True
    if signature.gives is Gives.STREAM:
        return False
    return site.hears_messages or signature.may_spread or not site.works_by_chunk


def surely_streaming(sites: Sequence[Site]) -> frozenset[int]:
    """Give the sites that certainly give streams, whatever a run is given."""
    found = {site.index for site in sites if site.signature.gives is Gives.STREAM}
    before = -1
    while before != len(found):
        before = len(found)
        for site in sites:
            if site.works_by_chunk and not site.signature.spreads:
                data = [e.source for e in site.ins if not e.policy.on_error and not e.policy.feedback]
                heard = [site.join.dominator] if site.join is not None else data
                if any(one.index in found for one in heard):
                    found.add(site.index)
    return frozenset(found)


def gather(sites: Sequence[Site]) -> None:
    """Give each site that returns spreads the gathers that close them."""
    deepest = 1 + sum(site.is_gather for site in sites)
    for site in sites:
        if deepest > 1 and site.signature.may_spread:
            found = _closing(site, deepest)
            site.gathers = tuple(one for one in sites if one.index in found)


def _closing(start: Site, deepest: int) -> set[int]:
    """Follow the parts of a spread; inner spreads are closed by gathers of their own."""
    found: set[int] = set()
    seen: set[tuple[int, int]] = set()
    stack = [(edge.target, 1) for edge in start.outs]
    while stack:
        site, depth = stack.pop()
        if (site.index, depth) in seen or depth > deepest:
            continue
        seen.add((site.index, depth))
        if site.is_gather:
            depth -= 1
        if depth == 0:
            found.add(site.index)
            continue
        depth += site.signature.opens
        stack += [(edge.target, depth) for edge in site.all_outs]
    return found


def reach(sites: Sequence[Site], edges: Iterable[Edge]) -> None:
    """Write on each edge at which joins and gathers an item that takes it can still arrive."""
    found: dict[int, set[Place]] = {edge.index: set() for edge in edges}
    for site in sites:
        if site.is_gather:
            _spread_back(site.ins, (site.index, GATHER), {site.index}, found)
        if site.join is not None:
            for slot in range(len(site.join.slots)):
                ins = [edge for edge in site.ins if edge.slot == slot]
                stops = {site.index, site.join.dominator.index}
                _spread_back(ins, (site.index, slot), stops, found)
    for edge in edges:
        edge.reach = frozenset(found[edge.index])


def _spread_back(ins: Iterable[Edge], place: Place, stops: set[int], found: dict[int, set[Place]]) -> None:
    """Go up from a place to the sites at which another pairing begins."""
    stack = list(ins)
    while stack:
        edge = stack.pop()
        if place not in found[edge.index]:
            found[edge.index].add(place)
            if edge.source.index not in stops:
                stack += edge.source.ins


def sites_before(site: Site) -> set[int]:
    """Give the nodes that a node can be reached from, by index."""
    found: set[int] = set()
    ahead = [edge.source for edge in site.ins]
    while ahead:
        source = ahead.pop()
        if source.index not in found:
            found.add(source.index)
            ahead += [edge.source for edge in source.ins]
    return found
