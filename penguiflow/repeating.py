"""Repeating: what settled steps gave goes on once more, without them.

Owns the way of recorded messages and chunks back into a run that is taken up again. Invariant (rule 5.2):
what goes on is what was recorded, under the same identities, and takes the same ways under the same credit;
nothing of the node's code is executed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from .errors import FlowError, StreamClosed
from .items import Item, Spread, heading_item
from .kept import NOTHING, KeptChunk, KeptLetter, KeptStep, KeptStream
from .mapping import run_side_by_side

if TYPE_CHECKING:
    from .leg import Leg
    from .step import Step
    from .stream import StreamLane


async def repeat(step: Step, known: KeptStep) -> Any:
    """Give again what a settled step gave, and give back what it returned; raises what it has failed with.

    If cancelled, the step is.
    """
    reads = zip(step.reads, known.read, strict=False)
    parts = [partial(_read_again, step, lane, *read) for lane, read in reads]
    if parts:
        parking, timeout = step.run.pool.parking, step.run.cleanup_timeout
        parts.append(partial(_give_again, step, known))
        await run_side_by_side(lambda part: part(), parts, len(parts), parking, timeout)
    else:
        await _give_again(step, known)
    if known.error is not None:
        raise known.error
    assert step.kept is not None
    decode = step.kept.journal.payloads(step.station.site).decode
    if known.parts is not None:
        return Spread(map(decode, known.parts))
    return None if known.result is NOTHING else decode(known.result)


async def _give_again(step: Step, known: KeptStep) -> None:
    """Send and emit again what a step has sent and emitted. If cancelled, the step is."""
    assert step.kept is not None
    journal = step.kept.journal
    for letter in known.letters:
        await send_again(step, letter)
    assert journal.known is not None
    streams = journal.known.streams_of(known.key)
    if len(streams) == 1:
        await emit_again(step, streams[0])
    elif streams:
        parking, timeout = step.run.pool.parking, step.run.cleanup_timeout
        await run_side_by_side(partial(emit_again, step), streams, len(streams), parking, timeout)


async def _read_again(step: Step, lane: StreamLane, taken: int, to_its_end: bool) -> None:
    """Read as much of a stream as a step has read: whoever leaves one earlier cancels what is before it.

    What else the nodes before it have given may be on its way still (rule 2.10). If cancelled, the step is.
    """
    while not step.run.stopped and (to_its_end or taken > 0):
        if step.run.paused:
            await step.wait_for_resume()
        if lane.next_item() is not None:
            taken -= 1
        elif lane.over():
            return
        else:
            await lane.stream.wait_for_more()


async def send_again(step: Step, letter: KeptLetter) -> None:
    """Send a message on that is durable. If cancelled, it was sent on or not."""
    assert step.kept is not None
    payload = step.kept.journal.payloads(step.station.site).decode(letter.payload)
    ticket = await step.letter_credit(payload, letter.to)
    message = step.message_of(payload, ticket, letter.headers, letter.meta)
    step.flush()
    step.run.forward(step.station.site, message, step, letter.to)
    await step.accepted()


async def emit_again(step: Step, stream: KeptStream) -> None:
    """Emit the chunks of a stream that are durable, and end it where it has ended.

    If cancelled, the step is.
    """
    leg = _leg_again(step, stream)
    assert step.kept is not None
    known = step.kept.known
    is_shared = known is not None and stream.options.get("explicit")
    chunks = stream.made_by(known) if is_shared and known is not None else stream.chunks
    try:
        await _emit_all(step, leg, chunks)
    except StreamClosed:
        if not leg.dead:
            raise
        return
    if stream.options.get("by_hand"):
        leg.openers -= 1
        if leg.openers == 0 and leg.terminal is None:
            step.flush()
            leg.end("done")


def _leg_again(step: Step, stream: KeptStream) -> Leg:
    """Open a stream as it was opened."""
    assert step.kept is not None
    how = stream.options
    if how.get("auto"):
        step.kept.next_id = stream.stream_id
    if not how.get("explicit"):
        return step.leg_for(None, how.get("to"))
    named = None if how.get("auto") else stream.stream_id
    leg: Leg = step.run.open_leg(
        step,
        named,
        explicit=True,
        to=how.get("to"),
        window=how.get("window"),
        by_hand=bool(how.get("by_hand")),
        meta=how.get("own_meta"),
    )
    return leg


async def _emit_all(step: Step, leg: Leg, chunks: Iterable[KeptChunk]) -> None:
    assert step.kept is not None
    decode = step.kept.journal.payloads(step.station.site).decode
    for chunk in chunks:
        parent = _parent_of(step.item, chunk)
        seq = None
        if leg is not step.out or step.lane is None:
            await leg.turn_of(step, chunk.index)
            seq = leg.known_number(chunk.seq)
        await step.emit_chunk(leg, decode(chunk.payload), parent=parent, seq=seq, done=chunk.done)


def _parent_of(item: Item[Any], chunk: KeptChunk) -> Item[Any] | None:
    """Give what a chunk inherits from, where that was changed."""
    if chunk.headers is None and chunk.meta is None:
        return None
    parent: Item[Any] = heading_item(item._heading)
    parent._headers, parent._meta = chunk.headers, chunk.meta
    return parent


def made_again(step: Step) -> list[KeptChunk] | None:
    """Give what a node has made of a chunk before, if it is done with that; else ``None``."""
    assert step.kept is not None
    journal = step.kept.journal
    if journal.known is None:
        return None
    out = step.lane.out
    stream = journal.known.streams.get((journal.name(step.station.site), out.stream_id))
    keeper = getattr(out, "keeper", None)
    source = step.kept.source
    if stream is None or keeper is None:
        return None
    return stream.made_before(source, keeper.above)


async def repeat_chunk(step: Step, chunks: list[KeptChunk]) -> Any:
    """Give again what was made of a chunk, and what the step has given elsewhere, or has failed with.

    If cancelled, the step is.
    """
    assert step.kept is not None
    known = step.kept.known
    if known is None:
        return await _make_again(step, chunks)
    failure: FlowError | None = None
    try:
        await repeat(step, known)
    except FlowError as exc:
        if exc is not known.error:
            raise
        failure = exc
    result = await _make_again(step, chunks)
    if result is not None:
        step.return_chunk(result)
    step.lane.out.done_with(step.kept.source, None)
    if failure is not None:
        raise failure
    return None


async def _make_again(step: Step, chunks: list[KeptChunk]) -> Any:
    assert step.kept is not None
    leg = step.lane.out
    if leg.account is None:
        if not chunks:
            return None
        return step.kept.journal.payloads(step.station.site).decode(chunks[0].payload)
    await _emit_all(step, leg, chunks)
    return None
