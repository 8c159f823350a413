"""SQLite runs: what is asked of the file of a journal.

Owns what is written to and read from the file. Invariant: an `append` is one transaction, or a part of one
that it shares with others; a run is written by its owner only, as the rows themselves say at that moment.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from penguiflow.errors import JournalError
from penguiflow.journal import UNFINISHED, Record, RunRow, StatementFailed

from .asking import STATUSES, Part, first_refusal, has_not_ended, no_such_run, refused
from .sqlite_file import code_of, connect, explain, identity
from .statements import execute_in_sqlite
from .threaded import Append, Asked

T = TypeVar("T")

SHRINK_PAGES = 2000

COLUMNS = (
    "id, flow, status, created, updated, records, size_bytes, "
    "CASE WHEN lease_until > ? THEN owner ELSE '' END"
)

AMONG = "(SELECT value FROM json_each(?))"

CONCERN_ALL = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)
"""What a transaction of one append would meet as well as that of many."""


class SQLiteRuns:
    """The runs in a file, as the thread sees them.

    Args:
        name: what the journal is called in errors.
        path: the file.
        synchronous: how sure a commit is.
        busy_timeout: how many seconds to wait for a lock.
    """

    def __init__(self, name: str, path: Path, synchronous: str, busy_timeout: float) -> None:
        self._name = name
        self._path = path
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._open: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._damage: JournalError | None = None

    def connect(self) -> None:
        """Open the file."""
        self._damage = None
        try:
            self._open = connect(self._path, self._synchronous, self._busy_timeout)
        except (sqlite3.Error, OSError) as error:
            raise self._explained(error) from error
        self._identity = identity(self._path)

    def disconnect(self) -> None:
        """Close the file."""
        connection, self._open = self._open, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                raise self._explained(error) from error

    def guarded(self, function: Callable[[], T]) -> T:
        """Call a function; say in words what goes wrong."""
        try:
            return function()
        except (sqlite3.Error, OSError, OverflowError) as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> JournalError:
        told = JournalError(explain(error, self._path))
        told.__cause__ = error
        if code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            self._damage = told
        return told

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._open is not None
        return self._open

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all of something, or nothing, and never to a file that is damaged or another one by now."""
        if self._damage is not None:
            raise JournalError(str(self._damage)) from self._damage
        if identity(self._path) != self._identity:
            raise JournalError(
                f"the journal {str(self._path)!r} was moved or deleted while it was open; nothing was "
                f"written: open it anew"
            )
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    # -- append

    def append(self, asked: Sequence[Append]) -> Sequence[Exception | None]:
        """Write; several appends in one transaction. Where that fails, each is tried for itself."""
        try:
            with self._transaction() as connection:
                now = time.time()
                return [self._write(connection, append, now) for append in asked]
        except (sqlite3.Error, OSError, OverflowError, StatementFailed) as error:
            if len(asked) == 1:
                return [error if isinstance(error, StatementFailed) else self._explained(error)]
            if code_of(error) in CONCERN_ALL:
                return [self._explained(error) for _ in asked]
        return [self.append([append])[0] for append in asked]

    def _write(self, connection: sqlite3.Connection, append: Append, now: float) -> Exception | None:
        """Write one append; where it is refused, nothing of it. Each row itself says whether it is."""
        parts = append.parts
        failure: Exception | None = None
        if len(parts) == 1 and not append.statements:
            if _write_part(connection, append, parts[0], now):
                return None
        else:
            connection.execute("SAVEPOINT one")
            written = all(_write_part(connection, append, part, now) for part in parts)
            if written and append.statements:
                failure = execute_in_sqlite(self._name, connection, append.statements, _is_of_store)
                if failure is not None and not connection.in_transaction:  # INSERT OR ROLLBACK
                    raise failure
            if not written or failure is not None:
                connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
            if written:
                return failure
        return self._refusal(connection, append)

    def _refusal(self, connection: sqlite3.Connection, append: Append) -> JournalError:
        """Find out why an append was refused."""
        refusals = []
        for part in append.parts:
            kept = connection.execute(
                "SELECT owner, records FROM runs WHERE id = ?", (part.run_id,)
            ).fetchone()
            refusal = first_refusal(part, append.owner, kept)
            if refusal is not None:
                refusals.append(refusal)
        return refused(self._name, refusals)

    # -- reading

    def read(self, run_id: str, after: int, limit: int | None) -> list[Record]:
        """Give records of a run."""
        found = self._connection.execute(
            "SELECT run_id, seq, kind, data FROM records WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?",
            (run_id, after, -1 if limit is None else max(0, limit)),
        )
        return [Record(*row) for row in found]

    def row(self, run_id: str) -> RunRow | None:
        """Give what is known of a run."""
        found = self._connection.execute(f"SELECT {COLUMNS} FROM runs WHERE id = ?", (time.time(), run_id))
        return next((RunRow(*row) for row in found), None)

    def rows(self, asked: Asked) -> list[RunRow]:
        """Give what is known of runs: of each status by its index, then merged."""
        statuses = list(asked.status) or STATUSES
        way, sign = ("ASC", ">") if asked.oldest_first else ("DESC", "<")
        limit = max(0, asked.limit)
        where, values = "status = ?", list[Any]()
        if asked.flow is not None:
            where, values = f"flow = ? AND {where}", [asked.flow]
        place: list[Any] = []
        if asked.before is not None:
            where, place = (
                f"{where} AND (created, id) {sign} (?, ?)",
                [asked.before.created, asked.before.run_id],
            )
        order = f"ORDER BY created {way}, id {way} LIMIT ?"
        one = f"SELECT * FROM (SELECT {COLUMNS} FROM runs WHERE {where} {order})"
        now = time.time()
        given = [value for status in statuses for value in (now, *values, status, *place, limit)]
        found = self._connection.execute(
            f"{' UNION ALL '.join([one] * len(statuses))} ORDER BY 4 {way}, 1 {way} LIMIT ?", (*given, limit)
        )
        return [RunRow(*row) for row in found]

    # -- leases

    def claim(self, owner: str, flow: str, lease: float, run_id: str | None, limit: int) -> list[RunRow]:
        """Take runs over. Where there are none, which is seen without a lock, nothing is written."""
        now = time.time()
        if run_id is None:
            query = (
                "SELECT id FROM runs WHERE status = 'running' AND flow = ? AND owner <> ? "
                "AND lease_until <= ? ORDER BY created, id LIMIT ?"
            )
            values: tuple[Any, ...] = (flow, owner, now, max(0, limit))
        else:
            query = (
                "SELECT id FROM runs WHERE id = ? AND flow = ? AND owner <> ? AND lease_until <= ? "
                "AND status IN ('running', 'interrupted') LIMIT ?"
            )
            values = (run_id, flow, owner, now, max(0, limit))
        if self._connection.execute(query, values).fetchone() is None:
            return []
        with self._transaction() as connection:
            ids = [run for (run,) in connection.execute(query, values)]
            connection.executemany(
                "UPDATE runs SET owner = ?, lease_until = ? WHERE id = ?",
                [(owner, now + lease, run) for run in ids],
            )
            found = connection.execute(
                f"SELECT {COLUMNS} FROM runs WHERE id IN {AMONG} ORDER BY created, id", (now, json.dumps(ids))
            )
            return [RunRow(*row) for row in found]

    def renew(self, owner: str, lease: float) -> list[str]:
        """Hold on to the runs of an owner."""
        query = "SELECT id FROM runs WHERE owner = ? AND owner <> ''"
        if self._connection.execute(query, (owner,)).fetchone() is None:
            return []
        with self._transaction() as connection:
            ids = [run for (run,) in connection.execute(query, (owner,))]
            connection.execute(
                "UPDATE runs SET lease_until = ? WHERE owner = ? AND owner <> ''",
                (time.time() + lease, owner),
            )
            return ids

    def release(self, owner: str, run_ids: Sequence[str] | None) -> None:
        """Give up runs of an owner."""
        give_up = "UPDATE runs SET owner = '', lease_until = 0 WHERE owner = ?"
        with self._transaction() as connection:
            if run_ids is None:
                connection.execute(f"{give_up} AND owner <> ''", (owner,))
            else:
                connection.execute(f"{give_up} AND id IN {AMONG}", (owner, json.dumps(run_ids)))

    # -- posts

    def post(self, run_id: str, key: str, data: bytes) -> bool:
        """Leave something for a run."""
        with self._transaction() as connection:
            update = (
                "UPDATE runs SET updated = ?, "
                "status = CASE status WHEN 'interrupted' THEN 'running' ELSE status END "
                "WHERE id = ? AND NOT EXISTS (SELECT 1 FROM posts WHERE run_id = runs.id AND key = ?)"
            )
            if connection.execute(update, (time.time(), run_id, key)).rowcount:
                connection.execute(
                    "INSERT INTO posts (run_id, key, data) VALUES (?, ?, ?)", (run_id, key, data)
                )
                return True
            if connection.execute("SELECT 1 FROM runs WHERE id = ?", (run_id,)).fetchone() is None:
                raise no_such_run(self._name, run_id)
            return False

    def posts(self, run_ids: Sequence[str]) -> dict[str, dict[str, bytes]]:
        """Give what was left for some runs."""
        found: dict[str, dict[str, bytes]] = {}
        query = f"SELECT run_id, key, data FROM posts WHERE run_id IN {AMONG}"
        for run_id, key, data in self._connection.execute(query, (json.dumps(run_ids),)):
            found.setdefault(run_id, {})[key] = data
        return found

    # -- forgetting

    def prune(self, run_id: str, seqs: Sequence[int]) -> None:
        """Forget single records of a run that has ended."""
        with self._transaction() as connection:
            found = connection.execute("SELECT status FROM runs WHERE id = ?", (run_id,)).fetchone()
            if found is None:
                return
            if found[0] in UNFINISHED:
                raise has_not_ended(self._name, run_id, found[0])
            those = f"FROM records WHERE run_id = ? AND seq IN {AMONG}"
            values = (run_id, json.dumps(seqs))
            gone = connection.execute(f"SELECT COUNT(*), TOTAL(LENGTH(data)) {those}", values).fetchone()
            connection.execute(f"DELETE {those}", values)
            connection.execute(
                "UPDATE runs SET records = records - ?, size_bytes = size_bytes - ? WHERE id = ?",
                (gone[0], int(gone[1]), run_id),
            )

    def discard(self, run_ids: Sequence[str]) -> int:
        """Forget runs that nobody owns."""
        with self._transaction() as connection:
            found = connection.execute(
                f"SELECT id FROM runs WHERE id IN {AMONG} AND lease_until <= ?",
                (json.dumps(run_ids), time.time()),
            )
            gone = [(run_id,) for (run_id,) in found]
            connection.executemany("DELETE FROM records WHERE run_id = ?", gone)
            connection.executemany("DELETE FROM posts WHERE run_id = ?", gone)
            connection.executemany("DELETE FROM runs WHERE id = ?", gone)
            return len(gone)

    def size(self) -> tuple[int, int]:
        """Give how many runs there are, and the size of the file and the log beside it."""
        (runs,) = self._connection.execute("SELECT COUNT(*) FROM runs").fetchone()
        log = Path(f"{self._path}-wal")
        return runs, self._path.stat().st_size + (log.stat().st_size if log.exists() else 0)

    def shrink(self) -> bool:
        """Give back some pages, so that others can write in between; then empty the log."""
        connection = self._connection
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if free:
            with self._transaction():
                connection.execute(f"PRAGMA incremental_vacuum({SHRINK_PAGES})").fetchall()
            (left,) = connection.execute("PRAGMA freelist_count").fetchone()
            if 0 < left < free:
                return True
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return False


