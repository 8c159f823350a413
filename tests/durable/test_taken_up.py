"""Runs that are taken up again, where that can't be as it was: other text, no input, no time, no wish."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from fuzz.cut_store import CutStore, batches_of

from penguiflow import (
    Context,
    DeadlineExceeded,
    Flow,
    Interrupt,
    JournalError,
    Resume,
    RunCancelled,
    StepError,
    StreamError,
    node,
)
from penguiflow.journals import MemoryJournal

from .lives import quietly

pytestmark = pytest.mark.limit(20)
TEXTS: list[list[str]] = []
CALLS: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Begin without calls, a record at a time, and say nothing in the log."""
    CALLS.clear()
    with quietly(), batches_of(1):
        yield


async def opened() -> MemoryJournal:
    """Give a store that outlives its runtimes."""
    store = MemoryJournal()
    await store.open()
    return store


@node(resume=Resume.CONTINUE)
async def speak(x: int, ctx: Context) -> AsyncIterator[str]:
    for text in TEXTS[min(ctx.attempt, len(TEXTS)) - 1]:
        yield text
        await anyio.lowlevel.checkpoint()


@node
async def shout(text: str) -> str:
    CALLS.append(text)
    return text.upper()


async def spoken(flow: Flow, store: MemoryJournal, appends: int) -> list[Any]:
    """Let a process speak until it dies; gives what its reader has got."""
    items: list[Any] = []
    async with flow.open(journal=CutStore(store, appends)) as runtime:
        run = await runtime.start(1, run_id="run")
        with pytest.raises(JournalError):
            async for item in run:
                items.append(item)  # noqa: PERF401  # what came before is wanted
    return items


async def test_a_stream_that_continues_is_not_cut_into_attempts() -> None:
    """Truth: behind what is out it goes on under the same attempt, and nothing is worked off twice."""
    TEXTS[:] = [["a", "b", "c"], ["a", "b", "c"]]
    store, flow = await opened(), Flow("speaks", speak >> shout)
    before = await spoken(flow, store, 7)
    assert before
    async with flow.open(journal=store) as runtime:
        items = [item async for item in await runtime.attach("run")]
    assert [(item.payload, item.attempt, item.seq) for item in items] == [
        ("A", 1, 0),
        ("B", 1, 1),
        ("C", 1, 2),
    ]
    assert CALLS.count("a") == 1


@pytest.mark.parametrize("other", [["a", "x", "c"], ["x"], ["a"]], ids=repr)
async def test_a_stream_that_continues_with_another_text_fails(other: list[str]) -> None:
    """Truth: what is given again is compared, and a difference is a StepError that names node and run."""
    TEXTS[:] = [["a", "b", "c"], other]
    store, flow = await opened(), Flow("speaks", speak >> shout)
    await spoken(flow, store, 6)
    async with flow.open(journal=store) as runtime:
        with pytest.raises(StepError, match=r"node speak .*Resume\.CONTINUE.* run run") as caught:
            await (await runtime.attach("run")).result()
    assert caught.value.node == "speak"


@node
async def total(x: int) -> int:
    CALLS.append(str(x))
    return x


async def numbers() -> AsyncIterator[int]:
    """Feed two numbers, and wait for ever."""
    yield 1
    yield 2
    await anyio.sleep_forever()


async def test_an_input_that_was_cut_off_says_so() -> None:
    """Truth: what was fed is worked off, once, and then the run fails: nobody guesses that it was all."""
    store, flow = await opened(), Flow("fed", total)
    async with flow.open(journal=store) as runtime:
        run = await runtime.start(numbers(), run_id="run")
        items = aiter(run)
        assert [(await anext(items)).payload for _ in range(2)] == [1, 2]
    async with flow.open(journal=store) as runtime:
        with pytest.raises(StreamError, match="was cut off behind 2 items"):
            await (await runtime.attach("run")).result()
        again = [item.payload async for item in _until_error(await runtime.attach("run"))]
    assert again == [1, 2]
    assert CALLS == ["1", "2"]


async def _until_error(run: Any) -> AsyncIterator[Any]:
    try:
        async for item in run:
            yield item
    except StreamError:
        return


