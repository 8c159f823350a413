"""The watchdog tells of a run that stands still: once, and again when it has gone on and stands again."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from penguiflow import Context, Flow, Message, Stream, node
from penguiflow.testing import virtual_backend

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time, pytest.mark.limit(100)]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both event loops on virtual time."""
    return virtual_backend(request.param)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Any:
    """Give what was logged since the last time."""
    caplog.set_level(logging.WARNING, logger="penguiflow")

    def since() -> list[str]:
        texts = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return texts

    return since


def pulses(times: list[float]) -> Any:
    @node
    async def gives(n: int) -> AsyncIterator[int]:
        for seconds in times:
            await anyio.sleep(seconds)
            yield n

    return gives


async def read(run: Any) -> None:
    async for _ in run:
        pass


async def test_each_time_a_run_stands_still_is_told_once(told: Any) -> None:
    """However long it lasts; who waits for whom is told with it."""
    flow = Flow("f", pulses([1.0, 100.0, 1.0, 1.0, 50.0]))
    async with flow.open(watchdog=10.0) as runtime, runtime.run(1, run_id="r") as run:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, run)
            await anyio.sleep(5)
            assert told() == []
            await anyio.sleep(20)
            (text,) = told()
            assert text.startswith("run r of flow f has made no progress for 10 s: Node gives is at work")
            await anyio.sleep(70)
            assert told() == []
            await anyio.sleep(30)
            assert len(told()) == 1
    assert told() == []


async def test_a_run_that_goes_on_is_not_told_of(told: Any) -> None:
    """Whatever it is that goes on: chunks that are emitted, or taken; messages; steps that begin."""

    @node
    async def tastes(stream: Stream[int]) -> int:
        count = 0
        async for _ in stream:
            await anyio.sleep(6)
            count += 1
        return count

    @node
    async def works(i: int) -> int:
        await anyio.sleep(6)
        return i

    @node
    async def many(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit(i)

    @node
    async def count(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    for flow in (
        Flow("f", pulses([6.0] * 20)),
        Flow("f", count >> tastes),
        Flow("f", count >> works),
        Flow("f", many >> node(works.fn, name="one", concurrency=1)),
    ):
        async with flow.open(watchdog=10.0) as runtime:
            await runtime.call(20)
        assert told() == []


async def test_a_slow_reader_goes_on_and_one_who_reads_nothing_does_not(told: Any) -> None:
    """Taking is progress; a run that was started and forgotten is told of."""
    async with Flow("f", pulses([0.0] * 10)).open(watchdog=10.0) as runtime:
        async with runtime.run(1) as run:
            async for _ in run:
                await anyio.sleep(6)
        assert told() == []
        await runtime.start(1, run_id="forgotten")
        await anyio.sleep(50)
    async with Flow("f", pulses([0.0] * 10)).open(watchdog=10.0, window=2) as runtime:
        await runtime.start(1, run_id="forgotten")
        await anyio.sleep(50)
        (text,) = told()
    assert "run forgotten" in text
    assert "Nobody reads the run: 2 items wait for the reader." in text


async def test_what_other_runs_do_is_no_progress(told: Any) -> None:
    """They share the edges, and what these count, with the run that stands still."""

    @node(concurrency=10)
    async def works(message: Message[int]) -> int:
        await anyio.sleep(1000 if message.run_id == "stuck" else 0.1)
        return message.payload

    @node(concurrency=10)
    async def tastes(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    @node
    async def gives(n: int) -> AsyncIterator[int]:
        yield n
        await anyio.sleep(1000 if n == 7 else 0.1)

    for flow in (
        Flow("f", node(works.fn, name="first", concurrency=10) >> works),
        Flow("f", gives >> tastes),
    ):
        async with flow.open(watchdog=10.0) as runtime:
            await runtime.start(7, run_id="stuck")
            for _ in range(300):
                await runtime.call(1)
            assert [text.split(" of ")[0] for text in told()] == ["run stuck"]


async def test_what_a_step_has_called_is_progress(told: Any) -> None:
    """A run that waits for a part of it stands still only if that does."""

    @node
    async def calls(i: int, ctx: Context) -> int:
        given: list[int] = await ctx.call(pulses([6.0] * 10 if i == 1 else [6.0, 60.0]), i)
        return len(given)

    async with Flow("f", calls).open(watchdog=10.0) as runtime:
        assert await runtime.call(1) == 10
        assert told() == []
        assert await runtime.call(2) == 2
        (text,) = told()
    assert "In flow gives, which it calls: Node gives is at work" in text


async def test_a_run_with_the_id_of_another_is_another(told: Any) -> None:
    """That the first one was told of is nothing to the second."""
    async with Flow("f", pulses([14.0])).open(watchdog=10.0) as runtime:
        for _ in range(3):
            await runtime.call(1, run_id="again")
            assert len(told()) == 1


async def test_a_session_that_is_idle_and_a_run_that_is_paused_are_told_of_once(told: Any) -> None:
    """Both may have been forgotten."""

    @node
    async def echo(i: int) -> int:
        return i

    async with Flow("f", echo).open(watchdog=10.0) as runtime, runtime.session(run_id="s") as session:
        await anyio.sleep(100)
        (text,) = told()
        assert "The input is awaited: nobody has sent more of it" in text
        await session.control("pause")
        await anyio.sleep(100)
        (text,) = told()
        assert "The run is paused" in text


async def test_nothing_is_looked_at_behind_the_end(told: Any) -> None:
    """The timer ends with the runtime; without the option there is none."""

    @node
    async def slow(i: int) -> int:
        await anyio.sleep(1000)
        return i

    async with Flow("f", slow).open(watchdog=10.0) as runtime:
        await runtime.start(1)
        await anyio.sleep(5)
    await anyio.sleep(100)
    async with Flow("f", slow).open() as runtime:
        await runtime.start(1)
        await anyio.sleep(100)
    assert told() == []
