"""Headings: what the items of one origin have in common.

Owns routing metadata and inheritance. Invariant: a heading is shared and never changed after it is made; what
user code can change is copied from it for each item.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Headers:
    """Routing metadata of an item, inherited by everything that descends from it.

    Args:
        tenant: on whose behalf the item travels.
        topic: what it is about.
        priority: higher is more urgent; 0 is ordinary.
        extra: anything else, by name.
    """

    tenant: str | None = None
    topic: str | None = None
    priority: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> Headers:
        """Give an independent copy."""
        return Headers(
            self.tenant, self.topic, self.priority, copy.deepcopy(self.extra) if self.extra else {}
        )


class Heading:
    """What all items of one origin have in common; shared, never changed after it is made."""

    __slots__ = ("attempt", "deadline", "headers", "meta", "path", "run_id", "stream_id", "trace_id")

    def __init__(
        self,
        path: tuple[str, ...],
        stream_id: str,
        attempt: int,
        run_id: str,
        trace_id: str,
        deadline: float | None,
        headers: Headers,
        meta: dict[str, Any],
    ) -> None:
        self.path: tuple[str, ...] = path
        self.stream_id: str = stream_id
        self.attempt: int = attempt
        self.run_id: str = run_id
        self.trace_id: str = trace_id
        self.deadline: float | None = deadline
        self.headers: Headers = headers
        self.meta: dict[str, Any] = meta

    def at(self, path: tuple[str, ...], attempt: int) -> Heading:
        """Give the same heading for another node, or another attempt."""
        return Heading(
            path,
            self.stream_id,
            attempt,
            self.run_id,
            self.trace_id,
            self.deadline,
            self.headers,
            self.meta,
        )
