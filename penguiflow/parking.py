"""Parking: the only place that knows the event loop.

Owns how a task waits and is woken, how the runtime's own tasks are started and interrupted, and its timers.
Invariant: a wake-up is never lost, also when it comes before the wait; waking twice is waking once.

On asyncio a wait is a bare future (anyio's event is two to four times dearer) and an interruption is a native
``task.cancel()``, which is delivered once, so that a step's cleanup may wait. On trio a wait is the raw trap
and an interruption a cancel scope, with a second one inside that shields the cleanup. The tasks belong to the
loop, not to the caller: no scope of the runtime is ever open in a user's task (rule 3.9).
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import anyio


class Cancellable(Protocol):
    """Something that can be called off."""

    def cancel(self) -> object:
        """Call it off; harmless when it is over."""


class Parking(Protocol):
    """What the runtime needs of an event loop."""

    cancelled: type[BaseException]
    by_level: bool
    """Whether a cancellation is told at every wait inside a scope, not once to a task."""

    def waiter(self) -> Any:
        """Make something to await, once, until it is woken."""

    def wake(self, waiter: Any) -> None:
        """Wake whoever awaits a waiter, now or later."""

    def now(self) -> float:
        """Tell the time, in seconds, on the clock of the loop."""

    def later(self, delay: float, call: Callable[[], None]) -> Cancellable:
        """Call a function in ``delay`` seconds."""

    def spawn(self, main: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Start a task that belongs to the loop."""

    def task(self) -> Any:
        """Give the task that runs now."""

    def coroutine(self, task: Any) -> Any:
        """Give the coroutine that a task runs."""

    def interrupt(self, task: Any, scope: Any) -> None:
        """Cancel what a task does inside a scope."""

    def calm(self, task: Any) -> None:
        """Forget interruptions of the current task that have been dealt with."""

    def scope(self) -> AbstractContextManager[Any]:
        """Open what can be interrupted."""

    def resuming(self, value: Any, scopes: tuple[Any, ...]) -> None:
        """Look at what a task is resumed with, before it is; called where cancellation is by level."""

    def told(self, scopes: tuple[Any, ...]) -> None:
        """Take note that an interrupted task knows: what it does from now on in the scopes is cleanup."""

    def turn(self) -> Awaitable[None]:
        """Let everybody else run once."""

    def close(self) -> None:
        """End the timers."""


class AsyncioParking:
    """asyncio, also on uvloop."""

    cancelled: type[BaseException] = asyncio.CancelledError
    by_level = False

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.waiter = self._loop.create_future
        self.now = self._loop.time

    def wake(self, waiter: asyncio.Future[None]) -> None:
        """Wake whoever awaits a waiter, now or later."""
        if not waiter.done():
            waiter.set_result(None)

    def later(self, delay: float, call: Callable[[], None]) -> Cancellable:
        """Call a function in ``delay`` seconds."""
        return self._loop.call_later(delay, call, context=_EMPTY.copy())

    def spawn(self, main: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Start a task that belongs to the loop."""
        task = self._loop.create_task(main(), name=name, context=_EMPTY.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def task(self) -> asyncio.Task[Any] | None:
        """Give the task that runs now."""
        return asyncio.current_task()

    def coroutine(self, task: asyncio.Task[Any]) -> Any:
        """Give the coroutine that a task runs."""
        return task.get_coro()

    def interrupt(self, task: asyncio.Task[Any], scope: Any) -> None:
        """Cancel what a task does: delivered once, at its next wait."""
        task.cancel()

    def calm(self, task: asyncio.Task[Any]) -> None:
        """Forget interruptions of the current task that have been dealt with."""
        while task.cancelling():
            task.uncancel()

    def scope(self) -> AbstractContextManager[Any]:
        """Open nothing: a task is interrupted as it is."""
        return _NO_SCOPE

    def resuming(self, value: Any, scopes: tuple[Any, ...]) -> None:
        """Do nothing: an interruption is told once anyway."""

    def told(self, scopes: tuple[Any, ...]) -> None:
        """Do nothing: the same."""

    async def turn(self) -> None:
        """Let everybody else run once."""
        await asyncio.sleep(0)

    def close(self) -> None:
        """End nothing: the loop owns its timers."""


class TrioWaiter:
    """A wait for one task, on trio."""

    __slots__ = ("_task", "_woken")

    def __init__(self) -> None:
        self._task: Any = None
        self._woken = False

    def __await__(self) -> Generator[Any, Any, None]:
        if not self._woken:
            self._task = _trio().lowlevel.current_task()
            yield from _trio().lowlevel.wait_task_rescheduled(self._abort).__await__()

    def _abort(self, raise_cancel: Any) -> Any:
        self._task = None
        return _trio().lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        """Wake the task, or let its wait fall through."""
        self._woken = True
        lowlevel = _trio().lowlevel
        if self._task is not None and lowlevel.in_trio_task() and self._task is lowlevel.current_task():
            # it is on its way to sleep, and hands on what it has done: it can't be woken before it sleeps
            lowlevel.current_trio_token().run_sync_soon(self._reschedule)
        else:
            self._reschedule()

    def _reschedule(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            _trio().lowlevel.reschedule(task)


class TrioScope:
    """What can be interrupted, on trio.

    trio cancels by level: every wait in a cancelled scope is cut off. Under the scope that is cancelled lies
    one that is shielded as soon as the cancellation has been told, for as long as a cleanup may take.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, outer: Any, inner: Any) -> None:
        self._outer = outer
        self._inner = inner

    def cancel(self) -> None:
        """Interrupt what is inside; a second time, its cleanup as well."""
        if self._outer.cancel_called:
            self._inner.cancel()
        self._outer.cancel()

    def let_clean_up(self, deadline: float) -> None:
        """Shield what is inside until a deadline."""
        if self._outer.cancel_called and not self._inner.shield:
            self._inner.shield = True
            self._inner.deadline = deadline


