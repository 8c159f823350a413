"""Calls: one value in, one value out, through four nodes.

Owns the comparison with LangGraph's ``ainvoke`` of the same four nodes without state to save.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Any

from . import bare, peers
from .chains import chain
from .measure import Measured, Scale, alternate, drive


async def repeat(call: Callable[[], Awaitable[Any]], count: int, expected: Any) -> float:
    """Seconds per call of ``count`` calls, one after the other. If cancelled, the one at work is."""
    started = perf_counter()
    for _ in range(count):
        answer = await call()
    took = perf_counter() - started
    if answer != expected:
        raise AssertionError(f"{answer!r} came instead of {expected!r}")
    return took / count


def against_langgraph(scale: Scale) -> Measured:
    """``runtime.call`` against ``ainvoke``."""
    graph = peers.langgraph_chain(bare.HOPS)

    async def main(stack: AsyncExitStack) -> Measured:
        runtime = await stack.enter_async_context(chain().open())

        async def ours() -> float:
            return await repeat(lambda: runtime.call(7), scale.calls, 7)

        async def base() -> float:
            return await repeat(lambda: graph.ainvoke({"x": 7}), scale.peer_calls, {"x": 7})

        return await alternate(ours, base, scale, "higher", "µs/call")

    return drive(main)
