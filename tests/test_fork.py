"""Forks: a run begun once more from a step on, in every shape, and what can't be forked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from time_travel_flows import SHAPES, Shape, chain, shape

from penguiflow import (
    Context,
    Flow,
    Headers,
    JournalError,
    Run,
    RunRejected,
    Runtime,
    StepError,
    Stream,
    node,
)
from penguiflow.history import History, read_history
from penguiflow.journals import MemoryJournal

pytestmark = [pytest.mark.anyio, pytest.mark.limit(60)]


async def open_journal() -> MemoryJournal:
    """Make a journal that outlives the runtimes."""
    journal = MemoryJournal()
    await journal.open()
    return journal


async def result_of(runtime: Runtime, run: Run, answers: tuple[Any, ...] = ()) -> Any:
    """Read a run to its end; its questions are answered in order."""
    left = list(answers)
    result: list[Any] = []
    async with anyio.create_task_group() as group:
        group.start_soon(answer_all, runtime, run.id, left, group.cancel_scope)
        result.append(await run.result())
        group.cancel_scope.cancel()
    return result[0]


async def answer_all(runtime: Runtime, run_id: str, answers: list[Any], scope: anyio.CancelScope) -> None:
    """Answer the questions of a run, as they come."""
    known: set[str] = set()
    while answers:
        for interrupt in await runtime.interrupts():
            if interrupt.run_id == run_id and interrupt.token not in known:
                known.add(interrupt.token)
                await runtime.answer(run_id, interrupt.token, answers.pop(0))
        await anyio.sleep(0.001)


async def recorded_run(made: Shape, journal: MemoryJournal) -> tuple[Any, History]:
    """Run a flow once; gives its result and what is recorded of it."""
    async with made.flow.open(journal=journal) as runtime:
        run = await runtime.start(made.given, run_id="it")
        result = await result_of(runtime, run, made.answers)
    return result, await read_history(journal, "it")


@pytest.mark.parametrize("name", SHAPES)
async def test_a_fork_at_every_step_comes_to_the_same_end(name: str) -> None:
    """What was durable before the step is taken over; the rest is executed, and gives the same."""
    made, journal = shape(name), await open_journal()
    result, history = await recorded_run(made, journal)
    numbers = range(1, len(history.steps) + 1)
    if len(numbers) > 40:
        numbers = [1, 2, 3, 130, len(numbers) - 1, len(numbers)]
    records = await journal.read("it")
    for number in numbers:
        async with made.flow.open(journal=journal) as runtime:
            fork = await runtime.fork("it", at_step=number, new_run_id=f"fork-{number}")
            answers = answers_left(history, number, made.answers)
            given = await result_of(runtime, fork, answers)
        assert (number, in_any_order(given)) == (number, in_any_order(result))
        forked = await read_history(journal, f"fork-{number}")
        assert forked.recorded.begun["forked"] == {"run": "it", "step": number}
        assert {step.id for step in forked.steps} == {step.id for step in history.steps}
    assert await journal.read("it") == records


def in_any_order(result: Any) -> Any:
    """Give a result whose parts come from several exits in some order, which nobody promises."""
    return sorted(result, key=repr) if isinstance(result, list) else result


def answers_left(history: History, number: int, answers: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give the answers to the questions that a fork asks again."""
    settled = history.step(number).settled
    return answers[sum(seq < settled for seq in history.asked.values()) :]


@pytest.mark.parametrize("name", SHAPES)
async def test_what_was_settled_before_is_not_executed(name: str) -> None:
    """The code of a step runs if it is at the fork or behind it, and only then."""
    made, journal = shape(name), await open_journal()
    _, history = await recorded_run(made, journal)
    at = len(history.steps)
    made.calls.clear()
    async with made.flow.open(journal=journal) as runtime:
        await result_of(runtime, await runtime.fork("it", at_step=at), made.answers)
    last = history.step(at)
    assert set(made.calls) == {last.node.rpartition("/")[2]}


@node
async def risky(n: int) -> int:
    """Fail, as long as nobody has mended it."""
    raise ValueError("not yet")


async def test_a_failed_step_is_mended_and_forked() -> None:
    """What came before it is not paid for again; the failed run stays as it is."""
    calls: list[str] = []

    @node
    async def dear(n: int) -> int:
        calls.append("dear")
        return n + 1

    async def mended(n: int) -> int:
        return 10 * n

    journal = await open_journal()
    async with Flow("f", dear >> risky).open(journal=journal) as runtime:
        with pytest.raises(StepError, match="not yet"):
            await (await runtime.start(1, run_id="it")).result()
    async with Flow("f", dear >> node(mended, name="risky")).open(journal=journal) as runtime:
        fork = await runtime.fork("it", at_step=2)
        assert await fork.result() == 20
        row = await journal.row("it")
        assert (calls, row is not None and row.status) == (["dear"], "failed")
        assert [run_id async for run_id in ids(journal)] == [fork.id, "it"]


