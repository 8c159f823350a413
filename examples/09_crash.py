"""A run outlives its process: the first one is killed in the middle, the second one finishes.

It prints::

    planning
    packing a map
    the process is gone: exit status -9
    packing a tent
    a map and a tent, packed
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from penguiflow import Flow, Gathered, Spread, node
from penguiflow.journals import SQLiteJournal


@node
async def plan(trip: str) -> Spread[str]:
    print("planning")
    return Spread([f"a {thing}" for thing in trip.split()])


@node(concurrency=1)
async def pack(thing: str) -> str:
    if thing == "a tent" and "KILL" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    print("packing", thing)
    return thing


@node
async def done(things: Gathered[str]) -> str:
    return f"{' and '.join(things)}, packed"


flow = Flow("trip", plan >> pack >> done)


async def work(journal: str, *, begin: bool) -> None:
    async with flow.open(journal=SQLiteJournal(journal)) as runtime:
        run = await (runtime.start("map tent", run_id="trip") if begin else runtime.attach("trip"))
        print(await run.result())


def main() -> None:
    with TemporaryDirectory() as folder:
        journal = str(Path(folder, "runs.db"))
        first = [sys.executable, "-u", __file__, journal]
        killed = subprocess.run(first, env={**os.environ, "KILL": "yes"}, check=False)
        print("the process is gone: exit status", killed.returncode, flush=True)
        subprocess.run([*first, "go on"], check=True)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        anyio.run(lambda: work(sys.argv[1], begin=len(sys.argv) == 2))
