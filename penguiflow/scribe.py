"""The scribe: hands what runs write to the journal, and what waits for it back to them.

Owns the queue between the runs of a runtime and its journal. Invariant: what waits for a record goes on when
that is durable, in the order in which the records were made, over all runs; what was written at the same time
is durable at the same time. A journal that fails, fails the runs concerned (`JournalError`), and none else.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from .errors import JournalError, described
from .journal import Journal, Record, RunChange, Statement
from .processes import name_of_this

if TYPE_CHECKING:
    from .parking import Parking

LEASE_SECONDS = 15.0
"""For how long a runtime owns a run without a sign of life."""

MOST_AT_ONCE = 1000
"""So many records are written in one go at most."""


class Book(Protocol):
    """A run's journal, as the scribe knows it."""

    run_id: str
    root: Any
    """What writes for the whole run."""

    def written(self, entry: Entry) -> None:
        """Take note that an entry is durable."""

    def lose(self, entries: Iterable[Entry], error: JournalError) -> None:
        """Take note that entries could not be written."""


class Entry:
    """One record on its way to the journal.

    Args:
        book: whose it is.
        record: what is written.
        change: what it makes of the run.
        then: goes on when it is durable.
        statements: what is written in the same transaction.
    """

    __slots__ = ("book", "change", "record", "statements", "then", "waiting")

    def __init__(
        self,
        book: Any,
        record: Record,
        change: RunChange | None,
        then: Callable[[], None] | None,
        statements: tuple[Statement, ...] = (),
    ) -> None:
        self.book: Any = book
        self.record: Record = record
        self.change: RunChange | None = change
        self.then: Callable[[], None] | None = then
        self.statements: tuple[Statement, ...] = statements
        self.waiting: tuple[Callable[[], None], ...] = ()


class Scribe:
    """Writes for all runs of one runtime.

    Args:
        journal: where to.
        parking: the event loop.
    """

    def __init__(self, journal: Journal, parking: Parking) -> None:
        self.journal: Journal = journal
        self.owner: str = name_of_this(secrets.token_hex(8))
        self._parking = parking
        self._queue: list[Entry] = []
        self._idle: Any = None
        self._closing = False
        self._ended = False
        self._enders: list[Any] = []
        self._readers: dict[str, list[Any]] = {}

    def begin(self) -> None:
        """Begin to write."""
        self._parking.spawn(self._main, "penguiflow scribe")

    def add(self, entry: Entry) -> None:
        """Write an entry, behind all that were added before."""
        self._queue.append(entry)
        self._wake()

    def _wake(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            self._parking.wake(idle)

    async def close(self) -> None:
        """Write what is left, and end. If cancelled, it ends all the same."""
        self._closing = True
        self._wake()
        for run_id in list(self._readers):
            self.tell_readers(run_id)
        while not self._ended:
            waiter = self._parking.waiter()
            self._enders.append(waiter)
            await waiter

    @property
    def closed(self) -> bool:
        """Whether nothing more is written."""
        return self._closing

    # -- readers

    def watch(self, run_id: str) -> Any:
        """Give something to wait for until more of a run is durable; `forget` it then."""
        waiter = self._parking.waiter()
        self._readers.setdefault(run_id, []).append(waiter)
        if self._closing:
            self._parking.wake(waiter)
        return waiter

    def forget(self, run_id: str, waiter: Any) -> None:
        """Watch no more."""
        readers = self._readers.get(run_id, [])
        if waiter in readers:
            readers.remove(waiter)
            if not readers:
                del self._readers[run_id]

    def tell_readers(self, run_id: str) -> None:
        """Wake those who wait for more of a run."""
        for waiter in self._readers.pop(run_id, ()):
            self._parking.wake(waiter)

    # -- writing

    async def _main(self) -> None:
        try:
            while self._queue or not self._closing:
                if not self._queue:
                    self._idle = self._parking.waiter()
                    await self._idle
                    continue
                entries = self._queue[:MOST_AT_ONCE]
                del self._queue[:MOST_AT_ONCE]
                await self._write(entries)
        finally:
            self._ended = True
            enders, self._enders = self._enders, []
            for waiter in enders:
                self._parking.wake(waiter)

    async def _write(self, entries: list[Entry]) -> None:
        """Write entries; where that fails, those of each run by themselves, to find out whose fault it is."""
        error = await self._append(entries)
        if error is None:
            self._tell(entries)
            return
        by_run: dict[str, list[Entry]] = {}
        for entry in entries:
            by_run.setdefault(entry.record.run_id, []).append(entry)
        for run_id, some in by_run.items():
            alone = error if len(by_run) == 1 else await self._append(some)
            if alone is None:
                self._tell(some)
                continue
            left = [entry for entry in self._queue if entry.record.run_id == run_id]
            self._queue = [entry for entry in self._queue if entry.record.run_id != run_id]
            for lost in _by_book([*some, *left]):  # a run that was taken from here may be here once more
                lost[0].book.lose(lost, alone)
            self.tell_readers(run_id)

    async def _append(self, entries: list[Entry]) -> JournalError | None:
        changes = [entry.change for entry in entries if entry.change is not None]
        records = [entry.record for entry in entries]
        statements = [statement for entry in entries for statement in entry.statements]
        try:
            if statements:
                journal: Any = self.journal  # whoever wants a statement has asked whether it can
                await journal.append_with(self.owner, records, changes, LEASE_SECONDS, statements)
            else:
                await self.journal.append(self.owner, records, changes, LEASE_SECONDS)
        except JournalError as exc:
            return exc
        except Exception as exc:
            error = JournalError(f"the journal {self.journal!r} failed: {described(exc)}")
            error.__cause__ = exc
            return error
        return None

    def _tell(self, entries: list[Entry]) -> None:
        for entry in entries:
            entry.book.written(entry)
        for run_id in {entry.record.run_id for entry in entries} & self._readers.keys():
            self.tell_readers(run_id)


def _by_book(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Give entries by the run that has written them, of those with the same id."""
    found: dict[int, list[Entry]] = {}
    for entry in entries:
        found.setdefault(id(entry.book.root), []).append(entry)
    return list(found.values())
