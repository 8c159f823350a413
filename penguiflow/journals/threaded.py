"""Threaded: the asynchronous face of a store whose client library blocks.

Owns the protocol's methods, each a job for the one thread of the store, and how often it is open. Invariant:
the store itself (`Backend`) is touched in that thread only; every error that comes out is a `JournalError`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from penguiflow.errors import JournalError
from penguiflow.journal import Record, RunChange, RunRow, Statement
from penguiflow.retention import Retention

from .asking import Part, check_name, check_owner, is_name, names_in, no_such_run, not_open, parts_of
from .statements import check_statements
from .worker import Worker

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Append:
    """One call of `append`, in order.

    Attributes:
        owner: who writes.
        parts: what, run by run.
        lease: for how many seconds a new run is the owner's.
        statements: what is executed in the same transaction.
    """

    owner: str
    parts: Sequence[Part]
    lease: float
    statements: Sequence[Statement] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What `rows` is asked for; see there."""

    flow: str | None
    status: Sequence[str]
    limit: int
    before: RunRow | None
    oldest_first: bool


class Backend(Protocol):
    """A store, as its thread sees it: what `Journal` has, without waiting, of names that can be kept."""

    def connect(self) -> None:
        """Get ready."""

    def disconnect(self) -> None:
        """Let go."""

    def guarded(self, function: Callable[[], T]) -> T:
        """Call a function of the store; raise what goes wrong as a `JournalError`."""

    def append(self, asked: Sequence[Append]) -> Sequence[Exception | None]:
        """Write; give for each what went wrong. Raises nothing that concerns the store."""

    def read(self, run_id: str, after: int, limit: int | None) -> list[Record]:
        """See `Journal.read`."""

    def row(self, run_id: str) -> RunRow | None:
        """See `Journal.row`."""

    def rows(self, asked: Asked) -> list[RunRow]:
        """See `Journal.rows`."""

    def claim(self, owner: str, flow: str, lease: float, run_id: str | None, limit: int) -> list[RunRow]:
        """See `Journal.claim`."""

    def renew(self, owner: str, lease: float) -> list[str]:
        """See `Journal.renew`."""

    def release(self, owner: str, run_ids: Sequence[str] | None) -> None:
        """See `Journal.release`."""

    def post(self, run_id: str, key: str, data: bytes) -> bool:
        """See `Journal.post`."""

    def posts(self, run_ids: Sequence[str]) -> dict[str, dict[str, bytes]]:
        """See `Journal.posts`."""

    def prune(self, run_id: str, seqs: Sequence[int]) -> None:
        """See `Journal.prune`."""

    def discard(self, run_ids: Sequence[str]) -> int:
        """See `Journal.discard`."""

    def size(self) -> tuple[int, int]:
        """See `Journal.size`."""

    def shrink(self) -> bool:
        """Give back some space; say whether there is more to give back."""


