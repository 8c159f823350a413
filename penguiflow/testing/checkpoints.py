"""Checkpoints: counting them, and cancelling at each in turn.

Owns the counting of a coroutine's checkpoints: the moments at which it gives control to the event loop.
Invariant: the coroutine runs in the caller's task and is driven to its end; nothing but a cancellation is
done to it. Works on asyncio and on trio; knows nothing of the package.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

import anyio

T = TypeVar("T")

MOST = 10_000


class Counted(Generic[T]):
    """A coroutine whose checkpoints are counted while it is awaited.

    Args:
        coroutine: what to run.
        reached: called with the number of each checkpoint, counted from 1, when the coroutine gives control
            to the event loop there.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], reached: Callable[[int], None]) -> None:
        self.coroutine = coroutine
        self.reached = reached
        self.count: int = 0

    def __await__(self) -> Generator[Any, Any, T]:
        """Drive the coroutine to its end."""
        send: Callable[[Any], Any] = self.coroutine.send
        given: Any = None
        while True:
            try:
                trap = send(given)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.count += 1
            try:
                self.reached(self.count)
                given = yield trap
                send = self.coroutine.send
            except BaseException as error:
                given, send = error, self.coroutine.throw


async def count_checkpoints(function: Callable[[], Coroutine[Any, Any, object]]) -> int:
    """Run a coroutine function and give the number of its checkpoints. If cancelled, so is the function."""
    counted = Counted(function(), lambda _: None)
    await counted
    return counted.count


async def cancel_at_every_checkpoint(
    function: Callable[[], Coroutine[Any, Any, T]],
    check: Callable[[int], Awaitable[object]] | None = None,
) -> tuple[T, int]:
    """Run a coroutine function again and again, cancelled at checkpoint 1, 2, 3 …, until it completes.

    Args:
        function: gives a new coroutine for each round.
        check: awaited after each cancelled round, with the number of the checkpoint: say there what must be
            true then, such as that nothing was lost.

    Returns:
        The result of the round that completed, and how many rounds were cancelled before it.

    Raises:
        AssertionError: it does not complete within 10,000 checkpoints.

    Any exception but the cancellation comes out as it is. If cancelled from outside, so is the round.
    """
    for number in range(1, MOST + 1):
        with anyio.CancelScope() as scope:
            return await _cancelled_at(function(), number, scope), number - 1
        if check is not None:
            await check(number)
    raise AssertionError(f"{function!r} did not complete within {MOST} checkpoints")


async def _cancelled_at(coroutine: Coroutine[Any, Any, T], number: int, scope: anyio.CancelScope) -> T:
    """Await a coroutine, cancelling the scope at one checkpoint."""

    def reached(count: int) -> None:
        if count == number:
            scope.cancel()

    return await Counted(coroutine, reached)
