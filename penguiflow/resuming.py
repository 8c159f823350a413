"""Resuming: how a run begins in the journal, and begins again from there.

Owns the way from a run to its first record, and back. Invariant: it begins as it began, with the same id,
trace, input and time limit; what it comes to is repeated where it is settled (`repeating`). Knows not who
owns which run.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from .durable_steps import begin_transaction
from .errors import StreamError
from .items import heading_item
from .kept import KeptStream
from .lifecycle import FINAL
from .observe import SPAN
from .payloads import Payloads
from .recorded import Recorded, headers_of, told_headers
from .run_journal import RunJournal
from .telling import told_extras

if TYPE_CHECKING:
    from .core import RunCore
    from .engine import Engine
    from .keeper import Keeper


def beginning(engine: Engine, core: RunCore, form: str, to: str | None) -> dict[str, Any]:
    """Write down how a run begins, without its input."""
    said: dict[str, Any] = {"flow": engine.flow.name, "trace": core.trace_id, "form": form}
    said.update(told_extras(core.headers if told_headers(core.headers) else None, core.meta or None))
    span = core.variables.get(SPAN)
    if span is not None and span.span_id:
        said["parent"] = span.headers()["traceparent"]
    if to is not None:
        said["to"] = to
    if core.deadline is not None:
        said["deadline"] = time.time() + core.deadline - engine.parking.now()
    return said


async def make_way(engine: Engine, run_id: str) -> None:
    """Wait until what is in the way of a run has ended: an execution that it has left, or a new run.

    That one has the same id by mistake, and is refused as soon as the journal has seen it. If cancelled,
    nothing has changed.
    """
    while (core := engine.runs.get(run_id)) is not None:
        is_new = core.journal is None or core.journal.known is None
        if core.status not in FINAL and not is_new:
            return
        await core.ended()


def go_on(keeper: Keeper, engine: Engine, recorded: Recorded) -> None:
    """Take a run up: it begins again, under what is known of it.

    Raises:
        JournalError: its input can't be read.
    """
    begun = recorded.begun
    deadline = begun.get("deadline")
    expires = None if deadline is None else engine.parking.now() + deadline - time.time()
    headers = headers_of(begun.get("headers", {}))
    assert headers is not None
    is_message = begun["form"] == "message"
    payload = keeper.payloads(engine.plan.root).decode(recorded.input) if is_message else None
    core = engine.new_core(recorded.run_id, headers, begun.get("meta", {}), expires)
    core.trace_id = begun["trace"]
    keeper.detach(core)
    core.journal = RunJournal(core, keeper.scribe, recorded)
    core.state = core.journal.kept_state()

    def enter() -> None:
        if core.stopped:
            return
        if is_message:
            engine.send_in(core, payload, begun.get("to"))
        else:
            _feed_again(keeper, engine, core, begun.get("to"))
        core.entered()

    # first: an attempt that nobody could know of later would be repeated under the same number, and a
    # store that takes nothing would let all be executed for nothing, again and again
    said = {"owner": keeper.scribe.owner}
    recorded.resumed(core.journal.write("resumed", said, then=enter, change="running"))
    core.begin(begun.get("parent") or core.join_trace())


def _feed_again(keeper: Keeper, engine: Engine, core: RunCore, to: str | None) -> None:
    item = heading_item(core.heading(engine.plan.root, "", 1, None))
    step = engine.start_step(core, engine.stations[0], None, item)
    step.kept = begin_transaction(step)
    assert core.journal is not None
    assert core.journal.known is not None
    streams = core.journal.known.streams_of(step.kept.key)
    step.value = cut_off(core, streams[0] if streams else None, keeper.payloads(engine.plan.root))
    step.out = core.open_leg(step, None, explicit=False, to=to)


async def cut_off(core: RunCore, stream: KeptStream | None, payloads: Payloads) -> AsyncIterator[Any]:
    """Give the input of a run that is known; what fed it is gone, so the rest of it will not come.

    If cancelled, nothing has changed.
    """
    for chunk in stream.chunks if stream is not None else ():
        yield payloads.decode(chunk.payload)
    if stream is None or stream.terminal is None:
        count = len(stream.chunks) if stream is not None else 0
        raise StreamError(
            f"the input of run {core.id} was cut off behind {count} items: the process that fed it is gone"
        )
