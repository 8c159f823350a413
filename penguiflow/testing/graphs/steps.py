"""The functions of a random flow: each form of node, as a user would write it.

Owns the ways in which user code waits, emits and fails. Invariant: what a function computes comes from
`shapes`; one `Writer` keeps the record of failures of one flow. Knows nothing of edges, and nothing of
what is expected.
"""

from __future__ import annotations

import inspect
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel

from penguiflow import Chunk, Context, Flow, Gathered, Message, Spread, StepError, Stream, WouldBlock, node

from .shapes import (
    MODULUS,
    Bag,
    InjectedError,
    Left,
    Right,
    Shape,
    Turn,
    dropped,
    folded,
    mapped,
    number,
    paired,
    parts,
    restreamed,
    shared_id,
    squared,
    successor,
)

TAKES: dict[str, Any] = {
    "int": int,
    "left": Left,
    "right": Right,
    "turn": Turn,
    "bag": Bag,
    "error": StepError,
}
GIVES: dict[str, Any] = {
    "route": Left | Right,
    "enter": Turn,
    "work": Turn,
    "decide": Turn | int,
    "pack": Bag,
}
TENANT: ContextVar[str | None] = ContextVar("TENANT", default=None)
PLAIN = frozenset({"async", "route", "enter", "work", "decide", "pack", "handler"})

Function = Callable[..., Any]


def annotated(
    function: Function, takes: Any, gives: Any, *, context: bool = False, bare: bool = False
) -> Function:
    """Give a step function the annotations that its form asks for."""
    hints: dict[str, Any] = {} if bare else {"x": takes, "return": gives}
    if context:
        hints["ctx"] = Context
    function.__annotations__ = hints
    return function


