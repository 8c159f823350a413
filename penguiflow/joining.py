"""Fan-in: when a join has what it needs, and what a gather has gathered.

Owns the state of one pairing (`Pairing`) and of one spread's parts (`Gathering`). Invariant: each is decided
exactly once, when every slot is filled or silent (rules 4.2 to 4.4). Knows nothing of edges, runs or tasks;
what to do with a decision is told through one callback.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from .completion import Token, Tokens


class SlotState(Enum):
    """What a slot of a pairing holds."""

    OPEN = "open"
    SILENT = "silent"


class Verdict(Enum):
    """What becomes of a decided pairing."""

    RUN = "run"
    SKIP = "skip"
    SILENT = "silent"


class Pairing:
    """One item per slot, of what descends from the same item.

    Args:
        site: index of the join in its plan.
        optional: for each slot whether it may stay empty.
        held: tokens of places behind the join, held for as long as the pairing is undecided.
        decided: called once, when all slots are filled or silent.
    """

    __slots__ = ("closed", "decided", "held", "missing", "optional", "slots", "tokens", "verdict")

    def __init__(
        self, site: int, optional: tuple[bool, ...], held: Tokens, decided: Callable[[Pairing], None]
    ) -> None:
        self.slots: list[Any] = [SlotState.OPEN] * len(optional)
        self.optional: tuple[bool, ...] = optional
        self.held: Tokens = held
        self.decided: Callable[[Pairing], None] = decided
        self.missing: int = len(optional)
        self.closed: bool = False
        self.verdict: Verdict | None = None
        self.tokens: Tokens = tuple(Token(self, (site, slot), slot) for slot in range(len(optional)))

    def fill(self, slot: int, item: Any) -> bool:
        """Put an item into its slot; ``False`` where one is there already, or the pairing is over."""
        if self.verdict is not None or self.slots[slot] is not SlotState.OPEN:
            return False
        self.slots[slot] = item
        self._one_less()
        return True

    def exhausted(self, token: Token) -> None:
        """Take note that nothing can reach a slot any more: it is silent unless it is filled."""
        if self.verdict is None and self.slots[token.slot] is SlotState.OPEN:
            self.slots[token.slot] = SlotState.SILENT
            self._one_less()

    def _one_less(self) -> None:
        self.missing -= 1
        if self.missing == 0:
            self.verdict = self._judge()
            self.decided(self)

    def _judge(self) -> Verdict:
        silent = [state is SlotState.SILENT for state in self.slots]
        if all(silent):
            return Verdict.SILENT
        if any(gone and not may for gone, may in zip(silent, self.optional, strict=True)):
            return Verdict.SKIP
        return Verdict.RUN

    def items(self) -> list[Any]:
        """Give what has come, slot by slot, ``None`` for a silent one."""
        return [None if state is SlotState.SILENT else state for state in self.slots]

    def arrived(self) -> list[Any]:
        """Give only what has come."""
        return [state for state in self.slots if not isinstance(state, SlotState)]

    def close(self) -> list[Any]:
        """End for good; gives what had come."""
        arrived = self.arrived()
        self.slots = [SlotState.SILENT] * len(self.slots)
        self.verdict = Verdict.SILENT
        self.closed = True
        return arrived


class Gathering:
    """The parts of one spread on their way to one gather.

    Args:
        site: index of the gather in its plan.
        held: tokens of places behind the gather, held until it is complete.
        complete: called once, when the spread is over and no part is on its way any more.
    """

    __slots__ = ("complete", "count", "held", "live", "origins", "parts", "site")

    def __init__(self, site: int, held: Tokens, complete: Callable[[Gathering], None]) -> None:
        self.site: int = site
        self.held: Tokens = held
        self.complete: Callable[[Gathering], None] = complete
        self.parts: dict[int, list[Any]] = {}
        self.count: int = 0
        self.live: int = 1  # the spread itself
        self.origins: list[Any] = []  # where parts come from, where somebody traces

    def part(self, index: int) -> Token:
        """Give the token of one more part."""
        self.live += 1
        return Token(self, (self.site, -1), index)

    def add(self, index: int, payload: Any) -> int:
        """Take over what came of a part; gives how many there are now."""
        self.parts.setdefault(index, []).append(payload)
        self.count += 1
        return self.count

    def exhausted(self, token: Token) -> None:
        """Take note that a part is over."""
        self.one_less()

    def one_less(self) -> None:
        """Count one part less, or the end of the spread itself."""
        self.live -= 1
        if self.live == 0:
            self.complete(self)

    def payloads(self) -> list[Any]:
        """Give all that came, in the order of the spread."""
        return [payload for index in sorted(self.parts) for payload in self.parts[index]]
