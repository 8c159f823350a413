"""Probes: what a test holds on to does only what it is told."""

from typing import Any

import anyio
import pytest

from penguiflow import ClosedResourceError, Flow, StepError, Stream, WouldBlock, node
from penguiflow.testing import GateProbe, SinkProbe, SourceProbe, assert_conserved
from penguiflow.testing.fixtures import virtual_clock as anyio_backend  # noqa: F401

pytestmark = pytest.mark.limit(100_000)  # virtual seconds


@node
async def inc(x: int) -> int:
    return x + 1


@node
async def first(xs: Stream[int]) -> int:
    async for x in xs:
        return x
    return -1


async def test_a_source_tells_how_much_credit_was_given() -> None:
    """Truth (2.1): with a window of 2 and nobody who reads, two items are taken, at most one
    more is in hand."""
    probe: SourceProbe[int] = SourceProbe()
    async with Flow("f", inc).open(window=2) as runtime, runtime.run(probe) as run:
        with anyio.move_on_after(1) as scope:
            for x in range(10):
                await probe.send(x)
        assert scope.cancelled_caught
        assert probe.taken in (2, 3)
        sink = SinkProbe(run)
        assert await sink.payloads(2) == [1, 2]
        await probe.send(8)
        probe.end()
        assert await sink.rest() == sink.items[2:]
        assert [item.payload for item in sink.items][-1] == 9
        assert sink.ended
    assert probe.closed
    assert_conserved(runtime.statistics())


async def test_a_cancelled_send_gives_nothing() -> None:
    """Truth: what was not taken is taken back."""
    probe: SourceProbe[int] = SourceProbe()
    with anyio.move_on_after(1):
        await probe.send(1)
    with pytest.raises(WouldBlock):
        probe.send_nowait(2)

    async def read() -> None:
        got.extend([x async for x in probe])

    got: list[int] = []
    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await probe.wait_asked(1)
        assert probe.wanted == 1
        probe.send_nowait(3)
        await probe.send(4)
        probe.end()
    assert got == [3, 4]
    with pytest.raises(ClosedResourceError):
        await probe.send(5)
    with pytest.raises(ClosedResourceError):
        probe.send_nowait(5)
    with pytest.raises(RuntimeError, match="iterated once"):
        aiter(probe)


async def test_a_source_fails_behind_its_items() -> None:
    """Truth (3.3): what was sent goes first, then the error."""
    probe: SourceProbe[int] = SourceProbe()
    async with Flow("f", inc).open() as runtime, runtime.run(probe) as run:
        sink = SinkProbe(run)
        await probe.send(1)
        probe.fail(LookupError("mine"))
        assert await sink.payloads() == [2]
        with pytest.raises(Exception, match="mine"):
            await sink.take()
    await probe.wait_closed()


async def test_a_reader_that_leaves_closes_the_source() -> None:
    """Truth (2.10): the producer is told, and the next send says so."""
    probe: SourceProbe[int] = SourceProbe()
    async with Flow("f", first).open() as runtime, runtime.run(probe) as run:
        await probe.send(7)
        sink = SinkProbe(run)
        assert [item.payload for item in await sink.rest()] == [7]
        await probe.wait_closed()
        with pytest.raises(ClosedResourceError):
            await probe.send(8)


async def test_a_probe_as_a_source_node() -> None:
    """Truth: a source of a flow can be driven by hand, too."""
    probe: SourceProbe[int] = SourceProbe()
    gate = GateProbe()
    async with Flow("f", probe.as_source() >> gate.node).open():
        await probe.send(1)
        await gate.wait_entered(1)
        assert gate.entered == [1]


async def test_a_sink_reads_events_too() -> None:
    """Truth: openings and terminals are read like items."""
    probe: SourceProbe[int] = SourceProbe()
    async with Flow("f", inc).open() as runtime, runtime.run(probe) as run:
        sink = SinkProbe(run, events=True)
        probe.end()
        assert [type(item).__name__ for item in await sink.take(9)] == ["StreamOpened", "StreamEnded"]


async def test_a_gate_lets_steps_go_one_by_one() -> None:
    """Truth: steps wait in the order in which they came, and go when they are let."""
    gate = GateProbe(compute=lambda x: 10 * x)
    async with Flow("f", gate.node).open() as runtime:
        results: list[Any] = []

        async def call(x: int) -> None:
            results.append(await runtime.call(x))

        async with anyio.create_task_group() as group:
            for x in (1, 2, 3):
                group.start_soon(call, x)
                await gate.wait_entered(x)
            assert (gate.active, gate.passed) == (3, [])
            gate.let()
            await gate.wait_passed(1)
            assert (gate.active, gate.passed) == (2, [1])
            gate.open()
        assert (results[0], sorted(results)) == (10, [10, 20, 30])


async def test_a_gate_fails_a_step() -> None:
    """Truth: one step is let go with an error, the next without."""
    gate = GateProbe()
    async with Flow("f", gate.node).open() as runtime:
        gate.fail(LookupError("mine"))
        gate.let()
        with pytest.raises(StepError, match="mine"):
            await runtime.call(1)
        assert await runtime.call(2) == 2


async def test_a_step_cancelled_at_the_gate_gives_its_pass_back() -> None:
    """Truth (3.2): leaving a run cancels its step at the gate; who comes later gets through."""
    gate = GateProbe()
    async with Flow("f", gate.node).open() as runtime:
        async with runtime.run(1):
            await gate.wait_entered(1)
        assert gate.cancelled == [1]
        assert gate.active == 0
        gate.let()
        assert await runtime.call(2) == 2
        assert_conserved(runtime.statistics())


async def test_probes_read_well() -> None:
    """Truth: a failing test shows what they know."""
    assert repr(SourceProbe()) == "<source probe 0 taken, 0 asked>"
    assert repr(GateProbe()) == "<gate gate: 0 waiting, 0 passed>"
