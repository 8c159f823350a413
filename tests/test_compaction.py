"""What is kept of runs that have ended is bounded, and what they delivered stays longest (rule 5.7)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import anyio
import pytest

from penguiflow import Flow, JournalError, Runtime, node
from penguiflow.journals import MemoryJournal, Retention
from penguiflow.retention import compact

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


@node
async def double(x: int) -> int:
    return 2 * x


@node
async def parts(x: int) -> AsyncIterator[str]:
    for i in range(x):
        yield f"part {i}"


FLOW = Flow("f", double >> parts)


async def ended(runtime: Runtime, run_id: str) -> None:
    """Run once, until its end is in the journal."""
    run = await runtime.start(2, run_id=run_id)
    assert await run.result() == ["part 0", "part 1", "part 2", "part 3"]


async def test_details_are_forgotten_and_deliveries_stay() -> None:
    """Who attaches later reads the same items at the same positions; what is forgotten is said."""
    journal = MemoryJournal()
    async with FLOW.open(journal=journal) as runtime:
        await ended(runtime, "r")
        before = [(item.payload, item.position) async for item in await runtime.attach("r")]
        whole = await journal.row("r")
        assert await compact(journal, time.time() + 1) == 1
        assert await compact(journal, time.time() + 1) == 0
        row = await journal.row("r")
        assert whole is not None
        assert row is not None
        assert row.size_bytes < whole.size_bytes
        assert [(item.payload, item.position) async for item in await runtime.attach("r")] == before
        kinds = [record.kind for record in await journal.read("r")]
        assert set(kinds) == {"begun", "opened", "chunks", "step", "ended", "over"}
        with pytest.raises(JournalError, match=r"is forgotten \(Retention\.details\)"):
            await runtime.answer("r", "x", 1)


async def test_a_runtime_forgets_by_itself() -> None:
    """A journal that keeps two runs has two, whenever a runtime looks after it."""
    journal = MemoryJournal(retention=Retention(max_runs=2))
    await journal.open()
    async with FLOW.open(journal=journal) as runtime:
        for number in range(5):
            await ended(runtime, f"r{number}")
    async with FLOW.open(journal=journal):
        while (await journal.size())[0] > 2:  # noqa: ASYNC110 - nothing is told when runs are forgotten
            await anyio.sleep(0.001)
    assert [row.run_id for row in await journal.rows()] == ["r4", "r3"]
