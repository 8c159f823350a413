"""Control: commands that overtake data.

Owns how a command reaches a node while it is busy. Invariant (rule 2.6): commands need no credit, keep their
own order, and are there before the data that was sent after them. Knows not what a command does, only which
ones make no sense: what the runtime itself carries out, a run does.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import anyio

from .given import check_text
from .items import Control
from .parking import Parking

if TYPE_CHECKING:
    from .plan import Plan


def as_control(kind: str | Control, payload: Any, node: str | None, stream_id: str | None) -> Control:
    """Make a command of its parts, if it is not one already."""
    if isinstance(kind, Control):
        return kind
    return Control(kind, payload, node, stream_id)


def check_control(control: Control, plan: Plan) -> None:
    """Refuse a command that makes no sense for a flow; a stream that it names may be over, or not begun.

    Raises:
        TypeError: a part of it that is to be a str is none.
        ValueError: its kind is empty, its node is not in the flow, or a node or stream is to be paused.
    """
    kind, node, stream_id = control.kind, control.node, control.stream_id
    if not isinstance(kind, str):
        raise TypeError(f"control(kind={kind!r}): a str is needed, or a Control")
    if not kind:
        raise ValueError("control(kind=''): a kind is not empty")
    check_text("to", node)
    check_text("stream_id", stream_id)
    sites = plan.sites[1:]
    if node is not None and not any(node in (site.key, site.name) for site in sites):
        names = ", ".join(site.key for site in sites)
        raise ValueError(f"control({kind!r}, to={node!r}): there is no such node; there are {names}")
    if kind in ("pause", "resume") and (node is not None or stream_id is not None):
        raise ValueError(
            f"control({kind!r}) with to= or stream_id=: a run is paused as a whole; leave them out"
        )


class Controls:
    """The commands that reach one step: ``async for control in ctx.controls()``; ends with the run."""

    __slots__ = ("_closed", "_parking", "_pending", "_waiters")

    def __init__(self, parking: Parking) -> None:
        self._parking = parking
        self._pending: deque[Control] = deque()
        self._waiters: list[Any] = []
        self._closed = False

    def deliver(self, control: Control) -> None:
        """Add a command, and wake who waits for one."""
        self._pending.append(control)
        self._wake()

    def close(self) -> None:
        """End: no command will come any more."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            self._parking.wake(waiter)

    def next_nowait(self) -> Control:
        """Take the next command, or raise `anyio.WouldBlock` where there is none."""
        if not self._pending:
            raise anyio.WouldBlock("no command waits")
        return self._pending.popleft()

    def __aiter__(self) -> Controls:
        return self

    async def __anext__(self) -> Control:
        """Take the next command. If cancelled, nothing was taken."""
        while not self._pending:
            if self._closed:
                raise StopAsyncIteration
            waiter = self._parking.waiter()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return self._pending.popleft()
