"""Sayings: what a step calls and asks, told apart the same in each of its executions.

Owns one idea: what is said is known again by what it is, and by how often the same was said before. The order
alone would not do: of calls that are made side by side, another one may be first the next time.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from .run_journal import digest


class Sayings:
    """What one execution of a step has said so far."""

    __slots__ = ("_counts", "questions")

    def __init__(self) -> None:
        self._counts: dict[str, int] | None = None  # most steps call and ask nothing
        self.questions: int = 0

    def place(self, *said: Any) -> str:
        """Give what tells a saying from all others; what can't be told as JSON is told by its order only."""
        content = digest(*map(_told, said))
        self._counts = counts = self._counts if self._counts is not None else {}
        counts[content] = counts.get(content, 0) + 1
        return digest(content, counts[content])


def _told(said: Any) -> str:
    try:
        return to_json(said, serialize_unknown=True, inf_nan_mode="constants", bytes_mode="base64").decode()
    except ValueError:
        return ""
