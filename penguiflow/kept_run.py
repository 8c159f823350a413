"""Kept runs: runs that are read from the journal, by whoever wants to, from wherever he was.

Owns the reading of what a run has delivered (rule 5.3). Invariant: its items come in the order in which they
became durable, each with its position; whoever goes on behind a position gets each later one once. A kept run
may be at work here, elsewhere or nowhere, or be over: reading it takes nothing from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import anyio

from .errors import FlowError, JournalError, RunCancelled
from .items import (
    Chunk,
    Headers,
    Heading,
    Message,
    StreamEnded,
    StreamOpened,
    StreamRestarted,
    new_chunk,
)
from .journal import UNFINISHED, Record, RunChange, RunTaken
from .lifecycle import Status
from .payloads import lift
from .recorded import chunks_in, error_of, headers_of, interrupt_of, letters_in, question_in
from .run import Run
from .run_journal import digest
from .scribe import LEASE_SECONDS
from .sealed import Blobs
from .sealing import sealed, unsealed
from .telling import flow_error, place_of, position

if TYPE_CHECKING:
    from .core import RunCore
    from .engine import Engine
    from .graph import Site
    from .keeper import Keeper

LOOK_SECONDS = 0.2
"""How often a run is looked at that is not at work here."""


class KeptRun(Run):
    """A run that is read from the journal.

    It is iterated once, like any run; `penguiflow.Runtime.attach` gives another one for the same.
    """

    __slots__ = ("_after", "_engine", "_id", "_iterated", "_status", "_trace_id")

    def __init__(self, engine: Engine, run_id: str, trace_id: str, status: Status, after: str | None) -> None:
        super().__init__(engine.runs.get(run_id))  # type: ignore[arg-type]  # it may not be at work here
        self._engine = engine
        self._id = run_id
        self._trace_id = trace_id
        self._status: Status = status
        self._after = (0, 0) if after is None else place_of(after)
        self._iterated = False

    @property
    def _live(self) -> RunCore | None:
        return self._engine.runs.get(self._id)

    def _here(self) -> RunCore:
        core = self._live
        if core is None:
            raise JournalError(f"run {self._id} is not at work in this runtime")
        return core

    @property
    def id(self) -> str:
        """The id of the run."""
        return self._id

    @property
    def trace_id(self) -> str:
        """The trace that everything in the run belongs to: 32 hexadecimal digits."""
        return self._trace_id

    @property
    def status(self) -> Status:
        """``waiting``, ``running``, ``paused``, ``done``, ``failed``, ``cancelled`` or ``expired``.

        Of a run that is not at work here: what was read last.
        """
        core = self._live
        return core.status if core is not None else self._status

    def _iterate(self, *, events: bool) -> AsyncIterator[Any]:
        if self._iterated:
            raise RuntimeError(f"run {self.id} is being read, or was read, already: attach to it once more")
        self._iterated = True
        return KeptReading(self, self._engine, self._after, events=events)

    async def _ended(self) -> None:
        core = self._live
        if core is not None:
            await core.ended()

    async def cancel(self, reason: str = "") -> None:
        """Cancel what is left; see `Run.cancel`. If cancelled itself, the run is cancelled all the same.

        Raises:
            JournalError: it is at work in another process.
        """
        core = self._live
        if core is not None:
            core.stop(reason)
            await core.ended()
            if core.status != "interrupted" and (core.journal is None or core.journal.lost is None):
                return  # else it was just about to leave memory
        if self._status in UNFINISHED:
            await self._cancel_at_rest(reason)

    async def _cancel_at_rest(self, reason: str) -> None:
        keeper = self._engine.keeper
        assert keeper is not None
        owner, flow = keeper.scribe.owner, self._engine.flow.name
        if not await keeper.journal.claim(owner, flow, LEASE_SECONDS, run_id=self._id):
            row = await keeper.journal.row(self._id)
            if row is None or row.status not in UNFINISHED:
                return
            raise JournalError(f"run {self._id} is at work elsewhere ({row.owner}): cancel it there")
        recorded = await keeper.read(self._id)
        text = f"run {self._id} was cancelled" + (f": {reason}" if reason else "")
        said = {"status": "cancelled", "error": {"type": "RunCancelled", "text": text}}
        record = sealed(self._id, recorded.seq + 1, "over", said)
        await keeper.journal.append(owner, [record], [RunChange(self._id, flow, "cancelled")])
        self._status = "cancelled"
        keeper.scribe.tell_readers(self._id)

    async def control(self, kind: Any, payload: Any = None, *, to: Any = None, stream_id: Any = None) -> None:
        """Send a command that overtakes data; see `Run.control`. If cancelled, it was sent all the same.

        Raises:
            JournalError: the run is not at work in this runtime.
        """
        self._core = self._here()
        await super().control(kind, payload, to=to, stream_id=stream_id)

    def statistics(self) -> Any:
        """Give a snapshot.

        Raises:
            JournalError: the run is not at work in this runtime.
        """
        self._core = self._here()
        return super().statistics()

    def own_error(self, kept: FlowError) -> BaseException:
        """Give the very error that the run has failed with, where that was here: it has its cause."""
        own = self._core.error if self._core is not None else None
        return own if own is not None and str(own) == str(kept) else kept

    def read_end(self, status: Status) -> None:
        """Take note of how the run has ended."""
        self._status = status

    def __repr__(self) -> str:
        return f"<run {self.id} {self.status}, kept>"


class KeptReading(AsyncIterator[Any]):
    """One reading of a kept run: its items, or its items and events.

    Args:
        run: the run.
        engine: the open flow.
        after: the record, and the index in it, of the last item that the reader has.
        events: whether he wants to know of streams, and of questions.
    """

    def __init__(self, run: KeptRun, engine: Engine, after: tuple[int, int], *, events: bool) -> None:
        assert engine.keeper is not None
        self._run = run
        self._keeper: Keeper = engine.keeper
        self._deliveries = Deliveries(run.id, engine, after)
        self._events = events
        self._seq = 0

    async def __anext__(self) -> Any:
        """Take the next item. If cancelled, nothing was taken."""
        ready = self._deliveries.ready
        while True:
            while ready:
                item = ready.popleft()
                if self._events or isinstance(item, Message | Chunk):
                    return item
            over = self._deliveries.over
            if over is not None:
                self._run.read_end(over[0])
                if over[1] is not None:
                    raise self._run.own_error(over[1])
                raise StopAsyncIteration
            await self._read_on()

    async def _read_on(self) -> None:
        """Read more records, or wait until there are some."""
        keeper, run_id = self._keeper, self._run.id
        waiter = keeper.scribe.watch(run_id)
        try:
            records = await keeper.journal.read(run_id, self._seq, 200)
            for record in records:
                self._seq = record.seq
                self._deliveries.add(record)
            if records:
                return
            if keeper.scribe.closed:
                raise RunCancelled(
                    f"the runtime was closed, and run {run_id} is not over: attach where the flow is open"
                )
            if run_id in keeper.unreadable:
                raise keeper.unreadable[run_id]
            if self._run._live is not None:
                await waiter
            else:
                await self._raise_if_cut_off()
                self._raise_if_lost()
                with anyio.move_on_after(LOOK_SECONDS):
                    await waiter
        finally:
            keeper.scribe.forget(run_id, waiter)

    async def _raise_if_cut_off(self) -> None:
        """Raise where the journal says that the run is over, and the records don't."""
        row = await self._keeper.journal.row(self._run.id)
        if row is None or row.status in UNFINISHED:
            return
        if not await self._keeper.journal.read(self._run.id, self._seq, 1):
            text = (
                f"run {self._run.id} is cut off in {self._keeper.journal!r}: it is {row.status}, and its end"
            )
            raise JournalError(f"{text} is missing")

    def _raise_if_lost(self) -> None:
        """Raise why the run could not be written here; one that somebody else has taken goes on there."""
        error, _ = self._keeper.lost.get(self._run.id, (None, 0.0))
        if error is not None and not isinstance(error, RunTaken):
            raise error


