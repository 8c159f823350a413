"""Gates: where a stream waits before it parts into the branches of a join that pairs it chunk by chunk.

Owns how many pairings of a stream may be undecided at once, where its branches meet again before the join.
There chunks may change their order; if those that came first spent all the credit of a node behind it, and
waited at the join for an earlier one, that one would find no credit left (rule 2.5). Invariant: no more
pairings are undecided than the smallest window behind the gate has credits. Knows how many there are, not
what they pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .inbox import EMPTY, UNBOUNDED, Sender
from .leg import Leg

if TYPE_CHECKING:
    from .completion import Tokens
    from .core import RunCore
    from .credit import Account
    from .items import Chunk, Heading
    from .outlet import Outlet


class Pairs(Protocol):
    """A stream at a join by chunk."""

    gate: GatedLeg | None

    def undecided(self) -> int:
        """Say how many pairings are open."""

    def pairs(self) -> bool:
        """Say whether anything is paired any more."""


class GatedLeg(Leg):
    """A stream that parts behind a gate; the arguments are those of `Leg`."""

    __slots__ = ("_ending", "_joins", "_kept", "_limit", "_passing", "_shut", "_watchers")

    def __init__(
        self,
        run: RunCore,
        outlet: Outlet,
        heading: Heading,
        tokens: Tokens,
        account: Account | None,
        explicit: bool,
    ) -> None:
        super().__init__(run, outlet, heading, tokens, account, explicit)
        self._joins: list[Pairs] = []
        self._limit: int = run.engine.least_window
        self._kept: list[Chunk[Any]] = EMPTY
        self._watchers: list[Sender] = []
        self._shut: bool = False
        self._passing: bool = False
        self._ending: tuple[BaseException | None] | None = None

    def guard(self, joins: list[Pairs]) -> None:
        """Bound the pairings at these joins."""
        self._joins = joins
        for join in joins:
            join.gate = self

    # -- room

    def room(self) -> int:
        """Say how many chunks can be pushed without being kept, or standing at a door."""
        return min(super().room(), self._gap())

    def _gap(self) -> int:
        """Say how many chunks can pass the gate now."""
        if self._kept:
            return 0
        return min(
            (self._limit - join.undecided() for join in self._joins if join.pairs()), default=UNBOUNDED
        )

    def watch_gate(self, sender: Sender) -> None:
        """Tell a sender when chunks can pass again; nothing is told where they can."""
        if self._gap() <= 0:
            self._watchers.append(sender)

    # -- chunks

    def send(self, batch: list[Chunk[Any]]) -> None:
        """Let chunks pass, in order; those beyond the limit are kept, and the leg is stuck."""
        self._kept = self._kept + batch if self._kept else batch
        self.go_on()

    def go_on(self) -> None:
        """Let chunks pass, because pairings are decided."""
        if self._passing:
            return  # one thing after the other: whoever lets chunks pass now comes back to it
        self._passing = True
        while self._kept:
            batch, self._kept = self._kept, EMPTY
            gap = self._gap()
            batch, self._kept = batch[:gap], batch[gap:]
            if not batch:
                break
            super().send(batch)
        self._passing = False
        self._tell()

    def _tell(self) -> None:
        if self._kept and not self._shut:
            self._shut = True
            self.stuck += 1
        elif not self._kept and self._shut:
            self._shut = False
            if self._ending is not None:
                (error,), self._ending = self._ending, None
                super().finish(error)
            self.entered()
        if self._watchers and self._gap() > 0:
            watchers, self._watchers = self._watchers, []
            for sender in watchers:
                sender.entered()

    # -- life

    def finish(self, error: BaseException | None) -> None:
        """Let the terminal follow the last chunk, which may be kept."""
        if self._kept:
            self._ending = (error,)
        else:
            super().finish(error)

    def is_over(self) -> bool:
        """Say whether the terminal has gone."""
        return self.terminal is not None and self._ending is None

    def take_kept(self) -> list[Chunk[Any]]:
        """Give what is kept, to be let go; no end follows it."""
        kept, self._kept = self._kept, EMPTY
        self._ending = None
        return kept
