"""Run journals: what one run writes to the journal of its runtime, and what it knows from there.

Owns the numbers of a run's records, and the identities of its steps. Invariants: a record is numbered when it
is made, and takes effect when it is durable; as long as one is on its way, the run is busy. A step's key says
which node works on which input, and is the same in every execution of the run.

The flows that steps call write into the journal of the run that calls them, each with a scope of its own in
front of its keys and nodes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from .errors import JournalError
from .items import Chunk, Item
from .journal import KeptStatus, RunChange, Statement, StatementFailed
from .payloads import ANYTHING, Unreadable
from .record import NOTHING
from .recorded import Recorded
from .scribe import Entry, Scribe
from .sealing import sealed
from .telling import kept_status, told_error

if TYPE_CHECKING:
    from .graph import Edge, Site
    from .lifetime import Lifetime
    from .payloads import Payloads, Unreadable

log = logging.getLogger("penguiflow")


def digest(*parts: object) -> str:
    """Give an identity that depends on all parts: 24 hexadecimal digits."""
    return blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


class RunJournal:
    """The journal of one run, or of a flow that a step of it calls.

    Args:
        run: the run.
        scribe: writes.
        known: what was recorded before, of a run that is taken up again.
        above: the journal of the run that calls this one.
        scope: what stands in front of its keys and nodes.
    """

    __slots__ = (
        "_ending",
        "_last",
        "_refused",
        "_seq",
        "_waiters",
        "awaited",
        "closed",
        "known",
        "lost",
        "parking",
        "root",
        "run",
        "run_id",
        "scope",
        "scribe",
    )

    def __init__(
        self,
        run: Lifetime,
        scribe: Scribe,
        known: Recorded | None = None,
        above: RunJournal | None = None,
        scope: str = "",
    ) -> None:
        self.run: Lifetime = run
        self.run_id: str = run.id
        self.scribe: Scribe = scribe
        self.root: RunJournal = above.root if above is not None else self
        self.known: Recorded | None = known
        self.scope: str = scope
        self.closed: bool = above is not None  # nothing more is to be written before the run is over
        self.awaited: bool = False  # the step that calls this does nothing but wait for it
        self.lost: JournalError | None = None
        self._seq: int = known.seq if known is not None else 0
        self._last: Entry | None = None
        self._ending = False
        self.parking: bool = False  # it is about to leave memory
        self._waiters: list[Any] = []
        self._refused: JournalError | None = None

    # -- identities

    def step_key(self, site: Site, item: Item[Any] | None) -> str:
        """Give the identity of a step: a node, and what it works on."""
        node = self.name(site)
        if item is None:
            return digest(node)
        if isinstance(item, Chunk):
            return digest(node, "/".join(item.path), item.stream_id, item.attempt, item.seq)
        number: Any = getattr(item, "_number", 0)
        if isinstance(number, str):
            return digest(node, number)
        return digest(node, "stream", item._heading.stream_id)

    def name(self, site: Site) -> str:
        """Give the name of a node in records."""
        return self.scope + site.key

    def error_number(self, site: Site, item: Item[Any]) -> str:
        """Give the identity of what an error edge carries, of the step that has failed on an item."""
        key = self.step_key(site, item)
        number = digest(key, "error")
        if self.known is not None and key in self.known.steps:
            self.known.born[number] = self.known.steps[key].seq
        return number

    def has_taken(self, item: Item[Any], edge: Edge) -> bool:
        """Say whether an item has taken an edge before, of several that share the work."""
        known, target = self.known, edge.target
        if known is None:
            return False
        if isinstance(item, Chunk):
            stream = known.streams.get((self.name(target), item.stream_id))
            source = named_source(target, item)
            return stream is not None and stream.made_before(source, item.attempt) is not None
        number: Any = getattr(item, "_number", 0)
        key = digest(self.name(target), self.copy_number(number, edge))
        return key in known.steps or bool(known.streams_of(key))

    def input_number(self) -> str:
        """Give the identity of the message that the run begins with; that of a called flow is its own."""
        return digest(self.scope, "input") if self.scope else "input"

    def copy_number(self, number: Any, edge: Edge) -> str:
        """Give the identity of the copy of a message that takes an edge."""
        twins = [other for other in edge.source.all_outs if other.target is edge.target]
        way = edge.target.key if len(twins) == 1 else f"{edge.target.key}.{twins.index(edge)}"
        return f"{number}~{way}"

    def attempt_at(self, item: Item[Any]) -> int:
        """Say as which attempt a step on an item is begun."""
        born = self._born(item)
        if self.known is not None and born is not None:
            return self.known.attempt_since(born)
        return 1 if isinstance(item, Chunk) else item._heading.attempt

    def _born(self, item: Item[Any]) -> int | None:
        """Give the record that an item was durable with, if that was before the run was taken up."""
        known = self.known
        if known is None:
            return None
        number: Any = getattr(item, "_number", 0)
        if isinstance(number, str):
            return known.born.get(number.partition("~")[0])
        stream = known.streams.get((self.scope + "/".join(item.path), item._heading.stream_id))
        if stream is not None and (not isinstance(item, Chunk) or item.seq < len(stream.chunks)):
            return stream.seq
        return None

    def as_old_as(self, number: str, item: Item[Any]) -> None:
        """Take note that a message which no record tells of is made again, of an item."""
        born = self._born(item)
        if born is not None and self.known is not None:
            self.known.born[number] = born

    def inherit_birth(self, above: RunJournal, item: Item[Any]) -> None:
        """Take note of how old the input is: a step that is executed again calls again."""
        born = above._born(item)
        if born is not None and self.known is not None:
            self.known.born[self.input_number()] = born

    def payloads(self, site: Site) -> Payloads:
        """Give how what a node gives is written and read."""
        keeper = self.run.engine.keeper
        assert keeper is not None
        return keeper.payloads(site)

    def kept_state(self) -> dict[str, dict[str, Any]]:
        """Give what the nodes of the run remember, as it was recorded."""
        if self.known is None:
            return NOTHING  # type: ignore[no-any-return]
        return {
            node.removeprefix(self.scope): {key: ANYTHING.decode(value) for key, value in kept.items()}
            for node, kept in self.known.state.items()
            if node.startswith(self.scope)
        }

    # -- writing

    def write(
        self,
        kind: str,
        body: dict[str, Any],
        blobs: Sequence[bytes] = (),
        then: Callable[[], None] | None = None,
        change: KeptStatus | None = None,
        statements: tuple[Statement, ...] = (),
    ) -> int:
        """Write a record; ``then`` goes on when it is durable, and never where it can't be.

        Returns:
            Its number.
        """
        root = self.root
        root._seq += 1
        record = sealed(root.run_id, root._seq, kind, body, blobs)
        if root.lost is None:
            flow = root.run.engine.flow.name
            changed = RunChange(root.run_id, flow, change) if change is not None else None
            entry = self._last = Entry(self, record, changed, then, statements)
            self.run.busy += 1
            self.scribe.add(entry)
        return root._seq

    async def commit(
        self,
        kind: str,
        body: dict[str, Any],
        blobs: Sequence[bytes] = (),
        then: Callable[[int], None] | None = None,
        change: KeptStatus | None = None,
        statements: tuple[Statement, ...] = (),
    ) -> None:
        """Write a record, and wait until it is durable, and what goes on then has gone on.

        If cancelled, it may become durable, and then does what follows from it.

        Raises:
            JournalError: what was written before it is lost.
        """
        root = self.root
        if root.lost is not None:
            raise root.lost
        parking = self.run.pool.parking
        waiter = parking.waiter()
        seq = root._seq + 1

        def written() -> None:
            try:
                if then is not None:
                    then(seq)
            finally:
                root._waiters.remove(waiter)
                parking.wake(waiter)

        self.write(kind, body, blobs, written, change, statements)
        root._waiters.append(waiter)
        await waiter
        if waiter in root._waiters:
            root._waiters.remove(waiter)
            raise root.lost or root._refused or AssertionError("a record is written, lost or refused")

    async def durable(self) -> None:
        """Wait until all that is written so far is durable. If cancelled, it becomes so all the same.

        Raises:
            JournalError: it is lost.
        """
        root, parking = self.root, self.run.pool.parking
        waiter = parking.waiter()
        root._waiters.append(waiter)
        self.after(lambda: parking.wake(waiter))
        try:
            await waiter
        finally:
            root._waiters.remove(waiter)
        if root.lost is not None:
            raise root.lost

    def after(self, then: Callable[[], None]) -> None:
        """Go on when all that is written so far is durable: at once, where it is."""
        last = self._last
        if last is None:
            then()
        else:
            last.waiting = (*last.waiting, then)

    def written(self, entry: Entry) -> None:
        """Take note that a record is durable."""
        run = self.run
        if self._last is entry:
            self._last = None
        try:
            if entry.then is not None:
                entry.then()
            for then in entry.waiting:
                then()
        except Exception as exc:
            run.crashed(exc)
        run.busy -= 1
        run.rested()

    def lose(self, entries: Iterable[Entry], error: JournalError) -> None:
        """Take note that records could not be written: the run fails, and stays in the journal as it was."""
        root, entries = self.root, list(entries)
        if isinstance(error, StatementFailed):  # the journal itself is well: the run can end there
            root._refused = error
            root._seq = entries[0].record.seq - 1
        else:
            root._forsake(error, begun=entries[0].record.seq > 1)
        for entry in entries:
            entry.book.run.busy -= 1
        for waiter in root._waiters:
            root.run.pool.parking.wake(waiter)
        if root._ending:
            root.run.error = error  # nobody is told of an end that is not durable
            root._close()
        else:
            root.run.fail(error)

    def _forsake(self, error: JournalError, *, begun: bool) -> None:
        keeper = self.run.engine.keeper
        assert keeper is not None
        self.lost = error
        if begun:  # else the journal does not know it, or knows another one of that id
            keeper.lost[self.run_id] = error, time.monotonic()

    # -- the end

    def may_end(self) -> bool:
        """Say whether the run may end now; where not, it is ended when its end is durable.

        A run that ends because its runtime is closed is not over: it is taken up again.
        """
        if self.closed:
            return True
        if isinstance(self.run.error, Unreadable):
            self._leave(self.run.error)
        if self.lost is not None or self.run.status == "interrupted" or self._is_released():
            self.run.error = self.lost or self.run.error  # it had another end, but that is not durable
            self.closed = True
            return True
        if not self._ending:
            self._ending = True
            status = self.run.status
            exits = [site.key for site in self.run.engine.plan.exits]
            said: dict[str, Any] = {"status": status, "exits": exits}
            if self.run.error is not None:
                said["error"] = told_error(self.run.error)
            if status == "done":
                self.closed = True  # all that it gave is durable, and it would come to the same end again
            self.write("over", said, then=self._close, change=kept_status(status))
        return self.closed

    def rests(self) -> None:
        """Take the run out of memory, which can do nothing but wait for answers, if nobody holds it there."""
        keeper = self.run.engine.keeper
        assert keeper is not None
        parks = self is self.root and self.run.outbox.kept and keeper.desk.may_park(self.run_id)
        if parks and not self.parking:
            self.parking = True
            waits = keeper.desk.asked_by(self.run_id)
            self.write("parked", {"waits": waits}, then=self._park, change="interrupted")

    def _park(self) -> None:
        """Leave memory. An answer that came at the same time is found by the keeper."""
        self.run.park()
        keeper = self.run.engine.keeper
        assert keeper is not None
        keeper.look_after(self.run_id)

    def ended(self) -> None:
        """Tell those who read the run from the journal that it is not at work any more."""
        keeper = self.run.engine.keeper
        if self.root is self and keeper is not None:
            self.scribe.tell_readers(self.run_id)
            keeper.ended(self.run_id)

    def _leave(self, error: Unreadable) -> None:
        """Leave a run as it is recorded that the code of today can't read: that of tomorrow may."""
        keeper = self.run.engine.keeper
        assert keeper is not None
        self.lost = keeper.unreadable[self.run_id] = error
        log.error("run %s can't go on, and is left as it is: %s", self.run_id, error)

    def _is_released(self) -> bool:
        return self.run.status == "cancelled" and self.run.engine.state != "open"

    def _close(self) -> None:
        self.closed = True
        self.run.end()


def named_source(site: Site, chunk: Chunk[Any]) -> int | str:
    """Tell a chunk from all others of a stream at a node: by its number, or that and its writer."""
    if len(site.ins) == 1:
        return chunk.seq
    return f"{'/'.join(chunk.path)}#{chunk.attempt}.{chunk.seq}"
