"""A journal in memory: for tests, and for flows whose runs need not outlive their process.

Owns runs in dictionaries. Invariant: it keeps the protocol to the letter, leases too, except that nothing
outlives the process. No call waits, so none can be cancelled halfway. One lock makes it usable from several
event loops at once.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from penguiflow.journal import UNFINISHED, Record, RunChange, RunRow
from penguiflow.retention import IN_MEMORY, Retention

from .asking import (
    Part,
    check_name,
    check_options,
    check_owner,
    first_refusal,
    has_not_ended,
    is_name,
    no_such_run,
    not_open,
    parts_of,
    refused,
)

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Kept:
    """A run."""

    run_id: str
    flow: str
    status: str
    created: float
    updated: float
    owner: str
    lease_until: float
    size_bytes: int = 0
    records: dict[int, Record] = field(default_factory=dict)
    posts: dict[str, bytes] = field(default_factory=dict)

    def row(self, now: float) -> RunRow:
        """Give what is known of it."""
        owner = self.owner if self.lease_until > now else ""
        return RunRow(
            self.run_id,
            self.flow,
            self.status,
            self.created,
            self.updated,
            len(self.records),
            self.size_bytes,
            owner,
        )


class MemoryJournal:
    """A journal that is gone with its process.

    Args:
        retention: what is kept of runs that have ended: by default those of a day, 10,000 of them at most,
            with 256 MiB of records.
    """

    def __init__(self, *, retention: Retention = IN_MEMORY) -> None:
        check_options("MemoryJournal", retention)
        self.retention: Retention = retention
        self._lock = threading.Lock()
        self._opened = 0
        self._runs: dict[str, Kept] = {}
        self._unfinished: dict[str, Kept] = {}
        self._order: list[tuple[float, str]] = []

    def __repr__(self) -> str:
        """Name it as it is named in errors."""
        return "MemoryJournal()"

    async def open(self) -> None:
        """Get ready. It never waits."""
        with self._lock:
            self._opened += 1

    async def close(self) -> None:
        """Let go; what was appended stays for the next `open`. It never waits."""
        with self._lock:
            self._opened = max(0, self._opened - 1)

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        """Write records. It never waits."""
        parts = parts_of(repr(self), owner, records, changes)
        with self._lock:
            self._check()
            refusals = []
            for part in parts:
                kept = self._runs.get(part.run_id)
                known = None if kept is None else (kept.owner, len(kept.records))
                refusal = first_refusal(part, owner, known)
                if refusal is not None:
                    refusals.append(refusal)
            if refusals:
                raise refused(repr(self), refusals)
            now = time.time()
            for part in parts:
                self._write(part, owner, now, lease)

    def _write(self, part: Part, owner: str, now: float, lease: float) -> None:
        kept = self._runs.get(part.run_id)
        if kept is None:
            kept = Kept(part.run_id, part.flow or "", "running", now, now, owner, now + lease)
            self._runs[part.run_id] = self._unfinished[part.run_id] = kept
            insort(self._order, (now, part.run_id))
        for record in part.records:
            kept.records[record.seq] = record
        kept.size_bytes += part.size_bytes
        kept.updated = now
        if part.status is not None:
            kept.status = part.status
            if part.status != "running":
                kept.owner, kept.lease_until = "", 0.0
            if part.status not in UNFINISHED:
                self._unfinished.pop(part.run_id, None)

    async def read(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Record]:
        """Give records of a run. It never waits."""
        with self._lock:
            self._check()
            kept = self._runs.get(run_id)
            if kept is None:
                return []
            found = [record for record in kept.records.values() if record.seq > after]
            return found if limit is None else found[:limit]

    async def row(self, run_id: str) -> RunRow | None:
        """Give what is known of a run. It never waits."""
        with self._lock:
            self._check()
            kept = self._runs.get(run_id)
            return kept.row(time.time()) if kept is not None else None

    async def rows(
        self,
        *,
        flow: str | None = None,
        status: Collection[str] = (),
        limit: int = 100,
        before: RunRow | None = None,
        oldest_first: bool = False,
    ) -> list[RunRow]:
        """Give what is known of runs. It never waits."""
        found: list[RunRow] = []
        with self._lock:
            self._check()
            now = time.time()
            for run_id in self._in_order(before, oldest_first):
                if len(found) >= limit:
                    break
                kept = self._runs[run_id]
                if (flow is None or kept.flow == flow) and (not status or kept.status in status):
                    found.append(kept.row(now))
        return found

    def _in_order(self, before: RunRow | None, oldest_first: bool) -> Iterator[str]:
        order = self._order
        key = None if before is None else (before.created, before.run_id)
        if oldest_first:
            start = bisect_right(order, key) if key is not None else 0
            places = range(start, len(order))
        else:
            end = bisect_left(order, key) if key is not None else len(order)
            places = range(end - 1, -1, -1)
        return (order[place][1] for place in places)

    async def claim(
        self, owner: str, flow: str, lease: float, *, run_id: str | None = None, limit: int = 100
    ) -> list[RunRow]:
        """Take runs over. It never waits."""
        check_owner(repr(self), owner)
        with self._lock:
            self._check()
            now = time.time()
            named = self._unfinished.get(run_id) if run_id is not None else None
            asked = self._unfinished.values() if run_id is None else [named] if named is not None else []
            free = [
                kept
                for kept in asked
                if kept.flow == flow
                and kept.owner != owner
                and (not kept.owner or kept.lease_until <= now)
                and (kept.status == "running" or run_id is not None)
            ]
            free.sort(key=lambda kept: (kept.created, kept.run_id))
            for kept in free[:limit]:
                kept.owner, kept.lease_until = owner, now + lease
            return [kept.row(now) for kept in free[:limit]]

    async def renew(self, owner: str, lease: float) -> list[str]:
        """Hold on to the runs of an owner. It never waits."""
        return self._each_of(owner, lambda kept, now: (owner, now + lease))

    async def release(self, owner: str, run_ids: Collection[str] | None = None) -> None:
        """Give up runs of an owner. It never waits."""
        self._each_of(owner, lambda kept, now: ("", 0.0), None if run_ids is None else set(run_ids))

    def _each_of(
        self, owner: str, then: Callable[[Kept, float], tuple[str, float]], among: set[str] | None = None
    ) -> list[str]:
        check_owner(repr(self), owner)
        with self._lock:
            self._check()
            now = time.time()
            asked = self._unfinished.values()
            if among is not None:
                asked = {
                    run_id: self._unfinished[run_id] for run_id in among if run_id in self._unfinished
                }.values()
            mine = [kept for kept in asked if kept.owner == owner]
            for kept in mine:
                kept.owner, kept.lease_until = then(kept, now)
            return [kept.run_id for kept in mine]

    async def post(self, run_id: str, key: str, data: bytes) -> bool:
        """Leave something for a run. It never waits."""
        if not is_name(run_id):
            raise no_such_run(repr(self), run_id)
        check_name(repr(self), "key of a post", key)
        with self._lock:
            self._check()
            kept = self._runs.get(run_id)
            if kept is None:
                raise no_such_run(repr(self), run_id)
            if key in kept.posts:
                return False
            kept.posts[key] = data
            kept.updated = time.time()
            if kept.status == "interrupted":
                kept.status = "running"
            return True

    async def posts(self, run_ids: Collection[str]) -> Mapping[str, Mapping[str, bytes]]:
        """Give what was left for some runs. It never waits."""
        with self._lock:
            self._check()
            found = {run_id: self._runs[run_id] for run_id in run_ids if run_id in self._runs}
            return {run_id: dict(kept.posts) for run_id, kept in found.items() if kept.posts}

    async def prune(self, run_id: str, seqs: Collection[int]) -> None:
        """Forget single records of a run that has ended. It never waits."""
        with self._lock:
            self._check()
            kept = self._runs.get(run_id)
            if kept is None:
                return
            if kept.status in UNFINISHED:
                raise has_not_ended(repr(self), run_id, kept.status)
            for seq in seqs:
                record = kept.records.pop(seq, None)
                kept.size_bytes -= 0 if record is None else len(record.data)

    async def discard(self, run_ids: Collection[str]) -> int:
        """Forget runs. It never waits."""
        with self._lock:
            self._check()
            now = time.time()
            asked = [self._runs[run_id] for run_id in set(run_ids) if run_id in self._runs]
            gone = [kept for kept in asked if not kept.owner or kept.lease_until <= now]
            for kept in gone:
                del self._runs[kept.run_id]
                self._unfinished.pop(kept.run_id, None)
            places = {(kept.created, kept.run_id) for kept in gone}
            if places:
                self._order = [place for place in self._order if place not in places]
            return len(gone)

    async def size(self) -> tuple[int, int]:
        """Give how many runs there are, and how many bytes their records and posts have. It never waits."""
        with self._lock:
            self._check()
            left = sum(len(data) for kept in self._runs.values() for data in kept.posts.values())
            return len(self._runs), left + sum(kept.size_bytes for kept in self._runs.values())

    async def shrink(self) -> None:
        """Do nothing: what was forgotten is free already. It never waits."""
        with self._lock:
            self._check()

    def _check(self) -> None:
        if not self._opened:
            raise not_open(repr(self))
