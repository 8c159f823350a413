"""Pauses and waits for admission as spans and a trace store keep them; and stores of an older version."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest

from penguiflow import Context, Flow, FlowError, node
from penguiflow.telemetry import TraceStore
from penguiflow.telemetry.spans.pauses import MOST_TOLD
from penguiflow.telemetry.store.pruning import prune
from penguiflow.telemetry.store.reading import open_store
from penguiflow.telemetry.store.schema import TABLES, VERSION

from .otel import Traced, events, said, seconds, traced_by

pytestmark = [pytest.mark.anyio, pytest.mark.limit(30)]


@pytest.fixture
def traced(caplog):
    yield from traced_by(caplog)


class Gate:
    """A node that waits until it is let on."""

    def __init__(self) -> None:
        self.opened = anyio.Event()

        @node
        async def waits(i: int) -> int:
            await self.opened.wait()
            return i

        self.node = waits


@node
async def hop(i: int) -> int:
    return i


async def paused(observers: list[Any], times: int, *, resumed: bool = True) -> None:
    """Pause a run so many times, and cancel it in the last pause if so wanted."""
    gate = Gate()
    async with Flow("f", gate.node >> hop).open(observers=observers) as runtime:
        run = await runtime.start(1, run_id="r")
        for number in range(times):
            await run.control("pause")
            await anyio.sleep(0.01)
            if resumed or number < times - 1:
                await run.control("resume")
        gate.opened.set()
        if not resumed:
            await run.cancel()
        try:
            await run.result()
        except FlowError:
            assert not resumed


# -- spans


async def test_pauses_are_events_of_the_run(traced: Traced) -> None:
    """With when they were, and how long in all; a run without one says nothing of it."""
    await paused([traced.observer], 2)
    span = traced.one("run f")
    assert events(span) == ["paused", "resumed", "paused", "resumed"]
    times = [event.timestamp / 1e9 for event in span.events]
    assert said(span, "run.paused") == pytest.approx(times[1] - times[0] + times[3] - times[2], abs=1e-6)
    assert 0.02 <= said(span, "run.paused") <= seconds(span)
    async with Flow("g", hop).open(observers=[traced.observer]) as runtime:
        await runtime.call(1)
    assert said(traced.one("run g"), "run.paused") is None
    assert said(traced.one("run g"), "run.wait.admission") is None


async def test_the_end_of_a_run_ends_its_pause(traced: Traced) -> None:
    await paused([traced.observer], 1, resumed=False)
    span = traced.one("run f")
    assert events(span) == ["paused"]
    assert span.end_time is not None
    (began,) = [event.timestamp for event in span.events]
    assert said(span, "run.paused") == pytest.approx((span.end_time - began) / 1e9, abs=1e-6)


async def test_events_of_pauses_are_bounded(traced: Traced) -> None:
    """Their sum is not."""
    await paused([traced.observer], MOST_TOLD + 5)
    span = traced.one("run f")
    assert len(span.events) == 2 * MOST_TOLD
    assert said(span, "run.paused") > 0.01 * (MOST_TOLD + 4)


async def test_a_run_says_how_long_it_waited_to_be_admitted(traced: Traced) -> None:
    gate = Gate()
    async with Flow("f", gate.node).open(observers=[traced.observer], max_runs=1) as runtime:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(runtime.call, 1)
            while runtime.statistics().waiting_runs < 1:  # noqa: ASYNC110
                await anyio.sleep(0)
            await anyio.sleep(0.02)
            gate.opened.set()
    first, second = traced.all("run f")
    assert said(first, "run.wait.admission") is None
    assert said(second, "run.wait.admission") >= 0.02
    assert seconds(second) < 0.02 + said(second, "run.wait.admission")


# -- a trace store


async def test_a_store_keeps_pauses(tmp_path: Path) -> None:
    """Each with its begin and its end, on the run's own time."""
    store = TraceStore(tmp_path / "r.db")
    await paused([store], 3)
    with open_store(store.path) as reader:
        trace = reader.trace("r")
    assert trace.summary.status == "done"
    assert (trace.left_out, store.lost) == (0, 0)
    assert [pause.part for pause in trace.pauses] == [0, 0, 0]
    ends = [0.0]
    for pause in trace.pauses:
        assert pause.ended is not None
        assert pause.ended - pause.started >= 0.01
        assert pause.started >= max(ends[-1], trace.summary.started)
        ends.append(pause.ended)
    assert ends[-1] <= trace.summary.started + trace.summary.seconds


async def test_the_end_of_a_run_ends_its_pause_in_a_store(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "r.db")
    await paused([store], 2, resumed=False)
    with open_store(store.path) as reader:
        trace = reader.trace("r")
    assert trace.summary.status == "cancelled"
    assert len(trace.pauses) == 2
    assert trace.pauses[1].ended == trace.parts[0].ended


async def test_pauses_count_among_the_records_of_a_run(tmp_path: Path) -> None:
    """A store that keeps no more of them says so; whether the run is paused it knows all the same."""
    store = TraceStore(tmp_path / "r.db", max_records_per_run=3)
    await paused([store], 5)
    with open_store(store.path) as reader:
        trace = reader.trace("r")
    assert trace.summary.status == "done"
    assert len(trace.pauses) == 3  # and neither of the two steps
    assert trace.left_out == 4


