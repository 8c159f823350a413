"""Runs that are under way while the code changes: what fits goes on, what does not is left as it is."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from penguiflow import Flow, JournalError, Runtime, node
from penguiflow.journals import MemoryJournal

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


class Old(BaseModel):
    name: str


class New(BaseModel):
    first: str
    last: str


class Holds:
    """A step that waits until the process is gone, once."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.released = False

    async def wait(self) -> None:
        """Wait, unless it has been released."""
        self.reached.set()
        if not self.released:
            await anyio.sleep_forever()


def old_flow(holds: Holds) -> Flow:
    """What was deployed: it has given an Old when the process ends."""

    @node
    async def who(x: int) -> Old:
        return Old(name="Ada Lovelace")

    @node
    async def greet(person: Old) -> str:
        await holds.wait()
        return f"hello {person.name}"

    return Flow("f", who >> greet)


def new_flow() -> Flow:
    """What is deployed now: the same nodes, another type between them."""

    @node
    async def who(x: int) -> New:
        raise AssertionError("it is settled")

    @node
    async def greet(person: New) -> str:
        return f"hello {person.first}"

    return Flow("f", who >> greet)


async def left_behind() -> MemoryJournal:
    """Give the journal of a process that ended between two steps."""
    journal, holds = MemoryJournal(), Holds()
    await journal.open()
    async with old_flow(holds).open(journal=journal) as runtime:
        await runtime.start(1, run_id="r")
        await holds.reached.wait()
    return journal


async def unreadable(runtime: Runtime) -> JournalError:
    """Wait until a run is found to be unreadable."""
    while True:
        try:
            await (await runtime.attach("r")).result()
        except JournalError as exc:
            return exc


async def test_what_does_not_fit_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """A deployment that can't read what is kept ends no run: it says so, and the next one goes on."""
    journal = await left_behind()
    with caplog.at_level(logging.ERROR, "penguiflow"):
        async with new_flow().open(journal=journal) as runtime:
            error = await unreadable(runtime)
    assert "node who gave was kept for another type" in str(error)
    assert "give open(migrate=…)" in str(error)
    assert "run r can't go on, and is left as it is" in caplog.text
    row = await journal.row("r")
    assert row is not None
    assert row.status == "running"

    def migrate(place: str, old: Any) -> Any:
        assert place == "who"
        first, last = old["name"].split()
        return {"first": first, "last": last}

    async with new_flow().open(journal=journal, migrate=migrate) as runtime:
        assert await (await runtime.attach("r")).result() == "hello Ada"


async def test_a_migration_that_raises_ends_no_run() -> None:
    """Nor does one that gives what does not fit."""
    journal = await left_behind()
    for migrate in (lambda _place, _old: 1 / 0, lambda _place, _old: {}):
        async with new_flow().open(journal=journal, migrate=migrate) as runtime:
            assert "open(migrate=…): what it gave for node who does not fit" in str(await unreadable(runtime))
    row = await journal.row("r")
    assert row is not None
    assert row.status == "running"


async def test_a_node_that_is_gone_is_not_missed() -> None:
    """What it gave is kept, and goes nowhere; the rest is executed by the code of today."""
    journal, holds = MemoryJournal(), Holds()
    await journal.open()
    async with old_flow(holds).open(journal=journal) as runtime:
        await runtime.start(1, run_id="r")
        await holds.reached.wait()

    @node
    async def anew(x: int) -> str:
        return f"anew {x}"

    async with Flow("f", anew).open(journal=journal) as runtime:
        assert await (await runtime.attach("r")).result() == "anew 1"