class _TrioTimer:
    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class TrioParking:
    """trio, also under its virtual clock."""

    by_level = True

    def __init__(self, cleanup_timeout: float) -> None:
        trio = _trio()
        self._cleanup_timeout = cleanup_timeout
        self.cancelled: type[BaseException] = trio.Cancelled
        self._lowlevel = trio.lowlevel
        self._timers: list[tuple[float, int, _TrioTimer]] = []
        self._order = itertools.count()
        self._scope: Any = None
        self._closed = False
        self.waiter = TrioWaiter
        self.now: Callable[[], float] = trio.current_time

    def wake(self, waiter: TrioWaiter) -> None:
        """Wake whoever awaits a waiter, now or later."""
        waiter.wake()

    def later(self, delay: float, call: Callable[[], None]) -> Cancellable:
        """Call a function in ``delay`` seconds."""
        timer = _TrioTimer(call)
        if len(self._timers) > 64 and sum(entry[2].call is None for entry in self._timers) * 2 > len(
            self._timers
        ):
            self._timers = [entry for entry in self._timers if entry[2].call is not None]
            heapq.heapify(self._timers)
        heapq.heappush(self._timers, (self.now() + delay, next(self._order), timer))
        if self._scope is None:
            self._scope = _trio().CancelScope()
            self.spawn(self._run_timers, "penguiflow timers")
        elif self._timers[0][2] is timer:
            self._scope.cancel()
        return timer

    async def _run_timers(self) -> None:
        while self._timers and not self._closed:
            with self._scope:
                await _trio().sleep_until(self._timers[0][0])
            self._scope = _trio().CancelScope()
            while self._timers and (self._timers[0][0] <= self.now() or self._timers[0][2].call is None):
                call = heapq.heappop(self._timers)[2].call
                if call is not None and not self._closed:
                    call()
        self._scope = None

    def spawn(self, main: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Start a task that belongs to the loop."""
        self._lowlevel.spawn_system_task(main, name=name, context=_EMPTY.copy())

    def task(self) -> Any:
        """Give the task that runs now."""
        return self._lowlevel.current_task()

    def coroutine(self, task: Any) -> Any:
        """Give the coroutine that a task runs."""
        return task.coro

    def interrupt(self, task: Any, scope: Any) -> None:
        """Cancel the scope that a task works in."""
        if scope is not None:
            scope.cancel()

    def calm(self, task: Any) -> None:
        """Forget nothing: a scope ends with its interruption."""

    @contextmanager
    def scope(self) -> Iterator[TrioScope]:
        """Open what can be interrupted, and then shielded, so that its cleanup may wait."""
        with _trio().CancelScope() as outer, _trio().CancelScope() as inner:
            yield TrioScope(outer, inner)

    def resuming(self, value: Any, scopes: tuple[Any, ...]) -> None:
        """Let the cleanup of an interrupted step wait: it is told once, and then shielded for a while."""
        if isinstance(getattr(value, "error", None), self.cancelled):
            self.told(scopes)

    def told(self, scopes: tuple[Any, ...]) -> None:
        """Let the cleanup of an interrupted step wait for a while."""
        for scope in scopes:
            if scope is not None:
                scope.let_clean_up(self.now() + self._cleanup_timeout)

    async def turn(self) -> None:
        """Let everybody else run once."""
        await self._lowlevel.cancel_shielded_checkpoint()

    def close(self) -> None:
        """End the timers."""
        self._closed = True
        if self._scope is not None:
            self._scope.cancel()


_NO_SCOPE: AbstractContextManager[Any] = nullcontext()
_EMPTY = contextvars.Context()


def _trio() -> Any:
    """Give trio, which is loaded when a loop of it runs."""
    return sys.modules["trio"]


def current_parking(cleanup_timeout: float) -> Parking:
    """Give the parking of the loop that runs now.

    Args:
        cleanup_timeout: how many seconds the cleanup of an interrupted step may wait.
    """
    if issubclass(anyio.get_cancelled_exc_class(), asyncio.CancelledError):
        return AsyncioParking()
    return TrioParking(cleanup_timeout)


async def outlast(
    parking: Parking, wait: Callable[[], Awaitable[None]], over: Callable[[], bool], patience: float
) -> None:
    """Wait until something is over.

    If cancelled, it waits on for ``patience`` seconds at most, and the cancellation comes behind it.
    """
    cancellation: BaseException | None = None
    with anyio.CancelScope(shield=True) as scope:
        while not over() and not scope.cancel_called:
            try:
                await wait()
            except parking.cancelled as exc:  # a native one of asyncio, which no shield keeps off
                if cancellation is None:
                    cancellation = exc
                    scope.deadline = anyio.current_time() + patience
    if cancellation is not None:
        raise cancellation


async def absorb(parking: Parking, task: Any) -> None:
    """Let an interruption that was not delivered hit nothing.

    If cancelled from outside, the same happens: whoever cancels says it again.
    """
    try:
        await parking.turn()
    except parking.cancelled:
        parking.calm(task)
    finally:
        parking.calm(task)
