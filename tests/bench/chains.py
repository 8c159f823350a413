"""Throughput of one stream through ``async def`` and ``def`` nodes, yielded or emitted, and of messages.

Owns the flows that the other rows use too. Invariant: a chain that loses or adds one item gives an error, not
a figure. Knows of the runtime only its public names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Any

from penguiflow import Context, Flow, Node, Runtime, node

from . import bare, peers
from .measure import Measured, Scale, alternate, drive

FAN_OUT = 10


async def numbers(count: int) -> AsyncIterator[int]:
    """Yield ``count`` numbers."""
    for number in range(count):
        yield number


async def emitted_numbers(count: int, ctx: Context) -> None:
    """Emit ``count`` numbers as the chunks of one stream."""
    for number in range(count):
        await ctx.emit_chunk(number)


async def messages(count: int, ctx: Context) -> None:
    """Emit ``count`` numbers, each as a message."""
    for number in range(count):
        await ctx.emit(number)


async def same(x: int) -> int:
    """Give back what came."""
    return x


def same_inline(x: int) -> int:
    """Give back what came, on the edge."""
    return x


def chain(first: Any = None, hop: Any = same, hops: int = bare.HOPS) -> Flow:
    """Build ``first >> hop1 >> … >> hopN``; without a first, the hops alone."""
    nodes = [] if first is None else [first if isinstance(first, Node) else node(first, name="first")]
    nodes += [node(hop, name=f"hop{number}") for number in range(1, hops + 1)]
    wire = nodes[0]
    for following in nodes[1:]:
        wire = wire >> following
    return Flow("chain", wire)


def fan_out(width: int) -> Flow:
    """Build a source with ``width`` branches, each an exit."""
    return Flow("fan", node(numbers, name="first") >> [node(same, name=f"branch{i}") for i in range(width)])


async def read(runtime: Runtime, payload: int, expected: int) -> float:
    """Seconds to read a run to its end. If cancelled, the run is cancelled."""
    started = perf_counter()
    count = 0
    async with runtime.run(payload) as run:
        async for _ in run:
            count += 1
    took = perf_counter() - started
    if count != expected:
        raise AssertionError(f"{count} items came of {expected}: a chain that loses items has no speed")
    return took


def throughput(flow: Flow, scale: Scale, hops: int = bare.HOPS) -> Measured:
    """Compare one long stream through a flow with the same through bare queues."""
    count = scale.chunks

    async def main(stack: AsyncExitStack) -> Measured:
        runtime = await stack.enter_async_context(flow.open())

        async def ours() -> float:
            return await read(runtime, count, count) / count

        async def base() -> float:
            return await bare.through_queues(count, hops) / count

        return await alternate(ours, base, scale, "higher", "µs/item")

    return drive(main)


def async_hops(scale: Scale) -> Measured:
    """Four ``async def`` nodes behind a source that yields."""
    return throughput(chain(numbers), scale)


def async_hops_emitted(scale: Scale) -> Measured:
    """The same, behind a source that calls ``ctx.emit_chunk``."""
    return throughput(chain(emitted_numbers), scale)


def def_hops(scale: Scale) -> Measured:
    """Four ``def`` nodes behind a source that yields."""
    return throughput(chain(numbers, same_inline), scale)


def message_hops(scale: Scale) -> Measured:
    """Messages instead of chunks through four ``async def`` nodes."""
    return throughput(chain(messages), scale)


def fan_out_hops(scale: Scale) -> Measured:
    """One stream to ten nodes, all read by one reader."""
    count = max(1, scale.chunks // FAN_OUT)
    delivered = count * FAN_OUT

    async def main(stack: AsyncExitStack) -> Measured:
        runtime = await stack.enter_async_context(fan_out(FAN_OUT).open())

        async def ours() -> float:
            return await read(runtime, count, delivered) / delivered

        async def base() -> float:
            return await bare.through_fan_out(count, FAN_OUT) / delivered

        return await alternate(ours, base, scale, "higher", "µs/item")

    return drive(main)


def one_hop_langgraph(scale: Scale) -> Measured:
    """One node behind a source, against a LangGraph node that writes to its custom stream."""
    graph = peers.langgraph_stream()
    count = scale.chunks

    async def main(stack: AsyncExitStack) -> Measured:
        runtime = await stack.enter_async_context(chain(numbers, hops=1).open())

        async def ours() -> float:
            return await read(runtime, count, count) / count

        async def base() -> float:
            return await peers.read_langgraph(graph, count) / count

        return await alternate(ours, base, scale, "higher", "µs/item")

    return drive(main)
