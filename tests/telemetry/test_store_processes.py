"""Several processes and one store: side by side, gone, killed, and told apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from penguiflow.telemetry.store.processes import SILENT_SECONDS, this_process
from penguiflow.telemetry.store.reading import open_store

ROOT = Path(__file__).resolve().parents[2]

WRITES = """
import sys, anyio
from penguiflow import Flow, node
from penguiflow.telemetry import TraceStore

@node
async def same(text: str) -> str:
    return text

async def main() -> None:
    store = TraceStore(sys.argv[1])
    async with Flow(sys.argv[2], same).open(observers=[store]) as runtime:
        for number in range(300):
            await runtime.call("x")
            if number % 50 == 0:
                await anyio.sleep(0.02)
    print(store.errors, store.lost, store.pending)

anyio.run(main)
"""

SLEEPS = """
import sys, anyio
from collections.abc import AsyncIterator
from penguiflow import Flow, node
from penguiflow.telemetry import TraceStore

@node
async def sleeps(text: str) -> AsyncIterator[str]:
    yield text
    await anyio.sleep(60)

async def main() -> None:
    async with Flow("sleeping", sleeps).open(observers=[TraceStore(sys.argv[1])]) as runtime:
        async with runtime.run("x") as run:
            async for _ in run:
                await anyio.sleep(1)
                print("begun", flush=True)

anyio.run(main)
"""


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a process that writes a store."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    """They begin at the same moment, when there is no file yet; of neither a record is missing."""
    path = tmp_path / "runs.db"
    writers = [started(WRITES, str(path), name) for name in ("one", "two", "three")]
    told = [writer.communicate(timeout=60)[0] for writer in writers]
    assert told == ["0 0 0\n"] * 3
    with open_store(path) as reader:
        for name in ("one", "two", "three"):
            runs = reader.runs(flow=name, limit=None)
            assert len(runs) == 300
            assert {(run.status, run.steps) for run in runs} == {("done", 1)}
        assert len(reader.trace("last").steps) == 1


def test_a_killed_process_leaves_a_run_that_is_lost(tmp_path: Path) -> None:
    """The store stays readable; what was under way is there, and took until the process was gone."""
    path = tmp_path / "runs.db"
    with started(SLEEPS, str(path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        with open_store(path) as reader:
            (run,) = reader.runs(status="running")
            (live,) = reader.live()
            assert (live.pid, live.flow) == (process.pid, "sleeping")
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            assert reader.live() == ()
            (lost,) = reader.runs(status="lost")
            trace = reader.trace(run.run_id)
    assert lost.run_id == run.run_id
    assert 0.5 < lost.seconds < 10
    assert [step.outcome for step in trace.steps] == [""]
    assert trace.diagnosis[0].startswith("Node sleeps is at work")  # the last that its process said
    time.sleep(0.2)
    with open_store(path) as reader:
        assert reader.runs()[0].seconds == lost.seconds


def test_who_is_alive() -> None:
    """A process is gone when its number is free, or belongs to a younger one; far away, when it is silent."""
    now, mine = time.time(), this_process()
    assert mine.is_alive(now)
    assert mine.is_alive(now + 1000)
    assert not replace(mine, birth="1").is_alive(now)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait(30)
    assert not replace(mine, pid=ended.pid, birth="").is_alive(now)
    far = replace(mine, place="another machine")
    assert far.is_alive(now)
    assert not far.is_alive(now + SILENT_SECONDS + 1)


def test_a_zombie_is_not_alive() -> None:
    mine = this_process()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        os.kill(child.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while replace(mine, pid=child.pid).is_alive(time.time()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not replace(mine, pid=child.pid).is_alive(time.time())
