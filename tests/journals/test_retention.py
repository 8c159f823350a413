"""Retention: what has ended and is beyond a bound is deleted, the oldest first; what goes on stays."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from penguiflow import retention as module
from penguiflow.journal import Journal, KeptStatus, Record, RunChange
from penguiflow.journals import MemoryJournal, PostgresJournal, Retention, SQLiteJournal, retain

from .stores import SERVER, Store

STATUSES: tuple[KeptStatus, ...] = ("running", "interrupted", "done", "failed", "cancelled", "expired")


async def fill(journal: Journal, count: int = 30, size: int = 10) -> list[str]:
    """Make runs of all statuses in turn; give the ids of those that have ended, the oldest first."""
    await journal.open()
    ended = []
    for number in range(count):
        run_id, status = f"{number:02}", STATUSES[number % 6]
        change = RunChange(run_id, "flow", status)
        await journal.append("me", [Record(run_id, 1, "step", b"x" * size)], [change], 600)
        ended += [run_id] * (status not in ("running", "interrupted"))
    return ended


async def left(journal: Journal) -> set[str]:
    return {row.run_id for row in await journal.rows(limit=1000)}


GOES_ON = {f"{number:02}" for number in range(30) if number % 6 < 2}


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        (Retention(), 20),
        (Retention(max_runs=20), 20),
        (Retention(max_runs=7), 7),
        (Retention(max_runs=0), 0),
        (Retention(max_bytes=100), 10),
        (Retention(max_bytes=99), 9),
        (Retention(max_bytes=0), 0),
        (Retention(max_age=3600), 20),
        (Retention(max_age=0), 0),
        (Retention(max_runs=12, max_bytes=50), 5),
        (Retention(max_age=3600, max_runs=3, max_bytes=50), 3),
    ],
)
async def test_bounds(store: Store, retention: Retention, kept: int) -> None:
    """The latest stay, as many as fit, and all that go on."""
    journal = store.make()
    ended = await fill(journal)
    assert await retain(journal, retention) == 20 - kept
    assert await left(journal) == GOES_ON | set(ended[20 - kept :])
    assert await retain(journal, retention) == 0
    await journal.close()


async def test_more_than_a_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first, over several pages, and a large run takes everything older with it."""
    monkeypatch.setattr(module, "PAGE", 4)
    journal = store.make()
    ended = await fill(journal)
    assert await retain(journal, Retention(max_runs=9)) == 11
    big = RunChange("big", "flow", "done")
    await journal.append("me", [Record("big", 1, "step", b"x" * 1000)], [big])
    await journal.append("me", [Record("new", 1, "step", b"x")], [RunChange("new", "flow", "done")])
    assert await left(journal) == GOES_ON | {*ended[11:], "big", "new"}
    assert await retain(journal, Retention(max_bytes=500)) == 10
    assert await left(journal) == GOES_ON | {"new"}
    await journal.close()


async def test_age_counts_from_the_last_that_was_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was begun long ago, and ended or was written to lately, is young."""
    monkeypatch.setattr(module, "PAGE", 4)
    journal = store.make()
    ended = await fill(journal)
    await journal.post(ended[0], "key", b"late")
    row = await journal.row(ended[0])
    other = await journal.row(ended[-1])
    assert row is not None
    assert other is not None
    assert row.updated > other.updated
    now = (row.updated + other.updated) / 2
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now + 100))
    assert await retain(journal, Retention(max_age=100)) == 19
    assert await left(journal) == GOES_ON | {ended[0]}
    await journal.close()


async def test_where_all_fits_no_run_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual case is cheap."""
    journal = MemoryJournal()
    await fill(journal)

    async def looked(**_: Any) -> list[Any]:
        raise AssertionError("it has looked")

    monkeypatch.setattr(journal, "rows", looked)
    assert await retain(journal, Retention(max_runs=30, max_bytes=2**20)) == 0


@pytest.mark.parametrize("bounds", [{"max_age": -1}, {"max_runs": -1}, {"max_age": float("nan")}])
def test_bounds_that_mean_nothing_are_refused(bounds: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="0 or more, or None"):
        Retention(**bounds)


@pytest.mark.parametrize(
    "make",
    [MemoryJournal, lambda **kw: SQLiteJournal("x.db", **kw), lambda **kw: PostgresJournal(SERVER, **kw)],
    ids=["memory", "sqlite", "postgres"],
)
def test_every_store_is_bounded_unless_told_otherwise(make: Callable[..., Any]) -> None:
    """Rule 5.7: a store that only grows is an outage with a date."""
    default = make().retention
    assert None not in (default.max_age, default.max_runs, default.max_bytes)
    assert make(retention=Retention(max_runs=5)).retention == Retention(max_runs=5)
