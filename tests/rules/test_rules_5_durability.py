"""Part 5 of the rules: what a run has done survives its process.

Every flow, cut at every record, is the business of `tests/durable`; here stands what each rule says.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from fuzz.cut_store import CutStore, batches_of, recorded_runs

from penguiflow import Context, Flow, Interrupt, JournalError, Retry, edge, node
from penguiflow.journal import Journal, Record, RunChange
from penguiflow.journals import MemoryJournal
from penguiflow.sealed import VERSION


async def opened() -> MemoryJournal:
    """Give a store that outlives the runtimes of a test."""
    store = MemoryJournal()
    await store.open()
    return store


async def dies(flow: Flow, journal: Journal, payload: Any, run_id: str = "run") -> list[Any]:
    """Let a process begin a run, and die; gives what its reader has got until then."""
    got: list[Any] = []
    logging.getLogger("penguiflow").disabled = True
    try:
        with batches_of(1):
            async with flow.open(journal=journal, recover=False) as runtime:
                async for item in await runtime.start(payload, run_id=run_id):
                    got.append(item)  # noqa: PERF401  # what came before it dies is wanted
    except JournalError:
        pass
    finally:
        logging.getLogger("penguiflow").disabled = False
    return got


class Door:
    """A journal that lets records in when it is told to, kind by kind."""

    def __init__(self, inner: Journal, *kinds: str) -> None:
        self.inner = inner
        self.shut = set(kinds)
        self.knocked = anyio.Event()
        self.open_again = anyio.Event()

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        """Write records, when they may. If cancelled, nothing was written."""
        if {record.kind for record in records} & self.shut:
            self.knocked.set()
            await self.open_again.wait()
        await self.inner.append(owner, records, changes, lease)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def test_rule_5_1_a_step_is_durable_in_full_or_not_at_all() -> None:
    """What it emits, remembers and returns is in the journal together, wherever the process dies."""

    @node
    async def work(x: int, ctx: Context) -> int:
        ctx.state["seen"] = x
        await ctx.emit(x + 1)
        await ctx.emit(x + 2)
        return x + 3

    @node
    async def show(x: int) -> int:
        return x

    flow, told = Flow("all", work >> show), []
    for appends in range(6):
        store = await opened()
        await dies(flow, CutStore(store, appends), 1)
        recorded = (await recorded_runs(store)).get("run")
        steps = [step for step in recorded.steps.values() if step.node == "work"] if recorded else []
        state = recorded.state.get("work") if recorded else None
        told.append([(len(step.letters), step.result, step.settled, state) for step in steps])
    assert told == [[], []] + 4 * [[(2, 4, True, {"seen": 1})]]


@pytest.mark.parametrize("kind", ["message", "chunk"])
async def test_rule_5_1_what_a_step_gives_goes_on_when_it_is_durable(kind: str, quiet: Any) -> None:
    """As long as the journal has not taken it, nobody sees it."""
    seen: list[int] = []

    @node
    async def give(x: int) -> int:
        return x + 1

    @node
    async def stream(x: int) -> AsyncIterator[int]:
        yield x + 1

    @node
    async def take(x: int) -> int:
        seen.append(x)
        return x

    door = Door(MemoryJournal(), "step" if kind == "message" else "chunks")
    async with Flow("door", (give if kind == "message" else stream) >> take).open(journal=door) as runtime:
        run = await runtime.start(1)
        await door.knocked.wait()
        await quiet()
        assert seen == []
        door.open_again.set()
        await run.result()
        assert seen == [2]


async def test_rule_5_2_no_step_starts_before_its_input_is_durable(quiet: Any) -> None:
    """The first one neither: the run is in the journal before anything of it happens."""
    called: list[int] = []

    @node
    async def work(x: int) -> int:
        called.append(x)
        return x

    door = Door(MemoryJournal(), "begun")
    async with Flow("first", work).open(journal=door) as runtime:
        async with anyio.create_task_group() as group:
            group.start_soon(runtime.start, 1)
            await door.knocked.wait()
            await quiet()
            assert called == []
            door.open_again.set()
        (row,) = await door.rows()
        await (await runtime.attach(row.run_id)).result()
    assert called == [1]


async def test_rule_5_2_a_settled_step_is_not_executed_again_and_an_unsettled_one_is() -> None:
    """… as the next attempt, which it can see."""
    calls: list[tuple[str, int]] = []

    @node
    async def first(x: int, ctx: Context) -> int:
        calls.append(("first", ctx.attempt))
        return x + 1

    @node
    async def second(x: int, ctx: Context) -> int:
        calls.append(("second", ctx.attempt))
        return x + 1

    store, flow = await opened(), Flow("two", first >> second)
    await dies(flow, CutStore(store, 2), 1)  # the input, and what `first` gave
    await dies(flow, CutStore(store, 1), 1, "another")
    async with flow.open(journal=store) as runtime:
        assert await (await runtime.attach("run")).result() == 3
    assert calls[:2] == [("first", 1), ("second", 1)]
    assert ("second", 2) in calls
    assert calls.count(("first", 1)) == 2  # once in each run
    assert ("first", 2) in calls  # of the other run, whose first step was cut off


async def test_rule_5_2_a_retry_that_was_cut_off_goes_on_counting() -> None:
    """Attempts of all processes are numbered in one row."""
    attempts: list[int] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def work(x: int, ctx: Context) -> int:
        attempts.append(ctx.attempt)
        if len(attempts) == 1:
            raise ValueError
        return x

    store, flow = await opened(), Flow("retry", work)
    await dies(flow, CutStore(store, 1), 1)
    async with flow.open(journal=store) as runtime:
        assert await (await runtime.attach("run")).result() == 1
    assert attempts[:2] == [1, 2]
    assert attempts[2] >= 2


@node
async def count(x: int) -> AsyncIterator[int]:
    for i in range(x):
        yield i


@node
async def repeat(x: int) -> AsyncIterator[int]:
    for i in range(x):
        yield i


@node
async def double(x: int) -> int:
    return 2 * x


async def test_rule_5_3_who_resumes_from_a_position_gets_every_later_item_once() -> None:
    """From each position there is, while the run goes on, and when it is over."""
    odd = edge(when=lambda x: x % 2)
    async with Flow("positions", count >> double, count >> odd >> repeat).open(
        journal=MemoryJournal()
    ) as runtime:
        run = await runtime.start(6, run_id="run")
        items = [item async for item in run]
        told = [(item.position, item.node, item.payload) for item in items]
        assert len(set(told)) == len(told) == 6 + 9
        for index, item in enumerate(items):
            again = await runtime.attach("run", after=item.position)
            assert [(i.position, i.node, i.payload) async for i in again] == told[index + 1 :]


async def test_rule_5_3_the_key_of_an_item_is_run_node_stream_attempt_and_seq() -> None:
    """What was delivered before a crash has the same key when it is read after it."""
    store, flow = await opened(), Flow("keys", count >> double)
    before = [item.key for item in await dies(flow, CutStore(store, 7), 4)]
    async with flow.open(journal=store) as runtime:
        items = [item async for item in await runtime.attach("run")]
    assert before
    assert before == [item.key for item in items][: len(before)]
    last = items[-1]
    assert last.key == f"run/double/{last.stream_id}/{last.attempt}/{last.seq}"
    assert len({item.key for item in items}) == len(items)


@node
async def ask(x: int, ctx: Context) -> str:
    return str(await ctx.interrupt(f"{x}?"))


async def test_rule_5_5_an_answer_is_taken_once() -> None:
    """The first one counts, whichever runtime it is given to; the second one is refused by name."""
    store, flow = await opened(), Flow("asks", ask)
    async with flow.open(journal=store) as here, flow.open(journal=store) as there:
        run = await here.start(1, run_id="run")
        async for event in run.events():
            if isinstance(event, Interrupt):
                await there.answer("run", event.token, "first")
                with pytest.raises(JournalError, match=r"has its answer already.*rule 5\.5"):
                    await here.answer("run", event.token, "second")
        assert await (await there.attach("run")).result() == "first"


async def test_rule_5_5_an_answer_that_was_given_survives_the_process() -> None:
    """It is not asked for again."""
    store, flow = await opened(), Flow("asks", ask)
    async with flow.open(journal=store, recover=False) as runtime:
        await runtime.start(1, run_id="run")
        while not (asked := await runtime.interrupts()):
            await anyio.lowlevel.checkpoint()
        await runtime.answer("run", asked[0].token, "yes")
    async with flow.open(journal=store) as runtime:
        run = await runtime.attach("run")
        events = [event async for event in run.events()]
    assert [event.token for event in events if isinstance(event, Interrupt)] == [asked[0].token]
    assert events[-1].payload == "yes"


def torn(data: bytes) -> bytes:
    return data[:-1]


def headless(data: bytes) -> bytes:
    return data[:3]


def changed(data: bytes) -> bytes:
    return data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]


def newer(data: bytes) -> bytes:
    return bytes([VERSION + 1]) + data[1:]


def missing(data: bytes) -> None:
    return None


SPOILT: dict[Any, str] = {
    torn: "record 2 of run run is damaged: its checksum does not match",
    headless: "record 2 of run run is torn",
    changed: "record 2 of run run is damaged: its checksum does not match",
    newer: "record 2 of run run was written by a newer PenguiFlow",
    missing: "record 3 of run run is there, but record 2 is missing",
}


@pytest.mark.parametrize("spoil", SPOILT)
async def test_rule_5_6_a_spoilt_record_is_named_and_never_guessed_at(
    spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The run is left alone, and all others go on."""
    called: list[int] = []

    @node
    async def work(x: int) -> int:
        called.append(x)
        return x

    store, flow = await opened(), Flow("spoilt", double >> double_again >> work)
    await dies(flow, CutStore(store, 3), 1)
    await dies(flow, CutStore(store, 3), 2, "another")
    records = store._runs["run"].records
    data = spoil(records[2].data)
    if data is None:
        del records[2]
    else:
        records[2] = Record("run", 2, records[2].kind, data)
    called.clear()
    async with flow.open(journal=store) as runtime:
        with pytest.raises(JournalError, match=SPOILT[spoil]):
            await runtime.attach("run")
        assert await (await runtime.attach("another")).result() == 8
    assert called == [8]
    assert [record.kind for record in await store.read("run")][-1] == "step"
    assert f"run run of flow spoilt can't be taken up: {SPOILT[spoil]}" in caplog.text


@node
async def double_again(x: int) -> int:
    return 2 * x
