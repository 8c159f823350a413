"""How the public penguiflow is asked: chunks emitted by a node and fetched one by one."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from typing import Any

from penguiflow import Headers, Message, Node, NodePolicy, create
from penguiflow.errors import FlowError
from penguiflow.types import StreamChunk

VERSION = version("penguiflow")
logging.disable(logging.CRITICAL)


def message() -> Message:
    return Message(payload="", headers=Headers(tenant="test"))


async def stream(step: Callable[[], AsyncIterator[str]], attempts: int) -> AsyncIterator[str]:
    async def given(message: Message, ctx: Any) -> None:
        async for item in step():
            await ctx.emit_chunk(parent=message, text=item)
        await ctx.emit_chunk(parent=message, text="", done=True)

    policy = NodePolicy(validate="none", max_retries=attempts - 1, backoff_base=0.01)
    # Without this option a reader waits for ever for what a failed node does not give any more.
    flow = create(Node(given, name="given", policy=policy).to(), emit_errors_to_rookery=True)
    flow.run()
    await flow.emit(message())
    while True:
        item = await flow.fetch()
        if isinstance(item, FlowError):
            raise item
        chunk = item.payload if isinstance(item, Message) else item
        assert isinstance(chunk, StreamChunk)
        if chunk.done:
            break
        yield chunk.text


async def branches(
    fast: Callable[[], Awaitable[None]],
    after_fast: Callable[[], Awaitable[None]],
    slow: Callable[[], Awaitable[None]],
) -> None:
    def node_of(name: str, work: Callable[[], Awaitable[None]] | None) -> Node:
        async def given(message: Message, ctx: Any) -> Message:
            if work is not None:
                await work()
            return message

        return Node(given, name=name, policy=NodePolicy(validate="none"))

    begin, quick, late, behind = (
        node_of("begin", None),
        node_of("quick", fast),
        node_of("late", slow),
        node_of("behind", after_fast),
    )
    flow = create(begin.to(quick, late), quick.to(behind), behind.to(), late.to())
    flow.run()
    await flow.emit(message())
    for _ in range(2):
        await flow.fetch()
    await flow.stop()
