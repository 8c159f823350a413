"""A process that appends to a journal until it is killed, and prints what `append` has returned for.

Run as a script: ``python writing_process.py sqlite PATH`` or ``… postgres SCHEMA``. Each append writes three
records of a run and two of its twin; behind each it prints run and number.
"""

from __future__ import annotations

import sys

import anyio

from penguiflow.journal import Journal, Record, RunChange
from penguiflow.journals import PostgresJournal, SQLiteJournal

WRITERS = 8


def data_of(run_id: str, seq: int) -> bytes:
    """Give the data of a record, some of it large."""
    return f"{run_id}:{seq}|".encode() * (1 + seq % 50)


def records(run_id: str, after: int, count: int) -> list[Record]:
    """Make records."""
    return [Record(run_id, seq, "step", data_of(run_id, seq)) for seq in range(after + 1, after + count + 1)]


async def write(journal: Journal, run_id: str) -> None:
    """Append for ever."""
    twin = f"{run_id} twin"
    begins = [RunChange(run_id, "flow", "running"), RunChange(twin, "flow", "running")]
    count = 0
    while True:
        batch = records(run_id, 3 * count, 3) + records(twin, 2 * count, 2)
        await journal.append("writer", batch, begins if not count else [], 0.05)
        count += 1
        print(run_id, count, flush=True)


async def main(kind: str, place: str) -> None:
    """Write with several tasks."""
    if kind == "sqlite":
        journal: Journal = SQLiteJournal(place)
    else:
        from stores import SERVER  # type: ignore[import-not-found]  # the folder of this script

        journal = PostgresJournal(SERVER, schema=place)
    await journal.open()
    async with anyio.create_task_group() as group:
        for number in range(WRITERS):
            group.start_soon(write, journal, f"run {number}")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
