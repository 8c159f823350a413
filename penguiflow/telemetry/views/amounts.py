"""Amounts: how the sentences about a run write durations and shares.

Owns that alone.
"""

from __future__ import annotations


def seconds(value: float) -> str:
    """Write a duration with two or three digits that count."""
    if value < 0.0995:
        return f"{value * 1000:.1f} ms" if value < 0.00995 else f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 0.995 else f"{value:.1f} s" if value < 99.95 else f"{value:.0f} s"


def percent(part: float, whole: float) -> str:
    """Write what part of a whole something is."""
    return f"{100 * part / whole:.0f} %" if whole > 0 else "0 %"
