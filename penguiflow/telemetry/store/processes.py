"""Processes: who writes a store, and whether it is still there.

Owns how a process is told from another one that got its number later. Invariant: a process is called gone
only if that is certain where it runs, or, seen from another machine or container, if it has been silent for
long.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass

from penguiflow.processes import birth, is_running, place

SILENT_SECONDS = 5.0
"""A process that we can't look at, and that has not written for so long, counts as gone."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that writes a store.

    Attributes:
        process: the name that it gave itself in the store.
        pid: its number.
        birth: when it began, as its machine counts; empty where that is not known.
        place: where its number counts: the machine since its last start, and the container.
        started: when it began to write.
        seen: when it wrote last.
    """

    process: str
    pid: int
    birth: str
    place: str
    started: float
    seen: float

    def is_alive(self, now: float) -> bool:
        """Say whether it is still there."""
        if self.place != place():
            return now - self.seen <= SILENT_SECONDS
        return is_running(self.pid) and birth(self.pid) == self.birth


def this_process() -> Process:
    """Describe the process that runs this."""
    now, pid = time.time(), os.getpid()
    return Process(secrets.token_hex(8), pid, birth(pid), place(), now, now)
