"""`penguiflow trace` and `top` of a run that is paused elsewhere, and of one that waited to be admitted."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

from penguiflow import Flow, node
from penguiflow.telemetry import TraceStore

from .conftest import Command

PAUSING = """
import sys

import anyio

from penguiflow import Flow, node
from penguiflow.telemetry import TraceStore


@node
async def one(i: int) -> int:
    await anyio.sleep(0.05)
    return i


@node
async def two(i: int) -> int:
    await anyio.sleep(2)
    return i


async def main() -> None:
    async with Flow("pausing", one >> two).open(observers=[TraceStore("runs.db", interval=0.05)]) as runtime:
        async with runtime.run(1, run_id="it") as run:
            for kind in ("pause", "resume"):
                await run.control(kind)
                print(kind, flush=True)
                await anyio.to_thread.run_sync(sys.stdin.readline)
            await run.result()


anyio.run(main)
"""


@contextmanager
def process(folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[Any]:
    """Start a process in the folder, and end it whatever happens."""
    begun = subprocess.Popen(
        [sys.executable, "-u", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield begun
    finally:
        begun.kill()
        begun.communicate()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def on(pausing: Any) -> None:
    """Let the process with the run go on."""
    pausing.stdin.write("\n")
    pausing.stdin.flush()


def test_a_paused_run_is_seen_from_another_process(
    command: Command, folder: Path, environment: dict[str, str]
) -> None:
    """In the list, as a picture, with the reason, in `top`, and by who follows it until it ends."""
    (folder / "pausing.py").write_text(PAUSING)
    with process(folder, environment, "pausing.py") as pausing:
        assert pausing.stdout.readline() == "pause\n"
        until(lambda: "it " in command("trace", "--status", "paused").stdout)
        assert "no such run" in command("trace", "--status", "running").stdout
        until(lambda: "The run is paused, for " in command("trace", "it", "--why").stdout)
        assert "The run has been paused for " in command("trace", "it", "--why").stdout
        shown = command("trace", "it").stdout
        assert " · paused\n" in shown
        assert any(line.startswith("paused  ") and "‖" in line and "▸" in line for line in shown.split("\n"))
        board = command("top", "runs.db", "--once").stdout
        assert "1 live run · 1 paused · 1 begun" in board
        assert "The run is paused, for " in board
        follow = ("-m", "penguiflow", "trace", "--store", "runs.db", "--follow")
        with (
            process(folder, environment, *follow, "it") as following,
            process(folder, environment, *follow) as news,
        ):
            assert news.stdout.readline().endswith("  it  pausing  paused\n")
            assert following.stdout.readline().endswith("s  the run is paused\n")
            on(pausing)
            assert pausing.stdout.readline() == "resume\n"
            assert following.stdout.readline().partition("s  ")[2].startswith("the pause is over after ")
            assert "  it  pausing  running  " in news.stdout.readline()
            on(pausing)
            assert "  it  pausing  done  " in news.stdout.readline()
            rest = following.stdout.read()
        assert pausing.wait(20) == 0
    assert "run it done after " in rest
    (pause,) = json.loads(command("trace", "it", "--json").stdout)["pauses"]
    assert pause["ended"] > pause["started"]


def test_a_run_that_waited_to_be_admitted(command: Command, folder: Path) -> None:
    """The list tells what it took, and ``--json`` and the picture what it had waited."""

    @node
    async def slow(i: int) -> int:
        await anyio.sleep(0.1)
        return i

    async def main() -> None:
        async with Flow("full", slow).open(observers=[TraceStore(folder / "runs.db")], max_runs=1) as runtime:
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(runtime.call, 1)

    anyio.run(main)
    run = json.loads(command("trace", "--json").stdout.splitlines()[0])
    assert run["waited"] >= 0.3 > run["seconds"]
    assert "before, to be admitted" in command("trace", "last").stdout
    assert command("trace", "last", "--why").stdout.startswith("The run waited 0.3")
