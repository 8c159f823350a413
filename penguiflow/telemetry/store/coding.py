"""Coding: how what is kept becomes the values of a row, and these become records again.

Owns both directions. Invariant: what one writes the other reads; what was written by a careless hand is
read as nothing rather than as an error.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from ..records import ErrorRecord, EventRecord

MOST_PARTS = 4096
"""Timelines are far shorter; a longer one is damage."""

AS_THEY_ARE = (int, float, bytes, type(None))

Timeline = tuple[float, tuple[tuple[float, ...], ...]]


def pack_timeline(timeline: Timeline | None) -> bytes | None:
    """Put a timeline into few bytes: it may be kept a thousand times before it is written."""
    if timeline is None:
        return None
    width, parts = timeline
    flat = [value for part in parts for value in part]
    return struct.pack(f"<d{len(flat)}f", width, *flat)


def unpack_timeline(data: object) -> Timeline | None:
    """Read a timeline."""
    if (
        not isinstance(data, bytes)
        or len(data) < 8
        or (len(data) - 8) % 16
        or len(data) > 8 + 16 * MOST_PARTS
    ):
        return None
    width, *flat = struct.unpack(f"<d{(len(data) - 8) // 4}f", data)
    return width, tuple(tuple(flat[index : index + 4]) for index in range(0, len(flat), 4))


def encode(row: tuple[Any, ...]) -> list[Any]:
    """Make of a row what SQLite takes; runs in the writer's thread."""
    return [value if type(value) in AS_THEY_ARE else _encode(value) for value in row]


def _encode(value: Any) -> str:
    if isinstance(value, str):
        return value if value.isascii() else whole(value)
    if isinstance(value, ErrorRecord):
        value = {"kind": value.kind, "text": value.text, "causes": value.causes, "where": value.where}
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=repr)
    return whole(text)


def whole(text: str) -> str:
    """Spell out what is half a letter (of a surrogate pair): it can't be written."""
    return text.encode("utf-8", "backslashreplace").decode()


def read_json(text: object) -> Any:
    """Read what was written as JSON; ``None`` where there is nothing, or nothing sensible."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None


def read_error(text: object) -> ErrorRecord | None:
    """Read an error."""
    found = read_json(text)
    if not isinstance(found, dict):
        return None
    causes = tuple(map(str, found.get("causes") or ()))
    return ErrorRecord(str(found.get("kind")), str(found.get("text")), causes, str(found.get("where") or ""))


def read_events(text: object) -> tuple[EventRecord, ...]:
    """Read the events of a step."""
    found = read_json(text)
    return tuple(EventRecord(*event) for event in found if len(event) == 3) if isinstance(found, list) else ()


def plain(value: Any, depth: int = 0) -> Any:
    """Make of what a node says something that is its own no more: plain values, and lists of them."""
    kind = type(value)
    if kind is str:
        return value if len(value) <= 1000 else f"{value[:1000]}…"
    if value is None or kind is bool or kind is int or kind is float:
        return value
    if isinstance(value, list | tuple) and len(value) <= 100 and depth < 2:
        return [plain(one, depth + 1) for one in value]
    try:
        text = str(value)
    except Exception:
        text = f"<{kind.__name__}>"
    return text if len(text) <= 1000 else f"{text[:1000]}…"
