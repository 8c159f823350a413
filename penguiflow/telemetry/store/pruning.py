"""Pruning: a store stays as young and as small as it is told to.

Owns what goes first: the oldest runs, whole ones. Invariant: a run that is under way in a process that is
alive is never touched.
"""

from __future__ import annotations

import sqlite3
import time

from .processes import Process

AT_ONCE = 20
"""So many runs are deleted in one transaction: nobody else can write meanwhile."""

LONGEST_SECONDS = 1.0
"""Then pruning pauses, and what has come in meanwhile is written."""

ROOM = 0.9
"""Where a store is too large, it is brought down to this part of what it may have."""

PAGES_AT_ONCE = 500


def prune(connection: sqlite3.Connection, max_age: float, max_bytes: int) -> bool:
    """Delete what is too old or too much; say whether all of it is gone.

    Raises:
        sqlite3.Error: it can't be written.
    """
    now = time.time()
    enough = time.monotonic() + LONGEST_SECONDS
    gone = [one.process for one in processes(connection) if not one.is_alive(now)]
    while _delete(connection, gone, now - max_age):
        if time.monotonic() > enough:
            return False
    if _size_bytes(connection) > max_bytes:
        while _used_bytes(connection) > ROOM * max_bytes:
            if not _delete(connection, gone, now):
                break
            if time.monotonic() > enough:
                return False
        if not _shrink(connection, max_bytes, enough):
            return False
    _forget(connection, gone)
    return True


def processes(connection: sqlite3.Connection) -> list[Process]:
    """Give the processes that have written the store."""
    rows = connection.execute("SELECT process, pid, birth, place, started, seen FROM processes")
    return [Process(*row) for row in rows]


def _delete(connection: sqlite3.Connection, gone: list[str], before: float) -> int:
    """Delete some of the oldest runs that began before a moment and are over; give how many."""
    marks = ", ".join("?" * len(gone))
    rows = connection.execute(
        f"SELECT run FROM runs WHERE started < ? AND (ended IS NOT NULL OR process IN ({marks})) "
        f"ORDER BY started LIMIT {AT_ONCE}",
        (before, *gone),
    ).fetchall()
    if not rows:
        return 0
    connection.execute("BEGIN IMMEDIATE")
    for table in ("steps", "streams", "parts", "pauses", "runs"):
        connection.executemany(f"DELETE FROM {table} WHERE run = ?", rows)
    connection.execute("COMMIT")
    return len(rows)


def _shrink(connection: sqlite3.Connection, max_bytes: int, enough: float) -> bool:
    """Give free pages back to the disk; say whether all that was asked for is done."""
    while _size_bytes(connection) > max_bytes:
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if not free:
            return True
        connection.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
        (left,) = connection.execute("PRAGMA freelist_count").fetchone()
        if left == free:  # the file was made by somebody who forbade it
            return True
        if time.monotonic() > enough:
            return False
    return True


def _forget(connection: sqlite3.Connection, gone: list[str]) -> None:
    """Delete what is kept of processes that are gone, where no run needs it; and plans of no run."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM live WHERE state IS NULL")
    for process in gone:
        connection.execute("DELETE FROM live WHERE process = ?", (process,))
        connection.execute(
            "DELETE FROM processes WHERE process = :it "
            "AND NOT EXISTS (SELECT 1 FROM runs WHERE process = :it AND ended IS NULL)",
            {"it": process},
        )
    connection.execute("DELETE FROM plans WHERE plan NOT IN (SELECT plan FROM runs WHERE plan IS NOT NULL)")
    connection.execute("COMMIT")


def _size_bytes(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages * size)


def _used_bytes(connection: sqlite3.Connection) -> int:
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return _size_bytes(connection) - int(free * size)
