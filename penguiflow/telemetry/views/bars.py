"""Bars: what a step or a stream did, drawn on the time axis of its run.

Owns which character stands where. Invariant: a bar is exactly as wide as its axis, and what took any time
at all takes one character. Where two things fall on one character, the one that took longer is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..store.coding import Timeline
from .wording import BLUE, CYAN, DIM, GREEN, RED, YELLOW, Paint

SOURCE, NODE, CREDIT = "·", "█", "░"
"""What a stream waited for."""

WORK, QUEUED, FIRST, RETRY, ERROR, OPEN, PAUSED = "━", "┄", "◆", "↻", "✗", "▸", "‖"

COLOURS = (
    (SOURCE, BLUE),
    (NODE, GREEN),
    (CREDIT, YELLOW),
    (WORK, GREEN),
    (QUEUED, DIM),
    (FIRST, CYAN),
    (RETRY, YELLOW),
    (ERROR, RED),
    (OPEN, CYAN),
    (PAUSED, YELLOW),
)

LEGEND = (
    (SOURCE, "waits for input"),
    (NODE, "works"),
    (CREDIT, "waits for credit"),
    (WORK, "a step, this and that"),
    (QUEUED, "queued"),
    (FIRST, "first chunk"),
    (RETRY, "chunk retried"),
    (ERROR, "failed"),
    (OPEN, "still open"),
    (PAUSED, "paused"),
)


@dataclass(frozen=True, slots=True)
class Axis:
    """The time axis.

    Attributes:
        start: when it begins.
        seconds: how long it is.
        width: how many characters it has.
    """

    start: float
    seconds: float
    width: int

    def column(self, at: float) -> int:
        """Give the character in which a moment falls."""
        if self.seconds <= 0:
            return 0
        return min(max(int((at - self.start) / self.seconds * self.width), 0), self.width - 1)

    def time(self, column: int) -> float:
        """Give the moment at which a character begins."""
        return self.start + column * self.seconds / self.width


class Bar:
    """One line on an axis.

    Args:
        axis: the axis.
    """

    def __init__(self, axis: Axis) -> None:
        self._axis = axis
        self._cells = [" "] * axis.width

    def fill(self, start: float, end: float, char: str) -> None:
        """Draw from one moment to another."""
        first, last = self._axis.column(start), self._axis.column(end)
        if last > first and self._axis.time(last) >= end:
            last -= 1
        self._cells[first : last + 1] = [char] * (last + 1 - first)

    def timeline(self, start: float, end: float, timeline: Timeline) -> None:
        """Draw what was waited for, from one moment to another."""
        width, parts = timeline
        axis = self._axis
        for column in range(axis.column(start), axis.column(end) + 1):
            left, right = max(axis.time(column), start) - start, min(axis.time(column + 1), end) - start
            if right <= left and column > axis.column(start):
                break
            took = spent(parts, width, left, max(right, left + 1e-9))
            if any(took):
                self._cells[column] = (SOURCE, NODE, CREDIT)[took.index(max(took))]
            elif self._cells[column] == " " and column > 0:
                self._cells[column] = self._cells[column - 1].replace(" ", NODE)

    def mark(self, at: float, char: str) -> None:
        """Mark a moment."""
        self._cells[self._axis.column(at)] = char

    def text(self, paint: Paint) -> str:
        """Give the line, runs of the same colour in one."""
        found, run = [], ""
        for char in [*self._cells, ""]:
            if run and char != run[-1]:
                found.append(paint(run, *(code for known, code in COLOURS if known == run[-1])))
                run = ""
            run += char
        return "".join(found)


def spent(parts: tuple[tuple[float, ...], ...], width: float, left: float, right: float) -> list[float]:
    """Give how long each was waited for between two moments, in seconds."""
    sums = [0.0, 0.0, 0.0]
    for index in range(int(left / width), min(int(right / width) + 1, len(parts))):
        overlap = min(right, (index + 1) * width) - max(left, index * width)
        share = max(0.0, overlap) / width
        for state in range(3):
            sums[state] += parts[index][state] * share
    return sums


def longest_silence(timeline: Timeline | None) -> float | None:
    """Say how long no chunk came at most between two; as exact as the parts of the timeline are long."""
    if timeline is None:
        return None
    width, parts = timeline
    with_chunks = [index for index, part in enumerate(parts) if part[3]]
    return max(
        ((after - before) * width for before, after in pairwise(with_chunks)),
        default=None,
    )


def legend(chars: set[str], paint: Paint) -> str:
    """Explain the characters that are used."""
    words = (
        f"{paint(char, *(code for known, code in COLOURS if known == char))} {text}"
        for char, text in LEGEND
        if char in chars
    )
    return "   ".join(words)
