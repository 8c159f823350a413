"""Telling: how errors, state, items and openings are written into records.

Owns the plain words of records, on the way out; `recorded` reads them. Invariant: what is written is JSON, or
refused where it is not; what is as by default is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors
from .errors import FlowError, JournalError, StepError, described
from .journal import KeptStatus, StatementFailed
from .lifecycle import Status
from .payloads import ANYTHING, is_plain
from .record import DELETED
from .recorded import error_of, told_headers

if TYPE_CHECKING:
    from .items import Headers


def kept_status(status: Status) -> KeptStatus:
    """Give the status that a journal knows."""
    return "running" if status in ("waiting", "running", "paused") else status  # type: ignore[return-value]


def told_error(error: BaseException) -> dict[str, Any]:
    """Write an error down."""
    if not isinstance(error, FlowError):
        return {"type": type(error).__name__, "text": described(error)}
    said: dict[str, Any] = {"type": type(error).__name__, "text": str(error)}
    if isinstance(error, StepError):
        said.update(run=error.run_id, node=error.node, attempt=error.attempt)
        if error.stream_id is not None:
            said["stream"] = error.stream_id
        if error.seq is not None:
            said["seq"] = error.seq
    return said


def told_state(writes: dict[str, Any] | None, blobs: list[bytes]) -> dict[str, Any]:
    """Write down what a step wants remembered; what is not JSON or bytes is refused."""
    if not writes:
        return {}
    kept = {key: ANYTHING.encode(value, blobs) for key, value in writes.items() if value is not DELETED}
    said: dict[str, Any] = {"state": kept}
    gone = [key for key, value in writes.items() if value is DELETED]
    if gone:
        said["forgotten"] = gone
    return said


def told_extras(headers: Headers | None, meta: dict[str, Any] | None) -> dict[str, Any]:
    """Write down what an item does not inherit.

    Raises:
        JournalError: it is not JSON.
    """
    said: dict[str, Any] = {}
    if headers is not None:
        said["headers"] = told_headers(headers)
    if meta is not None:
        said["meta"] = meta
    if not is_plain(said):
        raise JournalError("headers.extra and meta must be JSON (None, bools, numbers, texts, lists, dicts)")
    return said


def position(seq: int, index: int) -> str:
    """Give the position of an item that a record delivers."""
    return f"{seq}.{index}"


def place_of(position: str) -> tuple[int, int]:
    """Give the record and the index in it that a position means.

    Raises:
        ValueError: it is none.
    """
    seq, dot, index = position.partition(".") if isinstance(position, str) else ("", "", "")
    if not (dot and seq.isdecimal() and index.isdecimal()):
        raise ValueError(f"{position!r} is no position: give the `position` of an item, as it is")
    return int(seq), int(index)


def opened_as(
    explicit: bool,
    by_name: bool,
    by_hand: bool,
    to: str | None,
    window: int | None,
    meta: dict[str, Any] | None,
) -> dict[str, Any]:
    """Write down how a stream was opened; what is as by default is left out."""
    told = {
        "explicit": explicit,
        "auto": not by_name,
        "by_hand": by_hand,
        "to": to,
        "window": window,
        "own_meta": meta,
    }
    return {name: value for name, value in told.items() if value}


OTHERS = {"StatementFailed": StatementFailed}
"""Errors of ours that have no name in `penguiflow.errors`."""


def flow_error(said: dict[str, Any]) -> FlowError:
    """Give the error back that a run has ended with."""
    kind = getattr(errors, said["type"], OTHERS.get(said["type"]))
    if isinstance(kind, type) and issubclass(kind, StepError):
        error = error_of(said)
        error.__class__ = kind
        return error
    if isinstance(kind, type) and issubclass(kind, FlowError):
        return kind(said["text"])
    return FlowError(f"{said['type']}: {said['text']}")
