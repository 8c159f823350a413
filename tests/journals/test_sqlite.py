"""What can be wrong with the file of a journal is named, and no file is overwritten because of it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from penguiflow.errors import JournalError
from penguiflow.journal import Record, RunChange
from penguiflow.journals import SQLiteJournal
from penguiflow.journals.sqlite_file import APPLICATION_ID, VERSION


async def filled(path: Path, runs: int = 200) -> None:
    """Make a journal with some runs of about 4 kB."""
    journal = SQLiteJournal(path)
    await journal.open()
    for number in range(runs):
        run_id = f"run {number}"
        await journal.append("me", [Record(run_id, 1, "step", b"x" * 4000)], [RunChange(run_id, "f", "done")])
    await journal.close()


def content(path: Path) -> bytes | None:
    """Give what is in a file, if it is one."""
    return path.read_bytes() if path.is_file() else None


async def refused(path: Path) -> str:
    """Open a journal that can't be used; give what is said, and see that the file stays as it is."""
    before = content(path)
    journal = SQLiteJournal(path, busy_timeout=0.1)
    with pytest.raises(JournalError) as told:
        await journal.open()
    with pytest.raises(JournalError, match="not open"):
        await journal.rows()
    assert content(path) == before
    assert repr(str(path)) in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_path_that_names_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"MemoryJournal\(\)"):
        SQLiteJournal(path)


def test_an_unknown_sync_is_refused() -> None:
    with pytest.raises(ValueError, match='"normal" or "full"'):
        SQLiteJournal("runs.db", "sometimes")  # type: ignore[arg-type]


@pytest.mark.parametrize(("sync", "level"), [("normal", 1), ("full", 2)])
async def test_sync_is_what_sqlite_is_told(tmp_path: Path, sync: str, level: int) -> None:
    journal = SQLiteJournal(tmp_path / "runs.db", sync)  # type: ignore[arg-type]
    await journal.open()
    connection = journal._backend._connection  # type: ignore[attr-defined]
    assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await journal.close()


async def test_a_missing_folder(tmp_path: Path) -> None:
    told = await refused(tmp_path / "nowhere" / "runs.db")
    assert "there is no folder" in told
    assert "make it" in told


async def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in await refused(tmp_path)


async def test_something_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_text("The quick brown fox\n" * 100)
    assert "not a database at all" in await refused(path)


async def test_an_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.touch()
    await filled(path, 1)
    assert path.stat().st_size > 0


async def test_a_database_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE runs (dish)")
    connection.close()
    assert "a database of something else" in await refused(path)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE runs")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID + 1}")
    connection.close()
    assert "a database of something else" in await refused(path)


async def test_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await filled(path, 1)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    told = await refused(path)
    assert f"format {VERSION + 1}" in told
    assert "upgrade penguiflow" in told


def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    anyio.run(filled, path, 1)
    script = f"""
import anyio, os
from penguiflow.journals import SQLiteJournal
from penguiflow.errors import JournalError
if os.geteuid() == 0:
    anyio.run(anyio.sleep, 0)  # what is imported late must be there before: the folder of it may be root's
    os.seteuid(65534)
async def main():
    try:
        await SQLiteJournal({str(path)!r}).open()
    except JournalError as error:
        print(error)
anyio.run(main)
"""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    for mode, said in ((0o444, "can't be written"), (0o000, "Permission denied")):
        path.chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert said in done.stdout
    path.chmod(0o644)


