"""Checkpoints: counting them, and cancelling at each in turn.

Owns the counting of a coroutine's checkpoints: the moments at which it gives control to the event loop.
Invariant: the coroutine runs in the caller's task and is driven to its end; nothing but a cancellation is
done to it. Works on asyncio and on trio; knows nothing of the package.
"""

from __future__ import annotations

import asyncio
import math
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


class Strike:
    """One cancellation, which comes at one checkpoint of what runs under it.

    What is cancelled is a scope around it, so that it is told again wherever it waits later and is not
    shielded, as anyio does it. On asyncio, anyio alone tells nothing to a task whose wake-up is already due:
    there the first telling is a `Task.cancel` in the moment in which the task gives control away, and what it
    waits for, done or not, ends in a `CancelledError`.

    Args:
        at: which checkpoint, counted from 1; where that one is shielded, it is the next that is not.

    Attributes:
        count: how many checkpoints were reached.
        told: the cancellation, once it has come out of what ran.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self.count: int = 0
        self.told: BaseException | None = None
        self._scope = anyio.CancelScope()
        self._task: asyncio.Task[Any] | None = None
        self._requested = False

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> list[T]:
        """Await a coroutine and strike it; give its result, or nothing where it was cancelled.

        What it raises comes out as it is, a cancellation from outside, too.
        """
        if anyio.get_cancelled_exc_class() is asyncio.CancelledError:
            self._task = asyncio.current_task()
        before = 0 if self._task is None else self._task.cancelling()
        try:
            with self._scope:
                return [await self._noting(coroutine)]
        except asyncio.CancelledError:
            if not self._take_back(before):
                raise
        finally:
            self._take_back(before)
        return []

    async def _noting(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine, and note the cancellation that comes out of it."""
        try:
            return await Counted(coroutine, self._reached)
        except anyio.get_cancelled_exc_class() as cancelled:
            self.told = cancelled
            raise

    def _reached(self, count: int) -> None:
        self.count = count
        if count < self.at:
            return
        self._scope.cancel()
        shielded = anyio.current_effective_deadline() > -math.inf
        if self._task is not None and not self._requested and not shielded:
            self._requested = True
            self._task.cancel()

    def _take_back(self, before: int) -> bool:
        """Take our request to cancel back from the task, once; say whether it was the only one."""
        if self._task is None or not self._requested:
            return False
        self._requested = False
        if self._task.cancelling() > before:
            self._task.uncancel()
        return self._task.cancelling() <= before


async def count_checkpoints(function: Callable[[], Coroutine[Any, Any, object]]) -> int:
    """Run a coroutine function and give the number of its checkpoints. If cancelled, so is the function."""
    counted = Counted(function(), lambda _: None)
    await counted
    return counted.count


async def cancel_at_every_checkpoint(
    function: Callable[[], Coroutine[Any, Any, T]],
    check: Callable[[int], Awaitable[object]] | None = None,
) -> tuple[T, int]:
    """Run a coroutine function again and again, cancelled at checkpoint 1, 2, 3 …, until there are no more.

    A checkpoint is a moment in which the function's own task gives control to the event loop; tasks that it
    starts have their own. On trio a scope around the function is cancelled in that moment, on asyncio the
    task itself is, too, by `Task.cancel`: so it is told even where what it waits for has already come. On
    both it is told again wherever the function waits later. A shield holds: a shielded checkpoint is passed,
    and the next that is not shielded is cancelled. A round that completes in spite of its cancellation counts
    as cancelled; the last round is the one that has too few checkpoints to be cancelled at all.

    Args:
        function: gives a new coroutine for each round.
        check: awaited after each cancelled round, with the number of the checkpoint: say there what must be
            true then, such as that nothing was lost.

    Returns:
        The result of the last round, and how many rounds were cancelled before it.

    Raises:
        AssertionError: after 10,000 rounds there are still more checkpoints.

    Any exception but the cancellation comes out as it is. If cancelled from outside, so is the round.
    """
    for number in range(1, MOST + 1):
        strike = Strike(number)
        result = await strike.run(function())
        if strike.count < number:
            return result[0], number - 1
        if check is not None:
            await check(number)
    raise AssertionError(f"{function!r} has more than {MOST} checkpoints, or more each time")
