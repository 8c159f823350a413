"""A process that is killed while it writes loses nothing that `append` has returned for; nothing is torn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from penguiflow.journal import Journal
from penguiflow.journals import PostgresJournal, SQLiteJournal

from .stores import SERVER, Schemas, need_server
from .writing_process import WRITERS, data_of

SCRIPT = Path(__file__).parent / "writing_process.py"


def killed(kind: str, place: str, lines: int) -> dict[str, int]:
    """Let a process write until it has told so many appends, kill it; give how many it told, run by run."""
    arguments = [sys.executable, str(SCRIPT), kind, place]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    told += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -9
    counts: dict[str, int] = {}
    for line in told:
        run_id, _, count = line.rstrip("\n").rpartition(" ")
        if line.endswith("\n") and run_id:
            counts[run_id] = max(int(count), counts.get(run_id, 0))
    return counts


async def is_whole(journal: Journal, told: dict[str, int]) -> None:
    """Compare what is kept with what was told, record by record."""
    for run_id in (f"run {number}" for number in range(WRITERS)):
        mine, also = await journal.read(run_id), await journal.read(f"{run_id} twin")
        count = len(mine) // 3
        assert (len(mine), len(also)) == (3 * count, 2 * count)
        assert told.get(run_id, 0) <= count <= told.get(run_id, 0) + 1
        for records in (mine, also):
            assert [record.seq for record in records] == list(range(1, len(records) + 1))
            assert [record.data for record in records] == [data_of(r.run_id, r.seq) for r in records]
        row = await journal.row(run_id)
        assert (row.records if row else 0) == len(mine)


async def can_be_gone_on_with(journal: Journal) -> None:
    """Take over what the dead process has left, when its leases have run out."""
    rows = [row.run_id for row in await journal.rows(limit=99)]
    taken: list[str] = []
    with anyio.fail_after(10):
        while len(taken) < len(rows):
            taken += [row.run_id for row in await journal.claim("heir", "flow", 60)]
            await anyio.sleep(0.01)
    assert sorted(taken) == sorted(rows)


@pytest.mark.parametrize("lines", [1, 40, 400])
async def test_sqlite(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "runs.db"
    told = killed("sqlite", str(path), lines)
    journal = SQLiteJournal(path)
    await journal.open()
    await is_whole(journal, told)
    await can_be_gone_on_with(journal)
    await journal.close()


@pytest.mark.parametrize("lines", [1, 300])
async def test_postgres(schemas: Schemas, lines: int) -> None:
    need_server()
    schema = schemas.new()
    told = killed("postgres", schema, lines)
    journal = PostgresJournal(SERVER, schema=schema)
    await journal.open()
    with anyio.fail_after(10):  # what the server was just doing for the dead process, it ends first
        while await still_works(journal):  # noqa: ASYNC110
            await anyio.sleep(0.01)
    await is_whole(journal, told)
    await can_be_gone_on_with(journal)
    await journal.close()


async def still_works(journal: Journal) -> bool:
    """Say whether records are still coming."""
    before = [row.records for row in await journal.rows(limit=99)]
    await anyio.sleep(0.05)
    return before != [row.records for row in await journal.rows(limit=99)]
