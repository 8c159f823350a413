"""Rules 5.4 and 5.7: what a source may give up, and what a journal may forget."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from penguiflow import Flow, Positioned, node
from penguiflow.journals import MemoryJournal, Retention, retain
from penguiflow.retention import compact

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


class Numbers:
    """A source that gives 0 to 3, and keeps what is committed."""

    name = "numbers"

    def __init__(self) -> None:
        self.committed: list[int] = []

    async def __aiter__(self) -> AsyncIterator[Positioned[int, int]]:
        for number in range(4):
            yield Positioned(number, number)

    async def commit(self, position: int) -> None:
        self.committed.append(position)


async def test_rule_5_4_a_position_waits_for_all_before_it() -> None:
    """Of four items, the second is settled last: until then, only the first can be committed."""
    held, over = anyio.Event(), set()

    @node
    async def work(number: int) -> None:
        if number == 1:
            await held.wait()
        over.add(number)

    source = Numbers()
    async with (
        Flow("work", work).open(journal=MemoryJournal()) as runtime,
        anyio.create_task_group() as group,
    ):
        group.start_soon(runtime.feed, source)
        while over != {0, 2, 3} or source.committed != [0]:
            await anyio.lowlevel.checkpoint()
        held.set()
    assert source.committed[-1] == 3
    assert source.committed == sorted(source.committed)


@node
async def double(number: int) -> int:
    """Double."""
    return 2 * number


async def test_rule_5_7_what_is_kept_is_bounded() -> None:
    """By number here; runs that are not over are never deleted, of the others the oldest go first."""
    held = anyio.Event()

    @node
    async def waits(number: int) -> int:
        if number == 0:
            await held.wait()
        return number

    journal = MemoryJournal()
    async with Flow("waits", waits).open(journal=journal) as runtime:
        first = await runtime.start(0, run_id="0")
        for number in range(1, 6):
            assert await (await runtime.start(number, run_id=str(number))).result() == number
        assert await retain(journal, Retention(max_runs=2)) == 3
        assert [row.run_id for row in await journal.rows()] == ["5", "4", "0"]
        held.set()
        assert await first.result() == 0


async def test_rule_5_7_compaction_keeps_what_was_delivered() -> None:
    """What a run did inside is forgotten; its reader gets the same as before."""
    journal = MemoryJournal()
    async with Flow("double", double >> node(double.fn, name="again")).open(journal=journal) as runtime:
        await (await runtime.start(2, run_id="r")).result()
        records = len(await journal.read("r"))
        assert await compact(journal, time.time() + 1) == 1
        assert len(await journal.read("r")) < records
        assert await (await runtime.attach("r")).result() == 8
