"""Pages of a journal: long lists, some entries at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from .journal import Journal, Record

RECORDS_AT_ONCE = 1000
"""So many records, or rows, are read at a time."""


async def records_of(journal: Journal, run_id: str) -> AsyncGenerator[Record, None]:
    """Give the records of a run, in order. If cancelled, nothing has changed."""
    after = 0
    while True:
        records = await journal.read(run_id, after, RECORDS_AT_ONCE)
        for record in records:
            yield record
        if len(records) < RECORDS_AT_ONCE:
            return
        after = records[-1].seq