class Writer:
    """Writes the functions of one flow."""

    def __init__(self) -> None:
        self.failed: Counter[tuple[str, int]] = Counter()
        self.opened = itertools.count()

    # -- what a step does besides computing

    async def pause(self, shape: Shape, x: int) -> None:
        """Wait as the shape says. If cancelled, nothing was done."""
        if x % shape.pause.every == 0:
            for _ in range(shape.pause.turns):
                await anyio.lowlevel.checkpoint()
            if shape.pause.seconds:
                await anyio.sleep(shape.pause.seconds)

    def trip(self, shape: Shape, x: int) -> None:
        """Fail, if the shape says so for this payload."""
        fault = shape.fault
        if fault is None or not fault.hits(x):
            return
        if fault.times is not None:
            key = shape.name, 0 if fault.divisor == 1 else x
            if self.failed[key] >= fault.times:
                return
            self.failed[key] += 1
        raise InjectedError(x)

    def check(self, item: Any) -> None:
        """See that a step knows the context variables of the place that started its run, and no others'."""
        around = TENANT.get()
        if around is not None and around != item.headers.tenant:
            raise AssertionError(f"rule 3.1: a step of {item.headers.tenant} sees the variable of {around}")

    def fails_after(self, shape: Shape) -> int:
        """Say how many parts a step emits before it may fail."""
        return shape.fault.after if shape.fault is not None else 0

    # -- functions by form

    def function(self, shape: Shape) -> Function:
        """Write the function of a node."""
        if shape.form in PLAIN:
            return self.plain(shape)
        writers: dict[str, Callable[[Shape], Function]] = {
            "def": self.inline,
            "thread": self.inline,
            "message": self.enveloped,
            "call": self.calling,
            "map": self.mapping,
            "chunk": self.enveloped,
            "yield": self.yielding,
            "unpack": self.yielding,
            "emit": self.emitting,
            "emit_chunk": self.emitting_chunks,
            "shared": self.emitting_chunks,
            "open_stream": self.opening,
            "spread": self.spreading,
            "gather": self.gathering,
            "fold": self.folding,
            "stream": self.streaming,
            "take": self.taking,
            "join": self.joining,
        }
        return writers[shape.form](shape)

    def gives(self, shape: Shape) -> Any:
        """Give the type of what a step returns."""
        kind = GIVES.get(shape.form, int)
        return kind | None if shape.drops is not None else kind

    def plain(self, shape: Shape) -> Function:
        """Write ``async def … return``."""

        async def step(x: Any) -> Any:
            payload = x.__cause__.args[0] if isinstance(x, StepError) and x.__cause__ is not None else x
            await self.pause(shape, number(payload))
            self.trip(shape, number(payload))
            return mapped(shape, payload)

        return annotated(step, TAKES[shape.takes], self.gives(shape), bare=shape.bare)

    def inline(self, shape: Shape) -> Function:
        """Write ``def … return``."""

        def step(x: Any) -> Any:
            self.trip(shape, number(x))
            return mapped(shape, x)

        return annotated(step, TAKES[shape.takes], self.gives(shape), bare=shape.bare)

    def enveloped(self, shape: Shape) -> Function:
        """Write a function that takes the message or the chunk itself."""

        async def step(x: Any) -> Any:
            self.check(x)
            await self.pause(shape, number(x.payload))
            self.trip(shape, number(x.payload))
            return mapped(shape, x.payload, x.seq if isinstance(x, Chunk) else 0)

        return annotated(step, Message if shape.form == "message" else Chunk, self.gives(shape))

    def calling(self, shape: Shape) -> Function:
        """Write a function that calls a flow of its own."""

        async def times(x: int) -> int:
            await anyio.lowlevel.checkpoint()
            return shape.factor * x

        def plus(x: int) -> int:
            return (x + shape.term) % MODULUS

        inner = Flow(f"{shape.name}-inner", node(times) >> node(plus))

        async def step(x: Any, ctx: Context) -> Any:
            self.check(ctx.message)
            await self.pause(shape, number(x))
            self.trip(shape, number(x))
            return await ctx.call(inner, number(x))

        return annotated(step, TAKES[shape.takes], int, context=True)

    def mapping(self, shape: Shape) -> Function:
        """Write a function that maps over parts, two at a time."""

        async def square(value: int) -> int:
            await self.pause(shape, value)
            return squared(value)

        async def step(x: Any, ctx: Context) -> Any:
            self.trip(shape, number(x))
            return folded(shape, await ctx.map(square, parts(shape, x), limit=2))

        return annotated(step, TAKES[shape.takes], int, context=True)

    def yielding(self, shape: Shape) -> Function:
        """Write ``async def … yield``."""

        async def step(x: Any) -> AsyncIterator[int]:
            given = parts(shape, x)
            for index, value in enumerate(given):
                if index == self.fails_after(shape):
                    self.trip(shape, number(x))
                await self.pause(shape, value)
                yield value
            if len(given) <= self.fails_after(shape):
                await self.pause(shape, number(x))
                self.trip(shape, number(x))

        return annotated(step, TAKES[shape.takes], AsyncIterator[int])

    def emitting(self, shape: Shape) -> Function:
        """Write a function that emits messages."""

        async def step(x: Any, ctx: Context) -> Any:
            self.check(ctx.message)
            self.trip(shape, number(x))
            for value in parts(shape, x):
                await self.pause(shape, value)
                to = successor(shape, value)
                try:
                    if value % 2:
                        raise WouldBlock
                    ctx.emit_nowait(value, to=to)
                except WouldBlock:
                    await ctx.emit(value, to=to)
            return mapped(shape, x) if shape.also else None

        return annotated(step, TAKES[shape.takes], int | None, context=True)

    def emitting_chunks(self, shape: Shape) -> Function:
        """Write a function that emits chunks, to its own stream or to one that it shares."""

        async def step(x: Any, ctx: Context) -> Any:
            stream_id = shared_id(shape, x) if shape.form == "shared" else None
            given = parts(shape, x)
            for index, value in enumerate(given):
                if index == self.fails_after(shape):
                    self.trip(shape, number(x))
                await self.pause(shape, value)
                last = index == len(given) - 1 and shape.fault is None
                await self.emit_chunk(ctx, value, stream_id, last=last)
            if len(given) <= self.fails_after(shape):
                self.trip(shape, number(x))
            return mapped(shape, x) if shape.also else None

        return annotated(step, TAKES[shape.takes], int | None, context=True)

    async def emit_chunk(self, ctx: Context, value: int, stream_id: str | None, *, last: bool) -> None:
        """Emit a chunk in one of the ways there are. If cancelled, it was not emitted."""
        done = last and value % 3 == 0 and stream_id is None and isinstance(ctx.message, Message)
        try:
            if value % 2:
                raise WouldBlock
            ctx.emit_chunk_nowait(value, stream_id=stream_id, done=done)
        except WouldBlock:
            await ctx.emit_chunk(value, stream_id=stream_id, done=done)

    def opening(self, shape: Shape) -> Function:
        """Write a function that opens streams, one or two side by side."""

        async def step(x: Any, ctx: Context) -> None:
            self.trip(shape, number(x))
            if shape.streams == 1:
                async with ctx.open_stream(window=shape.window) as only:
                    for value in parts(shape, x):
                        await self.pause(shape, value)
                        await only.send(value)
                return
            first, second = (f"{shape.name}-{next(self.opened)}" for _ in range(2))
            async with ctx.open_stream(first) as one, ctx.open_stream(second) as two:
                for value in parts(shape, x):
                    await self.pause(shape, value)
                    await one.send(value)
                    await two.send(value + 1)

        return annotated(step, TAKES[shape.takes], None, context=True)

    def spreading(self, shape: Shape) -> Function:
        """Write a function that returns a Spread."""

        async def step(x: Any) -> Spread[int]:
            await self.pause(shape, number(x))
            self.trip(shape, number(x))
            return Spread(iter(parts(shape, x)))

        return annotated(step, TAKES[shape.takes], Spread[int])

    def gathering(self, shape: Shape) -> Function:
        """Write a function that takes all parts of a spread."""

        async def step(x: Gathered[int]) -> Any:
            value = folded(shape, [number(part) for part in x])
            await self.pause(shape, value)
            self.trip(shape, value)
            return None if dropped(shape, value) else value

        async def generator(x: Gathered[int]) -> AsyncIterator[int]:
            value = await step(x)
            for part in [] if value is None else parts(shape, value):
                yield part

        if shape.yields:
            return annotated(generator, Gathered[int], AsyncIterator[int])
        return annotated(step, Gathered[int], self.gives(shape))

    async def drained(self, shape: Shape, stream: Stream[int]) -> list[int]:
        """Read a stream to its end. If cancelled, what was read is lost."""
        if shape.fault is not None and shape.fault.times is not None:
            self.trip(shape, 0)
        taken: list[int] = []
        async for x in stream:
            await self.pause(shape, x)
            if shape.fault is None or shape.fault.times is None:
                self.trip(shape, x)
            taken.append(x)
        return taken

    def folding(self, shape: Shape) -> Function:
        """Write a function that makes one message of a stream."""

        async def step(x: Stream[int]) -> int:
            return folded(shape, await self.drained(shape, x))

        return annotated(step, Stream[int], int)

    def streaming(self, shape: Shape) -> Function:
        """Write a function that makes a stream of a stream, as it comes."""

        async def step(x: Stream[int]) -> AsyncIterator[int]:
            if shape.fault is not None and shape.fault.times is not None:
                self.trip(shape, 0)
            taken: list[int] = []
            given = 0
            async for payload in x:
                await self.pause(shape, payload)
                if shape.fault is None or shape.fault.times is None:
                    self.trip(shape, payload)
                taken.append(payload)
                values = restreamed(shape, taken)
                for value in values[given:]:
                    yield value
                given = len(values)

        return annotated(step, Stream[int], AsyncIterator[int])

    def taking(self, shape: Shape) -> Function:
        """Write a function that reads the beginning of a stream and returns."""

        async def step(x: Stream[int]) -> AsyncIterator[int]:
            left = shape.parts
            async for payload in x:
                yield mapped(shape, payload)
                left -= 1
                if left == 0:
                    return

        return annotated(step, Stream[int], AsyncIterator[int])

    # -- joins

    def joining(self, shape: Shape) -> Function:
        """Write a function with a parameter for each slot."""
        hints: dict[str, Any] = {}
        for slot in shape.slots:
            kind: Any = Stream[int] if slot.stream else int
            hints[slot.name] = kind | None if slot.optional else kind
        parameters = [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=hint)
            for name, hint in hints.items()
        ]
        signature = inspect.Signature(parameters)

        async def step(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs).arguments
            early = shape.fault is not None and shape.fault.times is not None and shape.fault.divisor == 1
            if early:
                self.trip(shape, 0)
            values = await self.side_by_side([bound[slot.name] for slot in shape.slots])
            value = paired(shape, values)
            await self.pause(shape, value)
            if not early:
                self.trip(shape, value)
            return None if dropped(shape, value) else value

        async def generator(*args: Any, **kwargs: Any) -> AsyncIterator[int]:
            value = await step(*args, **kwargs)
            for part in [] if value is None else parts(shape, value):
                yield part

        written: Any = generator if shape.yields else step
        hints["return"] = AsyncIterator[int] if shape.yields else self.gives(shape)
        written.__annotations__ = hints
        written.__signature__ = signature
        return written  # type: ignore[no-any-return]

    async def side_by_side(self, values: Sequence[Any]) -> list[Any]:
        """Read all streams among the slots side by side (rule 2.5). If cancelled, what was read is lost."""
        read = list(values)
        errors: list[Exception] = []

        async def drain(index: int, stream: Stream[int]) -> None:
            try:
                read[index] = [x async for x in stream]
            except Exception as error:
                errors.append(error)

        if any(isinstance(value, Stream) for value in values):
            async with anyio.create_task_group() as group:
                for index, value in enumerate(values):
                    if isinstance(value, Stream):
                        group.start_soon(drain, index, value)
        if errors:
            raise errors[0]
        return read
