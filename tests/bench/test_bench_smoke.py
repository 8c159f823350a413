"""Every row of the benchmarks runs and gives a figure; what the figures are is for the real run to say."""

from __future__ import annotations

import json
import math

import pytest

from .measure import TINY, Measured, Scale, compare
from .report import Outcome, as_json, outcome_of, status, table
from .table import ROWS, Row


def unmeasured(scale: Scale) -> Measured:
    """Stand where a row's measurement would."""
    raise AssertionError(f"not to be measured: {scale}")


def row(better: str, floor: float | None, aim: float | None) -> Row:
    """Make a row of the given bounds."""
    return Row("one", "what", "other", unmeasured, "higher" if better == "higher" else "lower", floor, aim)


def outcome(better: str, floor: float | None, aim: float | None, ratio: float) -> Outcome:
    """Make an outcome of the given figures."""
    return Outcome(row(better, floor, aim), Measured((ratio,), 1.0, 1.0, "µs"))


@pytest.mark.parametrize("each", ROWS, ids=lambda each: each.name)
def test_every_row_gives_a_figure(each: Row) -> None:
    """A row measures something, or says which peer it lacks."""
    result = outcome_of(each, TINY)
    if result.verdict == "skipped":
        pytest.skip(result.reason)
    assert result.reason == ""
    assert result.measured is not None
    assert [ratio for ratio in result.measured.ratios if not (math.isfinite(ratio) and ratio > 0)] == []


def test_names_are_unique() -> None:
    """``--only`` names one row."""
    names = [each.name for each in ROWS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize(
    ("better", "ratio", "verdict"),
    [
        ("higher", 3.0, "aim"),
        ("higher", 2.0, "pass"),
        ("higher", 1.99, "MISS"),
        ("lower", 2.0, "aim"),
        ("lower", 3.0, "pass"),
        ("lower", 3.01, "MISS"),
    ],
)
def test_verdicts(better: str, ratio: float, verdict: str) -> None:
    """A bound that is just reached is reached, in both directions."""
    floor, aim = (2.0, 3.0) if better == "higher" else (3.0, 2.0)
    assert outcome(better, floor, aim, ratio).verdict == verdict


def test_ratios_are_paired_by_round() -> None:
    """Faster than the other side is above one where higher is better, below one where lower is."""
    assert compare([1.0, 2.0], [4.0, 4.0], "higher", "µs").ratios == (4.0, 2.0)
    assert compare([1.0, 2.0], [4.0, 4.0], "lower", "µs").ratios == (0.25, 0.5)


def test_only_floors_and_broken_rows_fail() -> None:
    """Informing rows and missing peers never fail the run."""
    informs, missing = outcome("higher", None, None, 0.1), Outcome(row("higher", 2.0, 3.0), None, "no peer")
    assert status([informs, missing, outcome("higher", 2.0, 3.0, 2.5)]) == 0
    assert status([informs, outcome("higher", 2.0, 3.0, 1.0)]) == 1
    assert status([Outcome(row("higher", 2.0, 3.0), None, "broke", broken=True)]) == 1


def test_table_and_json_tell_the_same() -> None:
    """Whatever happened to a row is in the table and in the JSON."""
    outcomes = [
        outcome("higher", 2.0, 3.0, 2.5),
        Outcome(row("lower", 2.0, 1.0), None, "langgraph is missing"),
    ]
    written = json.loads(json.dumps(as_json(outcomes, TINY)))
    assert [(each["measured"], each["verdict"], each["reason"]) for each in written["rows"]] == [
        (2.5, "pass", None),
        (None, "skipped", "langgraph is missing"),
    ]
    assert "2.50 ×" in table(outcomes)
    assert "skipped: langgraph is missing" in table(outcomes)
