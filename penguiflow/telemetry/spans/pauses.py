"""Pauses of a run as its span tells them: an event where one begins and where it is over, and their sum.

Owns the sum, and how many are told. Invariant: a pause that nobody ends is over with the run; the sum has all
of them, however many are told. Knows no run.
"""

from __future__ import annotations

from opentelemetry import trace

from .. import names

MOST_TOLD = 16
"""So many pauses are told by events, two each; the SDK keeps 128 of a span, the last ones."""


class Pauses:
    """The pauses of one run.

    Args:
        span: the one of the run.
    """

    __slots__ = ("_count", "_seconds", "_since", "_span")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._count = 0
        self._seconds = 0.0
        self._since: float | None = None

    def begin(self, at: float, at_ns: int) -> None:
        """Say that the run is paused from now on."""
        self._since = at
        self._count += 1
        if self._count <= MOST_TOLD:
            self._span.add_event(names.PAUSED, timestamp=at_ns)

    def end(self, at: float, at_ns: int) -> None:
        """Say that the run goes on."""
        self._add(at)
        if self._count <= MOST_TOLD:
            self._span.add_event(names.RESUMED, timestamp=at_ns)

    def close(self, at: float) -> None:
        """Say how long it was paused in all, if it was."""
        self._add(at)
        if self._count:
            self._span.set_attribute(names.RUN_PAUSED, self._seconds)

    def _add(self, at: float) -> None:
        if self._since is not None:
            self._seconds += at - self._since
            self._since = None
