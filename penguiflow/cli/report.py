"""What `penguiflow check` prints: nodes and edges with their types, and what deserves a second look.

Reads the plan, which is checked already: what is wrong with a flow is a `GraphError` long before this. The
warnings are about what is legal and often not meant.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from penguiflow import Flow
from penguiflow.kinds import type_name
from penguiflow.node import Gives, Signature, Takes
from penguiflow.plan import Edge, Plan, Site
from penguiflow.policy import EdgePolicy, NodePolicy


def report(flow: Flow) -> str:
    """Describe a flow in tables."""
    plan = flow.plan
    sites = [site for site in plan.sites if site is not plan.root]
    edges = [edge for edge in plan.edges if edge.source is not plan.root]
    parts = [
        f"flow {plan.name!r}: {_count(len(sites), 'node')}, {_count(len(edges), 'edge')}; it builds",
        table(("node", "takes", "gives", "is", "policy"), (_node_row(site) for site in sites)),
    ]
    if edges:
        parts.append(table(("edge", "carries", "options"), (_edge_row(edge) for edge in edges)))
    warnings = list(_warnings(plan, sites, edges))
    parts.append("\n".join(f"warning: {text}" for text in warnings) or "no warnings")
    return "\n\n".join(parts)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out rows of text in columns under their heads."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _node_row(site: Site) -> tuple[str, str, str, str, str]:
    roles = (
        ("source", site.is_source),
        ("entry", site.is_entry),
        ("exit", site.is_exit),
        ("join", site.join is not None),
        ("inline", site.is_inline),
    )
    role = ", ".join(name for name, holds in roles if holds)
    return (site.key, _takes(site.signature), _gives(site.signature), role, _node_options(site))


def _takes(signature: Signature) -> str:
    if signature.takes is Takes.JOIN:
        return ", ".join(
            f"{slot.name}: {_wrapped(slot.takes, slot.type)}{' | None' if slot.optional else ''}"
            for slot in signature.slots
        )
    return _wrapped(signature.takes, signature.type)


def _wrapped(takes: Takes, kind: Any) -> str:
    word = {
        Takes.MESSAGE: "Message",
        Takes.CHUNK: "Chunk",
        Takes.STREAM: "Stream",
        Takes.GATHERED: "Gathered",
    }.get(takes)
    if takes is Takes.NOTHING:
        return "nothing"
    return f"{word}[{type_name(kind)}]" if word else type_name(kind)


def _gives(signature: Signature) -> str:
    name = type_name(signature.result)
    return f"stream of {name}" if signature.gives is Gives.STREAM else name


def _node_options(site: Site) -> str:
    if site.is_inline:
        return ""
    policy, usual = site.policy, NodePolicy()
    words = [f"concurrency {policy.concurrency}"]
    words += [
        f"{name} {getattr(policy, name):g} s"
        for name in ("timeout", "first_chunk_timeout", "idle_timeout")
        if getattr(policy, name) is not None
    ]
    if policy.retry is not None:
        words.append(f"{policy.retry.attempts} attempts")
    if policy.ordered != usual.ordered:
        words.append("unordered")
    if policy.thread:
        words.append("thread")
    return ", ".join(words)


def _edge_row(edge: Edge) -> tuple[str, str, str]:
    return (f"{edge.source.key} → {edge.target.key}", _carries(edge), _edge_options(edge))


def _carries(edge: Edge) -> str:
    signature = edge.source.signature
    if edge.policy.on_error:
        return "StepError"
    kind = get_args(signature.result)[:1] if signature.spreads else ()
    return type_name(kind[0] if kind else signature.result)


def _edge_options(edge: Edge) -> str:
    policy = edge.policy
    unbounded = policy.feedback or policy.on_error or edge.target.is_inline
    words = [] if unbounded else [f"capacity {policy.capacity}"]
    words += [name for name in ("feedback", "on_error", "balance") if getattr(policy, name)]
    if policy.overflow != "wait":
        words.append(f"overflow {policy.overflow}")
    if policy.capacity_bytes is not None:
        words.append(f"{policy.capacity_bytes} bytes")
    words += [
        f"{name} {getattr(function, '__name__', repr(function))}"
        for name, function in (("when", policy.when), ("partition", policy.partition))
        if function is not None
    ]
    return ", ".join(words)


def _warnings(plan: Plan, sites: Sequence[Site], edges: Sequence[Edge]) -> Iterator[str]:
    for site in sites:
        signature = site.signature
        if signature.type is Any and signature.takes not in (Takes.NOTHING, Takes.JOIN):
            yield f"{site.key} does not say what it takes: its input is not checked"
        if signature.result is Any:
            yield f"{site.key} does not say what it gives: whether it fits is seen in the run only"
        if site.policy.retry is not None and signature.takes is Takes.STREAM:
            yield f"{site.key} takes a stream: it is retried only while it has taken nothing of it"
        if len(site.outs) == 1 and site.outs[0].policy.when is not None:
            yield f"{site.outs[0].name} has a condition and no edge beside it: what fails it goes nowhere"
        if site.is_inline and any(edge.policy.capacity != EdgePolicy().capacity for edge in site.ins):
            yield f"{site.key} is a plain def and works on the edge: a capacity in front of it bounds nothing"
    for edge in edges:
        if edge.policy.overflow in ("drop_oldest", "drop_newest"):
            yield f"{edge.name} drops data when it is full (reported as drops, never silently)"
        if edge.policy.overflow == "fail":
            yield f"{edge.name} fails its sender when it is full"
        if edge.policy.feedback and edge.policy.when is None and not _may_give_nothing(edge.source.signature):
            yield f"{edge.name} is taken every time: the loop ends by the hop limit only"
    if not plan.exits:
        yield "nothing comes out of this flow: it has no exit"


def _may_give_nothing(signature: Signature) -> bool:
    is_union = len(getattr(signature.result, "__args__", ())) > 1
    return is_union or signature.may_spread or signature.context is not None


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
