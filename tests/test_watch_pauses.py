"""What observers are told of pauses, and of how long a run had waited to be admitted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from fuzz.books import Books

import penguiflow.lifetime
from penguiflow import Context, DeadlineExceeded, Flow, FlowError, Stream, node
from penguiflow.testing import virtual_backend

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time, pytest.mark.limit(20)]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both event loops on virtual time."""
    return virtual_backend(request.param)


@node
async def words(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await anyio.sleep(0.1)
        yield i


@node
async def rank(i: int) -> int:
    await anyio.sleep(0.05)
    return i


@node
async def total(stream: Stream[int]) -> int:
    return sum([i async for i in stream])


@node
async def slow(i: int) -> int:
    await anyio.sleep(1.0)
    return i


@node
async def after(i: int) -> int:
    return i


async def outcome(run: Any) -> None:
    try:
        await run.result()
    except FlowError:
        return


def told(books: Books) -> list[tuple[str, int, float]]:
    """Give what was told of runs, with part and time since the first began."""
    names = ("RunStarted", "RunPaused", "RunResumed", "RunEnded")
    found = [event for event in books.events if type(event).__name__ in names]
    return [(type(event).__name__, event.part, round(event.at - found[0].at, 6)) for event in found]


async def test_each_pause_is_told_once() -> None:
    """When it begins and when it is over, however often somebody says so; nothing else is told of it."""
    books = Books()
    async with Flow("f", words >> rank >> total).open(observers=[books]) as runtime:
        async with runtime.run(10) as run, anyio.create_task_group() as tasks:
            tasks.start_soon(run.result)
            await run.control("resume")
            for _ in range(2):
                await anyio.sleep(0.22)
                for kind in ("pause", "pause", "resume", "resume"):
                    await run.control(kind)
                    await anyio.sleep(1.0 if kind == "pause" else 0.0)
    assert books.left() == []
    *before, (name, _, ended) = told(books)
    assert before == [
        ("RunStarted", 0, 0.0),
        ("RunPaused", 0, 0.22),
        ("RunResumed", 0, 2.22),
        ("RunPaused", 0, 2.44),
        ("RunResumed", 0, 4.44),
    ]
    assert name == "RunEnded"
    assert ended > 4.5
    assert {event.flow for event in books.of("RunPaused")} == {"f"}


@pytest.mark.parametrize("how", ["cancel", "leave", "deadline", "fail", "close"])
async def test_the_end_of_a_run_ends_its_pause(how: str) -> None:
    """Nobody is told that it goes on: it does not."""

    @node
    async def fails(i: int) -> int:
        await anyio.sleep(1.0)
        raise OSError

    books, flow = Books(), Flow("f", (fails if how == "fail" else slow) >> after)
    deadline = 1.5 if how == "deadline" else None
    async with flow.open(observers=[books]) as runtime:
        run = await runtime.start(1, deadline=deadline)
        await anyio.sleep(0.5)
        await run.control("pause")
        await anyio.sleep(1.0)
        if how == "cancel":
            await run.cancel()
        elif how == "leave":
            await run.control("cancel")
        elif how == "close":
            await runtime.abort()
        await outcome(run)
    assert books.left() == []
    names = [name for name, _, _ in told(books)]
    assert names == ["RunStarted", "RunPaused", "RunEnded"]
    assert books.of("RunEnded")[0].at - books.of("RunPaused")[0].at == pytest.approx(
        0.5 if how == "fail" else 1.0
    )


async def test_what_a_step_has_called_is_not_paused() -> None:
    """It goes on and ends within the pause; the pause is told of the run itself alone."""

    @node
    async def calls(i: int, ctx: Context) -> int:
        return int(await ctx.call(Flow("called", slow >> after), i))

    books = Books()
    async with Flow("f", calls >> after).open(observers=[books]) as runtime:
        async with runtime.run(1) as run, anyio.create_task_group() as tasks:
            tasks.start_soon(run.result)
            await anyio.sleep(0.2)
            await run.control("pause")
            await anyio.sleep(3.0)
            await run.control("resume")
    assert books.left() == []
    assert told(books) == [
        ("RunStarted", 0, 0.0),
        ("RunStarted", 1, 0.0),
        ("RunPaused", 0, 0.2),
        ("RunEnded", 1, 1.0),
        ("RunResumed", 0, 3.2),
        ("RunEnded", 0, 3.2),
    ]


async def test_nothing_is_made_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither without an observer nor of a run that none follows (rule 6.2)."""

    def made(*args: Any) -> None:
        raise AssertionError("an event was made")

    for name in ("RunPaused", "RunResumed"):
        monkeypatch.setattr(penguiflow.lifetime, name, made)

    class Nobody:
        def follows(self, run: object) -> bool:
            return False

        def observe(self, event: object) -> None:
            pass

    for observers in ([], [Nobody()]):
        async with Flow("f", slow).open(observers=observers) as runtime:
            run = await runtime.start(1)
            await run.control("pause")
            await run.control("resume")
            assert await run.result() == 1


@pytest.mark.parametrize("window", [1, 64])
async def test_a_pause_is_no_time_of_a_nodes_own_code(window: int) -> None:
    """Whatever waits for the run to go on, also what was about to begin: only code at work is charged."""
    books = Books()
    async with Flow("f", words >> rank >> total).open(observers=[books], window=window) as runtime:
        async with runtime.run(10) as run, anyio.create_task_group() as tasks:
            tasks.start_soon(run.result)
            for _ in range(8):  # at all kinds of times: before a chunk is taken, within, behind
                await anyio.sleep(0.085)
                await run.control("pause")
                await anyio.sleep(2.0)
                await run.control("resume")
    assert books.left() == []
    assert books.stream("words").timing.waits.node == pytest.approx(1.0, abs=1e-6)
    assert books.stream("rank").timing.waits.node == pytest.approx(0.5, abs=1e-6)


async def test_work_that_was_held_back_is_no_time_of_its_node() -> None:
    """Many lanes are ready when the run is paused; they begin behind it."""

    @node
    async def many(n: int, ctx: Context) -> None:
        for stream in range(n):
            await ctx.emit_chunk(stream, stream_id=f"s{stream}", done=True)
        await ctx.controls().__anext__()

    @node(concurrency=1)
    async def one(i: int) -> int:
        await anyio.sleep(0.1)
        return i

    books = Books()
    async with Flow("f", many >> one).open(observers=[books]) as runtime:
        async with runtime.run(4) as run, anyio.create_task_group() as tasks:
            tasks.start_soon(outcome, run)
            await anyio.sleep(0.05)
            await run.control("pause")
            await anyio.sleep(5.0)
            await run.control("resume")
    assert books.left() == []
    ended = books.of("StreamEnded", "one")
    assert sum(event.timing.waits.credit for event in ended) > 3 * 4.8
    assert 0.9 < sum(event.timing.waits.node for event in ended) < 1.1  # with what they wait for a place


# -- admission


async def test_how_long_a_run_had_waited_to_be_admitted() -> None:
    """It is told with its beginning, before which it was; where there is room it is none."""
    books = Books()
    async with Flow("f", slow).open(observers=[books], max_runs=2) as runtime:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(runtime.call, 1)
        measures = runtime.measures()
        assert measures is not None
        assert (measures.admission_wait.count, measures.admission_wait.total) == (3, pytest.approx(4.0))
        assert measures.seconds.maximum == pytest.approx(1.0)
    assert books.left() == []
    started = books.of("RunStarted")
    assert [round(event.waited, 6) for event in started] == [0.0, 0.0, 1.0, 1.0, 2.0]
    assert [round(event.at - started[0].at, 6) for event in started] == [0.0, 0.0, 1.0, 1.0, 2.0]


async def test_without_a_limit_nobody_waits() -> None:
    books = Books()
    async with Flow("f", slow).open(observers=[books]) as runtime:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(runtime.call, 1)
    assert [event.waited for event in books.of("RunStarted")] == [0.0] * 5


async def test_who_gives_up_waiting_hands_the_place_on() -> None:
    """A deadline, or a cancellation in the moment of the promise: the next one in the row is admitted."""
    async with Flow("f", slow).open(max_runs=1) as runtime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.call, 1)
            await anyio.sleep(0.1)
            with pytest.raises(DeadlineExceeded):
                await runtime.call(1, deadline=0.5)
            with anyio.CancelScope() as scope:

                async def cancels() -> None:
                    await anyio.sleep(0.4)  # the moment in which the first is over
                    scope.cancel()

                tasks.start_soon(cancels)
                await runtime.call(1)
        with anyio.fail_after(3):
            assert await runtime.call(7) == 7
        assert runtime.statistics().waiting_runs == 0
