"""Reading: what a trace store has to tell.

Owns the questions. Invariant: a store that is read is not changed, and whoever writes it is not held up; a
run that is under way is told as far as it is written. Errors name the file, what is wrong with it, and the
remedy.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from penguiflow.sqlite_heads import check_file

from ..records import PartRecord, PauseRecord, RunSummary, RunTrace
from .coding import read_error, read_json
from .live import LiveRuntime, picture
from .processes import Process
from .rows import Row, part_of, pause_of, step_of, stream_of, value_of
from .schema import TraceStoreError, check_marks, explain, is_older

__all__ = ["EmptyStoreError", "StoreReader", "TraceStoreError", "open_store"]

MOST_AMBIGUOUS = 5
"""So many runs are named where a prefix means several."""


class EmptyStoreError(TraceStoreError):
    """A trace store is empty: whoever makes it has not written it yet."""


def open_store(path: str | Path) -> StoreReader:
    """Open a store for reading; to be closed, or left by ``with``.

    Raises:
        TraceStoreError: there is none, or it can't be read.
    """
    path = Path(path)
    if not path.exists():
        raise TraceStoreError(
            f"there is no trace store {str(path)!r}; `penguiflow run --trace {path} …` makes one, or "
            f"TraceStore({str(path)!r}) among the observers"
        )
    try:
        check_file(path, "a trace store", TraceStoreError)
        connection = _connected(path)
    except (OSError, sqlite3.Error) as error:
        raise TraceStoreError(explain(error, path)) from error
    return StoreReader(connection, path)


def _connected(path: Path) -> sqlite3.Connection:
    """Connect so that nothing is written; in a folder where nothing can be, not even a lock."""
    location = f"file:{quote(str(path.absolute()))}?mode=ro"
    beside = Path(f"{path}-wal")
    options = ("", "&immutable=1") if not beside.exists() else ("",)
    for option in options:
        connection = sqlite3.connect(f"{location}{option}", uri=True, timeout=2.0, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            if not check_marks(connection, path):
                raise EmptyStoreError(f"the trace store {str(path)!r} is empty: nobody has written it yet")
            return connection
        except BaseException as error:
            connection.close()
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if option == options[-1] or code not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
    raise AssertionError


class StoreReader:
    """A store that is open for reading.

    Args:
        connection: to the file.
        path: the file.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path: Path = path
        self._connection = connection

    def __enter__(self) -> StoreReader:
        """Give the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def runs(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        status: str | None = None,
        node: str | None = None,
        tenant: str | None = None,
        flow: str | None = None,
        longer_than: float | None = None,
        shorter_than: float | None = None,
        limit: int | None = 50,
    ) -> tuple[RunSummary, ...]:
        """Give the runs that fit, the newest first.

        Args:
            since: begun at this time or later, in seconds since the epoch.
            until: begun before this time.
            status: how they ended: ``done``, ``failed``, ``cancelled``, ``expired``, ``interrupted`` or
                ``lost``; or how they stand: ``running`` or ``paused``.
            node: a node, by its path or its own name, that had a step in them.
            tenant: on whose behalf.
            flow: name of the flow.
            longer_than: seconds that they took, or have taken so far, at least, from their admission on.
            shorter_than: seconds that they took at most.
            limit: how many at most; ``None`` for all.

        Raises:
            TraceStoreError: the store can't be read.
        """
        conditions: list[tuple[str, Any]] = [
            ("started >= ?", since),
            ("started < ?", until),
            ("tenant = ?", tenant),
            ("flow = ?", flow),
        ]
        wanted = [(text, value) for text, value in conditions if value is not None]
        text = " AND ".join(text for text, _ in wanted) or "1"
        values = [value for _, value in wanted]
        if node is not None:
            text += (
                " AND EXISTS (SELECT 1 FROM steps WHERE steps.run = runs.run AND (node = ? OR node LIKE ?))"
            )
            values += [node, f"%/{node}"]
        found = []
        with self._reading():
            processes = self._processes()
            rows = self._connection.execute(
                f"SELECT * FROM runs WHERE {text} ORDER BY started DESC, run DESC", values
            )
            for row in rows:
                run = self._summary(row, processes)
                if (
                    (status is None or run.status == status)
                    and (longer_than is None or run.seconds >= longer_than)
                    and (shorter_than is None or run.seconds <= shorter_than)
                ):
                    found.append(run)
                    if limit is not None and len(found) >= limit:
                        break
        return tuple(found)

    def trace(self, run_id: str) -> RunTrace:
        """Give all that is kept of a run.

        Args:
            run_id: its id, or as much of its beginning as no other run has; ``last`` for the newest. Where
                an id was used several times, the newest of these is meant.

        Raises:
            TraceStoreError: there is no such run, or there are several; or the store can't be read.
        """
        with self._reading():
            row = self._find(run_id)
            run = row["run"]
            summary = self._summary(row, self._processes())
            steps, streams = self._rows("steps", run), self._rows("streams", run)
            live = self._live_of(row) if row["ended"] is None else None
            over = row["ended"]
            return RunTrace(
                summary=summary,
                parts=(self._root(row, summary), *map(part_of, self._rows("parts", run))),
                steps=tuple(
                    sorted((step_of(one, over, live) for one in steps), key=lambda step: step.started)
                ),
                streams=tuple(
                    sorted((stream_of(one, over, live) for one in streams), key=lambda stream: stream.started)
                ),
                left_out=row["left_out"],
                diagnosis=_diagnosis(live, summary),
                pauses=self._pauses(run, over),
            )

    def live(self) -> tuple[LiveRuntime, ...]:
        """Give the runtimes that are at work, as they were half a second ago.

        Raises:
            TraceStoreError: the store can't be read.
        """
        now, found = time.time(), []
        with self._reading():
            processes = self._processes()
            rows = self._connection.execute(
                "SELECT * FROM live WHERE state IS NOT NULL ORDER BY process, runtime"
            )
            for row in rows:
                process = processes.get(row["process"])
                if process is not None and process.is_alive(now):
                    found.append(_picture(process, row, now))
        return tuple(one for one in found if one is not None)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Read at one moment of the store, whatever is written meanwhile."""
        try:
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise TraceStoreError(explain(error, self.path)) from error

    def _processes(self) -> dict[str, Process]:
        rows = self._connection.execute("SELECT process, pid, birth, place, started, seen FROM processes")
        return {row["process"]: Process(*row) for row in rows}

    def _rows(self, table: str, run: int) -> list[Row]:
        return self._connection.execute(f"SELECT * FROM {table} WHERE run = ?", (run,)).fetchall()

    def _pauses(self, run: int, over: float | None) -> tuple[PauseRecord, ...]:
        if is_older(self._connection):  # it has no such table
            return ()
        pauses = (pause_of(one, over) for one in self._rows("pauses", run))
        return tuple(sorted(pauses, key=lambda pause: pause.started))

    def _find(self, run_id: str) -> Row:
        """Give the row of a run."""
        if run_id == "last":
            newest = self._connection.execute("SELECT * FROM runs ORDER BY started DESC, run DESC LIMIT 1")
            row = newest.fetchone()
            if row is None:
                raise TraceStoreError(f"the trace store {str(self.path)!r} has no run yet")
            return row
        exact = self._connection.execute(
            "SELECT * FROM runs WHERE run_id = ? ORDER BY started DESC, run DESC LIMIT 1", (run_id,)
        )
        row = exact.fetchone()
        if row is not None:
            return row
        ids = self._connection.execute(
            "SELECT DISTINCT run_id FROM runs WHERE substr(run_id, 1, ?) = ? ORDER BY started DESC LIMIT ?",
            (len(run_id), run_id, MOST_AMBIGUOUS + 1),
        ).fetchall()
        if not ids or not run_id:
            raise TraceStoreError(
                f"the trace store {str(self.path)!r} has no run {run_id!r}; "
                f"`penguiflow trace {self.path}` lists those that it has"
            )
        if len(ids) > 1:
            named = ", ".join(str(one["run_id"]) for one in ids[:MOST_AMBIGUOUS])
            more = ", …" if len(ids) > MOST_AMBIGUOUS else ""
            raise TraceStoreError(
                f"{run_id!r} is the beginning of several runs: {named}{more}; say more of it"
            )
        return self._find(ids[0]["run_id"])

    def _summary(self, row: Row, processes: dict[str, Process]) -> RunSummary:
        now, status, ended = time.time(), row["status"], row["ended"]
        steps, streams = row["steps"], row["streams"]
        if ended is None:
            process = processes.get(row["process"])
            alive = process is not None and process.is_alive(now)
            status = status if alive else "lost"
            ended = now if alive else max(process.seen if process is not None else 0.0, row["started"])
            steps, streams = (
                self._connection.execute(
                    f"SELECT COUNT(*) FROM {table} WHERE run = ?", (row["run"],)
                ).fetchone()[0]
                for table in ("steps", "streams")
            )
        error = read_error(row["error"])
        said = f"{error.kind}: {error.text}".removesuffix(": ") if error is not None else ""
        return RunSummary(
            run_id=row["run_id"],
            flow=row["flow"],
            trace_id=row["trace_id"],
            status=status,
            started=row["started"],
            seconds=max(0.0, ended - row["started"]),
            tenant=row["tenant"],
            steps=steps,
            streams=streams,
            error=" ".join(said.split()),
            read=row["read_seconds"] or 0.0,
            waited=value_of(row, "waited_seconds"),
        )

    def _root(self, row: Row, summary: RunSummary) -> PartRecord:
        plan = self._connection.execute(
            "SELECT nodes, edges FROM plans WHERE plan = ?", (row["plan"],)
        ).fetchone()
        nodes = read_json(plan["nodes"]) if plan is not None else ()
        edges = read_json(plan["edges"]) if plan is not None else ()
        return PartRecord(
            part=0,
            flow=row["flow"],
            caller=None,
            started=row["started"],
            ended=row["ended"],
            status=summary.status,
            nodes=tuple(nodes or ()),
            edges=tuple((source, target) for source, target in edges or ()),
            error=read_error(row["error"]),
        )

    def _live_of(self, row: Row) -> dict[str, Any] | None:
        """Give the latest picture of the runtime that has a run, if there is one."""
        states = self._connection.execute(
            "SELECT state FROM live WHERE process = ? AND state IS NOT NULL", (row["process"],)
        )
        for state in map(read_json, (one["state"] for one in states)):
            if isinstance(state, dict) and any(one[0] == row["run_id"] for one in state.get("diagnosis", ())):
                return {**state, "run_id": row["run_id"]}
        return None


def _picture(process: Process, row: Row, now: float) -> LiveRuntime | None:
    try:
        return picture(process.pid, row["at"], now, json.loads(row["state"]))
    except (ValueError, KeyError, TypeError):  # damaged, or written by a version that says it otherwise
        return None


def _diagnosis(live: dict[str, Any] | None, run: RunSummary) -> tuple[str, ...]:
    found = live.get("diagnosis", ()) if live is not None else ()
    return next((tuple(map(str, sentences)) for run_id, sentences in found if run_id == run.run_id), ())
