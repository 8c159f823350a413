"""A process that claims a run when it is told to, and prints what it got.

Run as a script: ``python claiming_process.py SCHEMA OWNER``; it says ``ready``, waits for a line, and claims.
"""

from __future__ import annotations

import sys

import anyio
from stores import SERVER  # type: ignore[import-not-found]  # the folder of this script

from penguiflow.journals import PostgresJournal


async def main(schema: str, owner: str) -> None:
    """Claim one run by its id, and all others."""
    journal = PostgresJournal(SERVER, schema=schema)
    await journal.open()
    print("ready", flush=True)
    sys.stdin.readline()
    rows = await journal.claim(owner, "flow", 60, run_id="the one")
    while more := await journal.claim(owner, "flow", 60, limit=3):
        rows += more
    print(*(row.run_id for row in rows), sep="|", flush=True)
    await journal.close()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
