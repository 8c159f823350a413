"""The one thread of a store: jobs in order, merged where they wait together, withdrawn where nobody waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from penguiflow.errors import JournalError
from penguiflow.journal import Record, RunChange
from penguiflow.journals import SQLiteJournal
from penguiflow.journals.threaded import Append
from penguiflow.journals.worker import MOST_MERGED, Worker


class Merged:
    """Takes note of what was merged."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, asked: Sequence[str]) -> list[Exception | None]:
        self.batches.append(list(asked))
        return [ValueError(one) if one.startswith("bad") else None for one in asked]


async def held(worker: Worker[str], go: threading.Event) -> None:
    """Let the thread wait for a word from the test."""
    await worker.do(go.wait, 20)


async def test_what_waits_together_is_done_together() -> None:
    """Only neighbours are merged, at most so many, and each is told what concerns it."""
    merged, go = Merged(), threading.Event()
    worker = Worker("test", merged, lambda: False)
    errors: list[str] = []

    async def ask(name: str) -> None:
        try:
            await worker.merge(name, 1)
        except ValueError as error:
            errors.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(held, worker, go)
        await anyio.wait_all_tasks_blocked()
        for name in ("a", "bad 1", "b"):
            group.start_soon(ask, name)
            await anyio.wait_all_tasks_blocked()
        group.start_soon(worker.do, merged.batches.append, ["in between"])
        await anyio.wait_all_tasks_blocked()
        for number in range(MOST_MERGED + 1):
            group.start_soon(ask, f"{number}")
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert merged.batches[:2] == [["a", "bad 1", "b"], ["in between"]]
    assert [len(batch) for batch in merged.batches[2:]] == [MOST_MERGED, 1]
    assert errors == ["bad 1"]


async def test_much_data_is_not_merged() -> None:
    merged, go = Merged(), threading.Event()
    worker = Worker("test", merged, lambda: False)
    async with anyio.create_task_group() as group:
        group.start_soon(held, worker, go)
        await anyio.wait_all_tasks_blocked()
        for name in ("a", "b", "c"):
            group.start_soon(worker.merge, name, 5_000_000)
            await anyio.wait_all_tasks_blocked()
        go.set()
    assert merged.batches == [["a", "b"], ["c"]]


async def test_what_nobody_waits_for_is_withdrawn() -> None:
    """A job that has not begun when its task is cancelled is not done; one that is to be done surely, is."""
    merged, go = Merged(), threading.Event()
    worker = Worker("test", merged, lambda: False)
    done: list[str] = []
    async with anyio.create_task_group() as group:
        group.start_soon(held, worker, go)
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as inner:
            inner.start_soon(worker.merge, "withdrawn", 1)
            inner.start_soon(worker.do, done.append, "withdrawn")
            inner.start_soon(worker.do_surely, done.append, "surely")
            await anyio.wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
        group.start_soon(worker.merge, "kept", 1)
        await anyio.wait_all_tasks_blocked()
        go.set()
    await worker.do(done.append, "last")
    assert merged.batches == [["kept"]]
    assert done == ["surely", "last"]


async def test_errors_come_out_where_they_were_asked_for() -> None:
    def fails() -> None:
        raise KeyError("x")

    worker = Worker("test", Merged(), lambda: False)
    with pytest.raises(KeyError, match="x"):
        await worker.do(fails)
    with pytest.raises(ValueError, match="bad"):
        await worker.merge("bad", 1)


def test_a_loop_that_has_ended_is_no_trouble() -> None:
    """Whoever waited there is gone; the thread goes on with what others ask."""
    worker, go = Worker("test", Merged(), lambda: False), threading.Event()

    async def leave() -> None:
        with anyio.move_on_after(0.01):
            await held(worker, go)

    for backend in ("asyncio", "trio"):
        anyio.run(leave, backend=backend)
    go.set()
    for backend in ("asyncio", "trio"):
        assert anyio.run(worker.do, lambda: 3, backend=backend) == 3


@pytest.mark.parametrize("begun", [False, True])
async def test_a_cancelled_open_is_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """Also where the thread was about to open it, or already doing so."""
    journal = SQLiteJournal(tmp_path / "runs.db")
    go, connecting = threading.Event(), threading.Event()
    connect = journal._backend.connect

    def slowly() -> None:
        connecting.set()
        go.wait(20)
        connect()

    monkeypatch.setattr(journal._backend, "connect", slowly)
    async with anyio.create_task_group() as group:
        if not begun:
            group.start_soon(journal._worker.do, go.wait, 20)
            await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as inner:
            inner.start_soon(journal.open)
            await anyio.wait_all_tasks_blocked()
            if begun:
                await anyio.to_thread.run_sync(connecting.wait, 20)
            inner.cancel_scope.cancel()
        go.set()
    await journal._worker.do(lambda: None)
    with pytest.raises(JournalError, match="is not open"):
        await journal.rows()
    await journal.open()
    assert await journal.rows() == []
    await journal.close()
    with pytest.raises(JournalError, match="is not open"):
        await journal.rows()


async def test_appends_share_a_transaction_and_no_error(tmp_path: Path) -> None:
    """Where a transaction fails because of one of its appends, the others are written all the same."""
    journal, go = SQLiteJournal(tmp_path / "runs.db"), threading.Event()
    await journal.open()
    transactions: list[int] = []
    append = journal._backend.append

    def counted(asked: Sequence[Append]) -> Sequence[Exception | None]:
        transactions.append(len(asked))
        return append(asked)

    journal._worker._many = counted
    refused: list[str] = []

    async def one(number: int) -> None:
        data = b"x" if number != 7 else [b"no bytes"]
        record = Record(f"{number:02}", 1, "step", data)  # type: ignore[arg-type]
        try:
            await journal.append("me", [record], [RunChange(record.run_id, "flow", "running")])
        except JournalError:
            refused.append(record.run_id)

    async with anyio.create_task_group() as group:
        group.start_soon(journal._worker.do, go.wait, 20)
        await anyio.wait_all_tasks_blocked()
        for number in range(30):
            group.start_soon(one, number)
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert transactions == [30]
    assert refused == ["07"]
    assert len(await journal.rows()) == 29
    await journal.close()
