"""Questions wait durably for their answers; the first answer is taken, once (rule 5.5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from penguiflow import Context, Delivery, Flow, Interrupt, JournalError, Runtime, StepError, node
from penguiflow.journals import MemoryJournal
from penguiflow.testing import virtual_backend

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


class Call(BaseModel):
    """A tool call that somebody has to approve."""

    tool: str
    amount: int


class Asker:
    """A flow that plans a call, has it approved, and makes it; it counts what it does."""

    def __init__(self, **asking: Any) -> None:
        self.planned: list[str] = []
        self.asked: list[int] = []
        self.asking = asking

    def flow(self) -> Flow:
        @node
        async def plan(tool: str) -> Call:
            self.planned.append(tool)
            return Call(tool=tool, amount=3)

        @node
        async def approve(call: Call, ctx: Context) -> str:
            self.asked.append(ctx.attempt)
            answer = await ctx.interrupt(call, **self.asking)
            return f"{call.tool}: {answer}"

        return Flow("asker", plan >> approve)


async def question(runtime: Runtime, known: str = "") -> Interrupt:
    """Wait for a question that is not the known one."""
    while True:
        for interrupt in await runtime.interrupts():
            if interrupt.token != known:
                return interrupt
        await anyio.sleep(0.001)


async def open_journal() -> MemoryJournal:
    """Make a journal that outlives the runtimes."""
    journal = MemoryJournal()
    await journal.open()
    return journal


async def test_a_detached_run_that_waits_leaves_memory_and_goes_on() -> None:
    """Nothing of it is at work, its question is in the list, and its answer wakes it."""
    asker, journal = Asker(), await open_journal()
    async with asker.flow().open(journal=journal) as runtime:
        run = await runtime.start("pay", run_id="r")
        asked = await question(runtime)
        assert (asked.run_id, asked.node, asked.question) == ("r", "approve", {"tool": "pay", "amount": 3})
        while runtime.runs():  # noqa: ASYNC110 - nothing is told when a run has left memory
            await anyio.sleep(0.001)
        assert runtime.statistics().interrupted == 1
        assert list(runtime.interrupts()) == [asked]
        await runtime.answer("r", asked.token, "yes")
        assert await run.result() == "pay: yes"
        assert await runtime.interrupts() == ()
    assert asker.planned == ["pay"]
    assert asker.asked == [1, 2]


async def test_no_two_questions_have_the_same_token() -> None:
    """Not even those of two runs at the same node: whoever collects questions tells them apart by it."""
    async with Asker().flow().open(journal=MemoryJournal()) as runtime:
        for run_id in ("r1", "r2", "r3"):
            await runtime.start("pay", run_id=run_id)
        while len(await runtime.interrupts()) < 3:  # noqa: ASYNC110 - nothing is told when one asks
            await anyio.sleep(0.001)
        asked = list(runtime.interrupts())
        assert len({interrupt.token for interrupt in asked}) == 3
        for interrupt in asked:
            await runtime.answer(interrupt.run_id, interrupt.token, interrupt.run_id)
            assert await (await runtime.attach(interrupt.run_id)).result() == f"pay: {interrupt.run_id}"


async def test_another_process_answers_days_later() -> None:
    """A runtime that has never seen the run finds its question, and finishes it."""
    asker, journal = Asker(), await open_journal()
    async with asker.flow().open(journal=journal) as runtime:
        await runtime.start("pay", run_id="r")
        asked = await question(runtime)
    async with asker.flow().open(journal=journal) as runtime:
        assert (await question(runtime)).token == asked.token
        await runtime.answer("r", asked.token, {"approved": True})
        assert await (await runtime.attach("r")).result() == "pay: {'approved': True}"
    assert asker.planned == ["pay"]


async def test_the_first_answer_counts() -> None:
    """Of ten who answer at the same time, one is heard; the others are told."""
    asker, journal = Asker(), await open_journal()
    heard: list[int] = []
    refused: list[str] = []
    async with asker.flow().open(journal=journal) as runtime:
        run = await runtime.start("pay", run_id="r")
        asked = await question(runtime)

        async def answer(number: int) -> None:
            try:
                await runtime.answer("r", asked.token, number)
                heard.append(number)
            except JournalError as exc:
                refused.append(str(exc))

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(answer, number)
        assert len(heard) == 1
        assert all("has its answer already" in text or "is over" in text for text in refused)
        assert await run.result() == f"pay: {heard[0]}"


async def test_a_run_with_a_reader_waits_where_it_is() -> None:
    """In a scope the step stays in memory: it is not executed again, and its reader hears the question."""
    asker = Asker()
    async with asker.flow().open(journal=MemoryJournal()) as runtime, runtime.run("pay") as run:
        seen: list[Any] = []
        async for event in run.events():
            seen.append(event)
            if isinstance(event, Interrupt):
                await runtime.answer(run.id, event.token, "ok")
    assert [type(event).__name__ for event in seen] == ["Interrupt", "Message"]
    assert seen[-1].payload == "pay: ok"
    assert asker.asked == [1]


async def test_an_answer_of_the_wrong_type_is_refused_and_asked_for_again() -> None:
    """The asker says what he expects, and the next question says what was wrong."""
    asker, journal = Asker(expect=int), await open_journal()
    async with asker.flow().open(journal=journal) as runtime:
        run = await runtime.start("pay", run_id="r")
        first = await question(runtime)
        await runtime.answer("r", first.token, "many")
        second = await question(runtime, first.token)
        assert "the answer before this was refused" in second.problem
        await runtime.answer("r", second.token, 7)
        assert await run.result() == "pay: 7"


async def test_what_can_not_be_answered_is_said() -> None:
    """No such run, no such question, a run that is over, an answer that can't be kept."""
    asker, journal = Asker(), await open_journal()
    async with asker.flow().open(journal=journal) as runtime:
        with pytest.raises(JournalError, match="has no run 'nobody'"):
            await runtime.answer("nobody", "x", 1)
        run = await runtime.start("pay", run_id="r")
        asked = await question(runtime)
        with pytest.raises(JournalError, match="has asked no question 'x'"):
            await runtime.answer("r", "x", 1)
        with pytest.raises(TypeError, match="an answer must be bytes, JSON or a model"):
            await runtime.answer("r", asked.token, object())
        await run.cancel("enough")
        with pytest.raises(JournalError, match=r"is over \(cancelled\)"):
            await runtime.answer("r", asked.token, 1)
        assert await runtime.interrupts() == ()


