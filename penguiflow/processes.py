"""Processes: whether one that has left its number somewhere is still there.

Owns how a process is told from another one that got its number later. Invariant: a process is called gone
only if that is certain where it runs.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path


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


def name_of_this(token: str) -> str:
    """Name this process, and something in it, so that `is_gone` can tell."""
    return "|".join((place(), str(os.getpid()), birth(os.getpid()), token))


def is_gone(name: str) -> bool:
    """Say whether a process is certainly not there any more; of one elsewhere that can't be known."""
    where, _, rest = name.partition("|")
    pid, _, rest = rest.partition("|")
    born = rest.partition("|")[0]
    if where != place() or not pid.isdecimal():
        return False
    return not (is_running(int(pid)) and birth(int(pid)) == born)
