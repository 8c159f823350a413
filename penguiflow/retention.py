"""Retention: how long runs that have ended are kept.

Owns the bounds and their enforcement, written once over the protocol (rule 5.7). Invariant: runs that have
not ended are never deleted, and of the others the oldest go first.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import get_args

import anyio.lowlevel

from .errors import JournalError
from .journal import UNFINISHED, Journal, KeptStatus, RunRow
from .sealing import unsealed

log = logging.getLogger("penguiflow")

PAGE = 1000

FINISHED: tuple[str, ...] = tuple(status for status in get_args(KeptStatus) if status not in UNFINISHED)

COMPACTED = "compacted"
"""What is left for a run whose details are forgotten."""

DELIVERING = frozenset({"opened", "chunks", "ended", "step", "sent"})
"""Records of these kinds are kept of the nodes whose output left the flow."""

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """Bounds for what is kept of runs that have ended; ``None`` is no bound.

    Args:
        max_age: how many seconds a run is kept after the last of it was written.
        max_runs: how many runs that have ended are kept.
        max_bytes: how many bytes the records of those may have in all.
        details: how many seconds it is kept what a run did inside, after it has ended: what it was given and
            what it delivered stays as long as the run, but it can't be replayed or forked any more.
    """

    max_age: float | None = None
    max_runs: int | None = None
    max_bytes: int | None = None
    details: float | None = None

    def __post_init__(self) -> None:
        """Refuse bounds that mean nothing."""
        for name in self.__slots__:
            bound = getattr(self, name)
            if bound is None:
                continue
            is_count = name in ("max_runs", "max_bytes")
            if not isinstance(bound, int if is_count else int | float) or isinstance(bound, bool):
                kind = "whole number" if is_count else "number of seconds"
                raise TypeError(f"Retention({name}={bound!r}): a bound is a {kind}, or None for none")
            if not bound >= 0:
                raise ValueError(f"Retention({name}={bound!r}): a bound is 0 or more, or None for none")


ON_DISK = Retention(max_age=30 * DAY, max_runs=100_000, max_bytes=2**30, details=7 * DAY)
"""What a store on a disk keeps unless it is told otherwise: 30 days, 100,000 runs, 1 GiB, details 7 days."""

IN_MEMORY = Retention(max_age=DAY, max_runs=10_000, max_bytes=2**28)
"""What a store in memory keeps unless it is told otherwise: a day, 10,000 runs, 256 MiB."""


async def retain(journal: Journal, retention: Retention) -> int:
    """Delete runs that have ended and are beyond the bounds, the oldest first; give how many.

    Before that, details are forgotten that are old enough. Ages are told by this machine's clock. If
    cancelled, some may have been deleted and others not.
    """
    if retention.details is not None:
        await compact(journal, time.time() - retention.details)
    oldest = -math.inf if retention.max_age is None else time.time() - retention.max_age
    deleted = await _delete_old(journal, oldest) if retention.max_age is not None else 0
    if retention.max_runs is None and retention.max_bytes is None:
        return deleted
    most_runs = math.inf if retention.max_runs is None else retention.max_runs
    most_bytes = math.inf if retention.max_bytes is None else retention.max_bytes
    runs, on_disk = await journal.size()
    if runs <= most_runs and on_disk <= most_bytes:
        return deleted  # the usual case, without a look at every run
    return deleted + await _delete_beyond(journal, most_runs, most_bytes)


async def compact(journal: Journal, older_than: float) -> int:
    """Forget the details of runs that have ended before a time; gives of how many.

    If cancelled, some were compacted and others not.
    """
    compacted = 0
    before: RunRow | None = None
    while True:
        page = await journal.rows(status=FINISHED, limit=PAGE, before=before, oldest_first=True)
        old = [row.run_id for row in page if row.updated < older_than]
        known = await journal.posts(old) if old else {}
        for run_id in old:
            if COMPACTED not in known.get(run_id, {}):
                await compact_run(journal, run_id)
                compacted += 1
        if len(page) < PAGE or page[-1].created >= older_than:
            return compacted
        before = page[-1]
        await anyio.lowlevel.checkpoint()  # a store in memory never waits


async def compact_run(journal: Journal, run_id: str) -> None:
    """Forget what a run that has ended did inside; one with a damaged record is left as it is.

    If cancelled, it is forgotten or not.
    """
    records = await journal.read(run_id)
    try:
        bodies = [unsealed(record)[0] for record in records]
    except JournalError as exc:
        log.warning("the details of run %s are kept, as long as the run itself: %s", run_id, exc)
        await journal.post(run_id, COMPACTED, b"")
        return
    exits = next((body.get("exits", ()) for body in reversed(bodies) if "status" in body), ())
    inside = [
        record.seq
        for record, body in zip(records, bodies, strict=True)
        if record.kind not in ("begun", "over")
        and not (record.kind in DELIVERING and body.get("node") in exits)
    ]
    if inside:
        await journal.prune(run_id, inside)
    await journal.post(run_id, COMPACTED, b"")


async def _delete_old(journal: Journal, oldest: float) -> int:
    """Delete what was written last before a time. A run is never written before it was made."""
    deleted = 0
    before: RunRow | None = None
    while True:
        page = await journal.rows(status=FINISHED, limit=PAGE, before=before, oldest_first=True)
        old = [row.run_id for row in page if row.updated < oldest]
        if old:
            deleted += await journal.discard(old)
        if len(page) < PAGE or page[-1].created >= oldest:
            return deleted
        before = page[-1]
        await anyio.lowlevel.checkpoint()  # a store in memory never waits


async def _delete_beyond(journal: Journal, most_runs: float, most_bytes: float) -> int:
    """Keep the latest runs, as many as fit; delete all older ones."""
    runs = size_bytes = 0
    full = False
    beyond: list[str] = []
    before: RunRow | None = None
    while True:
        page = await journal.rows(status=FINISHED, limit=PAGE, before=before)
        for row in page:
            full = full or runs + 1 > most_runs or size_bytes + row.size_bytes > most_bytes
            if full:
                beyond.append(row.run_id)
            else:
                runs += 1
                size_bytes += row.size_bytes
        if len(page) < PAGE:
            break
        before = page[-1]
        await anyio.lowlevel.checkpoint()
    deleted = 0
    for start in reversed(range(0, len(beyond), PAGE)):  # the oldest are the last
        deleted += await journal.discard(beyond[start : start + PAGE])
        await anyio.lowlevel.checkpoint()
    return deleted