async def test_without_a_journal_nobody_can_wait() -> None:
    """The error says what to give."""
    async with Asker().flow().open() as runtime:
        with pytest.raises(JournalError, match=r"give flow\.open\(journal=…\)"):
            await runtime.call("pay")
        with pytest.raises(JournalError, match="without a journal"):
            runtime.interrupts()


class TestLimits:
    """What happens when no answer comes in time."""

    pytestmark = pytest.mark.virtual_time

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
        """Both event loops on virtual time."""
        return virtual_backend(request.param)

    async def test_the_default_is_the_answer_then(self) -> None:
        """It is taken as any answer: later ones are too late."""
        asker = Asker(timeout=3, default="no")
        async with asker.flow().open(journal=MemoryJournal()) as runtime, runtime.run("pay") as run:
            seen = [event async for event in run.events()]
            assert seen[-1].payload == "pay: no"
            with pytest.raises(JournalError, match=r"is over \(done\)|already"):
                await runtime.answer(run.id, seen[0].token, "yes")

    async def test_without_a_default_the_node_is_told(self) -> None:
        """As a TimeoutError of its own, which it may catch."""
        asker = Asker(timeout=3)
        async with asker.flow().open(journal=MemoryJournal()) as runtime:
            with pytest.raises(StepError, match="no answer within 3 s") as caught:
                await runtime.call("pay")
            assert isinstance(caught.value.__cause__, TimeoutError)

    async def test_an_answer_in_time_ends_the_limit(self, quiet: Callable[[], Awaitable[None]]) -> None:
        """And nothing is left of it."""
        asker = Asker(timeout=3, default="no")
        async with asker.flow().open(journal=MemoryJournal()) as runtime, runtime.run("pay") as run:
            async for event in run.events():
                if isinstance(event, Interrupt):
                    await anyio.sleep(2)
                    await runtime.answer(run.id, event.token, "yes")
                else:
                    assert event.payload == "pay: yes"
            await quiet()


