"""Why a run does not go on: the culprit, and the chain of waits that leads to it, in readable sentences."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from plain_nodes import count, echo, hop, plain

from penguiflow import Context, Flow, Gathered, Retry, Runtime, Spread, Stream, edge, node, source
from penguiflow.checks import MOST_IN_A_ROW
from penguiflow.diagnosis import Diagnosis
from penguiflow.testing import virtual_backend

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both event loops, both on virtual time where that is asked for."""
    if request.node.get_closest_marker("virtual_time"):
        return virtual_backend(request.param)
    return request.param, {}


async def stuck() -> None:
    await anyio.sleep_forever()


HERE = r"awaiting sleep_forever at test_diagnosis\.py:\d+ in stuck: `await anyio\.sleep_forever\(\)`\."


@node
async def slow(i: int) -> int:
    """Never come back."""
    await stuck()
    return i


@node
async def starts(n: int) -> AsyncIterator[int]:
    """Give one, and never come back."""
    yield n
    await stuck()


@node
async def lazy(stream: Stream[int]) -> AsyncIterator[int]:
    """Never begin to read."""
    await stuck()
    async for i in stream:
        yield i


@node
async def both(a: int, b: int) -> int:
    """Join."""
    return a + b


def as_(name: str, made: Any, **options: Any) -> Any:
    return node(made.fn, name=name, **options)


async def hanging() -> AsyncIterator[int]:
    yield 1
    await stuck()


async def ask(flow: Flow, payload: Any, *, read: bool = True, **options: Any) -> Diagnosis:
    """Run a flow until it is stuck, and ask why; asking changes nothing, and may be done again."""

    async def reader(run: Any) -> None:
        async for _ in run:
            pass

    async with flow.open(**options) as runtime:
        async with runtime.run(payload) as run, anyio.create_task_group() as tasks:
            if read:
                tasks.start_soon(reader, run)
            await anyio.sleep(0.05)
            diagnosis = asked(runtime)
            tasks.cancel_scope.cancel()
    return diagnosis


def asked(runtime: Runtime, run_id: str | None = None) -> Diagnosis:
    """Ask twice; see that it is the same, that nothing is changed, and that it reads well."""
    before = runtime.statistics(), runtime.streams()
    diagnosis = runtime.diagnose(run_id)[-1]
    assert runtime.diagnose(run_id)[-1].culprit == diagnosis.culprit
    assert (runtime.statistics(), runtime.streams()) == before
    for sentence in diagnosis.sentences:
        assert re.fullmatch(r"[A-Z].*\.", sentence), sentence
        assert "  " not in sentence
        assert not re.search(r"\b1 (items|wait)\b", sentence), sentence
    assert str(diagnosis) == " ".join(diagnosis.sentences)
    return diagnosis


# -- nodes, sources, readers


@pytest.mark.parametrize("observed", [False, True])
async def test_a_slow_node_is_named_with_the_line_that_waits(observed: bool, watcher: Any) -> None:
    """Where somebody observes, it is said for how long."""
    found = await ask(Flow("f", hop >> plain >> slow >> hop_too), 1, observers=[watcher] if observed else [])
    assert found.culprit == "slow"
    since = r" for \d+\.\d s" if observed else ""
    assert re.fullmatch(rf"Node slow is at work{since}, {HERE}", found.sentences[0])
    assert found.sentences[1] == "The reader waits for the run."


hop_too = node(hop.fn, name="hop2")


async def test_a_slow_source_is_found_behind_all_that_waits_for_it() -> None:
    """Upstream through readers of streams, `def` nodes and nodes on chunks, whatever is empty."""
    found = await ask(Flow("f", starts >> hop >> plain >> echo), 1)
    assert found.culprit == "starts"
    assert re.fullmatch(rf"Node starts is at work, {HERE}", found.sentences[0])
    assert found.sentences[1:] == (
        "The reader waits for the run.",
        "Node echo waits for input of stream starts-2.",
        "Node plain waits for what node hop gives.",
        "Node hop waits for what node starts gives.",
    )