class ThreadedJournal:
    """A journal over a store that blocks.

    Args:
        name: what it is called in errors.
        backend: the store.
        retention: what is kept of runs that have ended.
    """

    def __init__(self, name: str, backend: Backend, retention: Retention) -> None:
        self.retention: Retention = retention
        self._name = name
        self._backend = backend
        self._opened = 0
        self._worker: Worker[Append] = Worker("penguiflow-journal", self._append, lambda: self._opened > 0)

    def __repr__(self) -> str:
        """Name it as it is named in errors."""
        return self._name

    async def open(self) -> None:
        """Get ready: see `Journal.open`. If cancelled, it is not open."""
        opened: list[bool] = []
        try:
            await self._worker.do(self._open, opened)
        except JournalError:
            raise
        except BaseException:  # it may just be done: what was opened then is closed behind it
            self._worker.soon(lambda: self._close() if opened else None)
            raise

    async def close(self) -> None:
        """Let go of everything, the last time that it is called. If cancelled, it is closed all the same."""
        await self._worker.do_surely(self._close)

    async def append(
        self, owner: str, records: Sequence[Record], changes: Sequence[RunChange] = (), lease: float = 30.0
    ) -> None:
        """Write records: see `Journal.append`. If cancelled, all of it was written or nothing."""
        await self.append_with(owner, records, changes, lease, ())

    async def append_with(
        self,
        owner: str,
        records: Sequence[Record],
        changes: Sequence[RunChange],
        lease: float,
        statements: Sequence[Statement],
    ) -> None:
        """Write records, and execute statements in the same transaction: see `Transactional.append_with`.

        If cancelled, all of it was written or nothing.
        """
        parts = parts_of(self._name, owner, records, changes)
        if statements:
            check_statements(self._name, statements, parts)
        if not self._opened:
            raise not_open(self._name)
        if parts:
            size_bytes = sum(part.size_bytes for part in parts)
            await self._worker.merge(Append(owner, parts, lease, statements), size_bytes)

    async def read(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Record]:
        """Give records of a run: see `Journal.read`. If cancelled, nothing has changed."""
        return await self._do(self._backend.read, run_id, after, limit) if is_name(run_id) else []

    async def row(self, run_id: str) -> RunRow | None:
        """Give what is known of a run, if anything. If cancelled, nothing has changed."""
        return await self._do(self._backend.row, run_id) if is_name(run_id) else None

    async def rows(
        self,
        *,
        flow: str | None = None,
        status: Collection[str] = (),
        limit: int = 100,
        before: RunRow | None = None,
        oldest_first: bool = False,
    ) -> list[RunRow]:
        """Give what is known of runs: see `Journal.rows`. If cancelled, nothing has changed."""
        statuses = names_in(status)
        if (flow is not None and not is_name(flow)) or (status and not statuses):
            return []
        return await self._do(self._backend.rows, Asked(flow, statuses, limit, before, oldest_first))

    async def claim(
        self, owner: str, flow: str, lease: float, *, run_id: str | None = None, limit: int = 100
    ) -> list[RunRow]:
        """Take runs over: see `Journal.claim`.

        If cancelled, runs may have been taken that nobody works on until their lease runs out.
        """
        check_owner(self._name, owner)
        if not is_name(flow) or (run_id is not None and not is_name(run_id)):
            return []
        return await self._do(self._backend.claim, owner, flow, lease, run_id, limit)

    async def renew(self, owner: str, lease: float) -> list[str]:
        """Hold on to the runs of an owner; give their ids. If cancelled, all were renewed or none."""
        check_owner(self._name, owner)
        return await self._do(self._backend.renew, owner, lease)

    async def release(self, owner: str, run_ids: Collection[str] | None = None) -> None:
        """Give up runs of an owner: see `Journal.release`. If cancelled, all were given up or none."""
        check_owner(self._name, owner)
        await self._do(self._backend.release, owner, None if run_ids is None else names_in(run_ids))

    async def post(self, run_id: str, key: str, data: bytes) -> bool:
        """Leave something for a run: see `Journal.post`. If cancelled, it was left or not."""
        if not is_name(run_id):
            raise no_such_run(self._name, run_id)
        check_name(self._name, "key of a post", key)
        return await self._do(self._backend.post, run_id, key, data)

    async def posts(self, run_ids: Collection[str]) -> Mapping[str, Mapping[str, bytes]]:
        """Give what was left for some runs, by run and key. If cancelled, nothing has changed."""
        return await self._do(self._backend.posts, names_in(run_ids))

    async def prune(self, run_id: str, seqs: Collection[int]) -> None:
        """Forget single records of a run that has ended. If cancelled, all are forgotten or none."""
        if is_name(run_id):
            await self._do(self._backend.prune, run_id, sorted(set(seqs)))

    async def discard(self, run_ids: Collection[str]) -> int:
        """Forget runs that nobody owns; give how many. If cancelled, all were forgotten or none."""
        return await self._do(self._backend.discard, names_in(run_ids))

    async def size(self) -> tuple[int, int]:
        """Give how many runs there are, and how many bytes all takes up. If cancelled, no change."""
        return await self._do(self._backend.size)

    async def shrink(self) -> None:
        """Give back the space of what was forgotten, step by step. If cancelled, nothing is lost."""
        while await self._do(self._backend.shrink):
            pass

    async def _do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if not self._opened:
            raise not_open(self._name)
        return await self._worker.do(self._guarded, lambda: function(*args, **kwargs))

    # -- in the thread

    def _open(self, opened: list[bool]) -> None:
        if not self._opened:
            self._backend.connect()
        self._opened += 1
        opened.append(True)

    def _close(self) -> None:
        if self._opened:
            self._opened -= 1
            if not self._opened:
                self._backend.disconnect()

    def _guarded(self, function: Callable[[], T]) -> T:
        if not self._opened:
            raise not_open(self._name)
        return self._backend.guarded(function)

    def _append(self, asked: Sequence[Append]) -> Sequence[Exception | None]:
        if not self._opened:
            return [not_open(self._name) for _ in asked]
        try:
            return self._backend.append(asked)
        except JournalError as error:
            return [type(error)(*error.args) for _ in asked] if len(asked) > 1 else [error]
