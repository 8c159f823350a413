"""Saying: how a promise is compared with what a store does, and short words for asking it.

Owns the form of what is said when a promise is broken. Knows no promise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from penguiflow.errors import JournalError
from penguiflow.journal import Journal, KeptStatus, Record, RunChange, RunTaken

LONG = 600.0
"""A lease that does not run out while this is checked."""

SHORT = 0.05
"""A lease that runs out soon."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where promises are checked.

    Attributes:
        journal: a store, open and empty.
        reopen: gives another object for what a store has kept, or ``None`` where it keeps nothing.
    """

    journal: Journal
    reopen: Callable[[Journal], Journal] | None


def same(promise: str, found: object, promised: object) -> None:
    """Compare what a store does with what it has promised.

    Raises:
        AssertionError: they differ.
    """
    if found != promised:
        raise AssertionError(f"{promise}: promised is {_short(promised)}, found was {_short(found)}")


async def refused(promise: str, error: type[JournalError], asked: Awaitable[object]) -> JournalError:
    """Await what a store must refuse; give its error. If cancelled, so is what was asked.

    Raises:
        AssertionError: it does not refuse it, or with another error.
    """
    try:
        found = await asked
    except JournalError as told:
        if not isinstance(told, error):
            raise AssertionError(f"{promise}: promised is {error.__name__}, raised was {told!r}") from told
        return told
    except Exception as told:
        raise AssertionError(f"{promise}: promised is {error.__name__}, raised was {told!r}") from told
    raise AssertionError(
        f"{promise}: promised is {error.__name__}, but it was done, and gave {_short(found)}"
    )


async def taken(promise: str, run_ids: set[str], asked: Awaitable[object]) -> None:
    """Await what a store must refuse because runs are taken, and compare which ones it names.

    If cancelled, so is what was asked.
    """
    told = await refused(promise, RunTaken, asked)
    assert isinstance(told, RunTaken)
    same(f"{promise}, and `RunTaken.run_ids` names those runs", set(told.run_ids), run_ids)


def records(run_id: str, first: int = 1, count: int = 1, data: bytes = b"data") -> list[Record]:
    """Make records of a run."""
    return [Record(run_id, seq, "step", data) for seq in range(first, first + count)]


def change(run_id: str, status: KeptStatus = "running", flow: str = "flow") -> RunChange:
    """Make a change of a run."""
    return RunChange(run_id, flow, status)


async def begin(
    journal: Journal,
    *run_ids: str,
    owner: str = "me",
    status: KeptStatus = "running",
    flow: str = "flow",
    lease: float = LONG,
) -> None:
    """Begin runs, one after the other, each with one record. If cancelled, some may have begun."""
    for run_id in run_ids:
        await journal.append(owner, records(run_id), [change(run_id, status, flow)], lease)


async def kept(journal: Journal, run_id: str) -> tuple[str, str, int] | None:
    """Give status, owner and number of records of a run. If cancelled, nothing has changed."""
    row = await journal.row(run_id)
    return None if row is None else (row.status, row.owner, row.records)


async def seqs(journal: Journal, run_id: str) -> list[int]:
    """Give the numbers of the records of a run. If cancelled, nothing has changed."""
    return [record.seq for record in await journal.read(run_id)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