async def test_an_input_that_hangs_is_named_with_its_line() -> None:
    """An async iterable is the user's code as well."""
    found = await ask(Flow("f", hop >> plain), hanging())
    assert found.culprit == "the input"
    assert re.fullmatch(rf"The input is awaited, {HERE}", found.sentences[0])
    assert found.sentences[-1] == "Node hop waits for what the input gives."


async def numbers() -> AsyncIterator[int]:
    try:
        for i in range(1000):
            yield i
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.1)


async def test_an_input_that_waits_for_credit_or_hangs_in_its_cleanup() -> None:
    """It is called the input, as nodes are called nodes."""
    flow = Flow("f", [hop, plain >> hop_too >> lazy])
    found = await ask(flow, numbers(), window=4)
    assert found.culprit == "lazy"
    assert "The input waits for credit of stream input-1." in found.sentences
    assert "Stream input-1 of the input has no credit: 4 of 4 are out." in found.sentences
    async with flow.open(window=4) as runtime:
        run = await runtime.start(numbers())
        await anyio.sleep(0.01)
        assert "The input waits for credit of stream input-1." in asked(runtime).sentences
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.cancel)
            await anyio.sleep(0.01)
            found = asked(runtime)
    assert found.culprit == "the input"
    assert found.sentences[1].startswith("The cleanup of the input still goes on, awaiting sleep at")


async def test_a_session_that_is_idle_waits_for_whoever_sends() -> None:
    """Nobody has ended the input: that is no fault of a node."""
    async with Flow("f", echo).open() as runtime, runtime.session():
        await anyio.sleep(0.01)
        found = asked(runtime)
    assert found.culprit == "the input"
    assert found.sentences[0] == "The input is awaited: nobody has sent more of it, and nobody has ended it."


async def test_a_source_is_asked_like_a_node() -> None:
    """It has a run of its own."""

    @source
    async def ticks() -> AsyncIterator[int]:
        await stuck()
        yield 1

    async with Flow("f", ticks >> hop).open() as runtime:
        await anyio.sleep(0.01)
        assert asked(runtime).culprit == "ticks"


@pytest.mark.parametrize("window", [1, 4, 128])
async def test_a_run_that_nobody_reads(window: int) -> None:
    """How much waits, and who waits for its credit."""
    async with Flow("f", count >> hop >> echo).open(window=window) as runtime:
        await runtime.start(500)
        await anyio.sleep(0.02)
        found = asked(runtime)
    items = f"{window} items wait" if window > 1 else "1 item waits"
    assert found.culprit == "the reader"
    assert found.sentences[0] == f"Nobody reads the run: {items} for the reader."
    assert "Node echo waits for credit of stream echo-3." in found.sentences


async def test_a_reader_that_is_slow() -> None:
    """He has begun, and does something else."""
    async with Flow("f", count >> hop).open(window=4) as runtime, runtime.run(100) as run:
        async for _ in run:
            await anyio.sleep(0.01)
            found = asked(runtime)
            break
    assert found.culprit == "the reader"
    assert re.fullmatch(
        r"The reader is slow: it has not taken \d items that wait for it\.|"
        r"The reader is slow: it has not taken 1 item that waits for it\.",
        found.sentences[0],
    )


# -- credit and room


async def test_credit_is_followed_to_who_has_not_taken_it() -> None:
    """From the other branch: its stream has no credit, because of a node far behind."""
    flow = Flow("f", count >> [hop, plain >> hop_too >> lazy])
    found = await ask(flow, 300, window=4)
    assert found.culprit == "lazy"
    assert "Node count waits for credit of stream count-2." in found.sentences
    assert "Stream count-2 of node count has no credit: 4 of 4 are out." in found.sentences


async def test_a_full_edge_is_named() -> None:
    """How many wait there, and who has not taken them."""
    found = await ask(Flow("f", count >> hop, count >> edge(capacity=2) >> lazy), 300)
    assert found.culprit == "lazy"
    assert any(re.fullmatch(r"Edge count→lazy is full: 2 of 2 waiting\.", text) for text in found.sentences)


