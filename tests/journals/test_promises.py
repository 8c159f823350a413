"""All stores keep the promises of `Journal`; and whoever breaks one is found out by `check_journal`."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import anyio
import anyio.lowlevel
import pytest

from penguiflow.journal import Record, RunChange, RunRow, RunTaken
from penguiflow.journals import MemoryJournal
from penguiflow.journals.memory import Kept
from penguiflow.testing import check_journal

from .stores import Store


@pytest.mark.limit(120)
async def test_a_store_keeps_its_promises(store: Store) -> None:
    await check_journal(store.make, reopen=store.reopen)


class WritesHalf(MemoryJournal):
    """Writes run by run, and stops at the first that is taken."""

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        for run_id in dict.fromkeys([one.run_id for one in records] + [one.run_id for one in changes]):
            of_run = [one for one in records if one.run_id == run_id]
            await super().append(owner, of_run, [one for one in changes if one.run_id == run_id], lease)


class WritesBitByBit(MemoryJournal):
    """Waits between the records of an append, so that a cancellation gets in between."""

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        if len(changes) == 2 and len(records) == 5:
            firsts = {one.run_id: one for one in reversed(records)}
            await super().append(owner, list(firsts.values()), [changes[0], _going(changes[1])], lease)
            await anyio.lowlevel.checkpoint()
            rest = [one for one in records if one not in firsts.values()]
            await super().append(owner, rest, changes, lease)
        else:
            await super().append(owner, records, changes, lease)


def _going(change: RunChange) -> RunChange:
    return RunChange(change.run_id, change.flow, "running")


class KeepsNoFence(MemoryJournal):
    """Lets anybody write to a run."""

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        for run_id in [*(one.run_id for one in records), *(one.run_id for one in changes)]:
            kept = self._runs.get(run_id)
            if kept is not None and kept.status == "running":
                kept.owner = owner
        await super().append(owner, records, changes, lease)


class NamesNobody(MemoryJournal):
    """Does not say which runs are taken."""

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        try:
            await super().append(owner, records, changes, lease)
        except RunTaken as error:
            raise RunTaken(str(error), []) from error


class TakesGaps(MemoryJournal):
    """Numbers records by itself."""

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        numbered: list[Record] = []
        for one in records:
            last = len(self._runs[one.run_id].records) if one.run_id in self._runs else 0
            last += sum(earlier.run_id == one.run_id for earlier in numbered)
            seq = last + 1 if last and one.seq > last else one.seq
            numbered.append(Record(one.run_id, seq, one.kind, one.data))
        await super().append(owner, numbered, changes, lease)


class KeepsOwners(MemoryJournal):
    """Leaves a run that has ended to its owner."""

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        await super().append(owner, records, changes, lease)
        for one in changes:
            self._runs[one.run_id].owner, self._runs[one.run_id].lease_until = owner, 1e18


class TakesEmptyForNone(MemoryJournal):
    """Forgets records without data."""

    async def read(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Record]:
        return [one for one in await super().read(run_id, after, limit) if one.data]


class PagesTwice(MemoryJournal):
    """Begins each page with the last row of the one before."""

    async def rows(
        self,
        *,
        flow: str | None = None,
        status: Collection[str] = (),
        limit: int = 100,
        before: RunRow | None = None,
        oldest_first: bool = False,
    ) -> list[RunRow]:
        found = await super().rows(
            flow=flow, status=status, limit=limit, before=before, oldest_first=oldest_first
        )
        return ([before, *found])[:limit] if before is not None and found else found


class GivesRunsTwice(MemoryJournal):
    """Waits between the look at what is free and taking it."""

    async def claim(
        self, owner: str, flow: str, lease: float, *, run_id: str | None = None, limit: int = 100
    ) -> list[RunRow]:
        if run_id is not None:
            return await super().claim(owner, flow, lease, run_id=run_id, limit=limit)
        free: list[Kept] = sorted(
            (
                kept
                for kept in self._runs.values()
                if kept.flow == flow and kept.status == "running" and kept.lease_until <= time.time()
            ),
            key=lambda kept: (kept.created, kept.run_id),
        )[:limit]
        await anyio.lowlevel.checkpoint()
        for kept in free:
            kept.owner, kept.lease_until = owner, time.time() + lease
        return [kept.row(time.time()) for kept in free]


class ClaimsTheLatest(MemoryJournal):
    """Gives the latest runs first."""

    async def claim(
        self, owner: str, flow: str, lease: float, *, run_id: str | None = None, limit: int = 100
    ) -> list[RunRow]:
        return (await super().claim(owner, flow, lease, run_id=run_id, limit=limit))[::-1]


class LeasesForEver(MemoryJournal):
    """Lets no lease run out."""

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        await super().append(owner, records, changes, 1e18)


class RenewsAll(MemoryJournal):
    """Renews what has been taken over by others."""

    async def renew(self, owner: str, lease: float) -> list[str]:
        for kept in self._unfinished.values():
            if kept.run_id == "lost":
                kept.owner = owner
        return await super().renew(owner, lease)


class ReleasesAll(MemoryJournal):
    """Gives up all runs, also where some are named."""

    async def release(self, owner: str, run_ids: Collection[str] | None = None) -> None:
        await super().release(owner)


class KeepsTheLastPost(MemoryJournal):
    """Lets a second post take the place of the first."""

    async def post(self, run_id: str, key: str, data: bytes) -> bool:
        if run_id in self._runs:
            self._runs[run_id].posts.pop(key, None)
        return await super().post(run_id, key, data)


class LooksThenPosts(MemoryJournal):
    """Waits between the look whether there is a key and the post."""

    async def post(self, run_id: str, key: str, data: bytes) -> bool:
        there = await super().posts([run_id])
        await anyio.lowlevel.checkpoint()
        await super().post(run_id, key, data)
        return key not in there.get(run_id, {})


class WakesNobody(MemoryJournal):
    """Leaves a run interrupted for which there is an answer."""

    async def post(self, run_id: str, key: str, data: bytes) -> bool:
        status = self._runs[run_id].status if run_id in self._runs else ""
        left = await super().post(run_id, key, data)
        self._runs[run_id].status = status
        return left


class ListsAllPosts(MemoryJournal):
    """Gives runs for which nothing was left, too."""

    async def posts(self, run_ids: Collection[str]) -> Mapping[str, Mapping[str, bytes]]:
        return {**{run_id: {} for run_id in run_ids}, **await super().posts(run_ids)}


class PrunesTheRunning(MemoryJournal):
    """Forgets records of runs that go on."""

    async def prune(self, run_id: str, seqs: Collection[int]) -> None:
        for seq in seqs if run_id in self._runs else ():
            self._runs[run_id].records.pop(seq, None)


class DiscardsTheOwned(MemoryJournal):
    """Forgets runs that somebody owns."""

    async def discard(self, run_ids: Collection[str]) -> int:
        for run_id in run_ids:
            if run_id in self._runs:
                self._runs[run_id].owner = ""
        return await super().discard(run_ids)


class ClosesAtOnce(MemoryJournal):
    """Does not count how often it was opened."""

    async def close(self) -> None:
        self._opened = 0


BROKEN: tuple[tuple[type[MemoryJournal], str], ...] = (
    (WritesHalf, "Where a run is taken, nothing is written of any run"),
    (WritesBitByBit, "A cancelled append was written in full or not at all"),
    (KeepsNoFence, "nothing is written of any run"),
    (NamesNobody, "`RunTaken.run_ids` names those runs"),
    (TakesGaps, "without a gap"),
    (KeepsOwners, "loses its owner"),
    (TakesEmptyForNone, "Records are given back as they were appended"),
    (PagesTwice, "page by page"),
    (GivesRunsTwice, "one gets a run"),
    (ClaimsTheLatest, "the oldest first"),
    (LeasesForEver, "has not run out"),
    (RenewsAll, "not to others'"),
    (ReleasesAll, "a run of a living owner"),
    (KeepsTheLastPost, "the first stays"),
    (LooksThenPosts, "at the same time, one succeeds"),
    (WakesNobody, "for which something is left is running"),
    (ListsAllPosts, "nothing was left for it"),
    (PrunesTheRunning, "that has ended are forgotten"),
    (DiscardsTheOwned, "not those that somebody owns"),
    (ClosesAtOnce, "counts how often"),
)


@pytest.mark.parametrize(("broken", "promise"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_broken_promise_is_found_out(broken: type[MemoryJournal], promise: str) -> None:
    """The kit notices, and says which promise it is."""
    with pytest.raises(AssertionError) as told:
        await check_journal(broken)
    assert "breaks a promise" in str(told.value)
    assert promise in str(told.value)