async def test_a_second_question_lets_the_run_rest_as_the_first_did() -> None:
    """What was answered before is no reason to take it up: it is executed once for each answer."""
    executed: list[int] = []

    @node
    async def two(tool: str, ctx: Context) -> str:
        executed.append(ctx.attempt)
        return f"{await ctx.interrupt('first?')} {await ctx.interrupt('second?', expect=int)}"

    journal = await open_journal()
    async with Flow("two", two).open(journal=journal) as runtime:
        run = await runtime.start("pay", run_id="r")
        known = ""
        for answer in ("a", "wrong", 7):
            asked = await question(runtime, known)
            while runtime.runs():  # noqa: ASYNC110 - nothing is told when a run has left memory
                await anyio.sleep(0.001)
            before = await journal.row("r")
            await anyio.sleep(0.1)
            assert await journal.row("r") == before
            await runtime.answer("r", asked.token, answer)
            known = asked.token
        assert await run.result() == "a 7"
    assert executed == [1, 2, 3, 4]


async def test_answers_find_their_questions_whoever_is_first() -> None:
    """Asked side by side, in another order after a restart: no answer goes to another question."""
    order = ["delete", "send"]

    @node
    async def look_up(thing: str) -> str:
        return f"page of {thing}"

    @node
    async def decide(what: str, ctx: Context) -> list[str]:
        async def one(thing: str) -> str:
            for _ in range(order.index(thing) * 20):
                await anyio.sleep(0)
            page = await ctx.call(look_up, thing)
            return f"{thing}: {await ctx.interrupt(f'{page}?')}"

        return await ctx.map(one, ["delete", "send"])

    journal, flow = await open_journal(), Flow("decisions", decide)
    async with flow.open(journal=journal) as runtime:
        await runtime.start("x", run_id="r")
        while len(runtime.interrupts()) < 2:  # noqa: ASYNC110 - nothing is told when one asks
            await anyio.sleep(0.001)
        tokens = {str(asked.question): asked.token for asked in runtime.interrupts()}
        await runtime.answer("r", tokens["page of delete?"], "no")
    order.reverse()
    async with flow.open(journal=journal) as runtime:
        await runtime.answer("r", tokens["page of send?"], "yes")
        assert await (await runtime.attach("r")).result() == ["delete: no", "send: yes"]


async def test_a_step_that_is_settled_before_it_is_executed_can_not_ask() -> None:
    """It would not be executed again when the answer comes."""

    @node(delivery=Delivery.AT_MOST_ONCE)
    async def send(text: str, ctx: Context) -> None:
        await ctx.interrupt("sure?")

    async with Flow("f", send).open(journal=MemoryJournal()) as runtime:
        with pytest.raises(StepError, match="send can't ask: it is settled before it is executed"):
            await runtime.call("x")


@pytest.mark.parametrize(
    ("asking", "said"),
    [
        ({"default": 1}, "within timeout="),
        ({"default": "x", "timeout": 1, "expect": int}, "not what is expected"),
    ],
)
async def test_a_default_that_makes_no_sense_is_refused(asking: dict[str, Any], said: str) -> None:
    """At once, and not when the time is up."""
    async with Asker(**asking).flow().open(journal=MemoryJournal()) as runtime:
        with pytest.raises(StepError, match=said):
            await runtime.call("pay")


async def test_an_answer_that_comes_too_late_is_refused() -> None:
    """Also while nobody is there who would notice."""
    asker, journal = Asker(timeout=0.1, default="no"), await open_journal()
    async with asker.flow().open(journal=journal) as runtime:
        await runtime.start("pay", run_id="r")
        asked = await question(runtime)
    await anyio.sleep(0.15)
    async with asker.flow().open(journal=journal, recover=False) as runtime:
        with pytest.raises(JournalError, match="takes no answer any more: its time is up"):
            await runtime.answer("r", asked.token, "yes")
    async with asker.flow().open(journal=journal) as runtime:
        assert await (await runtime.attach("r")).result() == "pay: no"


