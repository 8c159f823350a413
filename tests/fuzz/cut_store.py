"""A journal that is cut: a process that dies between two writes, without a process.

Owns `CutStore`, which takes so many appends and none from then on, and `Executions`, which sees every call of
a node's function and blames what a settled step, or a chunk that was worked off, is called again for (rules
5.1, 5.2). Knows the records by what `penguiflow.recorded` makes of them, not how they were written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import penguiflow.invoke
import penguiflow.scribe
from penguiflow.errors import JournalError
from penguiflow.journal import Journal, Record, RunChange
from penguiflow.recorded import Recorded


class CutStore:
    """A store behind a process that dies: it takes so many appends, and no other from then on.

    Args:
        inner: the store, which outlives the process.
        appends: how many it takes; ``None`` for all.
    """

    def __init__(self, inner: Journal, appends: int | None = None) -> None:
        self.inner = inner
        self.appends = appends
        self.taken = 0
        self.dead = False

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        """Write records, or die. If cancelled, what the store says holds."""
        if self.dead or self.taken == self.appends:
            self.dead = True
            raise JournalError("the process has died")
        self.taken += 1
        await self.inner.append(owner, records, changes, lease)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@contextmanager
def batches_of(records: int) -> Iterator[None]:
    """Let the scribe write so many records at a time: 1 makes every record a place to cut at."""
    before = penguiflow.scribe.MOST_AT_ONCE
    penguiflow.scribe.MOST_AT_ONCE = records
    try:
        yield
    finally:
        penguiflow.scribe.MOST_AT_ONCE = before


async def recorded_runs(store: Journal) -> dict[str, Recorded]:
    """Read all runs of a store. If cancelled, nothing has changed."""
    found = {}
    for row in await store.rows(limit=1000):
        recorded = found[row.run_id] = Recorded(row.run_id)
        for record in await store.read(row.run_id):
            recorded.add(record)
    return found


class Executions:
    """The calls of nodes' functions, over all processes that work on the runs of a store."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.calls: Counter[tuple[str, str]] = Counter()
        self.lives: Counter[tuple[str, str]] = Counter()  # in how many processes a step of a run was called
        self._known: dict[str, Recorded] = {}
        self._begun: set[tuple[str, str]] = set()

    @contextmanager
    def watched(self, known: dict[str, Recorded]) -> Iterator[None]:
        """See the calls of one process, which begins with what is recorded of runs."""
        self._known, self._begun = known, set()
        call = penguiflow.invoke._arguments

        def arguments(station: Any, step: Any) -> Any:
            self._called(step)
            return call(station, step)

        penguiflow.invoke._arguments = arguments
        try:
            yield
        finally:
            penguiflow.invoke._arguments = call

    def _called(self, step: Any) -> None:
        kept = step.kept
        if kept is None or not step.station.keeps or step.run.journal is None:
            return
        journal = step.run.journal
        run_id, node = journal.root.run_id, journal.name(step.station.site)
        self.calls[run_id, step.station.site.key] += 1
        known = self._known.get(run_id)
        if step.lane is not None:
            self._see_chunk(step, known, node)
            return
        if known is not None and kept.key in known.steps and known.steps[kept.key].settled:
            self.wrong.append(f"{node} of {run_id} was called again, though it is settled (rule 5.2)")
        who = run_id, kept.key
        if who not in self._begun:
            self._begun.add(who)
            self.lives[who] += 1
        if step.attempt < self.lives[who]:
            text = f"attempt {step.attempt} in the {self.lives[who]}. process that executes it"
            self.wrong.append(f"{node} of {run_id} is called as {text} (rule 5.2)")

    def _see_chunk(self, step: Any, known: Recorded | None, node: str) -> None:
        out = step.lane.out
        stream = known.streams.get((node, out.stream_id)) if known is not None else None
        if stream is not None and stream.made_before(step.kept.source, out.keeper.above) is not None:
            text = f"for {step.kept.source} of {out.stream_id}, which is worked off"
            self.wrong.append(f"{node} of {step.run.id} was called again {text} (rule 5.2)")
