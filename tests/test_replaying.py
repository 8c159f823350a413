"""Replays: every shape executed again, whole and in part, by the same code and by changed code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest
from test_fork import open_journal, recorded_run
from time_travel_flows import SHAPES, called, chain, join, lanes, shape

from penguiflow import Context, Delivery, Flow, JournalError, Stream, node, source
from penguiflow.history import History, read_history
from penguiflow.journals import MemoryJournal, SQLiteJournal
from penguiflow.outcomes import Comparison, compare
from penguiflow.replaying import Part, Replay, Replayed

pytestmark = [pytest.mark.anyio, pytest.mark.limit(60)]


async def replayed(
    history: History, flow: Flow, part: Part = "all", number: int = 0
) -> tuple[Comparison, Replayed]:
    """Replay a run, or a part of it, and compare."""
    replay, scratch = Replay(history, part, number), MemoryJournal()
    await scratch.open()
    done = await replay.run(flow, scratch)
    return compare(replay, done), done


def some(history: History) -> list[int]:
    """Give the numbers of the steps to go through: all, or some of very many."""
    count = len(history.steps)
    return list(range(1, count + 1)) if count <= 40 else [1, 2, 130, count - 1, count]


@pytest.mark.parametrize("name", SHAPES)
async def test_the_same_code_gives_the_same(name: str) -> None:
    """Everything is executed, nothing differs, and the record stays as it is."""
    made, journal = shape(name), await open_journal()
    _, history = await recorded_run(made, journal)
    first, records = sorted(made.calls), await journal.read("it")
    made.calls.clear()
    comparison, done = await replayed(history, made.flow)
    assert [(step.recorded, step.found) for step in comparison.steps if step.counts] == []
    assert not comparison.differs
    assert (comparison.end is not None and comparison.end["status"], done.question) == ("done", None)
    assert sorted(set(made.calls)) == sorted(set(first))
    assert await journal.read("it") == records


@pytest.mark.parametrize("name", SHAPES)
async def test_one_step_is_executed_and_no_other(name: str) -> None:
    """With the input that it had; it gives the same."""
    made, journal = shape(name), await open_journal()
    _, history = await recorded_run(made, journal)
    for number in some(history):
        made.calls.clear()
        comparison, _ = await replayed(history, made.flow, "step", number)
        step, callers = history.step(number), history.callers()
        nodes = {step.node.rpartition("/")[2], *(["outer"] if step.scope in callers else [])}
        assert (number, set(made.calls)) == (number, nodes)
        assert (number, comparison.differs, len(comparison.steps)) == (number, False, 1)


@pytest.mark.parametrize("name", SHAPES)
async def test_the_steps_up_to_one_are_executed_and_no_other(name: str) -> None:
    """Those behind it are not, unless a step up to it needs what they give on the way."""
    made, journal = shape(name), await open_journal()
    _, history = await recorded_run(made, journal)
    for number in some(history):
        made.calls.clear()
        comparison, done = await replayed(history, made.flow, "until", number)
        wanted = history.steps[:number]
        assert (number, comparison.differs, len(comparison.steps)) == (number, False, number)
        more = done.executed - {step.id for step in wanted}
        on_the_way = {step.id for step in history.all() if step.since < max(s.settled for s in wanted)}
        callers = {step.id for step in history.callers().values()}
        assert more <= on_the_way | callers


@pytest.mark.parametrize("name", SHAPES)
async def test_the_steps_from_one_on_are_executed(name: str) -> None:
    """Those before are repeated."""
    made, journal = shape(name), await open_journal()
    _, history = await recorded_run(made, journal)
    for number in some(history):
        comparison, done = await replayed(history, made.flow, "from", number)
        assert (number, comparison.differs) == (number, False)
        before = {step.id for step in history.steps[: number - 1]}
        assert not done.executed & before


async def recorded_chain(build: Any, given: Any) -> History:
    """Record a run of a flow."""
    made, journal = shape("chain"), await open_journal()
    made.flow, made.given = build([]), given
    return (await recorded_run(made, journal))[1]


async def test_changed_code_shows_the_steps_that_differ() -> None:
    """Which, and how: double gives three times as much, and what follows from it differs too."""
    history = await recorded_chain(chain, 3)
    comparison, _ = await replayed(history, chain([], times=3))
    found = [
        (step.recorded.node, difference.what, difference.recorded, difference.now)
        for step in comparison.steps
        for difference in step.found
        if step.recorded is not None
    ]
    assert found == [("double", "result", 8, 12), ("say", "result", "it is 8", "it is 12")]
    assert comparison.differs
    comparison, _ = await replayed(history, chain([], times=3), "step", 3)
    assert not comparison.differs  # it has the input that it had


async def changed(name: str, build: Any) -> list[tuple[str, str]]:
    """Record a shape, replay it by changed code; gives which nodes differ, and in what."""
    made, journal = shape(name), await open_journal()
    _, history = await recorded_run(made, journal)
    comparison, _ = await replayed(history, build)
    return [
        (step.recorded.node.rpartition("/")[2], difference.what.partition(" of ")[0])
        for step in comparison.steps
        for difference in step.found
        if step.recorded is not None
    ]


@pytest.mark.parametrize(
    ("name", "build", "found"),
    [
        (
            "lanes",
            lanes([], mark="?"),
            [("loud", "chunks"), ("numbered", "chunks"), ("whole", "result")],
        ),
        ("join", join([], plus=2), [("left", "result"), ("both", "result")]),
        (
            "called",
            called([], factor=3),
            [("times", "result"), ("times", "result"), ("outer", "result"), ("last", "result")],
        ),
    ],
)
async def test_changed_code_of_other_shapes(name: str, build: Flow, found: list[tuple[str, str]]) -> None:
    """The steps whose code was changed, and those that they feed."""
    assert await changed(name, build) == found


async def test_a_step_that_gives_more_is_executed_to_its_end() -> None:
    """Nobody behind it holds it up: a stream longer than the window, with a reader that had returned."""

    def build(count: int) -> Flow:
        @node
        async def numbers(n: int) -> AsyncIterator[int]:
            for number in range(count):
                yield number

        @node
        async def total(ns: Stream[int]) -> int:
            return sum([n async for n in ns])

        return Flow("f", numbers >> node(lambda n: n + 1, name="inc") >> total)

    journal = await open_journal()
    async with build(3).open(journal=journal) as runtime:
        await (await runtime.start(1, run_id="it")).result()
    history = await read_history(journal, "it")
    comparison, done = await replayed(history, build(1000), "step", 1)
    (compared,) = comparison.steps
    assert compared.now is not None
    assert [len(stream.chunks) for stream in compared.now.streams] == [1000]
    assert done.executed == {history.step(1).id}


async def test_a_question_without_an_answer_ends_the_replay() -> None:
    """One that was not answered yet; and one that the code of today asks first."""
    made, journal = shape("interrupts"), await open_journal()
    async with made.flow.open(journal=journal) as runtime:
        await runtime.start(1, run_id="it")
        while not (asked := await runtime.interrupts()):
            await anyio.lowlevel.checkpoint()
    history = await read_history(journal, "it")
    assert [step.questions[0].token for step in history.unsettled] == [asked[0].token]
    comparison, done = await replayed(history, made.flow)
    assert (done.question is not None, comparison.differs) == (True, False)


async def test_sources_are_not_started() -> None:
    """A replay is of one run: what feeds the flow by itself does nothing."""
    begun: list[str] = []

    @source
    async def ticks() -> AsyncIterator[int]:
        begun.append("ticks")
        yield 1

    @node
    async def show(n: int) -> int:
        return n

    @node
    async def entry(text: str) -> int:
        return len(text)

    journal, flow = await open_journal(), Flow("f", [ticks, entry] >> show)
    async with flow.open(journal=journal) as runtime:
        await (await runtime.start("abc", run_id="it")).result()
    begun.clear()
    comparison, _ = await replayed(await read_history(journal, "it"), flow)
    assert (comparison.differs, begun) == (False, [])


async def test_what_a_node_without_a_journal_gives_is_made_again() -> None:
    """It is executed whenever its input comes, also in front of the only step that is wanted."""
    calls: list[str] = []

    @node(durable=False)
    async def quick(n: int) -> int:
        calls.append("quick")
        return n + 1

    @node
    async def kept(n: int) -> int:
        calls.append("kept")
        return n * 2

    journal, flow = await open_journal(), Flow("f", quick >> kept)
    async with flow.open(journal=journal) as runtime:
        await (await runtime.start(1, run_id="it")).result()
    calls.clear()
    comparison, _ = await replayed(await read_history(journal, "it"), flow, "step", 1)
    assert (calls, comparison.differs) == (["quick", "kept"], False)


async def test_a_step_that_is_delivered_at_most_once_is_executed() -> None:
    """It is settled before it is executed; the replay waits for it all the same."""
    calls: list[str] = []

    @node(delivery=Delivery.AT_MOST_ONCE)
    async def mail(text: str) -> None:
        await anyio.lowlevel.checkpoint()
        calls.append(text)

    journal, flow = await open_journal(), Flow("f", mail)
    async with flow.open(journal=journal) as runtime:
        await (await runtime.start("hello", run_id="it")).result()
    comparison, _ = await replayed(await read_history(journal, "it"), flow, "step", 1)
    assert (calls, comparison.differs) == (["hello", "hello"], False)


async def test_a_run_of_another_flow_is_refused() -> None:
    """The error names both flows."""
    history = await recorded_chain(chain, 3)
    with pytest.raises(JournalError, match="run it is one of flow 'chain', and this flow is 'other'"):
        await replayed(history, Flow("other", chain([])))
    with pytest.raises(ValueError, match="run it has no step 7: it has 1 to 3"):
        Replay(history, "step", 7)


async def test_statements_of_a_step_are_not_executed_again(tmp_path: Path) -> None:
    """What was written in the journal's transaction is written: a replay leaves it alone."""

    @node
    async def book(x: int, ctx: Context) -> int:
        ctx.also("CREATE TABLE booked (x)")
        return x + 1

    flow = Flow("f", book)
    journal = SQLiteJournal(tmp_path / "runs.db")
    async with flow.open(journal=journal) as runtime:
        assert await runtime.call(1, run_id="r") == 2
    await journal.open()
    try:
        comparison, _ = await replayed(await read_history(journal, "r"), flow)
    finally:
        await journal.close()
    assert len(comparison.steps) == 1
    assert not comparison.differs
