"""Processes: who writes a store, and whether it is still there.

Owns how a process is told from another one that got its number later. Invariant: a process is called gone
only if that is certain where it runs, or, seen from another machine or container, if it has been silent for
long.
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

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


def is_running(pid: int) -> bool:
    """Say whether there is a process with that number, not counting one that is dead and not buried."""
    if _stat(pid)[:1] == ["Z"]:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def birth(pid: int) -> str:
    """Give the time at which a process began, in ticks of its machine; empty where that can't be seen."""
    return "".join(_stat(pid)[19:20])


def place() -> str:
    """Name the machine since its last start, and the space in which the numbers of processes count."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _stat(pid: int) -> list[str]:
    """Give the fields of ``/proc/PID/stat`` behind the name, which may have spaces in it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