async def test_a_session_that_has_ended_its_input_is_finished() -> None:
    """Truth: an input that is all there is no reason to fail, whoever fed it."""
    store, flow = await opened(), Flow("session", total)
    journal = CutStore(store, 8)
    async with flow.open(journal=journal) as runtime:
        async with runtime.session(run_id="run") as run:
            with pytest.raises(JournalError):
                await run.send(1)
                await run.send(2)
                await run.end_input()
                await run.result()
    kinds = [record.kind for record in await store.read("run")]
    assert "ended" in kinds
    assert "over" not in kinds
    async with flow.open(journal=store) as runtime:
        assert await (await runtime.attach("run")).result() == [1, 2]


@node
async def wait(x: int, ctx: Context) -> int:
    CALLS.append("wait")
    return int(await ctx.interrupt("?"))


async def test_a_deadline_goes_on_while_nobody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: a deadline is the caller's time (rule 3.5), also that between two processes."""
    store, flow = await opened(), Flow("late", wait)
    async with flow.open(journal=store) as runtime:
        run = await runtime.start(1, run_id="run", deadline=60)
        async for event in run.events():
            if isinstance(event, Interrupt):
                break
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 61)
    async with flow.open(journal=store) as runtime:
        with pytest.raises(DeadlineExceeded):
            await (await runtime.attach("run")).result()
    assert [row.status for row in await store.rows()] == ["expired"]
    assert CALLS == ["wait"]


@pytest.mark.parametrize("rests", [True, False], ids=["at rest", "at work"])
async def test_a_run_that_was_cancelled_is_not_taken_up(rests: bool) -> None:
    """Truth: cancelling is durable on return, wherever the run is (rule 3.8)."""
    store, flow = await opened(), Flow("cancelled", wait)
    async with flow.open(journal=store) as runtime:
        run = await runtime.start(1, run_id="run")
        if rests:
            while (await store.rows())[0].status != "interrupted":
                await anyio.lowlevel.checkpoint()
        else:
            while not CALLS:
                await anyio.lowlevel.checkpoint()
        await run.cancel("enough")
    assert [row.status for row in await store.rows()] == ["cancelled"]
    async with flow.open(journal=store) as runtime:
        with pytest.raises(RunCancelled, match="enough"):
            await (await runtime.attach("run")).result()
    assert CALLS == ["wait"]


async def test_a_cancel_that_could_not_be_written_is_not_believed() -> None:
    """Truth: nobody is told of an end that is not durable: the run goes on."""
    store, flow = await opened(), Flow("cancelled", wait)
    journal = CutStore(store, 2)
    async with flow.open(journal=journal) as runtime:
        run = await runtime.start(1, run_id="run")
        while not await runtime.interrupts():
            await anyio.lowlevel.checkpoint()
        with pytest.raises(JournalError):
            await run.cancel()
            await run.result()
    assert (await store.rows())[0].status in ("running", "interrupted")


async def test_drain_leaves_what_waits_for_answers() -> None:
    """Truth: a drained runtime leaves no run behind it at work; one that waits outside of memory stays."""
    store, flow = await opened(), Flow("drained", wait)
    async with flow.open(journal=store) as runtime:
        await runtime.start(1, run_id="run")
        while (await store.rows())[0].status != "interrupted":
            await anyio.lowlevel.checkpoint()
        await runtime.drain(5)
    async with flow.open(journal=store) as runtime:
        (question,) = await runtime.interrupts()
        await runtime.answer("run", question.token, 7)
        assert await (await runtime.attach("run")).result() == 7


async def test_a_detached_run_fails_with_the_node_s_own_error_as_the_cause() -> None:
    """As long as it is known: another process knows what it said, and not what it was."""

    @node
    async def breaks(x: int) -> int:
        raise KeyError(x)

    journal, flow = MemoryJournal(), Flow("f", breaks)
    await journal.open()
    async with flow.open(journal=journal) as runtime:
        run = await runtime.start(1, run_id="r")
        with pytest.raises(StepError, match="KeyError: 1") as caught:
            await run.result()
        assert isinstance(caught.value.__cause__, KeyError)
    async with flow.open(journal=journal) as runtime:
        with pytest.raises(StepError, match="KeyError: 1"):
            await (await runtime.attach("r")).result()
