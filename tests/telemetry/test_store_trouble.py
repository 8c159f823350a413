"""Trouble with the store hurts no run: it is counted, said once, and got over where that is possible."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from penguiflow import Flow, node
from penguiflow.telemetry import TraceStore
from penguiflow.telemetry.store.reading import EmptyStoreError, TraceStoreError, open_store
from penguiflow.telemetry.store.schema import APPLICATION_ID

ROOT = Path(__file__).resolve().parents[2]


@node
async def same(text: str) -> str:
    await anyio.sleep(0)
    return text


flow = Flow("trouble", same)


async def runs_all_the_same(store: TraceStore, seconds: float = 0.3) -> None:
    """Run a flow, whose result comes as if nobody watched, and give the writer time to try."""
    async with flow.open(observers=[store]) as runtime:
        assert await runtime.call("x") == "x"
        await anyio.sleep(seconds)
        assert await runtime.call("y") == "y"
        assert runtime.statistics().observer_errors == 0


def move(path: Path, to: Path) -> None:
    """Give a store another name, with the files beside it."""
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(f"{path}{suffix}"):
            os.rename(f"{path}{suffix}", f"{to}{suffix}")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the thread of the store does."""
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.01)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give what was said in the log of the package."""
    return [record.getMessage() for record in caplog.records if record.name == "penguiflow"]


def foreign(path: Path) -> None:
    """Make a database of somebody else."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (dish)")
    connection.close()


def newer(path: Path) -> None:
    """Make a store of a version to come."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 99")
    connection.execute("CREATE TABLE runs (whatever)")
    connection.close()


def text(path: Path) -> None:
    """Write a file that is no database."""
    path.write_text("dear diary,\n" * 100)


def damaged(path: Path) -> None:
    """Write a file that begins like a database."""
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 9000)


MADE = [
    (foreign, "database of something else"),
    (newer, "has the format 99"),
    (text, "not a database at all"),
    (damaged, "is damaged"),
]


@pytest.mark.parametrize(("make", "reason"), MADE, ids=lambda made: getattr(made, "__name__", ""))
async def test_a_file_that_is_not_ours_is_left_as_it_is(
    make: Any, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever stands there: not a byte of it changes, the records are counted as lost, it is said once."""
    path = tmp_path / "runs.db"
    make(path)
    before = path.read_bytes()
    store = TraceStore(path)
    with caplog.at_level(logging.WARNING, logger="penguiflow"):
        await runs_all_the_same(store)
        await runs_all_the_same(store)
    assert path.read_bytes() == before
    (line,) = said(caplog)
    assert reason in line
    assert repr(str(path)) in line
    assert store.errors >= 1
    assert store.lost >= 8
    assert store.pending == 0


@pytest.mark.parametrize(("make", "reason"), MADE, ids=lambda made: getattr(made, "__name__", ""))
def test_reading_says_the_same(make: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    make(path)
    with pytest.raises(TraceStoreError, match=reason):
        open_store(path)


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceStoreError, match=r"there is no trace store .* makes one"):
        open_store(tmp_path / "runs.db")
    with pytest.raises(TraceStoreError, match="is a folder"):
        open_store(tmp_path)
    (tmp_path / "empty.db").touch()
    with pytest.raises(EmptyStoreError, match="is empty"):
        open_store(tmp_path / "empty.db")


async def test_a_store_that_is_damaged_inside(tmp_path: Path) -> None:
    """Reading tells of the damage in one sentence, and not as an error of SQLite."""
    path = tmp_path / "runs.db"
    store = TraceStore(path)
    async with flow.open(observers=[store]) as runtime:
        for _ in range(200):
            await runtime.call("x")
    data = bytearray(path.read_bytes())
    data[8192:] = b"\x5a" * (len(data) - 8192)
    path.write_bytes(bytes(data))
    with pytest.raises(TraceStoreError, match="is damaged"), open_store(path) as reader:
        for run in reader.runs():
            reader.trace(run.run_id)


