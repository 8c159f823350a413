"""Real processes are killed by SIGKILL, and others go on; for longer: ``python -m tests.durable.kill``.

They are forks of a process that does nothing else, so the tests run it as a command.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> None:
    """Run the command; what it prints is what is wrong."""
    command = [sys.executable, "-m", "tests.durable.kill", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr[-3000:]


def test_killed_at_random() -> None:
    """Truth: rules 5.1 to 5.3 for a process that is killed at any moment: see `kill.Killing`."""
    run("--seeds", "20")


def test_killed_between_two_writes() -> None:
    """Truth: rules 5.1 to 5.3 for a process that is killed between any two writes, twice."""
    run("--writes", "5", "--first", "1")
