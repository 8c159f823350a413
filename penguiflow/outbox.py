"""The outbox: what leaves a run, in order, for its reader.

Owns delivery. Invariant: an item's credit is home when the reader has taken it; what was emitted before an
error comes before the error; after `cancel` nothing is delivered (rules 3.3, 3.8). The windows of the streams
bound it, and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from anyio.lowlevel import checkpoint

from .completion import release
from .credit import Account
from .inbox import EMPTY, UNBOUNDED, Sender
from .items import Chunk, Item, StreamRestarted, Terminal
from .pool import ITEMS_PER_TURN
from .reports import ending, opening
from .settling import settle

if TYPE_CHECKING:
    from .core import RunCore
    from .graph import Edge
    from .leg import Leg


class ExitRoad:
    """The end of a stream that leaves the flow."""

    __slots__ = ("closed", "lane", "writer")

    edge: Edge | None = None
    stuck = False

    def __init__(self, outbox: Outbox, leg: Leg) -> None:
        self.lane: Outbox = outbox
        self.writer: Leg = leg
        self.closed: bool = False

    def room(self) -> int:
        """Say that there is always room: the window is the bound."""
        return UNBOUNDED

    def freedom(self) -> tuple[bool, int]:
        """Say that everything is taken at once."""
        return True, UNBOUNDED

    def refuses(self, payload: Any) -> bool:
        """Say that everything is taken."""
        return False

    def take_refused(self) -> list[Any]:
        """Give nothing: nothing is refused."""
        return []

    def receive(self, batch: list[Any], sender: Sender) -> None:
        """Lay chunks out for the reader."""
        self.lane.put(batch)

    def watch(self, sender: Sender) -> None:
        """Tell a sender at once: there is always room."""
        sender.entered()


class Outbox:
    """What the reader of a run has not taken yet."""

    __slots__ = ("events", "items", "iterated", "kept", "run", "taken", "waiter")

    sees_numbers = True

    def __init__(self, run: RunCore) -> None:
        self.run: RunCore = run
        self.items: list[Any] = EMPTY
        self.taken: list[Any] = EMPTY
        self.waiter: Any = None
        self.iterated: bool = False
        self.events: bool = False
        self.kept: bool = False  # what leaves the run is read from the journal

    def count(self) -> int:
        """Say how many items nobody has taken yet."""
        return sum(isinstance(item, Item) for item in (*self.taken, *self.items))

    def road(self, leg: Leg) -> ExitRoad:
        """Give the road of a stream that leaves the flow."""
        self.put([opening(leg)])
        return ExitRoad(self, leg)

    def put(self, batch: list[Any]) -> None:
        """Lay items and events out, in order."""
        if self.kept or self.run.silent:
            for item in batch:
                if isinstance(item, Item):
                    settle(item)
            return
        if self.items:
            self.items.extend(batch)
        else:
            self.items = batch
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            self.run.pool.parking.wake(waiter)

    def wake(self) -> None:
        """Wake the reader, if he waits."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            self.run.pool.parking.wake(waiter)

    def carry(self, tokens: Any) -> None:
        """Hold nothing: nothing can be fed from here."""

    def writer_ended(self, road: ExitRoad, terminal: Terminal, error: BaseException | None) -> None:
        """Lay the end of a stream out; an error that nobody handles fails the run behind it."""
        self.put([ending(road.writer, error)])
        if error is not None and not self.run.is_handled(error):
            self.run.fail(error)

    def restart(self, road: ExitRoad, attempt: int) -> None:
        """Lay out that a stream begins again."""
        leg = road.writer
        self.put([StreamRestarted(self.run.id, leg.site.path, leg.stream_id, attempt)])

    def clear(self) -> None:
        """Let go of everything that was not taken."""
        left = [*reversed(self.taken), *self.items]
        self.taken = EMPTY
        self.items = EMPTY
        for item in left:
            if isinstance(item, Item):
                settle(item)
        self.wake()

    def turn_over(self) -> bool:
        """Begin with what has come since; ``False`` where nothing has."""
        if not self.items:
            self.taken = EMPTY
            return False
        self.taken = self.items[::-1]  # popped from its end: what was delivered is not held any longer
        self.items = EMPTY
        return True

    def take(self, item: Any) -> bool:
        """Bring the credit of an item home; ``False`` for an event that the reader does not want."""
        if not isinstance(item, Item):
            return self.events
        if item._tokens:
            tokens, item._tokens = item._tokens, ()
            release(tokens)
        item._ticket.home()
        return True

    def at_end(self) -> bool:
        """Say whether the run is over, now that everything is taken; raises the error that it ended with."""
        run = self.run
        if run.read_out():
            if run.watch is not None:
                run.was_read()
            return True
        if run.busy == 0:
            run.at_rest()
            return not self.items and run.read_out()
        return False


class Reading(AsyncIterator[Any]):
    """One reading of a run: its items, or its items and events."""

    __slots__ = ("_outbox", "_read")

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._read = 0

    async def __anext__(self) -> Any:
        """Take the next item. If cancelled, nothing was taken."""
        outbox = self._outbox
        while True:
            taken = outbox.taken
            while taken:
                item = taken.pop()
                if type(item) is Chunk and not item._tokens:
                    ticket = item._ticket
                    if type(ticket) is not Account:
                        ticket.home()
                        return item
                    ticket.back += 1  # `Account.home`, by hand: a call per chunk is 5 % of a chunk's way
                    if ticket.back >= ticket.half:
                        ticket.grant()
                    return item
                if outbox.take(item):
                    return item
            if outbox.turn_over():
                self._read += len(outbox.taken)
                if self._read >= ITEMS_PER_TURN:
                    # a cancel scope around a reader that is woken before it can look would never be heard
                    self._read = 0
                    await checkpoint()
            elif outbox.at_end():
                raise StopAsyncIteration
            elif not outbox.items:
                parking = outbox.run.pool.parking
                waiter = parking.waiter()
                previous, outbox.waiter = outbox.waiter, waiter
                try:
                    await waiter
                finally:
                    if previous is not None:  # another task that reads: it looks, too
                        parking.wake(previous)
