"""A journal that fails: the runs concerned fail, the others go on, and nothing that was settled is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from fuzz.cut_store import recorded_runs

import penguiflow.keeper
from penguiflow import Context, Flow, JournalError, StepError, edge, node
from penguiflow.journal import Journal, Record, RunChange, RunTaken
from penguiflow.journals import MemoryJournal
from penguiflow.testing import assert_conserved

from .lives import quietly

pytestmark = pytest.mark.limit(10)

CALLS: list[tuple[str, str]] = []
GATES: dict[str, anyio.Event] = {}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Begin without calls, and say nothing in the log."""
    CALLS.clear()
    GATES.clear()
    with quietly():
        yield


@node
async def first(x: str) -> str:
    CALLS.append(("first", x))
    return x + "1"


@node
async def second(x: str) -> str:
    CALLS.append(("second", x))
    if x[0] in GATES:
        await GATES[x[0]].wait()
    return x + "2"


@node
async def third(x: str) -> str:
    CALLS.append(("third", x))
    return x + "3"


flow = Flow("faults", first >> second >> third)


class Failing:
    """A journal that raises where it is told to.

    Args:
        inner: the store.
        fails: says for a batch of records whether it is refused.
        error: what is raised.
    """

    def __init__(
        self, inner: Journal, fails: Callable[[Sequence[Record]], bool], error: Exception | None = None
    ) -> None:
        self.inner = inner
        self.fails = fails
        self.error = error or JournalError("the disk is full")

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        """Write records, or raise. If cancelled, what the store says holds."""
        if self.fails(records):
            raise self.error
        await self.inner.append(owner, records, changes, lease)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def store_of(*ids: str) -> MemoryJournal:
    """Give a store that outlives its runtimes."""
    store = MemoryJournal()
    await store.open()
    return store


def steps_of(run_id: str, records: Sequence[Record]) -> bool:
    """Say whether records of steps of a run are among some."""
    return any(record.run_id == run_id and record.kind == "step" for record in records)


@pytest.mark.parametrize("error", [JournalError("the disk is full"), OSError(28, "no space")], ids=repr)
async def test_one_run_fails_and_the_others_go_on(error: Exception) -> None:
    """Truth: a record that the journal refuses fails its own run, whoever wrote at the same time."""
    store = await store_of()
    journal = Failing(store, lambda records: steps_of("a", records), error)
    async with flow.open(journal=journal) as runtime:
        runs = {name: await runtime.start(name, run_id=name) for name in "abc"}
        with pytest.raises(JournalError, match=r"disk is full|no space"):
            await runs["a"].result()
        assert [await runs[name].result() for name in "bc"] == ["b123", "c123"]
    assert_conserved(runtime.statistics())
    async with flow.open(journal=store) as runtime:
        assert await (await runtime.attach("a")).result() == "a123"
    assert CALLS.count(("third", "b12")) == 1


async def test_all_fail_and_are_finished_when_it_is_open_again() -> None:
    """Truth: a full disk loses nothing that was settled."""
    store, full = await store_of(), []
    GATES.update({name: anyio.Event() for name in "ab"})
    journal = Failing(store, lambda _records: bool(full))
    async with flow.open(journal=journal) as runtime:
        runs = [await runtime.start(name, run_id=name) for name in "ab"]
        while len(CALLS) < 4:
            await anyio.lowlevel.checkpoint()
        full.append(True)
        for gate in GATES.values():
            gate.set()
        for run in runs:
            with pytest.raises(JournalError, match="disk is full"):
                await run.result()
        with pytest.raises(JournalError, match="disk is full"):
            await runtime.start("c", run_id="c")
    assert_conserved(runtime.statistics())
    assert set(await recorded_runs(store)) == {"a", "b"}
    async with flow.open(journal=store) as runtime:
        assert [await (await runtime.attach(name)).result() for name in "ab"] == ["a123", "b123"]
    assert [CALLS.count(("first", name)) for name in "ab"] == [1, 1]


async def test_a_full_disk_that_has_room_again_needs_no_new_runtime() -> None:
    """Truth: what could not be written is taken up again by the same runtime, when it is asked for."""
    store, full = await store_of(), [True]
    journal = Failing(store, lambda records: bool(full) and steps_of("a", records))
    async with flow.open(journal=journal) as runtime:
        with pytest.raises(JournalError, match="disk is full"):
            await (await runtime.start("a", run_id="a")).result()
        full.clear()
        assert await (await runtime.attach("a")).result() == "a123"


async def test_what_can_not_be_written_is_not_executed_again_and_again(quiet: Any) -> None:
    """Truth: as long as the store takes nothing, a run that is taken up executes nothing."""
    store = await store_of()
    async with flow.open(journal=Failing(store, lambda records: steps_of("a", records))) as runtime:
        with pytest.raises(JournalError):
            await (await runtime.start("a", run_id="a")).result()
    before = len(CALLS)
    async with flow.open(journal=Failing(store, lambda _records: True)) as runtime:
        with pytest.raises(JournalError):
            await (await runtime.attach("a")).result()
        await quiet()
    assert len(CALLS) == before


