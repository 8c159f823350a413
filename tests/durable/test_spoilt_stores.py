"""A store that lost or mixed up records says so, of the run that it concerns, and of no other (rule 5.6)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
import pytest

from penguiflow import Flow, JournalError, node
from penguiflow.journals import SQLiteJournal

pytestmark = [pytest.mark.anyio, pytest.mark.limit(60)]

NOT_ITS_PLACE = "record 2 of run r0 is damaged: .* or it belongs elsewhere"

RUNS = [f"r{number}" for number in range(20)]


class Work:
    """A flow of two nodes, the second of which never ends the first time."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.holds = True

    def flow(self) -> Flow:
        @node
        async def first(text: str) -> str:
            self.called.append(text)
            return f"{text} first"

        @node
        async def second(text: str) -> str:
            if self.holds:
                await anyio.sleep_forever()
            return f"{text} second"

        return Flow("spoilt", first >> second)


async def left_behind(work: Work, path: Path) -> None:
    """Leave runs in a file of which the first node is settled."""
    async with work.flow().open(journal=SQLiteJournal(path)) as runtime:
        for run_id in RUNS:
            await runtime.start(run_id, run_id=run_id)
        with anyio.fail_after(10):
            while len(rows(path, "SELECT * FROM records")) < 2 * len(RUNS):  # noqa: ASYNC110 - a file tells nobody
                await anyio.sleep(0.01)
    work.holds = False
    work.called.clear()


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Ask a file by hand."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DELETE FROM records WHERE run_id = 'r0' AND seq = 2", "cut off in .*1 of its 2 records are there"),
        ("DELETE FROM records WHERE run_id = 'r0'", "cut off in .*0 of its 2 records are there"),
        (
            "UPDATE records SET kind = 'begun' WHERE run_id = 'r0' AND seq = 2",
            NOT_ITS_PLACE,
        ),
        (
            "UPDATE records SET kind = 'parked' WHERE run_id = 'r0' AND seq = 2",
            NOT_ITS_PLACE,
        ),
        (
            "UPDATE records SET data = (SELECT data FROM records WHERE run_id = 'r1' AND seq = 2) "
            "WHERE run_id = 'r0' AND seq = 2",
            NOT_ITS_PLACE,
        ),
        ("UPDATE records SET data = NULL WHERE run_id = 'r0' AND seq = 2", "run r0"),
    ],
)
async def test_a_run_with_a_spoilt_record_is_named_and_the_others_go_on(
    damage: str, said: str, tmp_path: Path
) -> None:
    """Nothing of it is executed, nobody waits for it, and it is in nobody's way."""
    work, path = Work(), tmp_path / "runs.db"
    await left_behind(work, path)
    rows(path, damage)
    async with work.flow().open(journal=SQLiteJournal(path)) as runtime:
        for run_id in RUNS[1:]:
            assert await (await runtime.attach(run_id)).result() == f"{run_id} first second"
        with pytest.raises(JournalError, match=said):
            await (await runtime.attach("r0")).result()
    assert work.called == []


@pytest.mark.parametrize("lost", ["seq = 4", "seq > 2", "seq > 0"])
async def test_an_end_that_is_missing_is_named(lost: str, tmp_path: Path) -> None:
    """The journal says that the run is over, and has no end of it: nobody waits for one."""
    work, path = Work(), tmp_path / "runs.db"
    work.holds = False
    async with work.flow().open(journal=SQLiteJournal(path)) as runtime:
        await runtime.call("x", run_id="r0")
    rows(path, f"DELETE FROM records WHERE run_id = 'r0' AND {lost}")
    async with work.flow().open(journal=SQLiteJournal(path)) as runtime:
        with pytest.raises(JournalError, match=r"run r0 .*(cut off|no beginning|missing)"):
            await (await runtime.attach("r0")).result()
