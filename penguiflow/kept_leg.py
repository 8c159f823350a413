"""Kept legs: streams that are written to the journal where they leave their node.

Owns what of a stream is on its way to the journal. Invariant (rules 5.1, 5.2): a chunk, and the end of the
stream, go on when they are durable, in order; what is recorded already goes on at once, and is not written
again. A node that works chunk by chunk says with its chunks what each was made of, and which of its input it
is done with: that is what is not done again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .errors import JournalError, StepError
from .gate import GatedLeg
from .items import Chunk
from .kept import KeptStream
from .leg import Leg
from .leg_keeper import LegKeeper
from .payloads import lifted
from .telling import position, told_error, told_extras, told_state
from .waits import Wait

if TYPE_CHECKING:
    from .inbox import Road, Sender
    from .items import Heading
    from .journal import Statement
    from .outlet import Outlet
    from .step import Step
    from .transaction import Transaction


class Keeping(Leg):
    """What kept legs share, whatever else they do."""

    __slots__ = ()

    @property
    def keeper(self) -> LegKeeper | None:
        """What of it is on its way; ``None`` where its run is not written."""
        raise NotImplementedError

    @keeper.setter
    def keeper(self, keeper: LegKeeper | None) -> None:
        raise NotImplementedError

    def connect(self, roads: tuple[Road, ...]) -> None:
        """Set where the stream goes, and write that it opens."""
        super().connect(roads)
        if self.keeper is not None:
            self.stamps = True  # a record names its chunks
            self.announce()

    # -- attempts

    def announce(self) -> None:
        """Write that the stream opens, or begins again, unless it is known from before."""
        keeper = self.keeper
        if keeper is None:
            return
        journal, heading = keeper.journal, self.heading
        node = journal.name(self.site)
        if journal.known is not None:
            stream = journal.known.streams.get((node, heading.stream_id))
            if stream is not None and (stream.attempt, stream.above) == (heading.attempt, keeper.above):
                keeper.goes_on_with(stream)
                return
        said = {"node": node, "stream": heading.stream_id, "attempt": heading.attempt, **keeper.options}
        if keeper.maker is not None:
            said["key"] = keeper.maker.key
        else:
            said["above"] = keeper.above
        run = self.run
        if heading.headers is not run.headers:
            said.update(told_extras(heading.headers, None))
        if heading.meta is not run.meta:
            said.update(told_extras(None, heading.meta))
        journal.write("opened", said)

    def restart(self, attempt: int) -> None:
        """Begin a higher attempt; of one that works chunk by chunk, it is that of its input."""
        keeper = self.keeper
        if keeper is None:
            super().restart(attempt)
            return
        before = self.heading.attempt
        if keeper.maker is None:
            keeper.above = attempt
        super().restart(attempt + keeper.offset)
        if self.heading.attempt != before:
            keeper.begin_attempt()
            self.announce()

    # -- chunks

    def room(self) -> int:
        """Say how many chunks can be pushed without standing at a door."""
        room = super().room()
        return room if self.keeper is None else room - self.keeper.unwritten()

    def watch_gate(self, sender: Sender) -> None:
        """Tell a sender when chunks have left that are on their way to the journal, and may take no room."""
        super().watch_gate(sender)
        if self.keeper is not None and self.keeper.pending:
            self.keeper.watchers = (*self.keeper.watchers, sender)

    def send(self, batch: list[Chunk[Any]]) -> None:
        """Write chunks; they go on when they are durable."""
        keeper = self.keeper
        if keeper is None:
            super().send(batch)
            return
        self.stamp(batch)
        self._send(keeper, keeper.in_order(batch, is_sender=self.account is not None))

    def _send(self, keeper: LegKeeper, batch: list[Chunk[Any]]) -> None:
        known = keeper.known
        if known is not None and keeper.passed < len(known.chunks):
            count = len(known.chunks) - keeper.passed
            again, batch = batch[:count], batch[count:]
            if not self._goes_on(known, keeper, again):
                self.discard([*again, *batch])
                return
            keeper.passed += len(again)
            del keeper.sources[: len(again)]
            if again:
                super().send(again)
        if batch:
            keeper.pending.append(batch)
            keeper.passed += len(batch)
            try:
                seq = self._write(keeper, batch)
            except JournalError as exc:
                self.run.fail(exc)
                return
            for index, chunk in enumerate(batch if self.site.is_exit else ()):
                chunk._position = position(seq, index)
            afterwards, keeper.afterwards = keeper.afterwards, ()
            for write in afterwards:
                write()

    def _goes_on(self, known: KeptStream, keeper: LegKeeper, again: list[Chunk[Any]]) -> bool:
        """Say whether a step that goes on gives what it gave before; the run fails where it does not."""
        if keeper.maker is None or not keeper.maker.goes_on:
            return True
        encoder = keeper.journal.payloads(self.site)
        for index, chunk in enumerate(again, keeper.passed):
            blobs: list[bytes] = []
            if lifted(encoder.encode(chunk.payload, blobs), blobs) != known.chunks[index].payload:
                self._differs(f"what it gives now as chunk {chunk.seq} is not what it gave", chunk.seq)
                return False
        return True

    def _differs(self, how: str, seq: int) -> None:
        key, run_id = self.site.key, self.run.id
        text = f"node {key} was to go on with stream {self.stream_id} (Resume.CONTINUE), but {how}"
        self.run.fail(StepError(f"{text} before in run {run_id}", run_id=run_id, node=key, seq=seq))

    def _write(self, keeper: LegKeeper, batch: list[Chunk[Any]]) -> int:
        """Write what is ready: chunks, and what of its input the node is done with."""
        heading = self.heading
        said: dict[str, Any] = {
            "node": keeper.journal.name(self.site),
            "stream": heading.stream_id,
            "attempt": heading.attempt,
            "seq": batch[0].seq if batch else self.next_seq,
        }
        blobs: list[bytes] = []
        if batch:
            encode = keeper.journal.payloads(self.site).encode
            said["items"] = [encode(chunk.payload, blobs) for chunk in batch]
            self._tell_peculiar(said, batch)
        if keeper.sources:
            said["sources"] = keeper.sources[: len(batch)]
            del keeper.sources[: len(batch)]
        if keeper.processed:
            said["processed"], keeper.processed = keeper.processed, []
        if keeper.state:
            writes, keeper.state = keeper.state, {}
            said.update(told_state(writes, blobs))
        then = partial(self._durable, batch) if batch else None
        statements, keeper.statements = keeper.statements, ()
        return keeper.journal.write("chunks", said, blobs, then, statements=statements)

    def _tell_peculiar(self, said: dict[str, Any], batch: list[Chunk[Any]]) -> None:
        """Say what is not told by the place of a chunk in its batch: skipped numbers, ends, own headers."""
        expected, seqs, done, extras = batch[0].seq, {}, [], {}
        for index, chunk in enumerate(batch):
            if chunk.seq != expected:
                seqs[str(index)] = chunk.seq
            if chunk.done:
                done.append(index)
            if chunk._headers is not None or chunk._meta is not None:
                extras[str(index)] = told_extras(chunk._headers, chunk._meta)
            expected = chunk.seq + 1
        peculiar = {"seqs": seqs, "done": done, "extras": extras}
        said.update({name: value for name, value in peculiar.items() if value})

    def _durable(self, batch: list[Chunk[Any]]) -> None:
        """Let chunks go on, unless they were let go in the meantime."""
        keeper = self.keeper
        assert keeper is not None
        if keeper.pending and keeper.pending[0] is batch:
            keeper.pending.popleft()
            super().send(batch)
        watchers, keeper.watchers = keeper.watchers, ()
        for sender in watchers:
            sender.entered()

    async def turn_of(self, step: Step, index: int) -> None:
        """Wait until so many chunks were written, where several steps write the stream again.

        If cancelled, nothing has changed.
        """
        keeper = self.keeper
        while keeper is not None and keeper.known is not None and not self.dead and self.terminal is None:
            if keeper.passed + len(self.buffer) >= index:
                return
            wait = Wait(self.run, f"{self.site.key} waits for its turn in stream {self.stream_id}", self)
            keeper.turns.append(wait)
            await step.wait(wait)

    def known_number(self, seq: int) -> int | None:
        """Give the number of a chunk that is written again; ``None`` where it is numbered anew."""
        return seq if self.keeper is not None and self.keeper.known is not None else None

    def made(self, kept: Transaction) -> None:
        """Take note of what the next chunk is made of, or who writes it where several may."""
        keeper = self.keeper
        if keeper is None:
            return
        turns, keeper.turns = keeper.turns, []
        for wait in turns:
            wait.wake()
        if keeper.maker is None:
            keeper.sources.append(kept.source)
        elif self.explicit:
            keeper.sources.append(kept.key)
            kept.elsewhere = True

    def done_with(self, source: int | str, writes: Any, statements: tuple[Statement, ...] = ()) -> None:
        """Take note that a chunk of the input is worked off: durable with what was made of it."""
        keeper = self.keeper
        if keeper is None:
            return
        known = keeper.known
        if known is not None and source in known.processed:
            return
        keeper.processed.append(source)
        keeper.statements = (*keeper.statements, *statements)
        if writes:
            keeper.state.update(writes)
        waits = keeper.order is not None and keeper.order.keeps_new  # it is written with what waits
        if not self.buffer and not waits:
            self._write(keeper, [])

    def then_write(self, write: Callable[[], None]) -> None:
        """Write something behind the chunks that there are; some of them may wait for their place."""
        keeper = self.keeper
        if keeper is not None and keeper.order is not None and keeper.order.keeps_new:
            keeper.afterwards = (*keeper.afterwards, write)
        else:
            write()

    # -- the end

    def finish(self, error: BaseException | None) -> None:
        """Write the terminal; it follows when it is durable."""
        keeper = self.keeper
        if keeper is None or self.run.stopped:
            super().finish(error)
            return
        if keeper.order is not None:
            rest, keeper.order = keeper.order.rest(), None
            keeper.sources = [source for _, source in rest]
            self._send(keeper, [chunk for chunk, _ in rest])
        known = keeper.known
        if known is not None and known.terminal is None and self.terminal == "done":
            goes_on = keeper.maker is not None and keeper.maker.goes_on
            if goes_on and keeper.passed < len(known.chunks):
                count = len(known.chunks)
                self._differs(f"it ends now behind {keeper.passed} of the {count} chunks that it gave", 0)
        if (known is not None and known.terminal is not None) or self.run.stopped:
            super().finish(error)
            return
        said: dict[str, Any] = {
            "node": keeper.journal.name(self.site),
            "stream": self.stream_id,
            "attempt": self.heading.attempt,
            "terminal": self.terminal,
        }
        if error is not None:
            said["error"] = told_error(error)
        keeper.ending = True
        keeper.journal.write("ended", said, then=partial(self._end_durable, error))

    def _end_durable(self, error: BaseException | None) -> None:
        keeper = self.keeper
        assert keeper is not None
        if keeper.ending:
            keeper.ending = False
            super().finish(error)

    def is_over(self) -> bool:
        """Say whether the terminal has gone."""
        return super().is_over() and not (self.keeper is not None and self.keeper.ending)

    def take_kept(self) -> list[Chunk[Any]]:
        """Give what is on its way to the journal, to be let go; no end follows it."""
        keeper, kept = self.keeper, super().take_kept()
        if keeper is None:
            return kept
        pending = [chunk for batch in keeper.pending for chunk in batch]
        keeper.pending.clear()
        if keeper.order is not None:
            pending += [chunk for chunk, _ in keeper.order.rest()]
        keeper.ending = False
        return [*pending, *kept]


class KeptLeg(Keeping):
    """A stream that is written to the journal; the arguments are those of `Leg`."""

    __slots__ = ("keeper",)


class KeptGatedLeg(Keeping, GatedLeg):
    """A stream that is written to the journal and parts behind a gate; the arguments are those of `Leg`."""

    __slots__ = ("keeper",)


def leg_type(outlet: Outlet) -> type[Leg]:
    """Say what kind of leg a stream leaves by."""
    if outlet.kept:
        return KeptGatedLeg if outlet.gated else KeptLeg
    return GatedLeg if outlet.gated else Leg


def keep_leg(leg: Leg, maker: Transaction | None, above: Heading | None, options: dict[str, Any]) -> None:
    """Let a stream be written, if its run and its node are.

    Args:
        leg: the stream.
        maker: the step that gives it.
        above: the heading of the stream that it is made of, where a node works chunk by chunk.
        options: how it was opened.
    """
    if not isinstance(leg, Keeping):
        return
    journal = leg.run.journal
    if journal is None:
        leg.keeper = None
        return
    keeper = leg.keeper = LegKeeper(journal, maker, above.attempt if above is not None else 0, options)
    if journal.known is None:
        return
    stream = journal.known.streams.get((journal.name(leg.site), leg.heading.stream_id))
    if stream is None:
        return
    attempt = leg.heading.attempt
    if above is not None:
        goes_on = stream.above == above.attempt and stream.is_whole()
        keeper.offset = max(0, stream.attempt + (not goes_on) - above.attempt)
        attempt = above.attempt + keeper.offset
    elif leg.explicit and maker is not None and not maker.goes_on:
        attempt = stream.attempt + journal.known.is_written_again(stream)
    if attempt != leg.heading.attempt:
        leg.heading = leg.heading.at(leg.heading.path, attempt)