async def test_an_append_that_hangs_holds_up_its_runtime_only(
    quiet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: nothing goes on that is not durable, and closing waits for a journal that hangs only so long."""
    monkeypatch.setattr(penguiflow.keeper, "CLOSE_SECONDS", 0.2)
    store, gate, appended = await store_of(), anyio.Event(), anyio.Event()

    class Hanging(Failing):
        async def append(self, owner: Any, records: Any, changes: Any = (), lease: float = 30.0) -> None:
            if steps_of("a", records):
                appended.set()
                await gate.wait()
            await self.inner.append(owner, records, changes, lease)

    async with flow.open(journal=Hanging(store, bool), cleanup_timeout=0.1) as runtime:
        await runtime.start("a", run_id="a")
        await appended.wait()
        await quiet()
        assert CALLS == [("first", "a")]
    gate.set()
    await quiet()


class Forgetful(Failing):
    """A journal that writes, and says that it did not."""

    async def append(self, owner: Any, records: Any, changes: Any = (), lease: float = 30.0) -> None:
        await self.inner.append(owner, records, changes, lease)
        if self.fails(records):
            raise self.error


async def test_what_was_written_after_all_is_found_again() -> None:
    """Truth: a store that breaks its word, and has written what it refused, loses and repeats nothing."""
    store = await store_of()
    async with flow.open(journal=Forgetful(store, lambda records: steps_of("a", records))) as runtime:
        with pytest.raises(JournalError):
            await (await runtime.start("a", run_id="a")).result()
    async with flow.open(journal=store) as runtime:
        assert await (await runtime.attach("a")).result() == "a123"
    assert CALLS.count(("first", "a")) == 1


@node
async def odd(x: str, ctx: Context) -> object:
    await ctx.emit("before", to="third")
    return {1, 2}


@node
async def cure(error: StepError) -> str:
    return "cured"


async def test_what_can_not_be_read_back_is_refused_in_the_step_that_gave_it() -> None:
    """Truth: it fails that step, an error edge takes it, and nothing of it leaks."""
    refused = Flow("refused", odd >> third, odd >> edge(on_error=True) >> cure)
    async with refused.open(journal=await store_of()) as runtime:
        run = await runtime.start("a")
        assert await run.result() == "cured"
        assert_conserved(runtime.statistics())


async def test_a_reader_that_fails_is_tried_again() -> None:
    """Truth: a store that can't be read for a moment does not make a run unreadable."""
    store = await store_of()
    async with flow.open(journal=Failing(store, lambda records: steps_of("a", records))) as runtime:
        with pytest.raises(JournalError):
            await (await runtime.start("a", run_id="a")).result()
    broken = [True]

    class Unreadable(Failing):
        async def read(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Record]:
            if broken:
                raise JournalError("the store is locked")
            return await self.inner.read(run_id, after, limit)

    async with flow.open(journal=Unreadable(store, lambda _records: False)) as runtime:
        with pytest.raises(JournalError, match="locked"):
            await runtime.attach("a")
        broken.clear()
        assert await (await runtime.attach("a")).result() == "a123"


async def test_a_run_that_is_taken_away_in_the_middle_goes_on_elsewhere() -> None:
    """Truth: its execution here ends, its reader gets the rest from where it is at work now."""
    store = await store_of()
    GATES["a"] = anyio.Event()
    async with flow.open(journal=store, recover=False) as here:
        run = await here.start("a", run_id="a")
        while ("second", "a1") not in CALLS:
            await anyio.lowlevel.checkpoint()
        (row,) = await store.rows()
        await store.release(row.owner, ["a"])  # as if the lease had run out
        async with flow.open(journal=store) as there:
            taken = await there.attach("a")
            while CALLS.count(("second", "a1")) < 2:
                await anyio.lowlevel.checkpoint()
            GATES["a"].set()
            assert await taken.result() == "a123"
            assert await run.result() == "a123"
            assert_conserved(here.statistics())
    assert CALLS.count(("first", "a")) == 1
    assert CALLS.count(("third", "a12")) == 1


async def test_two_runtimes_share_runs() -> None:
    """Truth: of several runtimes on one store, one executes a run; all can read it."""
    store = await store_of()
    async with flow.open(journal=store) as one, flow.open(journal=store) as other:
        runs = [await (one, other)[i % 2].start(f"{i}", run_id=f"{i}") for i in range(10)]
        results = [await run.result() for run in runs]
        again = [await (await (other, one)[i % 2].attach(f"{i}")).result() for i in range(10)]
    assert results == again == [f"{i}123" for i in range(10)]
    assert max(CALLS.count(call) for call in CALLS) == 1


async def test_two_runtimes_fight_for_what_nobody_owns() -> None:
    """Truth: each run that is left is taken up by one of them."""
    store = await store_of()
    GATES.update({f"{i}": anyio.Event() for i in range(10)})
    async with flow.open(journal=store) as runtime:
        for i in range(10):
            await runtime.start(f"{i}", run_id=f"{i}")
        while len(CALLS) < 20:
            await anyio.lowlevel.checkpoint()
    assert {row.status for row in await store.rows()} == {"running"}  # closed in the middle
    assert {row.owner for row in await store.rows()} == {""}
    for gate in GATES.values():
        gate.set()
    CALLS.clear()
    async with flow.open(journal=store) as one, flow.open(journal=store) as other:
        for i in range(10):
            assert await (await (one, other)[i % 2].attach(f"{i}")).result() == f"{i}123"
    assert CALLS.count(("first", "0")) == 0
    assert max(CALLS.count(call) for call in CALLS) == 1


async def test_an_id_that_is_taken_by_mistake_hurts_nobody() -> None:
    """Truth: who begins a run under the id of one that is being taken up is refused, and that one goes on."""
    store = await store_of()
    async with flow.open(journal=Failing(store, lambda records: steps_of("a", records))) as runtime:
        with pytest.raises(JournalError):
            await (await runtime.start("a", run_id="a")).result()
    async with flow.open(journal=store) as runtime:
        with pytest.raises(Exception, match=r"in the journal|in use"):
            await runtime.start("x", run_id="a")
        with anyio.fail_after(5):
            assert await (await runtime.attach("a")).result() == "a123"


def test_taken_is_a_journal_error() -> None:
    """Truth: who handles a journal's errors handles this one."""
    assert issubclass(RunTaken, JournalError)
