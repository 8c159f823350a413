"""Admission: whether a payload fits through the door.

Owns the check of a run's input against the entries' annotations, with pydantic, and the text that names the
field that is wrong. Invariant: a payload is looked at, never converted.
"""

from __future__ import annotations

import functools
from typing import Any

from pydantic import (
    ConfigDict,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)

from .errors import RunRejected
from .graph import Edge, Plan
from .signature import Takes

PLAIN = frozenset({str, bytes, int, float, bool})
"""Types that have no fields to look at."""


def check_payload(plan: Plan, payload: Any, to: str | None, *, is_stream: bool) -> None:
    """Raise `RunRejected` where no entry takes a payload."""
    edges = [edge for edge in plan.root.outs if to is None or to in (edge.target.name, edge.target.key)]
    names = ", ".join(edge.target.key for edge in plan.root.outs)
    if not edges:
        what = f"has no entry {to!r}" if to is not None else "has nothing to enter by, only sources"
        raise RunRejected(f"flow {plan.name} {what}; its entries: {names or 'none'}")
    if is_stream:
        return
    problems = [_problem(edge, payload) for edge in edges]
    if all(problem is not None for problem in problems):
        details = "; ".join(problem for problem in problems if problem is not None)
        error = RunRejected(f"flow {plan.name} does not accept this payload: {details}")
        raise error


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
    if edge.takes is Takes.ITEM and type(payload) is edge.type and edge.type in PLAIN:
        return None
    if edge.takes in (Takes.STREAM, Takes.CHUNK):
        return f"{node} takes a {edge.takes.value}: give an async iterable, or open a session"
    if edge.accepts is not None and not edge.accepts(payload):
        return f"{node} takes {edge.expected}, not {type(payload).__name__}{_field(edge, payload)}"
    text = _field(edge, payload)
    return f"{node} takes {edge.expected}{text}" if text else None


def _field(edge: Edge, payload: Any) -> str:
    adapter = _adapter(edge)
    if adapter is None:
        return ""
    try:
        adapter.validate_python(payload, strict=True)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f" ({where + ': ' if where else ''}{first['msg']})"
    return ""


@functools.lru_cache(maxsize=1024)
def _adapter(edge: Edge) -> TypeAdapter[Any] | None:
    """Give the validator of an entry; ``None`` where pydantic has no word for its type."""
    if edge.type is Any:
        return None
    try:
        return TypeAdapter(edge.type, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:
        pass
    except PydanticSchemaGenerationError:
        return None
    try:
        return TypeAdapter(edge.type)
    except (PydanticUserError, PydanticSchemaGenerationError):
        return None