async def ids(journal: MemoryJournal) -> AsyncIterator[str]:
    """Give the runs of a journal, the latest first."""
    for row in await journal.rows():
        yield row.run_id


async def test_a_fork_of_a_run_that_was_fed_a_stream() -> None:
    """The input is taken over to its end, however much of it was worked off before the step."""

    @node
    def double(n: int) -> int:
        return 2 * n

    @node
    async def total(ns: Stream[int]) -> int:
        return sum([n async for n in ns])

    async def numbers() -> AsyncIterator[int]:
        for n in range(5):
            yield n

    journal = await open_journal()
    flow = Flow("f", double >> total)
    async with flow.open(journal=journal) as runtime:
        assert await (await runtime.start(numbers(), run_id="it")).result() == 20
        for number in (1, 2):
            assert await (await runtime.fork("it", at_step=number)).result() == 20


async def test_what_a_fork_takes_over_and_what_not() -> None:
    """Headers and meta; a deadline counts from now; the trace is another one, the attempts begin at 1."""
    attempts: list[int] = []

    @node
    async def see(n: int, ctx: Context) -> list[Any]:
        attempts.append(ctx.attempt)
        left = None if ctx.deadline is None else ctx.deadline - anyio.current_time()
        return [ctx.message.headers.tenant, ctx.message.meta["m"], left is not None and 50 < left <= 60]

    journal = await open_journal()
    async with Flow("f", see).open(journal=journal) as runtime:
        run = await runtime.start(1, headers=Headers(tenant="acme"), meta={"m": 1}, deadline=60)
        result = await run.result()
        fork = await runtime.fork(run.id, at_step=1)
        assert (await fork.result(), fork.trace_id == run.trace_id) == (result, False)
    assert attempts == [1, 1]


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        ({"run_id": "nobody", "at_step": 1}, JournalError, "has no run 'nobody'"),
        ({"run_id": "it", "at_step": 4}, ValueError, "run it has no step 4: it has 1 to 3"),
        ({"run_id": "it", "at_step": 0}, ValueError, "run it has no step 0"),
        ({"run_id": "it", "at_step": True}, TypeError, "at_step=True"),
        ({"run_id": "it", "at_step": 1, "new_run_id": "it"}, RunRejected, "run_id='it' is in the journal"),
        ({"run_id": "it", "at_step": 1, "new_run_id": ""}, ValueError, "an id is not empty"),
        ({"run_id": "other", "at_step": 1}, JournalError, "run other is one of flow other, not of chain"),
    ],
)
async def test_what_can_not_be_forked_is_said(
    asked: dict[str, Any], error: type[Exception], text: str
) -> None:
    """No such run or step, an id in use, another flow: nothing was written."""
    made, journal = shape("chain"), await open_journal()
    await recorded_run(made, journal)
    async with Flow("other", chain([])).open(journal=journal) as runtime:
        await (await runtime.start(1, run_id="other")).result()
    before = await journal.rows()
    async with made.flow.open(journal=journal) as runtime:
        with pytest.raises(error, match=text):
            await runtime.fork(**asked)
    assert await journal.rows() == before


async def test_without_a_journal_nothing_is_forked() -> None:
    """The error says what to open the flow with."""
    async with chain([]).open() as runtime:
        with pytest.raises(JournalError, match=r"without a journal: give open\(journal=…\)"):
            await runtime.fork("it", at_step=1)


async def test_a_fork_is_recovered_like_any_run() -> None:
    """It is in the journal before it begins: another process goes on with it."""
    gate, calls = anyio.Event(), []

    @node
    async def first(n: int) -> int:
        calls.append("first")
        return n + 1

    @node
    async def slow(n: int) -> int:
        calls.append("slow")
        await gate.wait()
        return n * 2

    journal, flow = await open_journal(), Flow("f", first >> slow)
    gate.set()
    async with flow.open(journal=journal) as runtime:
        assert await (await runtime.start(1, run_id="it")).result() == 4
    gate = anyio.Event()
    calls.clear()
    async with flow.open(journal=journal) as runtime:
        await runtime.fork("it", at_step=2, new_run_id="new")
        while "slow" not in calls:
            await anyio.lowlevel.checkpoint()
    gate.set()
    async with flow.open(journal=journal) as runtime:
        assert await (await runtime.attach("new")).result() == 4
    assert calls == ["slow", "slow"]
