"""Checks: what makes a graph impossible, said when it is built.

Owns the errors about graphs, and with them what each edge accepts. Invariant: only what is certain is an
error; the rest is left to the run. Knows nothing of how graphs are written or analysed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args, get_origin

from .analysis import between, gives_streams, surely_streaming
from .errors import GraphError, StepError
from .graph import Edge, Site
from .items import Spread
from .kinds import class_of, members, simplify, type_name
from .signature import Gives, Signature, Takes, envelope_name
from .type_checks import checker
from .typing_rules import Match, match

MOST_IN_A_ROW = 128
"""So many nodes hand a stream on to one another at most.

What befalls a stream is told from node to node in one turn: 3 calls deep for each node where it opens, and 6
where it fails, of the 1,000 that Python allows. So 162 work on an empty stack.
"""


def attach_joins(sites: Sequence[Site]) -> None:
    """Lead each edge into a join to the parameter that is named after where it comes from."""
    for site in sites:
        if site.signature.takes is not Takes.JOIN:
            continue
        names = [slot.name for slot in site.signature.slots]
        for edge in site.ins:
            _check_join_edge(edge, names)
            edge.attach(names.index(edge.called))
        silent = [name for name in names if name not in {edge.called for edge in site.ins}]
        if silent:
            raise GraphError(
                f"join {site.key}: nothing named {', '.join(silent)} comes before it; each parameter without "
                "a default "
                "is fed by the predecessor of that name"
            )


def _check_join_edge(edge: Edge, names: list[str]) -> None:
    where = f"join {edge.target.key}"
    if edge.source.node is None:
        raise GraphError(
            f"{where}: nothing comes before it; each of its parameters ({', '.join(names)}) is fed by the "
            "predecessor "
            "of that name"
        )
    if edge.policy.feedback:
        raise GraphError(
            f"{where}: the feedback edge from {edge.source.key} can't feed a join; end it before"
        )
    if edge.policy.on_error:
        raise GraphError(
            f"{where}: failures of {edge.source.key} can't feed a join; put a node between that takes them"
        )
    if edge.called not in names:
        raise GraphError(
            f"join {where.removeprefix('join ')}: {edge.called} comes before it, but no parameter has that "
            "name; it has "
            f"{', '.join(names)}"
        )


def given(signature: Signature) -> tuple[Any, ...]:
    """Give the types of what a function gives; of spreads their parts. ``None`` is data only in a stream."""
    if signature.gives is Gives.STREAM:
        return _single(members(signature.result))
    found: list[Any] = []
    for member in members(signature.result):
        inside = members((get_args(member) or (Any,))[0]) if _is_spread(member) else (member,)
        found += [one for one in inside if one not in found and one is not type(None)]
    return _single(found)


def _single(kinds: Iterable[Any]) -> tuple[Any, ...]:
    """Take literals apart: each of their values may go elsewhere."""
    return tuple(
        Literal[value] if get_origin(kind) is Literal else kind
        for kind in kinds
        for value in (get_args(kind) if get_origin(kind) is Literal else (None,))
    )


def _is_spread(member: Any) -> bool:
    return isinstance(class_of(member), type) and issubclass(class_of(member), Spread)


def check_types(sites: Sequence[Site]) -> None:
    """Compare what each site gives with what follows it, and write on the edges what they accept."""
    for site in sites:
        if site.node is None:
            for edge in site.outs:
                edge.accepts, edge.routed = checker(edge.type), True
            continue
        kinds = given(site.signature)
        emits = site.signature.context is not None
        found = {edge: [match(kind, edge.type) for kind in kinds] for edge in site.outs}
        _check_groups(site, kinds, found)
        _check_taken(site, kinds, found, emits)
        targets = {edge.expected for edge in site.outs}
        for edge, results in found.items():
            edge.proven = all(one is Match.YES for one in results)
            edge.accepts = checker(edge.type) if emits or not edge.proven else None
            several = len(kinds) != 1 or Any in kinds or emits or len(targets) > 1
            edge.routed = edge.accepts is not None and several
        for edge in site.error_outs:
            _check_error_edge(edge)


def _check_taken(site: Site, kinds: tuple[Any, ...], found: dict[Edge, list[Match]], emits: bool) -> None:
    gives = " | ".join(map(type_name, kinds))
    for edge, results in found.items():
        if results and not emits and all(one is Match.NO for one in results):
            raise GraphError(
                f"{edge.name}: {site.key} gives {gives}, but {edge.target.key} takes {edge.expected}"
            )
    for at, kind in enumerate(kinds):
        if found and all(results[at] is Match.NO for results in found.values()):
            takers = ", ".join(f"{edge.target.key} takes {edge.expected}" for edge in found)
            raise GraphError(
                f"{site.key} can give {type_name(kind)}, and nobody behind it takes that: {takers}"
            )


def _check_groups(site: Site, kinds: tuple[Any, ...], found: dict[Edge, list[Match]]) -> None:
    """Refuse a fan-out by key or balance whose branches take different things: it does not look at types."""
    for edge in site.outs:
        if edge.group is None:
            continue
        first = edge.group.edges[0]
        for kind, one, other in zip(kinds, found[first], found[edge], strict=True):
            if (one is Match.NO) is not (other is Match.NO):
                raise GraphError(
                    f"{site.key}: the branches of its {edge.group.kind} must take the same, but of "
                    f"{first.target.key} and {edge.target.key} only one takes {type_name(kind)}"
                )


def _check_error_edge(edge: Edge) -> None:
    found = match(StepError, edge.type)
    if found is Match.NO or edge.takes not in (Takes.ITEM, Takes.MESSAGE):
        raise GraphError(
            f"{edge.name}: an on_error edge carries a StepError, but {edge.target.key} takes {edge.expected}"
        )
    edge.proven = found is Match.YES
    edge.accepts = None if edge.proven else checker(edge.type)
    edge.routed = edge.accepts is not None


def check_flow(sites: Sequence[Site]) -> None:
    """Refuse streams, spreads and orders that can't be; the sites are analysed already."""
    streaming = surely_streaming(sites)
    for site in sites:
        if site.is_source and site.ins:
            raise GraphError(f"{site.ins[0].name}: {site.key} is a source and takes nothing; use @node")
        for edge in site.ins:
            _check_streams(edge, streaming)
        _check_envelopes(site)
        if site.join is not None and site.join.by_chunk:
            _check_order(site)
    _check_gathers(sites)


