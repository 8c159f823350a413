"""Feeding: a source outside, whose items become durable runs.

Owns the way from a source to its runs and back to its positions. Invariants (rule 5.4): an item is a run
whose id says which item of which source it is, so one that is delivered again is not run again; a position is
committed when its run and all before it are over, in order; so many runs are under way at most.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import anyio

from .errors import FlowError, JournalError, RunRejected
from .positions import Positions
from .run import Run

if TYPE_CHECKING:
    from .runtime import Runtime

T = TypeVar("T")
P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Positioned(Generic[T, P]):
    """An item of a source, and its place there: anything that `str` tells from every other one."""

    payload: T
    position: P


class Source(Protocol[P]):
    """Where items come from that are there again until they are committed: a broker, a table, a file."""

    name: str
    """Tells the source from every other one of the flow; the same whenever it is opened."""

    def __aiter__(self) -> AsyncIterator[Positioned[Any, P]]:
        """Give the items from the last position that was committed on."""

    async def commit(self, position: P) -> None:
        """Give up everything up to a position: it need not be given again.

        If cancelled, it was committed or not.
        """


@dataclass(slots=True)
class Feeding(Generic[P]):
    """One source on its way through a runtime.

    Args:
        runtime: the open flow.
        source: the source.
        limit: how many of its runs may be under way.
        skips: whether what has failed is given up; else the source stops there.
    """

    runtime: Runtime
    source: Source[P]
    limit: int
    skips: bool

    async def feed(self) -> None:
        """Feed all of the source; see `penguiflow.Runtime.feed`.

        If cancelled, the runs go on, and what was not committed is given again.
        """
        positions: Positions[P] = Positions()
        room = anyio.Semaphore(self.limit)
        committing = anyio.Lock()

        async def follow(item: Positioned[Any, P], number: int) -> None:
            try:
                await self._over(item)
            finally:
                room.release()
            async with committing:
                ready = positions.settle(number)
                if ready:
                    await self.source.commit(ready[-1])

        try:
            async with anyio.create_task_group() as group:
                async for item in self.source:
                    await room.acquire()
                    group.start_soon(follow, item, positions.take(item.position))
        except BaseExceptionGroup as exc:
            raise _first_of(exc) from None

    async def _over(self, item: Positioned[Any, P]) -> None:
        """Run an item, or find its run, and wait until that is over."""
        try:
            run = await self._begin(item, f"{self.source.name}:{item.position}")
            await run.result()
        except JournalError:
            raise
        except FlowError as exc:
            is_closing = isinstance(exc, RunRejected) and self.runtime._engine.state != "open"
            if is_closing or not self.skips:
                raise

    async def _begin(self, item: Positioned[Any, P], run_id: str) -> Run:
        try:
            with anyio.CancelScope(shield=True):  # who is cancelled here would not know whether it was begun
                run = await self.runtime.start(item.payload, run_id=run_id)
        except RunRejected as rejected:
            try:
                run = await self.runtime.attach(run_id)
            except JournalError:
                raise rejected from None
        return run


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Give the first error of a group that is none itself."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