def cut(path: Path) -> None:
    """Leave the first half."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flip(path: Path) -> None:
    """Write over the head of one page in the middle."""
    pages = bytearray(path.read_bytes())
    start = len(pages) // 4096 // 2 * 4096
    pages[start : start + 64] = b"\xa5" * 64
    path.write_bytes(pages)


@pytest.mark.parametrize("damage", [cut, flip])
async def test_a_damaged_file(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """It is named where it is met; from then on nothing more is written."""
    path = tmp_path / "runs.db"
    await filled(path)
    damage(path)
    journal = SQLiteJournal(path)
    with pytest.raises(JournalError, match="is damaged") as told:
        await journal.open()
        await journal.rows(limit=1000)
        for number in range(200):
            await journal.read(f"run {number}")
    assert ".recover" in str(told.value)
    assert isinstance(told.value.__cause__, sqlite3.Error)
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"is damaged|is not open"):
        await journal.append("me", [Record("new", 1, "step", b"x")], [RunChange("new", "f", "running")])
    await journal.close()
    assert path.read_bytes() == before


async def test_a_lock_of_another_process(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await filled(path, 1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "is locked by another process" in await refused(path)
    other.execute("ROLLBACK")
    journal = SQLiteJournal(path, busy_timeout=0.1)
    await journal.open()
    other.execute("BEGIN IMMEDIATE")
    failures: list[str] = []

    async def fails(number: int) -> None:
        change = RunChange(f"new {number}", "f", "running")
        with pytest.raises(JournalError) as told:
            await journal.append("me", [Record(change.run_id, 1, "step", b"x")], [change])
        failures.append(str(told.value))

    with anyio.fail_after(3):  # those that wait together wait once
        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(fails, number)
    assert len(failures) == 60
    assert all("is locked by another process" in text for text in failures)
    assert len(await journal.rows()) == 1
    timer = threading.Timer(0.03, lambda: other.execute("ROLLBACK"))
    other.close()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer.start()  # a lock that is given back in time is waited for
    await journal.append("me", [Record("late", 1, "step", b"x")], [RunChange("late", "f", "running")])
    timer.join()
    other.close()
    await journal.close()


async def test_a_file_that_is_moved_away_takes_no_more(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await filled(path, 1)
    journal = SQLiteJournal(path)
    await journal.open()
    path.rename(tmp_path / "elsewhere.db")
    with pytest.raises(JournalError, match="was moved or deleted"):
        await journal.append("me", [Record("new", 1, "step", b"x")], [RunChange("new", "f", "running")])
    await journal.close()
    (tmp_path / "elsewhere.db").rename(path)
    await journal.open()
    assert [row.run_id for row in await journal.rows()] == ["run 0"]
    await journal.close()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 2 MB. It is not below pytest's folders, which other sessions clear away."""
    folder = Path(tempfile.mkdtemp(prefix="penguiflow-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        trouble = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        trouble = str(error)
    if trouble:
        folder.rmdir()
        pytest.skip(f"no small disk can be mounted: {trouble}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=20)
        folder.rmdir()


async def test_a_full_disk(small_disk: Path) -> None:
    """What does not fit is refused, what fits beside it is written, and with room it goes on."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 700_000)
    journal = SQLiteJournal(small_disk / "runs.db")
    await journal.open()
    written: list[str] = []
    failures: list[str] = []

    async def append(run_id: str, size: int) -> None:
        try:
            change = RunChange(run_id, "f", "running")
            await journal.append("me", [Record(run_id, 1, "step", b"x" * size)], [change])
        except JournalError as error:
            failures.append(str(error))
        else:
            written.append(run_id)

    for number in range(40):
        async with anyio.create_task_group() as group:
            group.start_soon(append, f"large {number}", 60_000)
            group.start_soon(append, f"small {number}", 10)
    assert failures
    assert all("the disk is full; make room" in text for text in failures)
    assert sum(run_id.startswith("small") for run_id in written) >= len(written) / 2
    rows = await journal.rows(limit=100)
    assert {row.run_id for row in rows} == set(written)
    for row in rows:
        assert sum(len(record.data) for record in await journal.read(row.run_id)) == row.size_bytes
    ballast.unlink()
    failures.clear()
    await append("after", 60_000)
    assert not failures
    await journal.close()


async def test_the_thread_ends_with_the_journal(tmp_path: Path) -> None:
    """There is one thread while it is open, and none before and after; it is the same for all calls."""

    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "penguiflow-journal"]

    before = len(threads())
    journal = SQLiteJournal(tmp_path / "runs.db")
    assert len(threads()) == before
    await journal.open()
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(journal.rows)
    assert len(threads()) == before + 1
    await journal.close()
    with anyio.fail_after(5):
        while len(threads()) > before:  # noqa: ASYNC110
            await anyio.sleep(0.001)
    await journal.open()
    assert await journal.rows() == []
    await journal.close()


def test_one_object_serves_several_event_loops(tmp_path: Path) -> None:
    """Opened in one loop, it is used by loops of both kinds in other threads."""
    journal = SQLiteJournal(tmp_path / "runs.db")
    anyio.run(journal.open)

    async def write(name: str) -> None:
        for number in range(50):
            run_id = f"{name} {number}"
            await journal.append("me", [Record(run_id, 1, "step", b"x")], [RunChange(run_id, "f", "running")])

    threads = [
        threading.Thread(target=anyio.run, args=(write, f"{backend} {number}"), kwargs={"backend": backend})
        for backend in ("asyncio", "trio")
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def count() -> int:
        return len(await journal.rows(limit=1000))

    assert anyio.run(count) == 300
    anyio.run(journal.close)
