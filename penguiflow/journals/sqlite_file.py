"""SQLite file: how a journal lies in its file, and what is said of a file that can't be used.

Owns the tables, the marks by which a file is known, and the words for what goes wrong. Invariant: a file that
is not ours, is damaged, or was written by a newer version, is never written to.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from penguiflow.errors import JournalError
from penguiflow.sqlite_heads import check_file

APPLICATION_ID = 0x50_46_4C_4A
"""Marks a file as ours: ``PFLJ`` in its header."""

VERSION = 1

MEMORY = ":memory:"

TABLES = (
    "CREATE TABLE runs (id TEXT PRIMARY KEY, flow, status, created, updated, records, size_bytes, "
    "owner, lease_until) WITHOUT ROWID",
    # With rowids: an append is a third cheaper, of large records (30 kB) a half, than without. Measured.
    "CREATE TABLE records (run_id, seq, kind, data, PRIMARY KEY (run_id, seq))",
    "CREATE TABLE posts (run_id, key, data, PRIMARY KEY (run_id, key))",
    "CREATE INDEX runs_by_status ON runs (status, created, id)",
    "CREATE INDEX runs_by_flow ON runs (flow, status, created, id)",
    "CREATE INDEX runs_owned ON runs (owner) WHERE owner <> ''",
)


def check_path(path: str | os.PathLike[str]) -> None:
    """Refuse what names no file: several processes may use one journal, and it is to outlive them.

    Raises:
        TypeError: it is no path of text.
        ValueError: it is empty, or SQLite's word for a database in memory, or can't be a path.
    """
    name = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(name, str):
        raise TypeError(f"SQLiteJournal({path!r}): the path of a file is needed, as a text or a Path")
    if "\0" in name:
        raise ValueError(f"SQLiteJournal({path!r}): a path has no null character in it")
    if name in ("", MEMORY):
        raise ValueError(
            f"SQLiteJournal({name!r}): the path of a file is needed, such as "
            f'SQLiteJournal("runs.db"); what is to be kept in memory only goes into MemoryJournal()'
        )


def connect(path: Path, synchronous: str, busy_timeout: float) -> sqlite3.Connection:
    """Open a file, and make the tables if it is new.

    Raises:
        JournalError: it belongs to somebody else, or to a newer version, or is no database.
        sqlite3.Error, OSError: it can't be read or written.
    """
    check_file(path, "a journal", JournalError)
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        if check_marks(connection, path):
            connection.execute("BEGIN IMMEDIATE")  # tells now whether it can be written
            connection.execute("ROLLBACK")
        else:
            create(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def check_marks(connection: sqlite3.Connection, path: Path) -> bool:
    """Say whether an open database has our tables already.

    Raises:
        JournalError: it belongs to somebody else, to a newer version, or is cut off.
        sqlite3.Error: it can't be read.
    """
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if mark == APPLICATION_ID:
        if version > VERSION:
            raise JournalError(
                f"the journal {str(path)!r} has the format {version}, and this penguiflow "
                f"knows {VERSION}: upgrade penguiflow, or name another file"
            )
        return True
    if mark or version or tables:
        raise JournalError(
            f"{str(path)!r} is a database of something else, and not a journal; it is left as it is: "
            f"name another file"
        )
    return False


def create(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, unless another process has just done so.

    Raises:
        JournalError, sqlite3.Error: as in `check_marks`; or it can't be written.
    """
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts only before there is any table
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not check_marks(connection, path):
            for statement in TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def identity(path: Path) -> tuple[int, int] | None:
    """Tell one file from another that has taken its name; ``None`` where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def code_of(error: Exception) -> int:
    """Give SQLite's number for an error, 0 where it has none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def explain(error: Exception, path: Path) -> str:
    """Say in words why a journal can't be read or written, with the remedy."""
    name = repr(str(path))
    if isinstance(error, OSError):
        return f"the journal {name} can't be used: {error.strerror or error}"
    code = code_of(error)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return (
            f"the journal {name} is damaged ({error}); it is left as it is: move it away for a new one, "
            f"with the files beside it; `sqlite3 FILE .recover` may save what it holds"
        )
    if code == sqlite3.SQLITE_FULL:
        return f"the journal {name} can't grow, the disk is full; make room"
    if code == sqlite3.SQLITE_CANTOPEN:
        folder = path.parent
        if not folder.is_dir():
            return f"the journal {name} can't be made: there is no folder {str(folder)!r}; make it"
        return f"the journal {name} can't be opened ({error}); see who may read and write it and its folder"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return f"the journal {name} can't be written ({error}); see who may write it and its folder"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"the journal {name} is locked by another process; see who has a transaction open on it"
    if code == sqlite3.SQLITE_IOERR:
        return (
            f"the journal {name} can't be read or written ({error}); see whether the disk is sound, or full"
        )
    if code == sqlite3.SQLITE_TOOBIG:
        return f"the journal {name} can't take it: a record has more bytes than SQLite allows ({error})"
    return f"the journal {name} can't be used: {error}"
