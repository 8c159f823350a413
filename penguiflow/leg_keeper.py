"""Leg keepers: what of a stream is on its way to the journal, and what of it was there before.

Owns the numbers and the order of what is written (`kept_leg` says when). Invariant: what is recorded of an
attempt passes in the order in which it was recorded, whoever gives it first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .credit import FREE
from .items import Chunk
from .kept import KeptStream
from .known_order import KnownOrder
from .run_journal import RunJournal
from .waits import Wait

if TYPE_CHECKING:
    from .inbox import Sender
    from .journal import Statement
    from .transaction import Transaction


class LegKeeper:
    """What of a stream is on its way to the journal.

    Args:
        journal: of its run.
        maker: the step that gives it; ``None`` where a node works chunk by chunk.
        above: the attempt of the stream that such a node works on.
        options: how it was opened.
    """

    __slots__ = (
        "above",
        "afterwards",
        "ending",
        "journal",
        "known",
        "maker",
        "offset",
        "options",
        "order",
        "passed",
        "pending",
        "processed",
        "sources",
        "state",
        "statements",
        "turns",
        "watchers",
    )

    def __init__(
        self, journal: RunJournal, maker: Transaction | None, above: int, options: dict[str, Any]
    ) -> None:
        self.journal: RunJournal = journal
        self.maker: Transaction | None = maker
        self.above: int = above
        self.afterwards: tuple[Callable[[], None], ...] = ()
        self.options: dict[str, Any] = options
        self.known: KeptStream | None = None
        self.offset: int = 0
        self.order: KnownOrder | None = None  # as long as chunks come that are recorded
        self.passed: int = 0  # so many chunks of this attempt have been written, or were known
        self.pending: deque[list[Chunk[Any]]] = deque()
        self.ending: bool = False
        self.sources: list[int | str] = []
        self.processed: list[int | str] = []
        self.state: dict[str, Any] = {}
        self.statements: tuple[Statement, ...] = ()
        self.turns: list[Wait] = []
        self.watchers: tuple[Sender, ...] = ()

    def unwritten(self) -> int:
        """Count the chunks that are on their way to the journal."""
        return sum(map(len, self.pending))

    def goes_on_with(self, known: KeptStream) -> None:
        """Take note of what is recorded of this attempt."""
        self.known = known
        if self.maker is None and known.chunks:
            self.order = KnownOrder(known)

    def in_order(self, batch: list[Chunk[Any]], *, is_sender: bool) -> list[Chunk[Any]]:
        """Give the chunks whose turn has come, those of a batch among them; others wait for theirs."""
        if self.order is None:
            return batch
        made = list(zip(batch, self.sources, strict=True))
        ready = self.order.pass_on(made)
        gone = {id(chunk) for chunk, _ in ready}
        for chunk in batch if is_sender else ():
            if id(chunk) not in gone:  # who waits here may need the credit of those that are to come first
                chunk._ticket.home()
                chunk._ticket = FREE
        if self.order.is_over:
            self.order = None
        self.sources = [source for _, source in ready]
        return [chunk for chunk, _ in ready]

    def begin_attempt(self) -> None:
        """Forget what was of a lower attempt."""
        self.known = self.order = None
        self.passed = 0
        self.pending.clear()
        self.sources, self.processed = [], []
        self.ending = False
