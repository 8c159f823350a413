"""Waking: how a task waits for what a thread does, on asyncio and on trio.

Owns the way from a thread back to an event loop. Invariant: a wait ends when its job is done, or when the
task is cancelled, whichever is first; nothing of a loop is touched in another thread. (`anyio` knows this way
only with the thread waiting for the loop, which would cost it as long again.)
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import anyio


class Waiter(Protocol):
    """One wait of one task."""

    def loop(self) -> object:
        """Give what tells its loop from others."""

    def wake(self) -> None:
        """End the wait; called in the loop."""

    def soon(self, call: Callable[..., object], *args: Any) -> None:
        """Let the loop call something; called in any thread.

        Raises:
            RuntimeError: the loop has ended.
        """

    async def wait(self) -> None:
        """Wait until woken."""


class AsyncioWaiter:
    """A wait on asyncio."""

    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()

    def loop(self) -> object:
        """Give the loop."""
        return self._loop

    def wake(self) -> None:
        """End the wait."""
        if not self._future.done():
            self._future.set_result(None)

    def soon(self, call: Callable[..., object], *args: Any) -> None:
        """Let the loop call something."""
        self._loop.call_soon_threadsafe(call, *args)

    async def wait(self) -> None:
        """Wait until woken."""
        await self._future


class TrioWaiter:
    """A wait on trio. A task that is not woken before it waits is woken there."""

    __slots__ = ("_lowlevel", "_task", "_token", "_woken")

    def __init__(self) -> None:
        self._lowlevel: Any = sys.modules["trio"].lowlevel
        self._token: Any = self._lowlevel.current_trio_token()
        self._task: Any = None
        self._woken = False

    def loop(self) -> object:
        """Give the token of the loop."""
        return self._token

    def wake(self) -> None:
        """End the wait."""
        self._woken = True
        task, self._task = self._task, None
        if task is not None:
            self._lowlevel.reschedule(task)

    def soon(self, call: Callable[..., object], *args: Any) -> None:
        """Let the loop call something."""
        self._token.run_sync_soon(call, *args)

    async def wait(self) -> None:
        """Wait until woken."""
        if not self._woken:
            self._task = self._lowlevel.current_task()
            await self._lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: Any) -> Any:
        self._task = None
        return self._lowlevel.Abort.SUCCEEDED


def waiter() -> Waiter:
    """Make a wait for the task that runs now."""
    if issubclass(anyio.get_cancelled_exc_class(), asyncio.CancelledError):
        return AsyncioWaiter()
    return TrioWaiter()


def wake_all(waiters: Sequence[Waiter]) -> None:
    """Wake tasks from another thread, those of one loop with one call."""
    by_loop: dict[object, list[Waiter]] = {}
    for waiting in waiters:
        by_loop.setdefault(waiting.loop(), []).append(waiting)
    for those in by_loop.values():
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            those[0].soon(_wake, those)


def _wake(waiters: Sequence[Waiter]) -> None:
    for waiting in waiters:
        waiting.wake()
