"""A store is bounded: in memory, per run, by age and by size."""

from __future__ import annotations

import gc
import os
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from penguiflow import Context, Flow, node
from penguiflow.observe import RunEnded, RunStarted
from penguiflow.telemetry import TraceStore
from penguiflow.telemetry.store.live import Camera
from penguiflow.telemetry.store.observer import MOST_PENDING
from penguiflow.telemetry.store.reading import open_store


@node
async def same(text: str) -> str:
    return text


@node
async def parts(text: str, ctx: Context) -> None:
    for number in range(60):
        await ctx.emit(f"{text}{number}")


@node
async def part(text: str) -> str:
    if text == "wrong55":
        raise ValueError(text)
    return text


flow = Flow("bounded", same)
many = Flow("many", parts >> part)


def size_bytes(path: Path) -> int:
    """Give the size of the store's file."""
    return os.path.getsize(path)


async def settled(store: TraceStore) -> None:
    """Wait until all is written, and the store was looked after once more."""
    await anyio.sleep(0.1)
    with anyio.fail_after(20):
        while store.pending:  # noqa: ASYNC110
            await anyio.sleep(0.05)


async def test_records_of_one_run_are_bounded(tmp_path: Path) -> None:
    """So many are kept as allowed, and it is said how many are not; the run counts all."""
    store = TraceStore(tmp_path / "r.db", max_records_per_run=20)
    async with many.open(observers=[store]) as runtime:
        async with runtime.run("x") as run:
            async for _ in run:
                pass
    with open_store(store.path) as reader:
        trace = reader.trace(run.id)
    assert len(trace.steps) + len(trace.streams) == 20
    assert trace.summary.steps == 61
    assert trace.left_out == 61 + trace.summary.streams - 20


async def test_failures_are_kept_beyond_that(tmp_path: Path) -> None:
    """What went wrong late in a long run is what one looks for."""
    store = TraceStore(tmp_path / "r.db", max_records_per_run=10)
    async with many.open(observers=[store]) as runtime:
        with pytest.raises(Exception, match="wrong55"):
            async with runtime.run("wrong") as run:
                async for _ in run:
                    pass
    with open_store(store.path) as reader:
        trace = reader.trace(run.id)
    (failed,) = [step for step in trace.steps if step.outcome == "error"]
    assert failed.error is not None
    assert failed.error.text.endswith("wrong55")


async def test_the_buffer_is_bounded(tmp_path: Path) -> None:
    """While nothing can be written, no more is kept in memory than the buffer holds; the rest is counted."""
    path = tmp_path / "r.db"
    store = TraceStore(path)
    async with flow.open(observers=[store]) as runtime:
        await runtime.call("x")
        await settled(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        tracemalloc.start()
        try:
            for number in range(40_000):
                store.observe(RunStarted(f"run {number}", "bounded", "t" * 32))
                store.observe(RunEnded(f"run {number}", "bounded", "done", None))
                if number % 500 == 0:
                    await anyio.sleep(0)
            gc.collect()
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert MOST_PENDING <= store.pending <= MOST_PENDING * 1.25 + 501
        assert store.lost > 60_000
        assert used < 20e6
        other.execute("ROLLBACK")
        other.close()
        await settled(store)
    with open_store(path) as reader:
        assert "running" not in {run.status for run in reader.runs(limit=None)}


async def test_runs_whose_end_was_left_out_do_not_stay_open(tmp_path: Path) -> None:
    """When the writer has caught up, runs that are over in truth are closed as lost."""
    path = tmp_path / "r.db"
    store = TraceStore(path)
    async with flow.open(observers=[store]) as runtime:
        await runtime.call("x")
        await settled(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for number in range(14_000):
            store.observe(RunStarted(f"run {number}", "bounded", "t" * 32))
        for number in range(14_000):
            store.observe(RunEnded(f"run {number}", "bounded", "done", None))
        other.execute("ROLLBACK")
        other.close()
        await settled(store)
        await runtime.call("x", run_id="after")
        await settled(store)
        with open_store(path) as reader:
            runs = reader.runs(limit=None)
    assert {run.status for run in runs} == {"done", "lost"}
    assert runs[0].status == "done"


async def test_old_runs_go(tmp_path: Path) -> None:
    """Whole runs that are older than allowed go; those that are under way stay, however old."""
    path = tmp_path / "r.db"
    store = TraceStore(path)

    @node
    async def sleeps(text: str) -> AsyncIterator[str]:
        yield text
        await anyio.sleep(60)

    async with Flow("sleeping", sleeps).open(observers=[store]) as runtime:
        async with runtime.run("x", run_id="live") as run:
            async for _ in run:
                break
            async with many.open(observers=[store]) as other:
                async with other.run("x", run_id="old") as of_many:
                    async for _ in of_many:
                        pass
            await settled(store)
            with sqlite3.connect(path) as connection:
                connection.execute("UPDATE runs SET started = started - 1000")
            connection.close()
            pruned = TraceStore(path, max_age=500)
            async with flow.open(observers=[pruned]) as third:
                await third.call("x", run_id="new")
                await settled(pruned)
    with open_store(path) as reader:
        assert {run.run_id for run in reader.runs()} == {"live", "new"}
    connection = sqlite3.connect(path)
    for table in ("steps", "streams", "parts", "pauses"):
        left = connection.execute(
            f"SELECT COUNT(*) FROM {table} WHERE run NOT IN (SELECT run FROM runs)"
        ).fetchone()
        assert left == (0,)
    assert connection.execute("SELECT COUNT(*) FROM plans").fetchone() == (2,)
    connection.close()


async def test_large_stores_shrink(tmp_path: Path) -> None:
    """The oldest runs go first, and their room goes back to the disk."""
    path = tmp_path / "r.db"
    store = TraceStore(path)
    async with many.open(observers=[store]) as runtime:
        for number in range(60):
            async with runtime.run("x", run_id=f"run {number:02}") as run:
                async for _ in run:
                    pass
    before = size_bytes(path)
    assert before > 400_000
    small = TraceStore(path, max_bytes=220_000)
    async with flow.open(observers=[small]) as runtime:
        await runtime.call("x", run_id="last")
        await settled(small)
    assert size_bytes(path) <= 220_000
    with open_store(path) as reader:
        runs = [run.run_id for run in reader.runs(limit=None)]
    assert runs[0] == "last"
    assert runs[1] == "run 59"
    assert runs[1:] == sorted(runs[1:], reverse=True)
    assert 2 < len(runs) < 60


async def test_the_store_does_not_grow_beyond_its_size(tmp_path: Path) -> None:
    """While it is written on and on, it is pruned on and on."""
    path = tmp_path / "r.db"
    store = TraceStore(path, max_bytes=150_000)
    async with many.open(observers=[store]) as runtime:
        for _ in range(12):
            for _ in range(10):
                async with runtime.run("x") as run:
                    async for _ in run:
                        pass
            store._writer._prune_at = 0.0  # else it takes five seconds
            await settled(store)
        await anyio.sleep(2.2)
    assert size_bytes(path) <= 300_000


async def test_pictures_take_a_hundredth_of_the_time_at_most() -> None:
    """One that was dear to take is followed by none until its time is made up for."""
    times = iter([0.0, 1.0, 1.5, 2.0, 51.0, 52.0, 52.1])
    camera = Camera(1, lambda: next(times))
    async with flow.open() as runtime:
        first = camera.take(runtime)
        assert first is not None
        assert first["flow"] == "bounded"
        assert camera.take(runtime) is None
        assert camera.take(runtime) is None
        assert camera.take(runtime) is not None
