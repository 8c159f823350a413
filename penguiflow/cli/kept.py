"""How the commands on durable runs name a journal and a run, and read them.

Owns that alone. Invariant: a journal is only read, and none is made where there is none. What is shown of a
run, `kept_view` and `replay` know.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from penguiflow.cli.errors import CommandError
from penguiflow.errors import JournalError
from penguiflow.journal import Journal, RunRow
from penguiflow.journals import PostgresJournal, Retention, SQLiteJournal

DEFAULT_JOURNAL = "journal.db"
VARIABLE = "PENGUIFLOW_JOURNAL"
SERVERS = ("postgresql://", "postgres://")

HELP = f"the journal: an SQLite file, or postgresql://…; default: ${VARIABLE}, or {DEFAULT_JOURNAL}"

ROWS_AT_ONCE = 1000


def is_journal(word: str) -> bool:
    """Say whether a word names a journal, and not a run."""
    return word.startswith(SERVERS) or word.endswith(".db") or Path(word).is_file()


def tell_apart(words: list[str], journal: str | None) -> tuple[str, str | None]:
    """Tell the journal from the run: a journal is a file or a server, or is called so."""
    if len(words) > 2:
        raise CommandError(f"one journal and one run can be named, and not {' '.join(words)!r}")
    named = [word for word in words if is_journal(word)]
    if journal is None and (len(words) == 2 or named):
        journal = named[0] if named else words[0]
        words = [word for index, word in enumerate(words) if index != words.index(journal)]
    if len(words) > 1:
        raise CommandError(f"--journal names the journal already, so {' '.join(words)!r} should be one run")
    return name_of(journal), words[0] if words else None


def name_of(journal: str | None) -> str:
    """Give the journal that is meant."""
    return journal or os.environ.get(VARIABLE) or DEFAULT_JOURNAL


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[Journal]:
    """Open a journal that is there; nothing in it is deleted."""
    with said():
        journal = _journal(name)
        await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


@contextmanager
def said() -> Iterator[None]:
    """Say in one line what is wrong with a journal."""
    try:
        yield
    except JournalError as error:
        raise CommandError(str(error)) from error


def _journal(name: str) -> Journal:
    if name.startswith(SERVERS):
        try:
            return PostgresJournal(name, retention=Retention())
        except (ImportError, ValueError) as error:
            raise CommandError(str(error)) from error
    path = Path(name)
    if not path.exists():
        raise CommandError(f"there is no journal {name!r}; name it with --journal or ${VARIABLE}")
    if path.is_file() and path.stat().st_size == 0:
        raise CommandError(f"the file {name!r} is empty, and no journal")
    return SQLiteJournal(path, retention=Retention())


async def find(journal: Journal, word: str) -> RunRow:
    """Give the run of an id, of the beginning of an id, or the latest one for ``last``."""
    row = await journal.row(word)
    if row is not None:
        return row
    if word == "last":
        latest = await journal.rows(limit=1)
        if latest:
            return latest[0]
        raise CommandError("there is no run in this journal")
    found = [row async for row in _all(journal) if row.run_id.startswith(word)]
    if not found:
        raise CommandError(f"this journal has no run {word!r}; penguiflow runs lists those that it has")
    if len(found) > 1:
        names = ", ".join(row.run_id for row in found[:3]) + (", …" if len(found) > 3 else "")
        raise CommandError(f"{word!r} is the beginning of {len(found)} runs: {names}")
    return found[0]


async def _all(journal: Journal) -> AsyncIterator[RunRow]:
    before: RunRow | None = None
    while True:
        rows = await journal.rows(limit=ROWS_AT_ONCE, before=before)
        for row in rows:
            yield row
        if len(rows) < ROWS_AT_ONCE:
            return
        before = rows[-1]
