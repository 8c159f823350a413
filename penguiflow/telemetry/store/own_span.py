"""Own spans: what a node says of its step, where nobody else traces.

Owns what is said, until the step has ended. Invariant: it is bounded, and plain; saying something after the
end is not heard. Whoever traces in earnest sets spans of their own.
"""

from __future__ import annotations

import random
import time
from itertools import islice
from typing import Any

from penguiflow.wire.traceparent import SAMPLED, TraceParent, clean_tracestate, format

from .coding import plain

MOST_EVENTS = 100
MOST_ATTRIBUTES = 50

_ids = random.SystemRandom()


class OwnSpan:
    """A span that lives in the trace store alone.

    Args:
        trace_id: the trace of its run.
        state: the ``tracestate`` that the run came with.
    """

    __slots__ = ("_id", "_state", "attributes", "events", "more", "trace_id")

    def __init__(self, trace_id: str, state: str) -> None:
        self._id = ""
        self._state = state
        self.trace_id: str = trace_id
        self.attributes: dict[str, Any] | None = None
        self.events: list[tuple[float, str, dict[str, Any]]] | None = None
        self.more: int = 0

    @property
    def span_id(self) -> str:
        """The span: 16 hexadecimal digits, chosen when somebody wants to know."""
        if not self._id:
            self._id = f"{_ids.getrandbits(64) or 1:016x}"
        return self._id

    def set_attribute(self, key: str, value: Any) -> None:
        """Say something about the step; it is kept with its trace."""
        said, key = self.attributes, str(key)
        if said is None:
            said = self.attributes = {}
        if key in said or len(said) < MOST_ATTRIBUTES:
            said[key] = plain(value)
        else:
            self.more += 1

    def add_event(self, name: str, attributes: dict[str, Any] | None = None) -> None:
        """Say that something has happened in the step; it is kept with its trace."""
        kept = islice((attributes or {}).items(), MOST_ATTRIBUTES)
        self.keep(time.time(), str(name), {str(key): plain(value) for key, value in kept})

    def keep(self, at: float, name: str, attributes: dict[str, Any]) -> None:
        """Keep an event, as long as there is room."""
        if self.events is None:
            self.events = []
        if len(self.events) < MOST_EVENTS:
            self.events.append((at, name, attributes))
        else:
            self.more += 1

    def headers(self) -> dict[str, str]:
        """Give ``traceparent`` and ``tracestate`` for a request to somebody else."""
        try:
            found = {"traceparent": format(TraceParent(self.trace_id, self.span_id, SAMPLED))}
        except ValueError:  # somebody has given the run a trace id that is none
            return {}
        state = clean_tracestate(self._state)
        return found | {"tracestate": state} if state else found

    def told(self, started: float) -> tuple[tuple[float, str, dict[str, Any]], ...]:
        """Give all that was said, as events: attributes first, what there was no room for last."""
        said = [(started, "attributes", self.attributes)] if self.attributes else []
        said += self.events or []
        if self.more:
            said.append((said[-1][0], "left out", {"count": self.more}))
        return tuple(said)
