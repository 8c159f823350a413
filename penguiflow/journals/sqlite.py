"""A journal in one SQLite file, for one machine: several processes may use it at once.

Owns the options. What is asked of the file is in `sqlite_runs`, the file itself in `sqlite_file`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from penguiflow.retention import ON_DISK, Retention

from .asking import check_options
from .sqlite_file import check_path
from .sqlite_runs import SQLiteRuns
from .threaded import ThreadedJournal

PATIENCE_SECONDS = 10.0


class SQLiteJournal(ThreadedJournal):
    """A journal in an SQLite file.

    Args:
        path: the file; it is made where there is none, in a folder that exists, on a local disk.
        sync: ``"normal"``: what was appended outlives the process, and after a loss of power all but the last
            moments is there; ``"full"``: it outlives that as well, and each append waits for the disk.
        retention: what is kept of runs that have ended: by default those of 30 days, 100,000 of them at most,
            with 1 GiB of records.
        busy_timeout: how many seconds to wait for another process that writes.

    Raises:
        ValueError: the path names no file, ``sync`` is neither of the two, or there is no such time.
        TypeError: what is given is no path, no `Retention` or no number.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sync: Literal["normal", "full"] = "normal",
        *,
        retention: Retention = ON_DISK,
        busy_timeout: float = PATIENCE_SECONDS,
    ) -> None:
        check_path(path)
        check_options("SQLiteJournal", retention, busy_timeout=busy_timeout)
        if sync not in ("normal", "full"):
            raise ValueError(f'SQLiteJournal(sync={sync!r}): it is "normal" or "full"')
        self.path: Path = Path(path).absolute()
        name = f"SQLiteJournal({os.fspath(path)!r})"
        super().__init__(name, SQLiteRuns(name, self.path, sync, busy_timeout), retention)