class Deliveries:
    """What the records of a run deliver to its reader.

    Args:
        run_id: the run.
        engine: the open flow.
        after: the record, and the index in it, behind which it is wanted.
    """

    def __init__(self, run_id: str, engine: Engine, after: tuple[int, int]) -> None:
        self.ready: deque[Any] = deque()
        self.over: tuple[Status, FlowError | None] | None = None
        self._run_id = run_id
        self._engine = engine
        self._after = after
        self._exits: dict[str, Site] = {site.key: site for site in engine.plan.exits}
        self._begun: dict[str, Any] = {}
        self._streams: dict[tuple[str, str], _Delivered] = {}
        self._numbers: dict[str, int] = {}

    def add(self, record: Record) -> None:
        """Take what one more record delivers.

        Raises:
            JournalError: it is not whole.
        """
        body, blobs = unsealed(record)
        read = DELIVERING.get(record.kind)
        if read is not None:
            read(self, record.seq, body, blobs)

    def _deliver(self, seq: int, index: int, item: Any) -> None:
        if (seq, index) > self._after or self._after == (0, 0):
            item._position = position(seq, index)
            self.ready.append(item)

    def _tell(self, seq: int, event: Any) -> None:
        if seq > self._after[0]:
            self.ready.append(event)

    # -- kinds of records

    def _read_begun(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        self._begun = body

    def _heading(self, site: Site, stream_id: str, attempt: int, body: dict[str, Any]) -> Heading:
        begun = self._begun
        headers = headers_of(body.get("headers", begun.get("headers", {}))) or Headers()
        meta = body.get("meta", begun.get("meta", {}))
        return Heading(site.path, stream_id, attempt, self._run_id, begun["trace"], None, headers, meta)

    def _read_step(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        site = self._exits.get(body["node"])
        if site is None or "error" in body:
            return
        payloads = self._keeper_payloads(site)
        given = [(letter.payload, letter.headers, letter.meta) for letter in letters_in(body, blobs)]
        given += [(lift(part, blobs), None, None) for part in body.get("parts", ())]
        if "result" in body:
            given.append((lift(body["result"], blobs), None, None))
        for index, (payload, headers, meta) in enumerate(given):
            message: Message[Any] = object.__new__(Message)
            message.payload = payloads(payload)
            message._heading = self._heading(site, "", 1, {})
            message._ticket, message._tokens = None, ()
            message._headers, message._meta = headers, meta
            message._number = digest(body["key"], self._next_number(body["key"]))
            self._deliver(seq, index, message)

    def _next_number(self, key: str) -> int:
        number = self._numbers.get(key, 0)
        self._numbers[key] = number + 1
        return number

    def _keeper_payloads(self, site: Site) -> Callable[[Any], Any]:
        assert self._engine.keeper is not None
        return self._engine.keeper.payloads(site).decode

    def _read_opened(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        site = self._exits.get(body["node"])
        if site is None:
            return
        key = (site.key, body["stream"])
        heading = self._heading(site, body["stream"], body["attempt"], body)
        before, self._streams[key] = self._streams.get(key), _Delivered(heading)
        if before is None:
            headers, meta = heading.headers.copy(), dict(heading.meta)
            event = StreamOpened(self._run_id, site.path, body["stream"], body["attempt"], headers, meta)
            self._tell(seq, event)
        else:
            self._tell(seq, StreamRestarted(self._run_id, site.path, body["stream"], body["attempt"]))

    def _read_chunks(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        site = self._exits.get(body["node"])
        stream = self._streams.get((body["node"], body["stream"]))
        if site is None or stream is None or stream.heading.attempt != body["attempt"]:
            return
        decode = self._keeper_payloads(site)
        for index, kept in enumerate(chunks_in(body, blobs, stream.chunks)):
            stream.gaps += kept.seq - stream.next_seq
            stream.next_seq = kept.seq + 1
            stream.chunks += 1
            chunk = new_chunk(stream.heading, kept.seq, decode(kept.payload), None, ())
            chunk.done = kept.done
            chunk._headers, chunk._meta = kept.headers, kept.meta
            self._deliver(seq, index, chunk)

    def _read_ended(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        site = self._exits.get(body["node"])
        stream = self._streams.get((body["node"], body["stream"]))
        if site is None or stream is None:
            return
        error = error_of(body["error"]) if "error" in body else None
        heading = stream.heading
        ended = StreamEnded(
            self._run_id,
            site.path,
            heading.stream_id,
            heading.attempt,
            body["terminal"],
            error,
            stream.chunks,
            stream.gaps,
        )
        self._tell(seq, ended)

    def _read_asked(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        self._tell(seq, interrupt_of(self._run_id, question_in(body)))

    def _read_over(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        self.over = body["status"], flow_error(body["error"]) if "error" in body else None


class _Delivered:
    """What was delivered of one attempt at a stream."""

    __slots__ = ("chunks", "gaps", "heading", "next_seq")

    def __init__(self, heading: Heading) -> None:
        self.heading = heading
        self.chunks = self.gaps = self.next_seq = 0


DELIVERING = {
    "begun": Deliveries._read_begun,
    "step": Deliveries._read_step,
    "sent": Deliveries._read_step,
    "opened": Deliveries._read_opened,
    "chunks": Deliveries._read_chunks,
    "ended": Deliveries._read_ended,
    "asked": Deliveries._read_asked,
    "over": Deliveries._read_over,
}
"""What a record delivers, by its kind."""