async def test_messages_wait_for_room() -> None:
    """A node that emits more than the next one takes."""

    @node
    async def emits(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit(i)

    found = await ask(Flow("f", emits >> as_("slow", slow, concurrency=1) >> hop), 500, window=8)
    assert found.culprit == "slow"


async def test_no_free_place_says_who_has_it_and_where() -> None:
    """Two runs share a node with one place; also a stream, also chunk by chunk."""
    for first in (hop, count):
        for it in (slow, lazy) if first is count else (slow,):
            async with Flow("f", first >> as_("one", it, concurrency=1)).open() as runtime:
                await runtime.start(1, run_id="a")
                await runtime.start(1, run_id="b")
                await anyio.sleep(0.02)
                found = asked(runtime, "b")
                assert asked(runtime, "a").culprit == "one"
            assert found.culprit == "one"
            what = "its only one is taken, and 1 item of this run waits for one."
            assert found.sentences[0] == f"Node one has no free place: {what}"
            assert re.fullmatch(rf"A place is held by run a, {HERE}", found.sentences[1])


async def test_a_place_that_was_lent_is_waited_for() -> None:
    """Who has got its credit, and no place any more: it is not at work; nor does it hold one."""

    @node(concurrency=1)
    async def gives(n: int) -> AsyncIterator[int]:
        yield n
        if n == 2:
            await stuck()
        yield n

    async with Flow("f", gives).open(window=1) as runtime:
        one = await runtime.start(1, run_id="one")
        await anyio.sleep(0.01)
        await runtime.start(2, run_id="two")
        await anyio.sleep(0.01)
        reading = aiter(one)
        await anext(reading)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, reading)
            await anyio.sleep(0.01)
            found = asked(runtime, "one")
            tasks.cancel_scope.cancel()
    assert found.culprit == "gives"
    assert "a step of this run that has lent its own waits for one" in found.sentences[0]
    assert [text for text in found.sentences if "run two" in text]
    assert not [text for text in found.sentences if "run one" in text]


# -- where branches meet, calls, loops


@pytest.mark.parametrize("first", [hop, count])
async def test_a_join_waits_for_one_branch(first: Any) -> None:
    """The branch that has not come is named, not the others."""
    found = await ask(Flow("f", first >> [as_("a", hop), as_("b", slow)] >> both), 3)
    assert found.culprit == "b"
    assert re.fullmatch(rf"Node b is at work, {HERE}", found.sentences[0])


async def test_a_gather_waits_for_its_parts() -> None:
    """Whose step has not come back."""

    @node
    async def spread(n: int) -> Spread[int]:
        return Spread(range(n))

    @node
    async def gather(parts: Gathered[int]) -> int:
        return sum(parts)

    found = await ask(Flow("f", spread >> slow >> gather), 3)
    assert found.culprit == "slow"


async def test_calls_are_gone_into_from_the_step_that_calls() -> None:
    """Each step's own, not those of another one."""

    @node(concurrency=4)
    async def calls(i: int, ctx: Context) -> int:
        if i == 0:
            await stuck()
        return int(await ctx.call(Flow("deep", hop >> slow), i))

    found = await ask(Flow("f", calls), 1)
    assert found.culprit == "calls"
    assert "awaiting Context.call at test_diagnosis.py" in found.sentences[0]
    assert re.fullmatch(rf"In flow deep, which it calls: Node slow is at work, {HERE}.*", found.sentences[-1])

    @node
    async def twice(n: int, ctx: Context) -> None:
        await ctx.emit(1)
        await ctx.emit(0)

    async with Flow("f", twice >> calls).open() as runtime:
        await runtime.start(1)
        await anyio.sleep(0.02)
        found = asked(runtime)
    calling = "sleep_forever" not in found.sentences[0]
    assert sum("which it calls" in text for text in found.sentences) == calling


async def test_calls_without_end() -> None:
    """A flow that calls itself ever deeper is looked into as far as anybody would read."""

    @node
    async def deeper(i: int, ctx: Context) -> int:
        if i == 0:
            await stuck()
        return int(await ctx.call(deeper, i - 1))

    found = await ask(Flow("f", deeper), 25)
    assert found.culprit == "deeper"
    assert str(found).count("which it calls") == 8


