"""Time travel: a run begun once more from what is recorded of it, from some step on.

Owns which records of a run another run begins with. Invariant: those of one step are taken over whole or not
at all; what is not taken over is executed by today's code, under the same identities; the run that they come
from is only read. How a run goes on from its records, `keeper` knows.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from .errors import JournalError, RunRejected
from .given import check_run_options
from .history import History, StepId, read_history
from .interrupts import answer_key
from .journal import Record, RunChange, RunTaken
from .kept import KeptStream
from .scribe import LEASE_SECONDS
from .sealed import Blobs
from .sealing import sealed, unsealed
from .wire.traceparent import parse

if TYPE_CHECKING:
    from .engine import Engine
    from .keeper import Keeper
    from .run import Run


@dataclass(slots=True)
class Start:
    """What a run begins with that is taken over from another one.

    Args:
        run_id: its id.
        kept: the steps whose records are taken over; the input is, in any case.
        asked: says of a question, by its token, whether it is.
        step: from which step on it is executed.
        alone: the record that settled the step, where it alone is executed: all others count as settled,
            however far they had come, and what was to be remembered behind it is not known yet.
        extra_seconds: how much longer than the other one it may take.
    """

    run_id: str
    kept: Collection[StepId]
    asked: Callable[[str], bool]
    step: int
    alone: int = 0
    extra_seconds: float = 0.0


def before(history: History, number: int) -> set[StepId]:
    """Give the steps that were settled before one."""
    return {step.id for step in history.steps[: number - 1]}


def records_for(history: History, start: Start) -> list[Record]:
    """Give the records that a run begins with."""
    copying = _Copying(history, start)
    records: list[Record] = []
    for record in history.records:
        copied = copying.copy(record)
        if copied is not None:
            records.append(sealed(start.run_id, len(records) + 1, record.kind, *copied))
    if start.alone:
        for step in history.unsettled:
            if step.key and step.id in copying.kept:
                said = {"key": step.key, "node": step.node, "attempt": step.attempt}
                records.append(sealed(start.run_id, len(records) + 1, "step", said))
    return records


Copied = tuple[dict[str, Any], list[bytes]]
"""The body of a record, and what of it is no JSON."""


class _Copying:
    """Chooses among the records of a run, and changes what is another run's."""

    def __init__(self, history: History, start: Start) -> None:
        self._history = history
        self._start = start
        roots = {step.id for step in history.all() if step.is_input and not step.scope}
        self.kept: set[StepId] = {*start.kept, *roots}
        created = history.row.created if history.row is not None else time.time()
        self._later = time.time() - created + start.extra_seconds

    def copy(self, record: Record) -> Copied | None:
        """Give what a record of the new run says; ``None`` where it is left out."""
        body, blobs = unsealed(record)
        if record.kind == "begun":
            return self._begun(body), [blobs.rest()]
        if record.kind == "asked":
            return self._asked(body) if self._start.asked(body["token"]) else None
        if record.kind in ("step", "sent"):
            which = (body["node"], body["stream"]) if "stream" in body else ("", body["key"])
            return self._at_its_time(record, body, blobs) if which in self.kept else None
        if record.kind in ("opened", "chunks", "ended"):
            stream = self._history.recorded.streams[body["node"], body["stream"]]
            is_kept = self._keeps(stream, whole=record.kind == "ended")
            return self._at_its_time(record, body, blobs) if is_kept else None
        return None

    def _at_its_time(self, record: Record, body: dict[str, Any], blobs: Blobs) -> Copied:
        """Give what a record says without what is to be remembered, where that comes too early."""
        if 0 < self._start.alone < record.seq:
            body = {name: said for name, said in body.items() if name not in ("state", "forgotten")}
        return body, [blobs.rest()]

    def _keeps(self, stream: KeptStream, *, whole: bool) -> bool:
        """Say whether a stream is taken over: if one of its writers is; the end of it only if all are."""
        writers = [writer.id in self.kept for writer in self._history.writers_of(stream)]
        return all(writers) if whole else any(writers)

    def _begun(self, body: dict[str, Any]) -> dict[str, Any]:
        begun = {**body, "forked": {"run": self._history.run_id, "step": self._start.step}}
        if self._start.run_id != self._history.run_id:
            headers = body.get("headers", {}).get("extra", {})
            if parse(headers.get("traceparent")) is None:
                begun["trace"] = secrets.token_hex(16)
        if "deadline" in body:
            begun["deadline"] = body["deadline"] + self._later
        return begun

    def _asked(self, body: dict[str, Any]) -> Copied:
        if "expires" in body:
            body["expires"] += self._later
        return body, []


async def fork(engine: Engine, run_id: str, at_step: int, new_run_id: str | None) -> Run:
    """Begin a run with what another one had made durable before a step; see `penguiflow.Runtime.fork`.

    If cancelled, it was begun or not.
    """
    check_run_options(None, None, new_run_id, None)
    if isinstance(at_step, bool) or not isinstance(at_step, int):
        raise TypeError(f"fork(at_step={at_step!r}): it is the number of a step, a whole number")
    engine.check_open()
    keeper = engine.keeper
    assert keeper is not None
    history = await read_history(keeper.journal, run_id)
    assert history.row is not None
    if history.row.flow != engine.flow.name:
        flow = history.row.flow
        raise JournalError(f"run {run_id} is one of flow {flow}, not of {engine.flow.name}: fork it there")
    settled = history.step(at_step).settled
    new = new_run_id if new_run_id is not None else secrets.token_hex(8)
    asked = {token for token, seq in history.asked.items() if seq < settled}
    start = Start(new, before(history, at_step), asked.__contains__, at_step)
    with anyio.CancelScope(shield=True):  # who is cancelled here would not know whether it was begun
        await begin_with(engine, keeper, history, start)
    return await keeper.attach(new, None)


async def begin_with(engine: Engine, keeper: Keeper, history: History, start: Start) -> None:
    """Write the records of a run, and take it up.

    Raises:
        RunRejected: its id is in use.
        JournalError: it could not be written.

    If cancelled, it may be written, and is taken up when its lease has run out.
    """
    journal, owner, flow = keeper.journal, keeper.scribe.owner, engine.flow.name
    records = records_for(history, start)
    try:
        await journal.append(owner, records, [RunChange(start.run_id, flow, "running")], LEASE_SECONDS)
    except RunTaken as exc:
        raise RunRejected(
            f"run_id={start.run_id!r} is in the journal of flow {flow} already; choose another id, or none"
        ) from exc
    for token, answer in history.recorded.answers.items():
        if start.asked(token):
            await journal.post(start.run_id, answer_key(token), answer)
    await keeper.take_up(start.run_id)
    if start.run_id in keeper.unreadable:
        raise keeper.unreadable[start.run_id]