def _check_streams(edge: Edge, streaming: frozenset[int]) -> None:
    if edge.source.index not in streaming or edge.policy.on_error:
        return
    if edge.policy.feedback:
        raise GraphError(
            f"{edge.name}: a feedback edge carries messages only (rule 2.7), but {edge.source.key} gives a "
            "stream; put "
            "a node between that takes Stream[…] and returns"
        )
    if edge.takes is Takes.MESSAGE:
        raise GraphError(
            f"{edge.name}: {edge.target.key} takes {edge.expected} behind a stream; take Chunk, "
            f"{type_name(edge.type)} "
            f"or Stream[{type_name(edge.type)}]"
        )
    if edge.target.ahead > MOST_IN_A_ROW:
        raise GraphError(f"{edge.name}: {_too_many_in_a_row(edge.target)}")


def _too_many_in_a_row(site: Site) -> str:
    inside = type_name(site.signature.type)
    return (
        f"{site.key} is the first of {site.ahead} nodes in a row that hand a stream on chunk by chunk, and "
        f"{MOST_IN_A_ROW} is the most; do the work of several in one, or put a node between that takes "
        f"Stream[{inside}] and yields"
    )


def why_no_stream(edge: Edge, giver: str) -> str | None:
    """Say why a stream can't take an edge, though that could not be known when the flow was built.

    ``None`` where it can.
    """
    site = edge.target
    inside = type_name(edge.type)
    if edge.takes is Takes.MESSAGE:
        remedy = f"take Chunk[{inside}], {inside} or Stream[{inside}]"
        return f"node {site.key} takes a message, and {giver} gave a stream; {remedy}"
    if site.ahead > MOST_IN_A_ROW:
        return f"{giver} gave a stream, and node {_too_many_in_a_row(site)}"
    loop = next((out for out in site.outs if out.policy.feedback), None)
    if loop is None or not site.works_by_chunk or site.signature.opens:
        return None
    return (
        f"node {site.key} hands a stream on, and {giver} gave one, but the feedback edge {loop.name} carries "
        f"messages only (rule 2.7); put a node before it that takes Stream[{inside}] and returns"
    )


def _check_envelopes(site: Site) -> None:
    """Refuse a site that takes streams or chunks where only messages can come."""
    for takes in (Takes.CHUNK, Takes.STREAM):
        ins = [edge for edge in site.ins if edge.takes is takes]
        if ins and not any(gives_streams(edge.source) and not edge.policy.feedback for edge in ins):
            sources = ", ".join(edge.source.key for edge in ins)
            raise GraphError(
                f"{site.key} takes {ins[0].expected}, but only messages come from {sources}; take "
                f"{type_name(ins[0].type)} or {envelope_name(Takes.MESSAGE, ins[0].type)}"
            )


def _check_order(site: Site) -> None:
    for one in between(site.join) if site.join is not None else []:
        if not one.policy.ordered:
            raise GraphError(
                f"{one.key} is ordered=False, and feeds the join {site.key}, which pairs chunk by chunk "
                "(rule 1.6); "
                "leave ordered=False out"
            )


def _check_gathers(sites: Sequence[Site]) -> None:
    closed = {gather.index for site in sites for gather in site.gathers}
    for site in sites:
        if site.is_gather and site.index not in closed and not any(map(_is_untold, _above(site))):
            raise GraphError(
                f"{site.key} takes {site.signature.expected}, but nothing before it returns a Spread that is "
                "still "
                "open there"
            )


def _is_untold(site: Site) -> bool:
    """Say whether it is not known what a node returns."""
    return site.node is not None and site.signature.may_spread and simplify(site.signature.result) is Any


def _above(site: Site) -> list[Site]:
    found: dict[int, Site] = {}
    stack = [edge.source for edge in site.ins]
    while stack:
        one = stack.pop()
        if one.index not in found:
            found[one.index] = one
            stack += [edge.source for edge in one.ins]
    return list(found.values())
