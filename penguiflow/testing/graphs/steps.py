"""The functions of a random flow: which writer writes which form.

Owns the table. Invariant: there is one writer for each form of `shapes`. Knows nothing of what they write.
"""

from __future__ import annotations

from collections.abc import Callable

from . import item_steps, whole_steps
from .conduct import Conduct, Function
from .shapes import Shape

WRITERS: dict[str, Callable[[Conduct, Shape], Function]] = {
    **dict.fromkeys(("async", "route", "enter", "work", "decide", "pack", "handler"), item_steps.plain),
    "def": item_steps.inline,
    "thread": item_steps.inline,
    "message": item_steps.enveloped,
    "chunk": item_steps.enveloped,
    "call": item_steps.calling,
    "map": item_steps.mapping,
    "yield": item_steps.yielding,
    "unpack": item_steps.yielding,
    "emit": item_steps.emitting,
    "emit_chunk": item_steps.emitting_chunks,
    "shared": item_steps.emitting_chunks,
    "open_stream": item_steps.opening,
    "spread": item_steps.spreading,
    "gather": whole_steps.gathering,
    "fold": whole_steps.folding,
    "stream": whole_steps.streaming,
    "take": whole_steps.taking,
    "join": whole_steps.joining,
}


def write(conduct: Conduct, shape: Shape) -> Function:
    """Write the function of a node."""
    return WRITERS[shape.form](conduct, shape)
