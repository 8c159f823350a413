"""What a run of the benchmarks says: verdicts, the readable table, the JSON, the exit status.

Invariant: table, JSON and status tell the same; a row without a measurement is in all three, with the reason.
"""

from __future__ import annotations

import os
import platform
import sys
import traceback
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from .measure import Measured, PeerMissing, Scale
from .table import Row

Verdict = Literal["aim", "pass", "MISS", "info", "skipped", "ERROR"]
HEADINGS = (
    "row",
    "what",
    "compared with",
    "measured",
    "rounds",
    "at least",
    "aim",
    "verdict",
    "ours",
    "theirs",
)
LIBRARIES = ("penguiflow", "anyio", "pydantic", "uvloop", "langgraph")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row with what it came to: a measurement, or the reason why there is none."""

    row: Row
    measured: Measured | None
    reason: str = ""
    broken: bool = False

    @property
    def verdict(self) -> Verdict:
        """Whether the aim is reached, or at least the floor."""
        if self.measured is None:
            return "ERROR" if self.broken else "skipped"
        if self.row.floor is None or self.row.aim is None:
            return "info"
        if self.reaches(self.row.aim):
            return "aim"
        return "pass" if self.reaches(self.row.floor) else "MISS"

    def reaches(self, bound: float) -> bool:
        """Tell whether the median is on the good side of a bound."""
        if self.measured is None:
            return False
        ratio = self.measured.ratio
        return ratio >= bound if self.row.better == "higher" else ratio <= bound


def outcome_of(row: Row, scale: Scale) -> Outcome:
    """Measure one row. A row that breaks is reported and does not take the others with it."""
    try:
        return Outcome(row, row.measure(scale))
    except PeerMissing as missing:
        return Outcome(row, None, str(missing))
    except Exception as error:
        traceback.print_exc()
        return Outcome(row, None, f"{type(error).__name__}: {error}", broken=True)


def status(outcomes: list[Outcome]) -> int:
    """Give the exit status: 1 when a floor is missed or a row is broken."""
    return 1 if any(outcome.verdict in ("MISS", "ERROR") for outcome in outcomes) else 0


def bound(row: Row, value: float | None) -> str:
    """Write a floor or an aim."""
    if value is None:
        return ""
    return f"{'≥' if row.better == 'higher' else '≤'} {value:g} {row.unit}"


def cells(outcome: Outcome) -> tuple[str, ...]:
    """Write one line of the table."""
    row, measured = outcome.row, outcome.measured
    bounds = bound(row, row.floor), bound(row, row.aim)
    if measured is None:
        return (
            row.name,
            row.what,
            row.against,
            "",
            "",
            *bounds,
            f"{outcome.verdict}: {outcome.reason}",
            "",
            "",
        )
    low, high = min(measured.ratios), max(measured.ratios)
    figures = f"{measured.ratio:.2f} {row.unit}", f"{low:.2f}–{high:.2f}"
    ours = f"{measured.ours:,.2f} {measured.unit}"
    theirs = "" if measured.base is None else f"{measured.base:,.2f} {measured.unit}"
    return (row.name, row.what, row.against, *figures, *bounds, ours, theirs, outcome.verdict)


def table(outcomes: list[Outcome]) -> str:
    """Write the readable table."""
    lines = [HEADINGS, *(cells(outcome) for outcome in outcomes)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def installed(library: str) -> str | None:
    """Give the version of a library, or nothing."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def machine() -> dict[str, Any]:
    """Say where the figures come from."""
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "libraries": {library: installed(library) for library in LIBRARIES},
    }


def as_json(outcomes: list[Outcome], scale: Scale) -> dict[str, Any]:
    """Give the run as JSON's own types."""
    return {
        "machine": machine(),
        "scale": {name: getattr(scale, name) for name in Scale.__slots__},
        "status": status(outcomes),
        "rows": [row_as_json(outcome) for outcome in outcomes],
    }


def row_as_json(outcome: Outcome) -> dict[str, Any]:
    """Give one row as JSON's own types."""
    row, measured = outcome.row, outcome.measured
    return {
        "name": row.name,
        "what": row.what,
        "compared_with": row.against or None,
        "better": row.better,
        "unit": row.unit,
        "floor": row.floor,
        "aim": row.aim,
        "verdict": outcome.verdict,
        "reason": outcome.reason or None,
        "measured": None if measured is None else measured.ratio,
        "rounds": [] if measured is None else list(measured.ratios),
        "ours": None if measured is None else measured.ours,
        "theirs": None if measured is None else measured.base,
        "sides_unit": None if measured is None else measured.unit,
    }
