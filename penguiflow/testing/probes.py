"""Probes: the two ends of a flow, and a place inside it, driven by hand.

Owns what a test holds on to: `SourceProbe` gives items when it is told to and says how many were asked for;
`SinkProbe` reads a run only when it is told to, which is credit by hand; `GateProbe` lets the steps of a node
go one by one. Invariant: a probe does nothing of its own accord, so that what is seen is the flow's doing.
Knows only the public API.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

import anyio

from penguiflow import Chunk, ClosedResourceError, EndOfStream, Message, Node, Run, WouldBlock, node, source

T = TypeVar("T")
Item = Message[Any] | Chunk[Any]


class Signal:
    """A condition that many may wait for: something has changed."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wake all who wait; they look again."""
        event, self._event = self._event, anyio.Event()
        event.set()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Return when a condition holds. If cancelled, nothing was taken."""
        while not holds():
            await self._event.wait()


class SourceProbe(Generic[T]):
    """An async iterable whose items a test pushes; the input of a run, or a source of a flow.

    Each `send` waits until somebody asks for the item, so that ``taken`` tells how much credit the flow has
    given. It is iterated once.

    Attributes:
        asked: how many items were asked for, the one that is being waited for included.
        taken: how many were handed over.
        closed: whether the flow has left the iteration: read to the end, or closed early.
    """

    def __init__(self) -> None:
        self.asked: int = 0
        self.taken: int = 0
        self.closed: bool = False
        self._ready: deque[Callable[[], T]] = deque()
        self._iterated = False
        self._changed = Signal()

    def __aiter__(self) -> AsyncIterator[T]:
        """Begin the one iteration."""
        if self._iterated:
            raise RuntimeError("a SourceProbe is iterated once")
        self._iterated = True
        return self._items()

    async def _items(self) -> AsyncIterator[T]:
        try:
            while True:
                self.asked += 1
                self._changed.notify()
                await self._changed.wait_until(lambda: bool(self._ready))
                try:
                    item = self._ready.popleft()()
                except EndOfStream:
                    return
                self.taken += 1
                self._changed.notify()
                yield item
        finally:
            self.closed = True
            self._changed.notify()

    def as_source(self, name: str = "probe") -> Node[..., Any]:
        """Make a source node of the probe: it gives the pushed items as the stream of a run of its own."""

        async def items() -> AsyncIterator[Any]:
            async for item in self:
                yield item

        return source(name=name)(items)

    @property
    def wanted(self) -> int:
        """How many items are asked for and not there yet: 0 or 1."""
        return 0 if self.closed else self.asked - self.taken

    def send_nowait(self, item: T) -> None:
        """Hand an item over to who asks for it now.

        Raises:
            WouldBlock: nobody does.
            ClosedResourceError: nobody ever will.
        """
        if self.closed:
            raise ClosedResourceError
        if self.wanted <= len(self._ready):
            raise WouldBlock
        self._push(lambda: item)

    async def send(self, item: T) -> None:
        """Wait until the item is asked for and hand it over. If cancelled, it was not handed over.

        Raises:
            ClosedResourceError: the flow has left the iteration.
        """

        def give() -> T:
            return item

        self._push(give)
        try:
            await self._changed.wait_until(lambda: self.closed or give not in self._ready)
        finally:
            refused = give in self._ready
            if refused:
                self._ready.remove(give)
        if refused:
            raise ClosedResourceError

    def fail(self, error: BaseException) -> None:
        """Raise in the flow, behind the items that were pushed."""

        def raised() -> T:
            raise error

        self._push(raised)

    def end(self) -> None:
        """End the iteration, behind the items that were pushed."""

        def ended() -> T:
            raise EndOfStream

        self._push(ended)

    def _push(self, give: Callable[[], T]) -> None:
        self._ready.append(give)
        self._changed.notify()

    async def wait_asked(self, count: int) -> None:
        """Return when so many items were asked for, or the flow has left. If cancelled, nothing was taken."""
        await self._changed.wait_until(lambda: self.closed or self.asked >= count)

    async def wait_closed(self) -> None:
        """Return when the flow has left the iteration. If cancelled, nothing was taken."""
        await self._changed.wait_until(lambda: self.closed)

    def __repr__(self) -> str:
        return f"<source probe {self.taken} taken, {self.asked} asked{', closed' if self.closed else ''}>"


class SinkProbe:
    """A reader of a run that reads only when it is told to.

    Args:
        run: the run; the probe is its one reader.
        events: whether to read openings and terminals of streams, too.

    Attributes:
        items: all that was read.
        ended: whether the run has ended, and everything was read.
    """

    def __init__(self, run: Run, *, events: bool = False) -> None:
        self.run = run
        self.items: list[Any] = []
        self.ended: bool = False
        self._iterator: AsyncIterator[Any] = aiter(run.events() if events else run)

    async def take(self, count: int = 1) -> list[Any]:
        """Read so many items, fewer where the run ends before. If cancelled, what was read is in ``items``.

        Whatever the run raises comes out as it is.
        """
        taken: list[Any] = []
        while len(taken) < count and not self.ended:
            try:
                item = await anext(self._iterator)
            except StopAsyncIteration:
                self.ended = True
                break
            taken.append(item)
            self.items.append(item)
        return taken

    async def payloads(self, count: int = 1) -> list[Any]:
        """Read so many items and give their payloads. If cancelled, what was read is in ``items``."""
        return [item.payload for item in await self.take(count)]

    async def rest(self) -> list[Any]:
        """Read to the end of the run. If cancelled, what was read is in ``items``."""
        before = len(self.items)
        while not self.ended:
            await self.take()
        return self.items[before:]

    def __repr__(self) -> str:
        return f"<sink probe of run {self.run.id}, {len(self.items)} read{', ended' if self.ended else ''}>"


class Turn:
    """One step at a gate: whether it may go, and with which error."""

    __slots__ = ("admitted", "error")

    def __init__(self) -> None:
        self.admitted: bool = False
        self.error: BaseException | None = None


class GateProbe:
    """A node whose steps wait until a test lets them go, in the order in which they came.

    Use ``gate.node`` in a flow; it hands items on as they are, or what ``compute`` makes of them.

    Args:
        name: the name of the node.
        compute: what becomes of a payload.
        concurrency: how many steps may stand at the gate at the same time.

    Attributes:
        entered: the payloads of all steps that came, in order.
        passed: the payloads of all steps that went on, in order.
        cancelled: the payloads of all steps that were cancelled at the gate.
    """

    def __init__(
        self, name: str = "gate", compute: Callable[[Any], Any] | None = None, *, concurrency: int = 16
    ) -> None:
        self.entered: list[Any] = []
        self.passed: list[Any] = []
        self.cancelled: list[Any] = []
        self._compute = compute
        self._waiting: deque[Turn] = deque()
        self._passes: deque[BaseException | None] = deque()
        self._open = False
        self._changed = Signal()
        self.node: Node[..., Any] = node(self._step, name=name, concurrency=concurrency)

    async def _step(self, item: Any) -> Any:
        turn = Turn()
        self._waiting.append(turn)
        self.entered.append(item)
        self._admit()
        self._changed.notify()
        try:
            await self._changed.wait_until(lambda: turn.admitted)
        except BaseException:
            self._forget(turn)
            self.cancelled.append(item)
            raise
        self.passed.append(item)
        self._changed.notify()
        if turn.error is not None:
            raise turn.error
        return item if self._compute is None else self._compute(item)

    def _admit(self) -> None:
        while self._waiting and (self._passes or self._open):
            turn = self._waiting.popleft()
            turn.error = self._passes.popleft() if self._passes else None
            turn.admitted = True

    def _forget(self, turn: Turn) -> None:
        """Take a cancelled step out of the row; the pass that it held goes to the next."""
        if turn.admitted:
            self._passes.appendleft(turn.error)
            self._admit()
            self._changed.notify()
        else:
            self._waiting.remove(turn)

    @property
    def active(self) -> int:
        """How many steps stand at the gate."""
        return len(self._waiting)

    def let(self, count: int = 1) -> None:
        """Let so many steps go, those that come later included."""
        self._passes.extend([None] * count)
        self._admit()
        self._changed.notify()

    def fail(self, error: BaseException) -> None:
        """Let one step go by raising in it."""
        self._passes.append(error)
        self._admit()
        self._changed.notify()

    def open(self) -> None:
        """Let all steps go from now on."""
        self._open = True
        self._admit()
        self._changed.notify()

    async def wait_entered(self, count: int) -> None:
        """Return when so many steps have come in all. If cancelled, nothing was let go."""
        await self._changed.wait_until(lambda: len(self.entered) >= count)

    async def wait_passed(self, count: int) -> None:
        """Return when so many steps have gone on in all. If cancelled, nothing was let go."""
        await self._changed.wait_until(lambda: len(self.passed) >= count)

    def __repr__(self) -> str:
        return f"<gate {self.node.name}: {self.active} waiting, {len(self.passed)} passed>"
