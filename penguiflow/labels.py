"""Labels: what drawings of a flow say, in whatever format.

Owns the words on nodes and edges, and how nested flows hold them. Invariant: the same flow gives the same
words in every process: no addresses, hashes or orders of sets. Knows nothing of formats.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .graph import Edge, Plan, Site
from .policy import DEFAULT_CAPACITY
from .signature import Takes

Kind = Literal["end", "source", "inline", "join", "gather", "stream", "node"]

OUTPUT = "output"


@dataclass(slots=True)
class Box:
    """A flow with what is in it: sites, and nested flows in their place."""

    name: str
    parts: list[Site | Box] = field(default_factory=list)


def boxes(plan: Plan) -> Box:
    """Put the sites of a plan (without the root) into their nested flows."""
    top = Box(plan.name)
    known: dict[tuple[str, ...], Box] = {(): top}
    for site in plan.sites:
        if site is plan.root:
            continue
        for depth in range(1, len(site.path)):
            path = site.path[:depth]
            if path not in known:
                known[path] = Box(path[-1])
                known[path[:-1]].parts.append(known[path])
        known[site.path[:-1]].parts.append(site)
    return top


def kind_of(site: Site) -> Kind:
    """Say what a site is, as far as its shape goes."""
    if site.node is None:
        return "end"
    if site.is_source:
        return "source"
    if site.join is not None:
        return "join"
    if site.is_gather:
        return "gather"
    if site.signature.takes is Takes.STREAM:
        return "stream"
    return "inline" if site.is_inline else "node"


def edge_words(edge: Edge) -> str:
    """Say which options an edge has, beyond the defaults."""
    policy = edge.policy
    words: list[str] = []
    if policy.on_error:
        words.append("on error")
    if policy.feedback:
        words.append("feedback")
    if policy.when is not None:
        words.append(f"when {function_name(policy.when)}")
    if policy.partition is not None:
        words.append(f"partition {function_name(policy.partition)}")
    if policy.balance:
        words.append("balance")
    if policy.capacity != DEFAULT_CAPACITY:
        words.append(f"capacity {policy.capacity}")
    if policy.capacity_bytes is not None:
        words.append(f"{policy.capacity_bytes} bytes")
    if policy.overflow != "wait":
        merge = f" {function_name(policy.merge)}" if policy.merge is not None else ""
        words.append(f"{policy.overflow}{merge}")
    return ", ".join(words)


def function_name(fn: Any) -> str:
    """Name a function without saying where it is in memory."""
    name = getattr(fn, "__name__", None) or type(fn).__name__
    return "…" if name == "<lambda>" else str(name)


def printable(text: str) -> str:
    """Show what can't be printed as what it is: control characters by their pictures, the rest by a mark."""
    return "".join(map(_shown, text.replace("\r\n", "\n")))


def _shown(character: str) -> str:
    code = ord(character)
    if character in "\n\t":
        return "\n" if character == "\n" else " "
    if code < 0x20:
        return chr(0x2400 + code)
    if 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xDFFF or code & 0xFFFF >= 0xFFFE:
        return "\N{REPLACEMENT CHARACTER}"
    return character
