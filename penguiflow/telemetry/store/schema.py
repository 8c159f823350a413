"""Schema: how a trace store lies in its SQLite file.

Owns the tables, the marks by which a file is known, and what is said of a file that can't be used.
Invariant: a file that is not ours, is damaged, or was written by a newer version, is never written to.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from penguiflow.errors import FlowError

APPLICATION_ID = 0x50_46_4C_57
"""Marks a file as ours: ``PFLW`` in its header."""

VERSION = 2
"""2 has pauses, how long runs had waited to be admitted, and how much went into tries that failed."""

MEMORY = ":memory:"

PLANS, RUNS, PARTS, STEPS, STREAMS, LIVE, PROCESSES, PAUSES = range(8)
"""The tables, by the numbers under which rows for them are handed to the writer."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        name: its name.
        columns: its columns, the key first.
        key: how many columns the key has.
    """

    name: str
    columns: tuple[str, ...]
    key: int

    @property
    def insert(self) -> str:
        """The statement that writes a whole row, or another one in its place."""
        marks = ", ".join("?" * len(self.columns))
        return f"INSERT OR REPLACE INTO {self.name} ({', '.join(self.columns)}) VALUES ({marks})"

    @property
    def create(self) -> str:
        """The statement that makes the table. Columns have no types: SQLite keeps what it is given."""
        key = ", ".join(self.columns[: self.key])
        columns = ", ".join(self.columns)
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID"


_WAITS = "source_seconds node_seconds credit_seconds again_seconds"

TABLES: tuple[Table, ...] = (
    Table("plans", ("plan", "nodes", "edges"), 1),
    Table(
        "runs",
        tuple(
            "run process run_id flow trace_id tenant started ended".split()
            + "status steps streams left_out plan error waited_seconds read_seconds".split()
        ),
        1,
    ),
    Table("parts", tuple("run part flow caller_part caller_step started ended status error".split()), 2),
    Table(
        "steps",
        tuple(
            "run part step attempt node stream_id started ended queued outcome".split()
            + _WAITS.split()
            + "error events".split()
        ),
        4,
    ),
    Table(
        "streams",
        tuple(
            "run stream part step node stream_id attempt started ended terminal".split()
            + "chunks bytes gaps drops first_chunk".split()
            + _WAITS.split()
            + "timeline error".split()
        ),
        2,
    ),
    Table("live", tuple("process runtime at state".split()), 2),
    Table("processes", tuple("process pid birth place started seen".split()), 1),
    Table("pauses", tuple("run number part started ended".split()), 2),
)
"""All tables, in the order of their numbers."""

INDEXES = (
    "CREATE INDEX IF NOT EXISTS runs_by_id ON runs (run_id)",
    "CREATE INDEX IF NOT EXISTS runs_by_start ON runs (started)",
    "CREATE INDEX IF NOT EXISTS runs_open ON runs (process) WHERE ended IS NULL",
)

PERMANENT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_ERROR)
"""What does not get better by waiting."""


class TraceStoreError(FlowError):
    """A trace store can't be used; the text says which, why, and the remedy."""


def check_path(path: str | os.PathLike[str]) -> None:
    """Refuse what names no file: a store is written by one thread and read by other processes.

    Raises:
        ValueError: it is empty, or SQLite's word for a database in memory.
    """
    if os.fspath(path) in ("", ".", MEMORY):
        text = 'the path of a file is needed; write: TraceStore("runs.db")'
        raise ValueError(f"TraceStore({str(path)!r}): {text}")


def check_marks(connection: sqlite3.Connection, path: Path) -> bool:
    """Say whether an open database has our tables already.

    Raises:
        TraceStoreError: it belongs to somebody else, or to a newer version.
        sqlite3.Error: it can't be read.
    """
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if mark == APPLICATION_ID:
        if version > VERSION:
            raise TraceStoreError(
                f"the trace store {str(path)!r} has the format {version}, and this penguiflow "
                f"knows {VERSION}: upgrade penguiflow, or name another file"
            )
        return True
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if mark or version or tables:
        raise TraceStoreError(
            f"{str(path)!r} is a database of something else, and not a trace store; it is left as it is: "
            f"name another file"
        )
    return False


def is_older(connection: sqlite3.Connection) -> bool:
    """Say whether a store of ours was written by an older version, which had less to keep.

    Raises:
        sqlite3.Error: it can't be read.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version) < VERSION


def create(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or what of them an older version had not, unless another process has just done so.

    An older version that has the file open goes on writing what it knows: rows are written column by column.

    Raises:
        TraceStoreError, sqlite3.Error: as in `check_marks`; or it can't be written.
    """
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts only before there is any table
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not check_marks(connection, path) or is_older(connection):
            for table in TABLES:
                connection.execute(table.create)
                _complete(connection, table)
            for index in INDEXES:
                connection.execute(index)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _complete(connection: sqlite3.Connection, table: Table) -> None:
    """Add the columns that a table of an older version has not; what is in it has nothing there."""
    known = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
    for column in table.columns:
        if column not in known:
            connection.execute(f"ALTER TABLE {table.name} ADD COLUMN {column}")


def is_permanent(error: Exception) -> bool:
    """Say whether an error stays, whatever is done about the disk: then nothing more is tried."""
    if isinstance(error, TraceStoreError):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in PERMANENT


def explain(error: Exception, path: Path) -> str:
    """Say in words why a store can't be read or written, with the remedy."""
    if isinstance(error, TraceStoreError):
        return str(error)
    name = repr(str(path))
    if isinstance(error, OSError):
        return f"the trace store {name} can't be used: {error.strerror or error}"
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"the trace store {name} is damaged ({error}); it is left as it is: move it away for a new one"
    if code == sqlite3.SQLITE_FULL:
        return f"the trace store {name} can't grow, the disk is full; make room, or name a file elsewhere"
    if code == sqlite3.SQLITE_CANTOPEN:
        folder = path.parent
        if not folder.is_dir():
            return f"the trace store {name} can't be made: there is no folder {str(folder)!r}; make it"
        return (
            f"the trace store {name} can't be opened ({error}); see who may read and write it and its folder"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return f"the trace store {name} can't be written ({error}); see who may write it and its folder"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"the trace store {name} is locked by another process; see who has a transaction open on it"
    return f"the trace store {name} can't be used: {error}; see whether the disk is sound"
