"""Sealing: records that are tied to their place.

Invariant (rule 5.6): a record that is read under another run, number or kind than it was written for is
named, and not taken for what it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .journal import Record
from .sealed import Blobs, seal, unseal


def sealed(run_id: str, seq: int, kind: str, body: dict[str, Any], blobs: Sequence[bytes] = ()) -> Record:
    """Write a record."""
    return Record(run_id, seq, kind, seal(body, blobs, _place(run_id, seq, kind)))


def unsealed(record: Record) -> tuple[dict[str, Any], Blobs]:
    """Read a record.

    Raises:
        JournalError: it is not whole, of a newer version, or not where it was written.
    """
    where = f"record {record.seq} of run {record.run_id}"
    return unseal(record.data, where, _place(record.run_id, record.seq, record.kind))


def _place(run_id: str, seq: int, kind: str) -> str:
    return f"{run_id}\0{seq}\0{kind}"
