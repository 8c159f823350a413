"""Two stores that have nothing in common do the same: whatever is asked of them, they answer alike.

One keeps dictionaries and is too simple to be wrong, the other is SQLite. Both are told the time by the test.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from penguiflow import retention
from penguiflow.errors import JournalError
from penguiflow.journal import Journal, Record, RunChange, RunRow, RunTaken
from penguiflow.journals import MemoryJournal, Retention, SQLiteJournal, memory, retain, sqlite_runs
from penguiflow.journals.asking import STATUSES

RUNS = st.sampled_from(["", "z'", "é", *"abcdefghijkl"])
OWNERS = st.sampled_from(["me", "they"])
CLAIMERS = st.sampled_from(["me", "they", "we"])
FLOWS = st.sampled_from(["f", "f", "f", "g"])
LEASES = st.sampled_from([0.0, 1.0, 1.0, 2.0, 1e9])
SOME = st.lists(RUNS, min_size=1, max_size=2, unique=True)
OFTEN_RUNNING = st.sampled_from(["running", "running", "running", *STATUSES])
KEYS = st.sampled_from(["k", "l"])


class Clock:
    """A clock that stands still until it is told to go on."""

    now = 1_000_000.0

    def time(self) -> float:
        return self.now


class Likeness(RuleBasedStateMachine):
    """Asks both stores the same."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.patches = [mock.patch.object(m, "time", self.clock) for m in (memory, sqlite_runs, retention)]
        for patch in self.patches:
            patch.start()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.stores: list[Journal] = [MemoryJournal(), SQLiteJournal(Path(self.folder.name) / "runs.db")]
        self.last: list[RunRow] = []
        for store in self.stores:
            self.runner.run(store.open())

    def teardown(self) -> None:
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.close()
        for patch in self.patches:
            patch.stop()
        self.folder.cleanup()

    def both(self, ask: Callable[[Journal], Awaitable[Any]]) -> Any:
        """Ask both; compare what they say, or refuse."""
        one, other = (self.runner.run(self._told(ask, store)) for store in self.stores)
        assert one == other
        return one

    async def _told(self, ask: Callable[[Journal], Awaitable[Any]], store: Journal) -> Any:
        try:
            return await ask(store)
        except RunTaken as error:
            return "taken", error.run_ids, str(error).partition(": ")[2]
        except JournalError as error:
            return "refused", str(error).partition(": ")[2]

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 10.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(owner=OWNERS, runs=SOME, flow=FLOWS, status=OFTEN_RUNNING, lease=LEASES, data=st.binary(max_size=3))
    def begin(self, owner: str, runs: list[str], flow: str, status: Any, lease: float, data: bytes) -> None:
        records = [Record(run_id, 1, "k", data) for run_id in runs]
        changes = [RunChange(run_id, flow, status) for run_id in runs]
        self.both(lambda store: store.append(owner, records, changes, lease))

    @rule(
        owner=OWNERS | st.none(),
        runs=SOME,
        count=st.integers(0, 3),
        wrong=st.sampled_from([0, 0, 0, 0, -1, 1]),
        status=st.none() | OFTEN_RUNNING,
    )
    def go_on(self, owner: str | None, runs: list[str], count: int, wrong: int, status: Any) -> None:
        kept = {row.run_id: row for row in self.last}
        of_owner = owner or next((kept[run_id].owner for run_id in runs if run_id in kept), "") or "me"
        records = [
            Record(run_id, (kept[run_id].records if run_id in kept else 0) + wrong + n, "k", b"%d" % n)
            for run_id in runs
            for n in range(1, count + 1)
        ]
        changes = [RunChange(run_id, "f", status) for run_id in runs] if status is not None else []
        self.both(lambda store: store.append(of_owner, records, changes))

    @rule(owner=CLAIMERS, flow=FLOWS, lease=LEASES, run_id=st.none() | RUNS, limit=st.sampled_from([9, 1, 0]))
    def claim(self, owner: str, flow: str, lease: float, run_id: str | None, limit: int) -> None:
        self.both(lambda store: store.claim(owner, flow, lease, run_id=run_id, limit=limit))

    @precondition(lambda self: any(row.owner for row in self.last))
    @rule(owner=CLAIMERS, lease=LEASES, seconds=st.sampled_from([1.0, 2.0]), limit=st.integers(1, 3))
    def take_over(self, owner: str, lease: float, seconds: float, limit: int) -> None:
        self.clock.now += seconds
        self.both(lambda store: store.claim(owner, "f", lease, limit=limit))

    @rule(owner=CLAIMERS, lease=LEASES)
    def renew(self, owner: str, lease: float) -> None:
        async def renew(store: Journal) -> list[str]:
            return sorted(await store.renew(owner, lease))

        self.both(renew)

    @rule(owner=OWNERS, runs=st.none() | st.lists(RUNS, max_size=2))
    def release(self, owner: str, runs: list[str] | None) -> None:
        self.both(lambda store: store.release(owner, runs))

    @rule(run_id=RUNS, key=KEYS, data=st.binary(max_size=3))
    def post(self, run_id: str, key: str, data: bytes) -> None:
        self.both(lambda store: store.post(run_id, key, data))

    @rule(run_id=RUNS, seqs=st.lists(st.integers(0, 5), max_size=3))
    def prune(self, run_id: str, seqs: list[int]) -> None:
        self.both(lambda store: store.prune(run_id, seqs))

    @rule(runs=SOME)
    def discard(self, runs: list[str]) -> None:
        self.both(lambda store: store.discard(runs))

    @rule(age=st.none() | st.sampled_from([2.0, 5.0]), runs=st.none() | st.integers(1, 5))
    def retain(self, age: float | None, runs: int | None) -> None:
        self.both(lambda store: retain(store, Retention(max_age=age, max_runs=runs)))

    @rule(
        flow=st.none() | FLOWS,
        status=st.sets(st.sampled_from(STATUSES), max_size=2),
        limit=st.integers(0, 4),
        behind=st.integers(0, 5),
        oldest=st.booleans(),
    )
    def rows(self, flow: str | None, status: set[str], limit: int, behind: int, oldest: bool) -> None:
        before = self.last[behind] if behind < len(self.last) else None
        self.both(
            lambda store: store.rows(
                flow=flow, status=status, limit=limit, before=before, oldest_first=oldest
            )
        )

    @rule(run_id=RUNS, after=st.integers(-1, 4), limit=st.none() | st.integers(0, 3))
    def read(self, run_id: str, after: int, limit: int | None) -> None:
        self.both(lambda store: store.read(run_id, after, limit))

    @invariant()
    def all_is_alike(self) -> None:
        self.last = self.both(lambda store: store.rows())
        runs = [row.run_id for row in self.last]
        self.both(lambda store: store.posts(runs))

        async def number(store: Journal) -> int:
            return (await store.size())[0]

        assert self.both(number) == len(runs)
        for row in self.last:
            records = self.both(lambda store: store.read(row.run_id))  # noqa: B023
            assert (row.records, row.size_bytes) == (len(records), sum(len(r.data) for r in records))


@pytest.mark.timeout(300)
def test_stores_are_alike() -> None:
    run_state_machine_as_test(
        Likeness,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
