"""Traceparent: the two headers by which a trace goes on in another process.

Owns the grammar of W3C Trace Context, levels 1 and 2. Invariant: what is written here is valid, and no header
that comes in raises. Knows neither the names of headers, nor spans, nor who samples.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SAMPLED = 0x01
RANDOM = 0x02
KNOWN_FLAGS = SAMPLED | RANDOM
"""The flags of the standard (level 1: sampled, level 2: random trace id); others must not be passed on."""

IDS = re.compile(r"(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}")
PARENT = re.compile(r"([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

MOST_MEMBERS = 32
MEMBER = re.compile(
    r"([a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
"""A key, alone or as tenant@system, and its value. Keys may begin with a digit since level 2."""


@dataclass(slots=True)
class TraceParent:
    """Where a trace comes from: its id, the span that called, and flags.

    Args:
        trace_id: 32 digits, hexadecimal and lower case, not all zero.
        span_id: 16 of them.
        flags: one byte.
    """

    trace_id: str
    span_id: str
    flags: int

    def __post_init__(self) -> None:
        """Refuse what could not be written down, with a ``ValueError``."""
        if not IDS.fullmatch(f"{self.trace_id}-{self.span_id}") or not 0 <= self.flags <= 0xFF:
            raise ValueError(f"{self!r} is no traceparent: it takes 32 and 16 hexadecimal digits, and a byte")

    @property
    def sampled(self) -> bool:
        """Whether the caller may have recorded its span."""
        return bool(self.flags & SAMPLED)


def parse(text: object) -> TraceParent | None:
    """Read a ``traceparent``; ``None`` for what the standard calls invalid, which voids its ``tracestate``.

    Of a later version, what version 00 knows is read. Spaces and tabs around the value are not part of it.
    """
    found = PARENT.fullmatch(text.strip(" \t")) if isinstance(text, str) else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    return TraceParent(trace_id, span_id, int(flags, 16) & KNOWN_FLAGS)


def format(parent: TraceParent) -> str:
    """Write a ``traceparent`` of version 00; flags that it does not know are left out."""
    return f"00-{parent.trace_id}-{parent.span_id}-{parent.flags & KNOWN_FLAGS:02x}"


def clean_tracestate(text: object) -> str:
    """Give a ``tracestate`` as it may be passed on: ``""`` if any of it is invalid, or over 32 members.

    Empty members are left out, and of members with the same key the first is kept. Several headers are one,
    joined by commas.
    """
    if not isinstance(text, str):
        return ""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    if len(members) > MOST_MEMBERS:
        return ""
    kept: dict[str, str] = {}
    for member in members:
        found = MEMBER.fullmatch(member)
        if found is None:
            return ""
        kept.setdefault(found[1], member)
    return ",".join(kept.values())