def _is_of_store(error: Exception) -> bool:
    """Whether an error would have come without a user's statement as well."""
    return code_of(error) in (*CONCERN_ALL, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM)


def _write_part(connection: sqlite3.Connection, append: Append, part: Part, now: float) -> bool:
    """Write what comes for one run; say whether it was allowed."""
    count, size_bytes, status = len(part.records), part.size_bytes, part.status
    owner, lease_until = append.owner, now + append.lease
    if status is not None and status != "running":
        owner, lease_until = "", 0.0
    if part.first == 1:
        if status is None:
            return False
        done = connection.execute(
            "INSERT INTO runs (id, flow, status, created, updated, records, size_bytes, owner, lease_until) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (part.run_id, part.flow, status, now, now, count, size_bytes, owner, lease_until),
        )
    else:
        update = "UPDATE runs SET updated = ?, records = records + ?, size_bytes = size_bytes + ?"
        where = "WHERE id = ? AND owner = ? AND (records = ? OR 0 = ?)"
        values: tuple[Any, ...] = (now, count, size_bytes)
        if status is not None:
            update += ", status = ?"
            values += (status,)
            if status != "running":
                update += ", owner = '', lease_until = 0"
        done = connection.execute(
            f"{update} {where}", (*values, part.run_id, append.owner, part.first - 1, count)
        )
    if done.rowcount != 1:
        return False
    connection.executemany(
        "INSERT INTO records (run_id, seq, kind, data) VALUES (?, ?, ?, ?)",
        [(part.run_id, record.seq, record.kind, record.data) for record in part.records],
    )
    return True
