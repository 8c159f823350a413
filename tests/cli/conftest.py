"""What the tests of the command line share: a folder with flows, and the command as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FLOWS = """
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio

from penguiflow import Flow, Stream, edge, node, source


@dataclass
class Order:
    dish: str
    count: int = 1


@node
async def words(text: str) -> AsyncIterator[str]:
    for word in text.split(" "):
        yield word + " "


@node
def loud(word: str) -> str:
    return word.upper()


@node
async def cook(order: Order) -> dict[str, int]:
    return {order.dish: order.count}


@node
async def divide(number: int) -> float:
    return 1 / number


@node
async def lines(texts: Stream[str]) -> AsyncIterator[int]:
    async for text in texts:
        yield len(text)


@node
async def sleep(text: str) -> AsyncIterator[str]:
    try:
        yield "begun\\n"
        await anyio.sleep(60)
    finally:
        Path("ended").write_text("yes")


@node
async def for_ever(text: str) -> AsyncIterator[str]:
    while True:
        yield text + "\\n"


@source
async def ticks() -> AsyncIterator[int]:
    for number in range(3):
        yield number


@node
async def slow(number: int) -> int:
    await anyio.sleep(0.01)
    return number


@node
async def many(text: str) -> AsyncIterator[int]:
    for number in range(50):
        yield number


class Secret:
    def __repr__(self) -> str:
        raise ValueError("not for\\nyour eyes")


@node
async def hide(text: str) -> Secret:
    return Secret()


@node
async def halve(text: str) -> str:
    return "\\ud800" + text


flow = Flow("hello", words >> loud)
secrets = Flow("secrets", hide)
halves = Flow("halves", halve)
orders = Flow("orders", cook)
division = Flow("division", divide)
lengths = Flow("lengths", lines)
sleeping = Flow("sleeping", sleep)
endless = Flow("endless", for_ever)
clock = Flow("clock", ticks)
both = Flow("both", words >> [node(str.upper, name="upper"), node(str.lower, name="lower")])
dropping = Flow("dropping", many >> edge(capacity=1, overflow="drop_oldest") >> slow)
text = "no flow"
"""

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module `flows`."""
    (tmp_path / "flows.py").write_text(FLOWS)
    return tmp_path


@pytest.fixture
def environment() -> dict[str, str]:
    """An environment in which the package of this checkout is found from anywhere."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "100"}


@pytest.fixture
def command(folder: Path, environment: dict[str, str]) -> Command:
    """Run `penguiflow` in the folder and wait for its end."""

    def run(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "penguiflow", *arguments],
            cwd=folder,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
