"""Prices: what tokens cost."""

from __future__ import annotations

from dataclasses import dataclass

from .deltas import Usage

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in one currency.

    Args:
        input: tokens of the conversation.
        output: tokens of the answer.
        cached: tokens of the conversation that come from a cache; as ``input`` where it is ``None``.
    """

    input: float
    output: float
    cached: float | None = None

    def of(self, usage: Usage) -> float:
        """Give what was used costs."""
        cached = self.input if self.cached is None else self.cached
        fresh = max(0, usage.input - usage.cached)
        return (fresh * self.input + usage.cached * cached + usage.output * self.output) / MILLION
