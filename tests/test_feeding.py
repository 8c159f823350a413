"""A source's items become durable runs, and its positions are committed when these are over (rule 5.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from penguiflow import Context, Delivery, Flow, JournalError, Positioned, RunRejected, StepError, node
from penguiflow.journals import MemoryJournal

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


class Queue:
    """A broker as a test needs one: it gives again what was not committed."""

    name = "orders"

    def __init__(self, count: int) -> None:
        self.count = count
        self.at = 0
        self.commits: list[int] = []
        self.payloads: list[Any] = [position * 10 for position in range(count)]

    async def __aiter__(self) -> AsyncIterator[Positioned[int, int]]:
        for position in range(self.at, self.count):
            yield Positioned(self.payloads[position], position)

    async def commit(self, position: int) -> None:
        self.commits.append(position)
        self.at = position + 1


class Works:
    """A node that tells what it does, holds back what it is told to, and fails where it is told to."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.keys: set[str] = set()
        self.held: dict[int, anyio.Event] = {}
        self.fails: set[int] = set()
        self.begun = 0

    def flow(self) -> Flow:
        @node(delivery=Delivery.EFFECTIVELY_ONCE)
        async def work(payload: int, ctx: Context) -> None:
            self.begun += 1
            if payload in self.held:
                await self.held[payload].wait()
            if payload in self.fails:
                raise ValueError(f"not {payload}")
            self.done.append(payload)
            self.keys.add(ctx.key)

        return Flow("work", work)


async def test_positions_are_committed_when_all_before_them_are_over() -> None:
    """Later items may be over sooner; the position waits for the first."""
    works, source = Works(), Queue(4)
    works.held[0] = anyio.Event()
    async with works.flow().open(journal=MemoryJournal()) as runtime, anyio.create_task_group() as group:
        group.start_soon(runtime.feed, source)
        while len(works.done) < 3:
            await anyio.lowlevel.checkpoint()
        assert source.commits == []
        works.held[0].set()
    assert source.commits[-1] == 3
    assert sorted(works.done) == [0, 10, 20, 30]


async def test_no_more_runs_are_under_way_than_the_limit() -> None:
    """A source is read as fast as its runs are over, no faster."""
    works, source = Works(), Queue(6)
    works.held = {position * 10: anyio.Event() for position in range(6)}
    async with works.flow().open(journal=MemoryJournal()) as runtime, anyio.create_task_group() as group:

        async def feed() -> None:
            await runtime.feed(source, limit=2)

        group.start_soon(feed)
        for position in range(6):
            while works.begun < min(position + 2, 6):
                await anyio.lowlevel.checkpoint()
            assert len(runtime.runs()) <= 2
            works.held[position * 10].set()
    assert source.commits[-1] == 5


async def test_what_is_given_again_is_not_run_again() -> None:
    """The process ends before the commit: the source gives the item again, and its run is known."""
    works, journal, source = Works(), MemoryJournal(), Queue(3)
    await journal.open()  # so that it outlives the runtimes
    async with works.flow().open(journal=journal) as runtime:
        await runtime.feed(source)
    source.at = 0  # no commit has reached it
    async with works.flow().open(journal=journal) as runtime:
        await runtime.feed(source)
    assert sorted(works.done) == [0, 10, 20]
    assert source.commits[-1] == 2


async def test_a_run_that_was_cut_off_is_finished_before_its_position_is_committed() -> None:
    """The runtime is closed in the middle; the next one goes on with the same runs."""
    works, journal, source = Works(), MemoryJournal(), Queue(3)
    await journal.open()
    works.held[10] = anyio.Event()
    async with works.flow().open(journal=journal) as runtime, anyio.create_task_group() as group:
        group.start_soon(runtime.feed, source)
        while len(works.done) < 2:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert source.commits in ([], [0])
    works.held[10].set()
    async with works.flow().open(journal=journal) as runtime:
        await runtime.feed(source)
    assert sorted(works.done) == [0, 10, 20]
    assert source.commits[-1] == 2
    assert len(works.keys) == 3


async def test_the_first_failure_ends_it_uncommitted() -> None:
    """What has failed is given again, unless it is to be skipped."""
    works, journal, source = Works(), MemoryJournal(), Queue(3)
    await journal.open()
    works.fails.add(10)
    async with works.flow().open(journal=journal) as runtime:
        with pytest.raises(StepError, match="not 10"):
            await runtime.feed(source, limit=1)
    assert source.commits == [0]
    async with works.flow().open(journal=journal) as runtime:
        await runtime.feed(source, limit=1, skip_failed=True)
    assert source.commits == [0, 1, 2]


async def test_an_item_that_no_node_takes_can_be_skipped() -> None:
    """What is refused before it begins is a failure, too; but not that the flow is closed."""
    works, journal, source = Works(), MemoryJournal(), Queue(3)
    await journal.open()
    source.payloads = [0, "not a number", 20]
    async with works.flow().open(journal=journal) as runtime:
        with pytest.raises(RunRejected, match="takes int"):
            await runtime.feed(source, limit=1)
        await runtime.feed(source, limit=1, skip_failed=True)
    assert works.done == [0, 20]
    assert source.commits[-1] == 2
    with pytest.raises(RunRejected):
        await runtime.feed(source, limit=1, skip_failed=True)


async def test_feeding_needs_a_journal() -> None:
    """Without one, what was committed could be lost."""
    async with Works().flow().open() as runtime:
        with pytest.raises(JournalError, match=r"without a journal: give open\(journal=…\)"):
            await runtime.feed(Queue(1))
