"""The journal: where runs become durable, as the runtime asks for it.

Owns the words between the runtime and a store: records, rows, and the protocol `Journal`. Invariant (rules
5.1, 5.2): what `Journal.append` has taken is durable, all of it or nothing. A store keeps bytes; what they
mean, and whether they are whole, is the runtime's business. `penguiflow.testing.check_journal` holds a store
to this page.

A run's records are numbered from 1, without a gap. Each run has at most one owner, a runtime: who owns a run
holds a *lease* on it, and renews that while it lives. Times are seconds since 1970, as the store's own clock
tells them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from .errors import JournalError

KeptStatus = Literal["running", "interrupted", "done", "failed", "cancelled", "expired"]
"""What a journal knows of a run: it goes on, it waits for an answer outside of any memory, or how it
ended."""

UNFINISHED: frozenset[str] = frozenset({"running", "interrupted"})


class RunTaken(JournalError):
    """Runs are somebody else's: their lease has run out and was taken over, or their id is in use.

    ``run_ids`` are those; nothing was written, of any run.
    """

    def __init__(self, text: str, run_ids: Sequence[str]) -> None:
        super().__init__(text)
        self.run_ids: tuple[str, ...] = tuple(run_ids)


class StatementFailed(JournalError):
    """A statement of a run failed in the journal's transaction; nothing was written, of any run."""


@dataclass(slots=True)
class Statement:
    """What is written in the same transaction as records, in the language of the store.

    Args:
        run_id: the run that wants it.
        sql: the statement.
        parameters: what goes into its placeholders.
    """

    run_id: str
    sql: str
    parameters: tuple[Any, ...] = ()


@dataclass(slots=True)
class Record:
    """One entry of a run's journal.

    Args:
        run_id: the run.
        seq: its number in the run, from 1.
        kind: what it is, one word.
        data: what it says; a store looks at nothing but its size.
    """

    run_id: str
    seq: int
    kind: str
    data: bytes


@dataclass(slots=True)
class RunRow:
    """What a journal knows of a run without its records.

    Args:
        run_id: the run.
        flow: the name of its flow.
        status: see `KeptStatus`.
        created: when it was begun.
        updated: when the last of it was written.
        records: how many records it has.
        size_bytes: the size of their data in all.
        owner: who holds a lease on it that has not run out, else ``""``.
    """

    run_id: str
    flow: str
    status: str
    created: float
    updated: float
    records: int
    size_bytes: int
    owner: str = ""


@dataclass(slots=True)
class RunChange:
    """A run is new, or has another status, from a batch of records on.

    Args:
        run_id: the run.
        flow: the name of its flow.
        status: see `KeptStatus`. A run that is not ``"running"`` any more loses its owner.
    """

    run_id: str
    flow: str
    status: KeptStatus


class Journal(Protocol):
    """A store of runs. One object serves one runtime or several, one after the other or at once.

    All methods but `open` and `close` raise `JournalError` where the store fails: the text names the store,
    what was asked for, and the remedy where there is one; the foreign error is its cause. If one of them is
    cancelled, it was done in full or not at all.
    """

    async def open(self) -> None:
        """Get ready: connect, and bring the schema up to date. Opening twice counts.

        Raises:
            JournalError: it can't be reached, is damaged, is no journal, or is of a newer version.

        If cancelled, it is not open.
        """

    async def close(self) -> None:
        """Let go of everything, the last time that it is called; what was appended stays.

        If cancelled, it is closed all the same.
        """

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        """Write records of one or several runs; on return they are durable, as far as the store promises.

        The first record of a run, with the number 1, comes with a change that names its flow; it makes the
        run, which is the owner's then, for ``lease`` seconds.

        Raises:
            RunTaken: a run is not the owner's, or the number of a record is taken; nothing was written.
            JournalError: nothing was written.

        If cancelled, all of it was written or nothing.
        """

    async def read(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Record]:
        """Give the records of a run behind a number, in order, at most so many; none where there is no run.

        If cancelled, nothing has changed.
        """

    async def row(self, run_id: str) -> RunRow | None:
        """Give what is known of one run, ``None`` where it is not kept. If cancelled, nothing has changed."""

    async def rows(
        self,
        *,
        flow: str | None = None,
        status: Collection[str] = (),
        limit: int = 100,
        before: RunRow | None = None,
        oldest_first: bool = False,
    ) -> list[RunRow]:
        """Give what is known of runs, by ``created`` and then by id, the latest first.

        Args:
            flow: only those of a flow.
            status: only those with one of these; any where it is empty.
            limit: at most so many.
            before: go on behind this row.
            oldest_first: the other way round.

        If cancelled, nothing has changed.
        """

    async def claim(
        self, owner: str, flow: str, lease: float, *, run_id: str | None = None, limit: int = 100
    ) -> list[RunRow]:
        """Take runs over that are ``"running"`` and nobody's, for so many seconds: the oldest first.

        With ``run_id`` only that one, whatever it waits for, unless it has ended. Runs that are the owner's
        already are not given again. Of several who ask at the same time, one gets a run.

        If cancelled, runs may have been taken that nobody works on until their lease runs out.
        """

    async def renew(self, owner: str, lease: float) -> list[str]:
        """Hold on to the runs of an owner for so many seconds from now; gives their ids.

        A lease that has run out is renewed, unless the run is somebody else's now. If cancelled, all were
        renewed or none.
        """

    async def release(self, owner: str, run_ids: Collection[str] | None = None) -> None:
        """Give up runs of an owner, all where none are named, so that others can take them at once.

        If cancelled, all were given up or none.
        """

    async def post(self, run_id: str, key: str, data: bytes) -> bool:
        """Leave something for a run, whoever owns it; ``False`` where there is something of that key already.

        It is durable on return. An ``"interrupted"`` run is ``"running"`` then, and can be claimed.

        Raises:
            JournalError: there is no such run.

        If cancelled, it was left or not.
        """

    async def posts(self, run_ids: Collection[str]) -> Mapping[str, Mapping[str, bytes]]:
        """Give what was left for some runs, by run and key; runs without anything are left out.

        If cancelled, nothing has changed.
        """

    async def prune(self, run_id: str, seqs: Collection[int]) -> None:
        """Forget single records of a run that has ended; their numbers stay free.

        If cancelled, all are forgotten or none.
        """

    async def discard(self, run_ids: Collection[str]) -> int:
        """Forget runs with all that belongs to them, but not those that somebody owns; gives how many.

        If cancelled, all were forgotten or none.
        """

    async def size(self) -> tuple[int, int]:
        """Give how many runs there are, and how many bytes the store takes up. If cancelled, no change."""

    async def shrink(self) -> None:
        """Give back the space of what was forgotten, where the store can. It may take long.

        If cancelled, nothing is lost.
        """


class Transactional(Journal, Protocol):
    """A journal that can write more in the transaction of its records: one in a database with SQL."""

    async def append_with(
        self,
        owner: str,
        records: Sequence[Record],
        changes: Sequence[RunChange],
        lease: float,
        statements: Sequence[Statement],
    ) -> None:
        """Append records, and execute statements, in order, in the same transaction; see `Journal.append`.

        Raises:
            StatementFailed: one of the statements failed; nothing was written.

        If cancelled, all of it was written or nothing.
        """
