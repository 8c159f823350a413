"""Reading runs: all that a journal has of one, or why not.

Invariant (rule 5.6): what is given is whole; a run of which records are missing is named, never guessed at.
"""

from __future__ import annotations

from contextlib import aclosing

from .errors import JournalError
from .journal import Journal
from .journal_pages import records_of
from .recorded import Recorded
from .retention import COMPACTED


async def read_run(journal: Journal, run_id: str) -> Recorded:
    """Read all that is recorded of a run.

    Raises:
        JournalError: it is not kept, not whole, or its details are forgotten.

    If cancelled, nothing has changed.
    """
    row = await journal.row(run_id)  # before its records: there may be more of these by then, but not fewer
    recorded = Recorded(run_id)
    try:
        async with aclosing(records_of(journal, run_id)) as records:
            async for record in records:
                recorded.add(record)
        if row is not None and recorded.seq < row.records:
            there = f"{recorded.seq} of its {row.records} records are there"
            raise JournalError(f"run {run_id} is cut off in {journal!r}: {there}")
    except JournalError:
        if COMPACTED in (await journal.posts([run_id])).get(run_id, {}):
            raise JournalError(
                f"what run {run_id} did inside is forgotten (Retention.details): only what it was given and "
                "what it delivered is kept"
            ) from None
        raise
    if recorded.questions:
        recorded.hear((await journal.posts([run_id])).get(run_id, {}))
    if not recorded.begun:
        raise JournalError(f"{journal!r} has no run {run_id!r}, or not its beginning")
    return recorded
