"""The functions of a random flow that take several items: parts, whole streams, the slots of a join.

Owns one writer per form. Invariant: what a function computes comes from `shapes`, how it behaves from
`Conduct`. Knows nothing of edges, and nothing of what is expected.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio

from penguiflow import Gathered, Stream

from .conduct import Conduct, Function, annotated, gives
from .shapes import Shape, dropped, folded, mapped, number, paired, parts, restreamed


def gathering(conduct: Conduct, shape: Shape) -> Function:
    """Write a function that takes all parts of a spread."""

    async def step(x: Gathered[int]) -> Any:
        value = folded(shape, [number(part) for part in x])
        await conduct.pause(shape, value)
        conduct.trip(shape, value)
        return None if dropped(shape, value) else value

    async def generator(x: Gathered[int]) -> AsyncIterator[int]:
        value = await step(x)
        for part in [] if value is None else parts(shape, value):
            yield part

    if shape.yields:
        return annotated(generator, Gathered[int], AsyncIterator[int])
    return annotated(step, Gathered[int], gives(shape))


async def drained(conduct: Conduct, shape: Shape, stream: Stream[int]) -> list[int]:
    """Read a stream to its end. If cancelled, what was read is lost."""
    if shape.fault is not None and shape.fault.times is not None:
        conduct.trip(shape, 0)
    taken: list[int] = []
    async for x in stream:
        await conduct.pause(shape, x)
        if shape.fault is None or shape.fault.times is None:
            conduct.trip(shape, x)
        taken.append(x)
    return taken


def folding(conduct: Conduct, shape: Shape) -> Function:
    """Write a function that makes one message of a stream."""

    async def step(x: Stream[int]) -> int:
        return folded(shape, await drained(conduct, shape, x))

    return annotated(step, Stream[int], int)


def streaming(conduct: Conduct, shape: Shape) -> Function:
    """Write a function that makes a stream of a stream, as it comes."""

    async def step(x: Stream[int]) -> AsyncIterator[int]:
        if shape.fault is not None and shape.fault.times is not None:
            conduct.trip(shape, 0)
        taken: list[int] = []
        given = 0
        async for payload in x:
            await conduct.pause(shape, payload)
            if shape.fault is None or shape.fault.times is None:
                conduct.trip(shape, payload)
            taken.append(payload)
            values = restreamed(shape, taken)
            for value in values[given:]:
                yield value
            given = len(values)

    return annotated(step, Stream[int], AsyncIterator[int])


def taking(conduct: Conduct, shape: Shape) -> Function:
    """Write a function that reads the beginning of a stream and returns."""

    async def step(x: Stream[int]) -> AsyncIterator[int]:
        left = shape.parts
        async for payload in x:
            yield mapped(shape, payload)
            left -= 1
            if left == 0:
                return

    return annotated(step, Stream[int], AsyncIterator[int])


def joining(conduct: Conduct, shape: Shape) -> Function:
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
            conduct.trip(shape, 0)
        values = await side_by_side([bound[slot.name] for slot in shape.slots])
        value = paired(shape, values)
        await conduct.pause(shape, value)
        if not early:
            conduct.trip(shape, value)
        return None if dropped(shape, value) else value

    async def generator(*args: Any, **kwargs: Any) -> AsyncIterator[int]:
        value = await step(*args, **kwargs)
        for part in [] if value is None else parts(shape, value):
            yield part

    written: Any = generator if shape.yields else step
    hints["return"] = AsyncIterator[int] if shape.yields else gives(shape)
    written.__annotations__ = hints
    written.__signature__ = signature
    return written  # type: ignore[no-any-return]


async def side_by_side(values: Sequence[Any]) -> list[Any]:
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
