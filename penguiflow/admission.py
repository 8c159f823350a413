"""Admission: whether a payload fits through the door.

Owns the check of a run's input against the entries, and the text that names the field that is wrong.
Invariant: the door takes what an edge takes, no more and no less; a payload is looked at, never converted.
"""

from __future__ import annotations

from typing import Any

from .checks import why_no_stream
from .complaints import complaint, given_name
from .errors import RunRejected
from .graph import Edge, Plan, addressed
from .signature import Takes

PLAIN = frozenset({str, bytes, int, float, bool})
"""Types that have no fields to look at."""


def check_payload(plan: Plan, payload: Any, to: str | None, *, is_stream: bool) -> bool:
    """Say whether an input goes in as a stream.

    Raises:
        RunRejected: no entry takes the payload, or the stream would reach an entry that can take none.
    """
    edges = _doors(plan, to)
    if is_stream:
        problems = [why_no_stream(edge, "an async iterable or a session") for edge in edges]
        wrong = next((problem for problem in problems if problem is not None), None)
        if wrong is not None:
            raise RunRejected(f"flow {plan.name} does not accept a stream: {wrong}")
        return True
    problems = [_problem(edge, payload) for edge in edges]
    if all(problem is not None for problem in problems):
        details = "; ".join(problem for problem in problems if problem is not None)
        raise RunRejected(f"flow {plan.name} does not accept this payload: {details}")
    return False


def _doors(plan: Plan, to: str | None) -> tuple[Edge, ...]:
    """Give the edges that an input may take."""
    edges, others = (plan.root.outs, ()) if to is None else addressed(plan.root.outs, to)
    if others:
        raise RunRejected(f"flow {plan.name}: to={to!r} can mean {', '.join(others)}; write which")
    if not edges:
        names = ", ".join(edge.target.key for edge in plan.root.outs)
        what = f"has no entry {to!r}" if to is not None else "has nothing to enter by, only sources"
        raise RunRejected(f"flow {plan.name} {what}; its entries: {names or 'none'}")
    return edges


def plain_inputs(plan: Plan) -> frozenset[type]:
    """Give the types whose every value all entries take: nothing of such a payload has to be looked at."""
    edges = plan.root.outs
    return frozenset(
        kind
        for kind in PLAIN
        if edges and all(edge.takes is Takes.ITEM and edge.type is kind for edge in edges)
    )


def _problem(edge: Edge, payload: Any) -> str | None:
    """Say what is wrong with a payload for one entry."""
    node = edge.target.key
    if edge.takes in (Takes.STREAM, Takes.CHUNK):
        return f"{node} takes a {edge.takes.value}: give an async iterable, or open a session"
    if edge.accepts is None or edge.accepts(payload):
        return None
    text = complaint(edge.type, payload)
    given = given_name(edge.type, payload)
    return f"{node} takes {edge.expected}, not {given}{f' ({text})' if text else ''}"
