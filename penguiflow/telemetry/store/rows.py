"""Rows: what is read of a trace store becomes records again.

Owns that alone. Invariant: what an older version has not kept reads as nothing; what got lost of a run that
is over ends with it.
"""

from __future__ import annotations

from typing import Any

from penguiflow.durations import Waits

from ..records import PartRecord, PauseRecord, StepRecord, StreamRecord
from .coding import read_error, read_events, unpack_timeline
from .live import seen_of

Row = Any
"""What SQLite gives: values by the names of their columns."""


def value_of(row: Row, name: str) -> float:
    """Give a number of seconds; 0 where the store is one of an older version, which has none."""
    return row[name] or 0.0 if name in row.keys() else 0.0  # noqa: SIM118


def _waits(row: Row) -> Waits:
    return Waits(
        row["source_seconds"], row["node_seconds"], row["credit_seconds"], value_of(row, "again_seconds")
    )


def part_of(row: Row) -> PartRecord:
    """Give a flow that a step has called."""
    return PartRecord(
        part=row["part"],
        flow=row["flow"],
        caller=(row["caller_part"], row["caller_step"]),
        started=row["started"],
        ended=row["ended"],
        status=row["status"],
        nodes=(),
        edges=(),
        error=read_error(row["error"]),
    )


def step_of(row: Row, over: float | None, live: dict[str, Any] | None) -> StepRecord:
    """Give a step; where its end got lost, it ends with its run."""
    left = row["ended"] is None and over is not None
    seen = seen_of(row, live)
    return StepRecord(
        part=row["part"],
        step=row["step"],
        node=row["node"],
        attempt=row["attempt"],
        stream_id=row["stream_id"],
        started=row["started"],
        ended=over if left else row["ended"],
        queued=row["queued"],
        outcome="cancelled" if left else row["outcome"],
        waits=Waits(*seen.waits) if seen is not None else _waits(row),
        error=read_error(row["error"]),
        events=read_events(row["events"]),
    )


def stream_of(row: Row, over: float | None, live: dict[str, Any] | None) -> StreamRecord:
    """Give a stream; of one that is open, the latest picture knows how many chunks it has."""
    left = row["ended"] is None and over is not None
    seen = seen_of(row, live)
    return StreamRecord(
        part=row["part"],
        step=row["step"],
        node=row["node"],
        stream_id=row["stream_id"],
        attempt=row["attempt"],
        started=row["started"],
        ended=over if left else row["ended"],
        terminal="cancelled" if left else row["terminal"],
        chunks=seen.next_seq if seen is not None else row["chunks"],
        bytes=row["bytes"],
        gaps=row["gaps"],
        drops=row["drops"],
        first_chunk=row["first_chunk"],
        waits=Waits(*seen.waits) if seen is not None else _waits(row),
        timeline=unpack_timeline(row["timeline"]),
        error=read_error(row["error"]),
    )


def pause_of(row: Row, over: float | None) -> PauseRecord:
    """Give a pause; where its end got lost, it ends with its run."""
    return PauseRecord(row["part"], row["started"], over if row["ended"] is None else row["ended"])
