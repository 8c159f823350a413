"""Mapping: calls of a step that run side by side (`Context.map`).

Owns the tasks of these calls. Invariant: when `run_side_by_side` returns or raises, all of them have ended;
the first error is the only one that comes out, never a group, and never lost, also where it is a cancellation
that a call has caused itself (rules 3.3, 3.6). Cleanup may wait, as that of a step may: for the cleanup
timeout, in each call and in the step (rule 3.2).
"""

from __future__ import annotations

import math
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from typing import Any, TypeVar

import anyio

from .parking import Parking

T = TypeVar("T")
R = TypeVar("R")


async def run_side_by_side(
    function: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int, parking: Parking, patience: float
) -> list[R]:
    """Call an async function on each item, ``limit`` at a time; give the results in order.

    Args:
        function: what to call.
        items: what to call it on; read as calls end.
        limit: how many calls may be under way.
        parking: the event loop.
        patience: how many seconds the cleanup of a cancelled call may wait.

    The first error cancels the other calls and is raised as it is. If cancelled, all calls are, and it ends
    when they have.
    """
    calls = _Calls(function, items, parking, patience)
    stopped: BaseException | None = None
    async with anyio.create_task_group() as group:
        calls.stop = group.cancel_scope.cancel
        for _ in range(limit):
            group.start_soon(calls.work)
        try:
            await calls.all_ended(limit)
        except BaseException as exc:  # told here, where the step's own cleanup is given its time
            stopped = calls.error or exc  # whichever came first
            group.cancel_scope.cancel()
    stopped = stopped or calls.error
    if stopped is not None:
        raise stopped
    return [calls.results[index] for index in sorted(calls.results)]


class _Calls:
    """The calls of one mapping."""

    def __init__(
        self, function: Callable[..., Awaitable[Any]], items: Iterable[Any], parking: Parking, patience: float
    ) -> None:
        self.error: BaseException | None = None
        self.results: dict[int, Any] = {}
        self.stop: Callable[[], None] = _nothing
        self._ended = 0
        self._function = function
        self._one_ended = anyio.Event()
        self._parking = parking
        self._patience = patience
        self._pending: Iterator[tuple[int, Any]] = iter(enumerate(items))

    async def all_ended(self, count: int) -> None:
        """Wait until so many workers have ended. If cancelled, nothing is changed."""
        while self._ended < count:
            await self._one_ended.wait()
            self._one_ended = anyio.Event()

    async def work(self) -> None:
        """Make one call after the other. If cancelled, the call under way is."""
        try:
            with anyio.CancelScope() as scope:
                await _told_once(self._calls(), scope, self._parking, self._patience)
        finally:
            self._ended += 1
            self._one_ended.set()

    async def _calls(self) -> None:
        try:
            for index, item in self._pending:
                self.results[index] = await self._function(item)
        except GeneratorExit:
            raise
        except BaseException as exc:
            if isinstance(exc, self._parking.cancelled) and _is_cancelled():
                raise
            if self.error is None:
                self.error = exc
            self.stop()


def _nothing() -> None:
    """Stop nothing: nothing has begun."""


def _is_cancelled() -> bool:
    """Say whether the task that runs now is cancelled by a scope that it is in."""
    return anyio.current_effective_deadline() == -math.inf


@types.coroutine
def _told_once(
    coroutine: Coroutine[Any, Any, None], scope: anyio.CancelScope, parking: Parking, patience: float
) -> Generator[Any, Any, None]:
    """Run a coroutine in a scope that is shielded, for a while, as soon as it was told a cancellation."""
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            trap = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration:
            return
        value = error = None
        try:
            value = yield trap
        except BaseException as exc:
            error = exc
        told = error if error is not None else getattr(value, "error", None)
        if isinstance(told, parking.cancelled) and not scope.shield:
            _shield(scope, parking.now() + patience)


def _shield(scope: anyio.CancelScope, deadline: float) -> None:
    """Shield a scope from a cancellation that comes from outside of it, not from a scope inside."""
    if not _is_cancelled():
        return  # told by what was awaited: the call has caused it itself
    scope.shield = True
    if _is_cancelled():
        scope.shield = False
    else:
        scope.deadline = deadline
