"""The functions of a random flow that work on one item, as a user would write them.

Owns one writer per form. Invariant: what a function computes comes from `shapes`, how it behaves from
`Conduct`. Knows nothing of edges, and nothing of what is expected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio.lowlevel

from penguiflow import Chunk, Context, Flow, Message, Spread, StepError, WouldBlock, node

from .conduct import TAKES, Conduct, Function, annotated, gives
from .shapes import MODULUS, Shape, folded, mapped, number, parts, shared_id, squared, successor


def plain(conduct: Conduct, shape: Shape) -> Function:
    """Write ``async def … return``."""

    async def step(x: Any) -> Any:
        payload = tripped_on(x) if isinstance(x, StepError) else x
        await conduct.pause(shape, number(payload))
        conduct.trip(shape, number(payload))
        return mapped(shape, payload)

    return annotated(step, TAKES[shape.takes], gives(shape), bare=shape.bare)


def tripped_on(error: StepError) -> int:
    """Give the payload that a node has failed on: from the cause, or the text, where a journal kept that."""
    if error.__cause__ is not None:
        return int(error.__cause__.args[0])
    return int(str(error).rpartition(" ")[2])


def inline(conduct: Conduct, shape: Shape) -> Function:
    """Write ``def … return``."""

    def step(x: Any) -> Any:
        conduct.trip(shape, number(x))
        return mapped(shape, x)

    return annotated(step, TAKES[shape.takes], gives(shape), bare=shape.bare)


def enveloped(conduct: Conduct, shape: Shape) -> Function:
    """Write a function that takes the message or the chunk itself."""

    async def step(x: Any) -> Any:
        conduct.check(x)
        await conduct.pause(shape, number(x.payload))
        conduct.trip(shape, number(x.payload))
        return mapped(shape, x.payload, x.seq if isinstance(x, Chunk) else 0)

    return annotated(step, Message if shape.form == "message" else Chunk, gives(shape))


def calling(conduct: Conduct, shape: Shape) -> Function:
    """Write a function that calls a flow of its own."""

    async def times(x: int) -> int:
        await anyio.lowlevel.checkpoint()
        return shape.factor * x

    def plus(x: int) -> int:
        return (x + shape.term) % MODULUS

    inner = Flow(f"{shape.name}-inner", node(times) >> node(plus))

    async def step(x: Any, ctx: Context) -> Any:
        conduct.check(ctx.message)
        await conduct.pause(shape, number(x))
        conduct.trip(shape, number(x))
        return await ctx.call(inner, number(x))

    return annotated(step, TAKES[shape.takes], int, context=True)


def mapping(conduct: Conduct, shape: Shape) -> Function:
    """Write a function that maps over parts, two at a time."""

    async def square(value: int) -> int:
        await conduct.pause(shape, value)
        return squared(value)

    async def step(x: Any, ctx: Context) -> Any:
        conduct.trip(shape, number(x))
        return folded(shape, await ctx.map(square, parts(shape, x), limit=2))

    return annotated(step, TAKES[shape.takes], int, context=True)


def yielding(conduct: Conduct, shape: Shape) -> Function:
    """Write ``async def … yield``."""

    async def step(x: Any) -> AsyncIterator[int]:
        given = parts(shape, x)
        for index, value in enumerate(given):
            if index == conduct.fails_after(shape):
                conduct.trip(shape, number(x))
            await conduct.pause(shape, value)
            yield value
        if len(given) <= conduct.fails_after(shape):
            await conduct.pause(shape, number(x))
            conduct.trip(shape, number(x))

    return annotated(step, TAKES[shape.takes], AsyncIterator[int])


def emitting(conduct: Conduct, shape: Shape) -> Function:
    """Write a function that emits messages."""

    async def step(x: Any, ctx: Context) -> Any:
        conduct.check(ctx.message)
        conduct.trip(shape, number(x))
        for value in parts(shape, x):
            await conduct.pause(shape, value)
            to = successor(shape, value)
            try:
                if value % 2:
                    raise WouldBlock
                ctx.emit_nowait(value, to=to)
            except WouldBlock:
                await ctx.emit(value, to=to)
        return mapped(shape, x) if shape.also else None

    return annotated(step, TAKES[shape.takes], int | None, context=True)


def emitting_chunks(conduct: Conduct, shape: Shape) -> Function:
    """Write a function that emits chunks, to its own stream or to one that it shares."""

    async def step(x: Any, ctx: Context) -> Any:
        stream_id = shared_id(shape, x) if shape.form == "shared" else None
        given = parts(shape, x)
        for index, value in enumerate(given):
            if index == conduct.fails_after(shape):
                conduct.trip(shape, number(x))
            await conduct.pause(shape, value)
            last = index == len(given) - 1 and shape.fault is None
            await emit_chunk(ctx, value, stream_id, last=last)
        if len(given) <= conduct.fails_after(shape):
            conduct.trip(shape, number(x))
        return mapped(shape, x) if shape.also else None

    return annotated(step, TAKES[shape.takes], int | None, context=True)


async def emit_chunk(ctx: Context, value: int, stream_id: str | None, *, last: bool) -> None:
    """Emit a chunk in one of the ways there are. If cancelled, it was not emitted."""
    done = last and value % 3 == 0 and stream_id is None and isinstance(ctx.message, Message)
    try:
        if value % 2:
            raise WouldBlock
        ctx.emit_chunk_nowait(value, stream_id=stream_id, done=done)
    except WouldBlock:
        await ctx.emit_chunk(value, stream_id=stream_id, done=done)


def opening(conduct: Conduct, shape: Shape) -> Function:
    """Write a function that opens streams, one or two side by side."""

    async def step(x: Any, ctx: Context) -> None:
        conduct.trip(shape, number(x))
        if shape.streams == 1:
            async with ctx.open_stream(window=shape.window) as only:
                for value in parts(shape, x):
                    await conduct.pause(shape, value)
                    await only.send(value)
            return
        first, second = (f"{shape.name}-{ctx.key}-{number}" for number in range(2))
        async with ctx.open_stream(first) as one, ctx.open_stream(second) as two:
            for value in parts(shape, x):
                await conduct.pause(shape, value)
                await one.send(value)
                await two.send(value + 1)

    return annotated(step, TAKES[shape.takes], None, context=True)


def spreading(conduct: Conduct, shape: Shape) -> Function:
    """Write a function that returns a Spread."""

    async def step(x: Any) -> Spread[int]:
        await conduct.pause(shape, number(x))
        conduct.trip(shape, number(x))
        return Spread(iter(parts(shape, x)))

    return annotated(step, TAKES[shape.takes], Spread[int])