async def test_a_folder_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said that it has to be made; once it is, what has waited is written."""
    folder = tmp_path / "later"
    store = TraceStore(folder / "runs.db")
    with caplog.at_level(logging.WARNING, logger="penguiflow"):
        async with flow.open(observers=[store]) as runtime:
            await runtime.call("x")
            await until(lambda: bool(said(caplog)))
            (line,) = said(caplog)
            assert f"there is no folder {str(folder)!r}; make it" in line
            os.mkdir(folder)
            with anyio.fail_after(10):
                while store.pending:  # noqa: ASYNC110
                    await anyio.sleep(0.05)
    assert store.lost == 0
    with open_store(store.path) as reader:
        assert len(reader.runs()) == 1


async def test_a_folder_is_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="penguiflow"):
        await runs_all_the_same(TraceStore(tmp_path))
    (line,) = said(caplog)
    assert "is a folder" in line


async def test_a_damaged_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    """The remedy that the log names is one: while the process goes on, a new store begins."""
    path = tmp_path / "runs.db"
    damaged(path)
    store = TraceStore(path)
    async with flow.open(observers=[store]) as runtime:
        await runtime.call("x")
        await until(lambda: store.lost > 0)
        os.rename(path, tmp_path / "moved")
        with anyio.fail_after(10):
            while not path.exists():
                await runtime.call("y")
                await anyio.sleep(0.1)
        await runtime.call("z", run_id="after")
    with open_store(path) as reader:
        assert reader.runs()[0].run_id == "after"


async def test_a_store_that_is_moved_away_is_made_anew(tmp_path: Path) -> None:
    """Rotation: what is written to a file of another name nobody would find."""
    path = tmp_path / "runs.db"
    store = TraceStore(path)
    async with flow.open(observers=[store]) as runtime:
        await runtime.call("x", run_id="before")
        await until(lambda: not store.pending)
        move(path, tmp_path / "old.db")
        with anyio.fail_after(10):
            while not path.exists():  # noqa: ASYNC110
                await anyio.sleep(0.1)
        await runtime.call("x", run_id="after")
    with open_store(path) as reader, open_store(tmp_path / "old.db") as old:
        assert [run.run_id for run in reader.runs()] == ["after"]
        assert [run.run_id for run in old.runs()] == ["before"]


async def test_a_lock_holds_up_no_run(tmp_path: Path) -> None:
    """While another process keeps the store locked, runs go on at their speed; later all of it is there."""
    path = tmp_path / "runs.db"
    store = TraceStore(path)
    await runs_all_the_same(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with flow.open(observers=[store]) as runtime:
        longest = 0.0
        for _ in range(300):
            began = time.perf_counter()
            await runtime.call("x")
            longest = max(longest, time.perf_counter() - began)
            await anyio.sleep(0.002)
        assert store.pending > 500
        assert longest < 0.2
        other.execute("ROLLBACK")
        other.close()
    assert (store.lost, store.pending, store.errors) == (0, 0, 0)
    with open_store(path) as reader:
        assert len(reader.runs(limit=None)) == 302


async def test_the_end_does_not_wait_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A runtime closes in time though the store is locked; what is not written then is counted, and said."""
    path = tmp_path / "runs.db"
    store = TraceStore(path)
    await runs_all_the_same(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.WARNING, logger="penguiflow"):
        began = time.monotonic()
        await runs_all_the_same(store, 0.0)
        assert time.monotonic() - began < 4
        with anyio.fail_after(5):
            while not store.lost:  # noqa: ASYNC110
                await anyio.sleep(0.05)
    other.close()
    assert store.pending == 0
    assert "was not ready at the end" in said(caplog)[-1]
    await runs_all_the_same(store)
    with open_store(path) as reader:
        assert len(reader.runs()) == 4


FULL = """
import logging, resource, sqlite3, sys, anyio
from pathlib import Path
from penguiflow import Flow, node
from penguiflow.telemetry import TraceStore

logging.basicConfig(stream=sys.stdout, format="%(message)s")

@node
async def same(text: str) -> str:
    return text

async def main() -> None:
    store = TraceStore(sys.argv[1])
    async with Flow("full", same).open(observers=[store]) as runtime:
        await runtime.call("x")
        while store.pending:
            await anyio.sleep(0.01)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        for number in range(2000):
            assert await runtime.call("x") == "x"
        with anyio.move_on_after(20):
            while not store.errors:
                await anyio.sleep(0.01)
        print("errors", store.errors, "observers", runtime.statistics().observer_errors)
        waiting = store.pending
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with anyio.move_on_after(20):
            while store.pending:
                await anyio.sleep(0.05)
        print("waited", waiting > 0, "pending", store.pending, "lost", store.lost)

anyio.run(main)
"""


def test_a_full_disk_is_got_over(tmp_path: Path) -> None:
    """Where the file can grow no more, runs go on; when there is room again, what has waited is written."""
    path = tmp_path / "runs.db"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    log, errors, end = done.stdout.splitlines()
    assert "Runs go on, their traces are not kept" in log
    assert errors.endswith("observers 0")
    assert not errors.startswith("errors 0")
    assert end == "waited True pending 0 lost 0"
    with open_store(path) as reader:
        runs = reader.runs(limit=None)
    assert len(runs) == 2001
    assert {run.status for run in runs} == {"done"}


SMALL_DISK = """
import logging, sys, anyio
from penguiflow import Flow, node
from penguiflow.telemetry import TraceStore

logging.basicConfig(stream=sys.stdout, format="%(message)s")

@node
async def same(text: str) -> str:
    return text

async def main() -> None:
    store = TraceStore(sys.argv[1])
    async with Flow("full", same).open(observers=[store]) as runtime:
        for number in range(1500):
            assert await runtime.call("x") == "x"
        await anyio.sleep(1)
    print("lost", store.lost > 0, "pending", store.pending)

anyio.run(main)
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root mounts a disk of its own")
def test_a_small_disk(tmp_path: Path) -> None:
    """A real file system that is full: said once, with the remedy; nothing else happens."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        done = subprocess.run(
            [sys.executable, "-c", SMALL_DISK, str(disk / "runs.db")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        with open_store(disk / "runs.db") as reader:
            assert reader.runs()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    full, end = done.stdout.splitlines()
    assert "the disk is full; make room" in full
    assert end == "lost True pending 0"


@pytest.mark.parametrize("path", ["", ":memory:", Path("")], ids=repr)
def test_a_store_needs_a_file(path: Any) -> None:
    """Not SQLite's words for none: one thread writes it, and other processes read it."""
    with pytest.raises(ValueError, match=r'the path of a file is needed; write: TraceStore\("runs.db"\)'):
        TraceStore(path)