async def test_a_run_that_is_paused_is_seen_to_be(tmp_path: Path) -> None:
    """By who asks for it, who lists runs, and who watches the runtime, until it goes on."""
    store, gate = TraceStore(tmp_path / "r.db", interval=0.01), Gate()

    async def seen(status: str) -> None:
        with anyio.fail_after(10):
            while True:
                with open_store(store.path) as reader:
                    found = [run.run_id for run in reader.runs(status=status)]
                    paused = [one.paused_runs for one in reader.live()]
                if found == ["r"] and paused == [int(status == "paused")]:
                    return
                await anyio.sleep(0.01)

    async with Flow("f", gate.node >> hop).open(observers=[store]) as runtime:
        run = await runtime.start(1, run_id="r")
        with anyio.fail_after(10):
            while not store.path.exists() or store.pending:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        await seen("running")
        await run.control("pause")
        await seen("paused")
        with open_store(store.path) as reader:
            trace = reader.trace("r")
        assert [pause.ended for pause in trace.pauses] == [None]
        assert trace.diagnosis[0].startswith("The run is paused, for 0.")
        await run.control("resume")
        await seen("running")
        await run.control("pause")
        gate.opened.set()
        await run.cancel()


async def test_parts_are_not_paused_with_their_run(tmp_path: Path) -> None:
    gate = Gate()

    @node
    async def calls(i: int, ctx: Context) -> int:
        return int(await ctx.call(Flow("called", gate.node), i))

    store = TraceStore(tmp_path / "r.db")
    async with Flow("f", calls >> hop).open(observers=[store]) as runtime:
        run = await runtime.start(1, run_id="r")
        await anyio.sleep(0.01)
        await run.control("pause")
        gate.opened.set()
        await anyio.sleep(0.02)
        await run.control("resume")
        assert await run.result() == 1
    with open_store(store.path) as reader:
        trace = reader.trace("r")
    (pause,) = trace.pauses
    (part,) = [part for part in trace.parts if part.part]
    assert pause.part == 0
    assert pause.ended is not None
    assert part.ended is not None
    assert pause.started < part.ended < pause.ended


async def test_a_store_keeps_how_long_runs_waited_to_be_admitted(tmp_path: Path) -> None:
    """Beside how long they took, which does not have it in it."""
    store, gate = TraceStore(tmp_path / "r.db"), Gate()
    async with Flow("f", gate.node).open(observers=[store], max_runs=1) as runtime:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(runtime.call, 1)
            while runtime.statistics().waiting_runs < 1:  # noqa: ASYNC110
                await anyio.sleep(0)
            await anyio.sleep(0.3)
            gate.opened.set()
    with open_store(store.path) as reader:
        last, first = reader.runs()
        assert reader.runs(longer_than=0.25) == (first,)
    assert first.waited == 0.0
    assert first.seconds >= 0.3
    assert last.waited >= 0.3
    assert last.seconds < 0.25


# -- stores of other versions


def made_older(path: Path) -> None:
    """Take away from a store what version 1 had not."""
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE pauses")
    for table, column in (
        ("runs", "waited_seconds"),
        ("steps", "again_seconds"),
        ("streams", "again_seconds"),
    ):
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


async def test_an_older_store_is_read_as_it_is(tmp_path: Path) -> None:
    """Nothing is changed, and what it has not is nothing."""
    path = tmp_path / "r.db"
    await paused([TraceStore(path)], 1)
    made_older(path)
    before = path.read_bytes()
    with open_store(path) as reader:
        trace = reader.trace("r")
        assert [run.run_id for run in reader.runs()] == ["r"]
    assert (trace.pauses, trace.summary.waited) == ((), 0.0)
    assert [step.node for step in trace.steps] == ["waits", "hop"]
    assert path.read_bytes() == before


async def test_an_older_store_is_written_on(tmp_path: Path) -> None:
    """It becomes one of this version, with all that was in it, while an older process goes on writing it."""
    path = tmp_path / "r.db"
    await paused([TraceStore(path)], 1)
    made_older(path)
    theirs = sqlite3.connect(path, isolation_level=None)
    (run,) = theirs.execute("SELECT * FROM runs").fetchall()
    store = TraceStore(path)
    await paused([store], 2)
    assert (store.errors, store.lost) == (0, 0)
    names = [column for column in TABLES[1].columns if column != "waited_seconds"]
    marks = ", ".join("?" * len(names))
    row = (run[0] + 1, *run[1:2], "theirs", *run[3:])
    theirs.execute(f"INSERT OR REPLACE INTO runs ({', '.join(names)}) VALUES ({marks})", row)
    assert theirs.execute("PRAGMA user_version").fetchone() == (VERSION,)
    theirs.close()
    with open_store(path) as reader:
        runs = reader.runs()
        assert len(reader.trace("r").pauses) == 2
        assert reader.trace("theirs").pauses == ()
    assert [(run.run_id, run.waited) for run in runs] == [("r", 0.0), ("theirs", 0.0), ("r", 0.0)]
    with sqlite3.connect(path) as connection:
        for table in TABLES:
            found = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
            assert found == set(table.columns)


async def test_pauses_go_with_their_run(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    await paused([TraceStore(path)], 3)
    connection = sqlite3.connect(path, isolation_level=None)
    assert connection.execute("SELECT COUNT(*) FROM pauses").fetchone() == (3,)
    assert prune(connection, -10.0, 10**9)
    assert connection.execute("SELECT COUNT(*) FROM pauses").fetchone() == (0,)
    connection.close()
