"""Kill processes at random, or before any write, and see what is left: ``python -m tests.durable.kill``.

Owns the lives of the killed process: each is a fork of this one, killed by SIGKILL, until one ends by itself.
Invariant: this process never opens a store, nor an event loop; what looks into the store is a fork, too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from penguiflow.journals import SQLiteJournal
from penguiflow.recorded import Recorded

from .killed_flow import RUNS, expected, work

LONGEST = 20.0  # seconds that a life may take


def fork(function: Callable[[], None]) -> int:
    """Let a child do something; it exits with 0, or with 1 and a traceback."""
    pid = os.fork()
    if pid:
        return pid
    try:
        function()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait(pid: int, seconds: float) -> int | None:
    """Wait until a child is gone; gives how, or ``None`` where it is still there."""
    until = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.0005)


def kill(pid: int) -> None:
    """Kill a child, and bury it."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def look(folder: Path) -> list[list[Any]]:
    """Give what is settled in the store: steps by key, and what was worked off, as `effect` tells them."""
    out = folder / "settled"

    async def read() -> None:
        journal = SQLiteJournal(folder / "runs.db")
        await journal.open()
        settled: list[list[Any]] = []
        for row in await journal.rows(limit=100):
            recorded = Recorded(row.run_id)
            for record in await journal.read(row.run_id):
                recorded.add(record)
            settled += [[row.run_id, key, "", 0] for key, step in recorded.steps.items() if step.settled]
            for (node, stream_id), stream in recorded.streams.items():
                lane = f"{stream_id} {stream.above}"
                settled += [[row.run_id, node, lane, source] for source in stream.processed]
        out.write_text(json.dumps(settled))
        await journal.close()

    if wait(fork(lambda: anyio.run(read)), LONGEST) != 0:
        raise AssertionError(f"the store in {folder} can't be read")
    found: list[list[Any]] = json.loads(out.read_text())
    return found


class Killing:
    """One store, and the processes that work on it one after the other.

    Args:
        folder: where everything is.
        backend: the event loop.
    """

    def __init__(self, folder: Path, backend: str) -> None:
        self.folder = folder
        self.backend = backend
        self.lives = 0
        self.wrong: list[str] = []
        self._seen = 0

    def live(self, seconds: float | None = None, appends: int = -1) -> bool:
        """Let a process live for so long, or for so many appends; says whether it has ended by itself."""
        settled = {tuple(what) for what in look(self.folder)} if self.lives else set()
        self.lives += 1
        pid = fork(lambda: anyio.run(work, self.folder, appends, backend=self.backend))
        code = wait(pid, LONGEST if seconds is None else seconds)
        if code is None:
            kill(pid)
        if code == 1 or (code is None and seconds is None):
            self.wrong.append(f"life {self.lives} ended with {code}")
        self._check_effects(settled)
        return code == 0

    def _lines(self, name: str) -> list[list[Any]]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def _check_effects(self, settled: set[tuple[Any, ...]]) -> None:
        """See that nothing of this life was settled before it."""
        lines = self._lines("effects")
        for run_id, node, key, stream, source in lines[self._seen :]:
            if (run_id, key, "", 0) in settled or (stream and (run_id, node, stream, source) in settled):
                self.wrong.append(f"life {self.lives}: {node} of {run_id} was settled, and is called again")
        self._seen = len(lines)

    def check(self) -> list[str]:
        """See what has reached the sink, and that it was all that was to come."""
        rows: dict[str, dict[str, Any]] = {}
        last: Counter[str] = Counter()
        for run_id, key, attempt, x in self._lines("rows"):
            if rows.setdefault(run_id, {}).setdefault(key, x) != x:
                self.wrong.append(f"two items have the key {key}")
            last[run_id] = max(last[run_id], attempt)
        for number in range(RUNS):
            run_id = f"run{number}"
            items = [x for key, x in rows.get(run_id, {}).items() if f"/{last[run_id]}/" in key]
            if sorted(items) != expected(number):
                self.wrong.append(f"the sink got {items} of {run_id}, expected {expected(number)}")
        return self.wrong


def kill_at_random(seed: int, folder: Path, length: float) -> list[str]:
    """Kill processes at random moments until one survives; gives what is wrong."""
    rng = random.Random(seed)
    killing = Killing(folder, ("asyncio", "trio")[seed % 2])
    for _ in range(rng.randint(1, 6)):
        if killing.live(seconds=rng.uniform(0, length)):
            break
    else:
        if not killing.live():
            killing.wrong.append("the last life did not end")
    return killing.check()


def kill_before_writes(first: int, folder: Path, backend: str) -> tuple[bool, list[str]]:
    """Let each process kill itself before its n-th append; says whether the first one got that far."""
    killing = Killing(folder, backend)
    survived = killing.live(appends=first)
    if not survived and not killing.live(appends=first // 2 + 1) and not killing.live():
        killing.wrong.append("the last life did not end")
    return survived, killing.check()


def main() -> int:
    """Kill; gives 1 where anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.durable.kill", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many stores, killed at random moments")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--writes", type=int, metavar="N", help="kill before each n-th write instead")
    given = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        began = time.monotonic()
        (root / "uncut").mkdir()
        uncut = Killing(root / "uncut", "asyncio")
        if not uncut.live() or uncut.check():
            print(f"the uncut life fails: {uncut.wrong}")
            return 1
        length = time.monotonic() - began
        done = 0
        for seed in range(given.first, given.first + given.seeds) if not given.writes else ():
            failed += told(f"seed {seed}", kill_at_random(seed, folder_of(root, done), length))
            done += 1
        for backend in ("asyncio", "trio") if given.writes else ():
            survived, first = False, given.first
            while not survived:
                survived, wrong = kill_before_writes(first, folder_of(root, done), backend)
                failed += told(f"{backend}, before write {first}", wrong)
                first, done = first + given.writes, done + 1
        print(f"{done} stores, {failed} failed, {time.monotonic() - began:.1f} s", file=sys.stderr)
    return 1 if failed or not done else 0


def folder_of(root: Path, number: int) -> Path:
    """Make a folder."""
    folder = root / str(number)
    folder.mkdir()
    return folder


def told(where: str, wrong: list[str]) -> int:
    """Print what is wrong; gives 1 where anything is."""
    for text in wrong:
        print(f"{where}: {text}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
