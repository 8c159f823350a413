"""Writing: rows on their way from the event loop to the disk.

Owns the buffer and the thread that empties it. Invariant: to hand in a row never waits and never raises;
the buffer is bounded, and what does not go into it is counted. A disk that is full, slow, locked or broken
is tried again, and said once.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from penguiflow.sqlite_heads import check_file

from .coding import encode
from .processes import Process, this_process
from .pruning import prune
from .schema import (
    LIVE,
    PROCESSES,
    RUNS,
    TABLES,
    TraceStoreError,
    check_marks,
    create,
    explain,
    is_older,
    is_permanent,
)

log = logging.getLogger("penguiflow")

BATCH_ROWS = 500
BATCH_SECONDS = 0.05
"""How long rows are gathered for one transaction, unless there are enough before."""

BEAT_SECONDS = 2.0
"""How often a process says that it is there."""

RETRY_SECONDS = 2.0
"""How long to wait until a disk is tried again."""

BUSY_SECONDS = 0.5
"""How long one attempt waits for a lock of another process."""

PATIENCE_SECONDS = 10.0
"""A lock that is held for longer is said to be a trouble."""

PRUNE_SECONDS = 5.0

RESERVE = 1.25
"""By so much the buffer is larger for the beginnings and ends of runs."""

MOST_SAID = 20

Row = tuple[Any, ...]


class Writer:
    """Writes rows to a store, from a thread of its own.

    Args:
        path: the file.
        max_age: how old runs may get, in seconds.
        max_bytes: how large the file may get.
        most_pending: how many rows may wait.
        live: gives the keys of the runs that are under way here.
    """

    def __init__(
        self, path: Path, max_age: float, max_bytes: int, most_pending: int, live: Callable[[], set[int]]
    ) -> None:
        self.path: Path = path
        self.errors: int = 0
        self.lost: int = 0
        self.process: Process = this_process()
        self._max_age = max_age
        self._max_bytes = max_bytes
        self._most_pending = most_pending
        self._live = live
        self._rows: deque[tuple[int, Row]] = deque()
        self._batch: list[tuple[int, Row]] = []
        self._pictures: dict[tuple[str, int], Row] = {}
        self._awake = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, ...] = ()
        self._failing = False
        self._hopeless = False
        self._deadline = 0.0
        self._missing_ends = False
        self._said: set[str] = set()
        self._waiting_since: float | None = None
        self._beat_at = self._prune_at = 0.0

    @property
    def pending(self) -> int:
        """How many rows are not on the disk yet."""
        return len(self._rows) + len(self._batch)

    def put(self, table: int, row: Row) -> bool:
        """Hand in a row; say whether there was room for it."""
        rows = self._rows
        waiting = len(rows)
        if waiting >= self._most_pending and (
            table != RUNS or waiting >= self._most_pending * RESERVE or self._hopeless
        ):
            self._refuse(table)
            return False
        rows.append((table, row))
        if not self._awake:
            self._awake = True
            self._wake.set()
        elif waiting == BATCH_ROWS:
            self._hurry.set()
        return True

    def show(self, key: tuple[str, int], row: Row) -> None:
        """Hand in a picture; it takes the place of the one before, if that is not written yet."""
        self._pictures[key] = row
        if not self._awake:
            self._awake = True
            self._wake.set()

    def _refuse(self, table: int) -> None:
        self.lost += 1
        self._missing_ends = self._missing_ends or table == RUNS
        if not self._failing:
            self._say(f"the trace store {str(self.path)!r} is slower than the runs: records are left out")

    # -- beginning and end, called from event loops

    def open(self) -> None:
        """Begin to write."""
        before, alive = self._thread, self._thread is not None and self._thread.is_alive()
        if alive and not self._closing.is_set():
            return
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._work, args=(before, self._closing), name="penguiflow-traces", daemon=True
        )
        self._thread.start()

    def close(self, patience: float) -> None:
        """Write what is left and end; wait for it no longer than so many seconds."""
        self._deadline = time.monotonic() + patience
        self._closing.set()
        self._hurry.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(patience)

    # -- the thread

    def _work(self, before: threading.Thread | None, closing: threading.Event) -> None:
        if before is not None:
            before.join()  # it may not have ended in time
        try:
            closed = False
            while not closed:
                closed = closing.is_set()
                self._turn(closing)
                self._wake.wait(0 if closed else BEAT_SECONDS)
                self._hurry.wait(0 if closed else BATCH_SECONDS)
                self._hurry.clear()
                self._wake.clear()
                self._awake = False
        except Exception:  # whatever it is, it must not be silent, and not hurt a run
            self.errors += 1
            self._failing = self._hopeless = True
            log.exception("the trace store %r: its writer has failed; nothing more is traced", str(self.path))
        finally:
            if self._thread is threading.current_thread():
                self._give_up()
            self._disconnect()

    def _turn(self, closing: threading.Event) -> None:
        """Write what is there."""
        while self._rows or self._batch or self._pictures or self._is_due():
            try:
                self._write_some()
            except (sqlite3.Error, OSError, TraceStoreError) as error:
                wait = self._failed(error)
                if closing.is_set() and not (_is_busy(error) and time.monotonic() < self._deadline):
                    return
                closing.wait(wait) if not closing.is_set() else time.sleep(wait)
            else:
                self._failing, self._waiting_since = self._hopeless, None

    def _is_due(self) -> bool:
        return not self._hopeless and time.monotonic() >= self._beat_at

    def _write_some(self) -> None:
        """Write one batch in one transaction, and look after the store."""
        connection = self._connect()
        if connection is None:
            return
        if not self._batch:
            self._batch = [self._rows.popleft() for _ in range(min(len(self._rows), BATCH_ROWS))]
        now = time.monotonic()
        latest = {(table, *row[: TABLES[table].key]): (table, row) for table, row in self._batch}
        connection.execute("BEGIN IMMEDIATE")
        for table, row in latest.values():
            try:
                _write(connection, table, row)
            except (ValueError, OverflowError, sqlite3.ProgrammingError):  # it says what SQLite can't keep
                self.lost += 1
        beats = now >= self._beat_at or bool(self._pictures)
        while self._pictures:
            _write(connection, LIVE, self._pictures.popitem()[1])
        if beats:
            seen = replace(self.process, seen=time.time())
            values = (seen.process, seen.pid, seen.birth, seen.place, seen.started, seen.seen)
            _write(connection, PROCESSES, values)
        if self._missing_ends and not self._rows:
            self._end_unseen(connection)
        connection.execute("COMMIT")
        self._batch = []
        if beats:
            self._beat_at = now + BEAT_SECONDS
        if now >= self._prune_at and (prune(connection, self._max_age, self._max_bytes) or not self._rows):
            self._prune_at = now + PRUNE_SECONDS

    def _end_unseen(self, connection: sqlite3.Connection) -> None:
        """Mark the runs whose end did not get into the buffer."""
        open_here = connection.execute(
            "SELECT run FROM runs WHERE process = ? AND ended IS NULL", (self.process.process,)
        ).fetchall()
        live = self._live()
        ended = [(time.time(), run) for (run,) in open_here if run not in live]
        connection.executemany("UPDATE runs SET status = 'lost', ended = ? WHERE run = ?", ended)
        self._missing_ends = False

    # -- the connection

    def _connect(self) -> sqlite3.Connection | None:
        """Give the connection, made if need be; ``None`` where there is no hope for the file."""
        if self._connection is not None and _signature(self.path)[:2] != self._file[:2]:
            self._disconnect()  # somebody has moved the file away: make another one
        if self._connection is not None:
            return self._connection
        if self._hopeless:
            if _signature(self.path) == self._file:
                self._drop_all()
                return None
            self._hopeless = False
        self._file = _signature(self.path)
        check_file(self.path, "a trace store", TraceStoreError)
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA journal_size_limit = 4194304")
            if not check_marks(connection, self.path) or is_older(connection):
                create(connection, self.path)
        except BaseException:
            connection.close()
            raise
        self._file = _signature(self.path)
        self._connection = connection
        self._beat_at = 0.0
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                self._failed(error)

    def _failed(self, error: Exception) -> float:
        """Take note of a failure; give how long to wait before the next attempt."""
        connection = self._connection
        if connection is not None and connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._disconnect()
        if _is_busy(error):
            now = time.monotonic()
            self._waiting_since = self._waiting_since or now
            if now - self._waiting_since < PATIENCE_SECONDS:
                return 0.05
        self.errors += 1
        self._failing = True
        self._say(f"{explain(error, self.path)}. Runs go on, their traces are not kept")
        if is_permanent(error):
            self._disconnect()
            self._hopeless = True
            self._file = _signature(self.path)
            self._drop_all()
        elif not _is_busy(error):
            self._disconnect()
        return RETRY_SECONDS

    def _drop_all(self) -> None:
        self.lost += len(self._batch) + len(self._rows)
        self._batch = []
        self._rows.clear()
        self._pictures.clear()

    def _give_up(self) -> None:
        if self.pending:
            self.lost += self.pending
            if not self._failing:  # else it was said why
                self._say(
                    f"the trace store {str(self.path)!r} was not ready at the end: records are left out"
                )
            self._batch = []
            self._rows.clear()

    def _say(self, text: str) -> None:
        """Say something in the log, once."""
        if text not in self._said and len(self._said) < MOST_SAID:
            self._said.add(text)
            log.warning("%s", text)


def _write(connection: sqlite3.Connection, table: int, row: Row) -> None:
    connection.execute(TABLES[table].insert, encode(row))


def _is_busy(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _signature(path: Path) -> tuple[int, ...]:
    """Tell one file from another that has taken its name, and from itself after a repair."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