async def test_questions_of_runs_that_others_have_in_memory_are_seen() -> None:
    """A reader keeps the run there; anybody may answer."""
    asker, journal = Asker(), await open_journal()
    async with asker.flow().open(journal=journal) as here, asker.flow().open(journal=journal) as there:
        async with here.run("pay", run_id="r") as run:
            asked = await question(there)
            await there.answer("r", asked.token, "yes")
            assert await run.result() == "pay: yes"


async def test_closing_is_no_failure_of_a_step_that_calls() -> None:
    """Its run is left as it is, and goes on: the flow that it calls asks again."""
    asker, journal = Asker(), await open_journal()

    @node
    async def outer(tool: str, ctx: Context) -> str:
        return f"outer, {await ctx.call(asker.flow(), tool)}"

    flow = Flow("calls", outer)
    for _ in range(10):
        async with flow.open(journal=journal) as runtime:
            if await journal.row("r") is None:
                await runtime.start("pay", run_id="r")
            asked = await question(runtime)
        row = await journal.row("r")
        assert row is not None
        assert row.status in ("running", "interrupted")
    async with flow.open(journal=journal) as runtime:
        await runtime.answer("r", asked.token, "yes")
        assert await (await runtime.attach("r")).result() == "outer, pay: yes"
    assert asker.planned == ["pay"]


class TestCalledFlows:
    """What happens when a flow asks that a step calls."""

    pytestmark = pytest.mark.virtual_time

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
        """Both event loops on virtual time."""
        return virtual_backend(request.param)

    async def test_a_run_that_only_waits_for_what_it_calls_leaves_memory(self) -> None:
        """However deep the question is; what was settled is not done again."""
        asker = Asker()

        @node
        async def middle(tool: str, ctx: Context) -> str:
            return f"middle, {await ctx.call(asker.flow(), tool)}"

        @node
        async def outer(tool: str, ctx: Context) -> str:
            return f"outer, {await ctx.call(middle, tool)}"

        async with Flow("calls", outer).open(journal=MemoryJournal()) as runtime:
            run = await runtime.start("pay", run_id="r")
            asked = await question(runtime)
            await anyio.sleep(10)
            assert runtime.runs() == ()
            assert list(runtime.interrupts()) == [asked]
            await runtime.answer("r", asked.token, "yes")
            assert await run.result() == "outer, middle, pay: yes"
        assert asker.planned == ["pay"]
        assert asker.asked == [1, 2]

    async def test_a_run_with_code_at_work_beside_a_call_stays(self) -> None:
        """Nothing that a step does beside its calls is cut off."""
        asker, ended = Asker(), list[str]()

        @node
        async def calls(tool: str, ctx: Context) -> str:
            said: list[str] = []

            async def call() -> None:
                said.append(await ctx.call(asker.flow(), tool))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await anyio.sleep(30)
                ended.append("beside it")
            return said[0]

        async with Flow("calls", calls).open(journal=MemoryJournal()) as runtime:
            run = await runtime.start("pay", run_id="r")
            asked = await question(runtime)
            await anyio.sleep(60)
            await runtime.answer("r", asked.token, "yes")
            assert await run.result() == "pay: yes"
        assert ended == ["beside it"]
        assert asker.asked == [1]

    async def test_a_branch_keeps_the_run_until_it_has_ended(self) -> None:
        """Then nothing but the question is left."""
        asker, ended = Asker(), list[float]()

        @node
        async def start(tool: str) -> str:
            return tool

        @node
        async def calls(tool: str, ctx: Context) -> str:
            return str(await ctx.call(asker.flow(), tool))

        @node
        async def works(tool: str) -> None:
            await anyio.sleep(30)
            ended.append(anyio.current_time())

        async with Flow("calls", start >> [calls, works]).open(journal=MemoryJournal()) as runtime:
            run = await runtime.start("pay", run_id="r")
            await anyio.sleep(20)
            assert runtime.runs() != ()
            await anyio.sleep(20)
            assert runtime.runs() == ()
            await runtime.answer("r", (await question(runtime)).token, "yes")
            assert await run.result() == "pay: yes"
        assert len(ended) == 1
