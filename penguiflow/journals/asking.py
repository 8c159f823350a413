"""Asking: what is asked of a store, brought in order, and the words in which it is refused.

Owns the checks that all stores share. Invariant: what passes here can be kept by every store alike, so that a
flow that works with one works with the others. Knows no store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from penguiflow.errors import JournalError
from penguiflow.journal import UNFINISHED, KeptStatus, Record, RunChange, RunTaken
from penguiflow.retention import Retention

STATUSES: tuple[str, ...] = get_args(KeptStatus)

FINISHED: tuple[str, ...] = tuple(status for status in STATUSES if status not in UNFINISHED)

MOST_BYTES = 1000
"""How long a name may be, in UTF-8: PostgreSQL can't index longer ones (two of them, 2704 bytes)."""


def check_options(store: str, retention: Retention, **seconds: float) -> None:
    """Refuse options of a store that make no sense.

    Raises:
        TypeError, ValueError: one does.
    """
    if not isinstance(retention, Retention):
        raise TypeError(
            f"{store}(retention={retention!r}): a Retention is needed; without bounds, Retention()"
        )
    for name, value in seconds.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(f"{store}({name}={value!r}): a number of seconds is needed")
        if not 0 <= value < math.inf:
            raise ValueError(f"{store}({name}={value!r}): a number of seconds is needed, not less than 0")


@dataclass(slots=True)
class Part:
    """What one `append` brings for one run.

    Attributes:
        run_id: the run.
        records: its records, numbered without a gap.
        flow: the flow, where there is a change.
        status: the last status it is given, where there is a change.
    """

    run_id: str
    records: list[Record] = field(default_factory=list)
    flow: str | None = None
    status: str | None = None

    @property
    def first(self) -> int:
        """The number of its first record; 0 where there is none."""
        return self.records[0].seq if self.records else 0

    @property
    def size_bytes(self) -> int:
        """The size of its records' data."""
        return sum(len(record.data) for record in self.records)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a store does not write the part of a run.

    Attributes:
        run_id: the run.
        why: it is not kept, it is not the owner's, a number is taken, numbers are missing, or a run is new
            and nothing names its flow.
        detail: whose it is, or the last number that is kept.
    """

    run_id: str
    why: Literal["unknown", "owner", "number", "gap", "nameless"]
    detail: str = ""

    def told(self) -> str:
        """Say it in words."""
        run = f"the run {self.run_id!r}"
        if self.why == "unknown":
            return f"{run} is not kept (any more)"
        if self.why == "owner":
            return (
                f"{run} belongs to {self.detail!r} now"
                if self.detail
                else f"{run} was given up, or has ended"
            )
        if self.why == "number":
            return f"{run} has its records up to {self.detail} already: the id is in use, or others write"
        if self.why == "gap":
            return (
                f"{run} has its records up to {self.detail}, and the next one must have the number after that"
            )
        return f"{run} is new, and no change names its flow"


def refused(store: str, refusals: Sequence[Refusal]) -> JournalError:
    """Make the error for an `append` of which nothing was written."""
    told = "; ".join(refusal.told() for refusal in refusals[:5])
    more = f" (and {len(refusals) - 5} more)" if len(refusals) > 5 else ""
    text = f"{store}: nothing was written: {told}{more}"
    taken = [refusal.run_id for refusal in refusals if refusal.why not in ("gap", "nameless")]
    return RunTaken(text, taken) if taken else JournalError(text)


def first_refusal(part: Part, owner: str, kept: tuple[str, int] | None) -> Refusal | None:
    """Say why a part can't be written, by the owner and the last number that are kept of its run, if any."""
    if kept is None:
        if part.first != 1:
            return Refusal(part.run_id, "unknown")
        return Refusal(part.run_id, "nameless") if part.flow is None else None
    holder, last = kept
    if part.records and part.first <= last:
        return Refusal(part.run_id, "number", str(last))
    if holder != owner:
        return Refusal(part.run_id, "owner", holder)
    if part.records and part.first > last + 1:
        return Refusal(part.run_id, "gap", str(last))
    return None


def parts_of(store: str, owner: str, records: Sequence[Record], changes: Sequence[RunChange]) -> list[Part]:
    """Bring an `append` in order, run by run.

    Raises:
        JournalError: a name can't be kept, a status is unknown, or the numbers of a run have a gap.
    """
    check_owner(store, owner)
    parts: dict[str, Part] = {}
    for record in records:
        part = parts.get(record.run_id)
        if part is None:
            check_name(store, "run id", record.run_id)
            part = parts[record.run_id] = Part(record.run_id)
        elif part.records and record.seq != part.records[-1].seq + 1:
            raise JournalError(
                f"{store}: nothing was written: record {record.seq} of the run {record.run_id!r} comes after "
                f"record {part.records[-1].seq}; records are numbered without a gap, in order"
            )
        check_name(store, "kind of record", record.kind)
        part.records.append(record)
    for change in changes:
        if change.status not in STATUSES:
            raise JournalError(
                f"{store}: nothing was written: {change.status!r} is no status of a run; those are: "
                f"{', '.join(STATUSES)}"
            )
        part = parts.get(change.run_id)
        if part is None:
            check_name(store, "run id", change.run_id)
            part = parts[change.run_id] = Part(change.run_id)
        check_name(store, "name of a flow", change.flow)
        part.flow, part.status = change.flow, change.status
    return list(parts.values())


def check_owner(store: str, owner: str) -> None:
    """Refuse a name of an owner that would mean nobody, or can't be kept.

    Raises:
        JournalError: it is so.
    """
    if not owner:
        raise JournalError(f"{store}: an owner needs a name that is not empty")
    check_name(store, "name of an owner", owner)


def check_name(store: str, what: str, name: str) -> None:
    """Refuse a name that not every store can keep.

    Raises:
        JournalError: it has a NUL character, a lone surrogate, or is too long.
    """
    if len(name) < 250 and name.isascii() and "\0" not in name:
        return  # by far the most
    if not is_name(name):
        shown = repr(name if len(name) <= 80 else f"{name[:80]}…")
        raise JournalError(
            f"{store}: the {what} {shown} can't be kept: at most {MOST_BYTES} bytes of UTF-8 without a NUL "
            f"character are possible"
        )


def is_name(name: str) -> bool:
    """Whether every store could keep a name."""
    if "\0" in name:
        return False
    try:
        return len(name.encode()) <= MOST_BYTES
    except UnicodeEncodeError:
        return False


def names_in(names: Iterable[str]) -> list[str]:
    """Give those names, each once, that a store could have kept: the others it does not know for sure."""
    return [name for name in dict.fromkeys(names) if is_name(name)]


def no_such_run(store: str, run_id: str) -> JournalError:
    """Make the error for a post to nobody."""
    return JournalError(f"{store}: there is no run {run_id!r} to leave something for; see the id")


def has_not_ended(store: str, run_id: str, status: str) -> JournalError:
    """Make the error for a record that is still needed."""
    return JournalError(
        f"{store}: the run {run_id!r} is {status}: records can be pruned only when it has ended"
    )


def not_open(store: str) -> JournalError:
    """Make the error for what is asked of a store that is closed."""
    return JournalError(f"{store} is not open: `await journal.open()` first; a runtime does that by itself")