async def test_feedback_edges_are_no_circle_to_be_lost_in() -> None:
    """Each node is looked at once."""

    @node
    async def again(n: int, ctx: Context) -> None:
        if n > 0:
            await ctx.emit(n - 1, to="again")
        else:
            await ctx.emit(n, to="slow")

    found = await ask(Flow("f", again >> edge(feedback=True) >> again, again >> slow), 3)
    assert found.culprit == "slow"


async def test_a_long_chain_is_followed_to_its_end() -> None:
    """There is no recursion that gives out before the flow itself does."""
    wires: Any = starts
    for i in range(MOST_IN_A_ROW):
        wires = wires >> as_(f"n{i}", hop)
    found = await ask(Flow("f", wires), 1)
    assert found.culprit == "starts"
    found = await ask(Flow("f", wires), 1, read=False)
    assert found.culprit == "the reader"
    wires = count
    for i in range(MOST_IN_A_ROW):
        wires = wires >> edge(capacity=1) >> as_(f"n{i}", hop)
    found = await ask(Flow("f", count >> hop, wires >> lazy), 1000, window=1000)
    assert found.culprit


# -- states


async def test_a_node_in_a_thread() -> None:
    """Where it is there can't be seen."""

    @node(thread=True)
    def sleeps(i: int) -> int:
        time.sleep(0.15)
        return i

    found = await ask(Flow("f", sleeps), 1)
    assert (found.culprit, found.sentences[0]) == ("sleeps", "Node sleeps is at work, in a thread.")


@pytest.mark.virtual_time
async def test_a_node_between_two_attempts_is_not_at_work() -> None:
    """It waits until it is tried again, and behind it says which attempt it is at."""
    tries: list[int] = []

    @node(retry=Retry(attempts=3, backoff=5, jitter=0))
    async def shaky(i: int) -> int:
        tries.append(i)
        if len(tries) < 2:
            raise OSError
        await stuck()
        return i

    async with Flow("f", hop >> shaky).open() as runtime:
        await runtime.start(1)
        await anyio.sleep(1)
        assert asked(runtime).sentences[0] == (
            "Node shaky has failed at attempt 1, and waits until it is tried again."
        )
        await anyio.sleep(10)
        assert asked(runtime).sentences[0].startswith("Node shaky is at work (attempt 2), awaiting")


@pytest.mark.virtual_time
async def test_paused_over_and_not_begun() -> None:
    """What stands still because somebody wants it to is said to."""
    async with Flow("f", starts).open(max_runs=1) as runtime:
        run = await runtime.start(1)
        await run.control("pause")
        await anyio.sleep(1.5)
        await run.control("pause")  # which it is already
        await anyio.sleep(1)
        said = "The run is paused, for 2.5 s now: nothing goes on before it is resumed."
        assert asked(runtime).sentences[0] == said
        assert runtime.statistics().paused == 1
        assert runtime.diagnose("another") == ()
        await run.control("resume")
        await run.cancel()
        assert runtime.diagnose() == ()


async def test_a_cleanup_that_hangs_is_the_culprit() -> None:
    """The run is over, and waits for it."""

    @node
    async def untidy(i: int) -> int:
        try:
            await stuck()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
        return i

    async with Flow("f", untidy).open() as runtime:
        run = await runtime.start(1)
        await anyio.sleep(0.01)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.cancel)
            await anyio.sleep(0.01)
            found = asked(runtime)
    assert (found.culprit, found.status) == ("untidy", "cancelled")
    assert found.sentences[0] == "The run is over: it is cancelled."
    assert found.sentences[1].startswith("The cleanup of node untidy still goes on, awaiting")


async def test_from_inside_of_a_node() -> None:
    """A node may ask, while it works: its own run is then between two waits."""
    found: list[Diagnosis] = []

    @node
    async def curious(i: int) -> int:
        found.extend(runtime.diagnose())
        await anyio.sleep(0)
        found.extend(runtime.diagnose())
        return i

    @node
    def curious_too(i: int) -> int:
        found.extend(runtime.diagnose())
        return i

    async with Flow("f", count >> curious >> curious_too).open() as runtime:
        assert await runtime.call(2) == [0, 1]
    assert len(found) == 6
    assert all(diagnosis.sentences[0] for diagnosis in found)
