"""The contract of the control lane: cancel, pause, resume, flush, and hints of any other kind."""

from collections.abc import AsyncIterator

import anyio
import pytest

from penguiflow import (
    Chunk,
    Context,
    Control,
    DeadlineExceeded,
    Flow,
    Retry,
    RunCancelled,
    WouldBlock,
    edge,
    node,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


def listening(name: str, heard: dict[str, list[object]], until: str = "stop"):
    """Make a node whose step notes the controls it gets until one of that kind comes."""

    async def listen(n: int, ctx: Context) -> None:
        async for control in ctx.controls():
            heard.setdefault(name, []).append((control.kind, control.payload))
            if control.kind == until:
                break

    return node(listen, name=name)


async def test_control_reaches_every_node_or_the_one_named(quiet) -> None:
    """`to=` addresses one node, else all get it; a `Control` may be given instead of a kind."""
    heard: dict[str, list[object]] = {}

    @node
    async def start(n: int) -> int:
        return n

    flow = Flow("f", start >> [listening("a", heard), listening("b", heard)])
    async with flow.open() as runtime, runtime.run(0) as run:
        await quiet()
        await run.control("hint", 1)
        await run.control("hint", 2, to="b")
        await run.control(Control("hint", 3, node="a"))
        await run.control("stop")
        await run.result()
    assert heard == {
        "a": [("hint", 1), ("hint", 3), ("stop", None)],
        "b": [("hint", 1), ("hint", 2), ("stop", None)],
    }


async def test_a_runtimes_control_reaches_all_runs(quiet) -> None:
    """`runtime.control` speaks to the nodes of every run; `run.control` to its own."""
    heard: dict[str, list[object]] = {}
    async with Flow("f", listening("a", heard)).open() as runtime:
        runs = [await runtime.start(i) for i in range(3)]
        await quiet()
        await runs[0].control("hint", "only one")
        await runtime.control("stop", "all")
        for run in runs:
            await run.result()
    assert sorted(heard["a"]) == [("hint", "only one"), *[("stop", "all")] * 3]


async def test_controls_can_be_polled() -> None:
    """`next_nowait` gives what has come, in order, and raises `WouldBlock` when there is nothing."""
    begun, told = anyio.Event(), anyio.Event()
    got: list[object] = []

    @node
    async def polls(n: int, ctx: Context) -> None:
        controls = ctx.controls()
        with pytest.raises(WouldBlock):
            controls.next_nowait()
        begun.set()
        await told.wait()
        got.extend([controls.next_nowait().payload, controls.next_nowait().payload])
        with pytest.raises(WouldBlock):
            controls.next_nowait()

    async with Flow("f", polls).open() as runtime, runtime.run(0) as run:
        await begun.wait()
        await run.control("hint", 1)
        await run.control("hint", 2)
        told.set()
        await run.result()
    assert got == [1, 2]


async def test_cancel_by_control_cancels_the_run(quiet) -> None:
    """`control("cancel")` does what `cancel()` does."""
    async with Flow("f", listening("a", {})).open() as runtime:
        run = await runtime.start(0)
        await quiet()
        await run.control("cancel", "by control")
        with pytest.raises(RunCancelled):
            await run.result()
        assert run.status == "cancelled"


class Paced:
    """A producer and a hop that count what they did."""

    def __init__(self, **options) -> None:
        self.given = 0
        self.passed = 0

        @node(**options)
        async def produce(n: int) -> AsyncIterator[int]:
            for i in range(n):
                self.given += 1
                yield i
                await anyio.sleep(0)

        @node
        async def hop(i: int) -> int:
            self.passed += 1
            return i

        self.flow = Flow("f", produce >> hop)


async def test_pause_stops_within_one_item_per_node_and_resume_loses_nothing(quiet) -> None:
    """While paused nothing moves though the reader waits; afterwards every item comes, in order."""
    paced = Paced()
    seen: list[int] = []
    flowing = anyio.Event()

    async def read(run) -> None:
        async for chunk in run:
            seen.append(chunk.payload)
            if len(seen) == 20:
                flowing.set()

    async with paced.flow.open() as runtime, runtime.run(200) as run, anyio.create_task_group() as tasks:
        tasks.start_soon(read, run)
        await flowing.wait()
        await run.control("pause")
        before = (paced.given, paced.passed)
        await quiet()
        assert run.status == "paused"
        assert (paced.given - before[0] <= 1, paced.passed - before[1] <= 1) == (True, True)
        stopped = (paced.given, paced.passed, len(seen))
        await quiet()
        assert (paced.given, paced.passed, len(seen)) == stopped
        await run.control("resume")
        assert run.status == "running"
    assert seen == list(range(200))


async def test_pausing_and_resuming_twice_is_like_once(quiet) -> None:
    """Both are idempotent, and a paused run can be cancelled."""
    paced = Paced()
    async with paced.flow.open() as runtime:
        run = await runtime.start(10)
        for kind in ("pause", "pause", "resume", "resume"):
            await run.control(kind)
        assert await run.result() == list(range(10))
        other = await runtime.start(10)
        await other.control("pause")
        await other.cancel()
        assert other.status == "cancelled"
        assert runtime.statistics().places_taken == 0


async def test_a_paused_run_delays_no_other(quiet) -> None:
    """Pausing one run leaves its neighbours in the same nodes alone."""
    paced = Paced(concurrency=1)
    async with paced.flow.open(window=4) as runtime:
        paused = await runtime.start(100)
        await paused.control("pause")
        await quiet()
        assert await runtime.call(20) == list(range(20))
        await paused.control("resume")
        assert await paused.result() == list(range(100))


@pytest.mark.virtual_time
async def test_a_pause_stops_the_nodes_time_but_not_the_deadline(quiet) -> None:
    """A node does not time out because its run was paused; the run itself still expires."""

    @node(timeout=0.3, idle_timeout=0.3)
    async def steady(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await anyio.sleep(0.02)
            yield i

    async with Flow("f", steady).open() as runtime:
        run = await runtime.start(4)
        await run.control("pause")
        await anyio.sleep(0.5)
        await run.control("resume")
        assert await run.result() == [0, 1, 2, 3]
        expiring = await runtime.start(4, deadline=0.05)
        await expiring.control("pause")
        await anyio.sleep(0.2)
        with pytest.raises(DeadlineExceeded):
            await expiring.result()


async def test_flush_sends_out_what_is_held_back(quiet) -> None:
    """A chunk step with a retry holds its yields back; a flush lets them go while it works on."""
    go = anyio.Event()

    @node(retry=Retry(attempts=2))
    async def held(i: int) -> AsyncIterator[str]:
        yield "early"
        await go.wait()
        yield "late"

    async with Flow("f", count >> held).open() as runtime, runtime.run(1) as run:
        await quiet()
        assert run.statistics().waiting_for_reader == 0
        await run.control("flush")
        items = aiter(run)
        assert (await anext(items)).payload == "early"
        go.set()
        assert [chunk.payload async for chunk in items] == ["late"]


async def test_flush_may_discard_what_waits_on_edges(quiet) -> None:
    """With `{"discard": True}` what waits is dropped and reported; what is at work stays."""
    go = anyio.Event()
    seen: list[int] = []

    @node(concurrency=1)
    async def slow(i: int) -> int:
        await go.wait()
        seen.append(i)
        return i

    async with Flow("f", count >> edge(capacity=4) >> slow).open() as runtime, runtime.run(5) as run:
        await quiet()
        await run.control("flush", {"discard": True})
        assert [(d.edge, d.seq) for d in run.statistics().drops] == [
            ("count→slow", seq) for seq in (1, 2, 3, 4)
        ]
        go.set()
        chunks: list[Chunk] = [chunk async for chunk in run]
        (road,) = [e for e in runtime.statistics().edges if e.target == "slow"]
    assert (seen, [chunk.payload for chunk in chunks]) == ([0], [0])
    assert (road.offered, road.delivered, road.dropped, road.waiting) == (5, 1, 4, 0)


async def test_nodes_see_a_flush(quiet) -> None:
    """A node that buffers for itself is told."""
    heard: dict[str, list[object]] = {}
    async with Flow("f", listening("a", heard, until="flush")).open() as runtime, runtime.run(0) as run:
        await quiet()
        await run.control("flush")
        await run.result()
    assert heard == {"a": [("flush", None)]}


@pytest.mark.parametrize(
    ("kind", "options", "error", "says"),
    [
        ("hint", {"to": "nope"}, ValueError, r"to='nope'.*inner/a, b"),
        ("hint", {"to": ""}, ValueError, r"to=''.*inner/a, b"),
        ("hint", {"to": 5}, TypeError, "to=5"),
        ("cancel", {"to": "nope"}, ValueError, "nope"),
        (Control("hint", node="nope"), {}, ValueError, "nope"),
        (Control(""), {}, ValueError, "kind"),
        (Control(5), {}, TypeError, "kind=5"),
        (Control("pause", node="b"), {}, ValueError, "as a whole"),
        ("", {}, ValueError, "kind"),
        (None, {}, TypeError, "kind=None"),
        ("pause", {"to": "b"}, ValueError, "as a whole"),
        ("resume", {"to": "inner/a"}, ValueError, "as a whole"),
    ],
)
async def test_commands_that_make_no_sense_are_refused(kind, options, error, says: str, quiet) -> None:
    """The text names what is wrong; nothing is carried out, by a run and by a runtime."""
    heard: dict[str, list[object]] = {}
    inner = Flow("inner", listening("a", heard))
    async with Flow("f", inner, listening("b", heard)).open() as runtime:
        run = await runtime.start(0)
        for speaker in (run, runtime):
            with pytest.raises(error, match=says):
                await speaker.control(kind, **options)
        await quiet()
        assert run.status == "running"
        await run.control("stop", to="a")
        await run.control("stop", to="b")
        await runtime.control("cancel")
        with pytest.raises(error, match=says):
            await run.control(kind, **options)


async def test_a_stream_is_not_paused_but_may_be_over_already(quiet) -> None:
    """`pause` and `resume` take no stream; who cancels or flushes one may come too late."""
    async with Flow("f", listening("a", {})).open() as runtime, runtime.run(0) as run:
        await quiet()
        for kind in ("pause", "resume"):
            with pytest.raises(ValueError, match="as a whole"):
                await run.control(kind, stream_id="s")
        with pytest.raises(TypeError, match="stream_id=5"):
            await run.control("cancel", stream_id=5)
        await run.control("cancel", stream_id="over")
        await run.control("flush", stream_id="over")
        assert run.status == "running"
