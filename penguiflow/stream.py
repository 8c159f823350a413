"""Streams as a step sees them: `Stream`, and the lane that feeds it.

Owns the reading side of one stream at one step. Invariant: a chunk's credit is home as soon as the step has
taken it; the step sees each chunk once, in order, then exactly one end: the loop stops, or raises the
stream's error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from .completion import Tokens, release
from .credit import Copies, Joint
from .errors import RunCancelled
from .items import Chunk, Headers, Message, StreamMarker, heading_item
from .lane import Lane, LaneKey
from .step import Step
from .timing import SOURCE
from .waiting import Restarted
from .waits import Wait

if TYPE_CHECKING:
    from .core import RunCore
    from .graph import Edge
    from .leg import Leg
    from .observe import Span
    from .station import Station

T = TypeVar("T")


class StreamLane(Lane):
    """A stream at a step that takes it as a whole; the step is its own, or that of a join."""

    __slots__ = ("filled", "head", "parents", "reader", "step", "stream")

    tokens: Tokens
    sees_numbers = True

    def __init__(self, run: RunCore, station: Station, key: LaneKey, explicit: bool) -> None:
        super().__init__(run, station, key, explicit)
        self.filled: bool = False
        self.parents: list[Copies] = []
        self.head: Any = None
        self.reader: Wait | None = None
        self.step: Step | None = None
        self.stream: Stream[Any] = Stream(self)

    def road(self, edge: Edge, leg: Leg) -> Any:
        """Give a new road into the lane, and hold what its stream rides on."""
        for ticket in leg.parents:
            ticket.refs += 1
            self.parents.append(ticket)
        if self.head is None:
            self.head = leg.heading
        return super().road(edge, leg)

    def take_head(self) -> None:
        """Let the stream be known by the node in front, which had no heading while it was opened."""
        if self.step is None and self.inboxes:
            self.head = self.inboxes[0].writer.heading

    def begin(self) -> None:
        """Begin the step that reads the stream."""
        if self.step is not None:
            return
        run = self.run
        tokens, self.tokens = self.tokens, ()
        parents, self.parents = self.parents, []
        item = heading_item(self.head)
        self.step = Step(run, self.station, self.stream, item, Joint(list(parents)), tokens)
        self.step.stream = self.stream
        self.step.reads = (self,)
        self.station.steps += 1
        run.open += 1
        run.busy += 1
        run.pool.push(self.step)

    def carry(self, tokens: Any) -> None:
        """Hold tokens; a step that has begun holds them itself."""
        if self.step is not None and tokens:
            for token in tokens:
                token.count += 1
            self.step.tokens += tokens
        else:
            super().carry(tokens)

    def runnable(self) -> bool:
        """Say that the lane does nothing by itself: its step reads."""
        return False

    def free_hands(self) -> int:
        """Say whether the step waits for its input, or has not begun."""
        return int(self.reader is not None or not self.stream.begun)

    def wake(self) -> None:
        """Wake the step that waits for input."""
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.wake()

    def finish_if_over(self) -> None:
        """End when nothing more will come; the step finds out by reading."""
        if (not self.dead and not self.expects_writers()) or self.failing is not None:
            self.wake()

    def over(self) -> bool:
        """Say whether nothing more will come."""
        return self.dead or self.failing is not None or not self.expects_writers()

    def abandon(self) -> None:
        """Do nothing: the lane is never on the schedule."""

    def next_item(self) -> Chunk[Any] | None:
        """Take the next chunk, if one waits."""
        for inbox in self.inboxes:
            if inbox.available():
                chunk: Chunk[Any] = inbox.take(1)[0]
                inbox.freed()
                tokens, chunk._tokens = chunk._tokens, ()
                release(tokens)
                chunk._ticket.home()
                return chunk
        return None

    def leave(self) -> None:
        """End: the step reads no more."""
        if not self.dead:
            parents, self.parents = self.parents, []
            self.die("cancelled")
            for ticket in parents:
                ticket.home()

    def restart(self, road: Any, attempt: int) -> None:
        """Drop what is left of lower attempts, and restart the step."""
        road.purge()
        self.head = road.writer.heading
        if self.step is not None and self.stream.begun:
            self.stream.stale = True
            self.step.input_restarted()
        self.wake()


class Stream(StreamMarker[T]):
    """A stream that a step reads: ``async for payload in stream``.

    It ends with its terminal: a stream that failed raises its error where it is read. Leaving the loop early
    ends nothing; returning from the step does, and cancels the stream towards its producer.
    """

    __slots__ = ("_lane", "begun", "stale", "taken")

    def __init__(self, lane: StreamLane) -> None:
        self._lane = lane
        self.taken: int = 0
        self.begun: bool = False
        self.stale: bool = False

    @property
    def id(self) -> str:
        """The id of the stream."""
        return self._lane.stream_id

    @property
    def headers(self) -> Headers:
        """A copy of the stream's headers."""
        headers: Headers = self._lane.head.headers.copy()
        return headers

    @property
    def meta(self) -> dict[str, Any]:
        """A copy of the stream's metadata."""
        return dict(self._lane.head.meta)

    @property
    def trace_id(self) -> str:
        """The trace that the stream belongs to."""
        return self._lane.run.trace_id

    @property
    def attempt(self) -> int:
        """Which attempt at the stream this is, counted from 1."""
        attempt: int = self._lane.head.attempt
        return attempt

    @property
    def node(self) -> str:
        """The name of the node that gives the stream."""
        node: str = self._lane.head.path[-1]
        return node

    @property
    def gaps(self) -> int:
        """How many numbers the emitter has skipped so far."""
        return sum(inbox.writer.gaps for inbox in self._lane.inboxes)

    def item(self) -> Message[Any]:
        """Give what stands for the stream, for those who inherit from it."""
        return heading_item(self._lane.head)

    def origins(self) -> list[Span]:
        """Give the spans of the steps behind it, where somebody traces."""
        watches = [inbox.writer.watch for inbox in self._lane.inboxes]
        return [watch.span for watch in watches if watch is not None and watch.span is not None]

    def belong_to(self, step: Step) -> None:
        """Let a join's step read the stream."""
        self._lane.step = step
        step.run.read_by(step, self._lane)

    def refuse(self) -> None:
        """Let the stream go: nobody will read it."""
        self._lane.leave()

    def __aiter__(self) -> AsyncIterator[T]:
        return _Payloads(self)

    def chunks(self) -> AsyncIterator[Chunk[T]]:
        """Iterate the chunks instead of their payloads."""
        return _Chunks(self)

    async def next(self) -> Chunk[T]:
        """Take the next chunk; raises `anyio.EndOfStream` behind the last one.

        If cancelled, nothing was taken.
        """
        chunk = await self._next()
        if chunk is None:
            raise anyio.EndOfStream
        return chunk

    def next_nowait(self) -> Chunk[T]:
        """Take the next chunk; raises `anyio.WouldBlock` where none waits, `anyio.EndOfStream` at the end."""
        self.begun = True
        chunk = self._lane.next_item()
        if chunk is None:
            if self._lane.over():
                self._raise_error()
                raise anyio.EndOfStream
            raise anyio.WouldBlock(f"no chunk of stream {self.id} waits")
        self.taken += 1
        return chunk

    async def _next(self) -> Chunk[T] | None:
        self.begun = True
        lane = self._lane
        while True:
            step = lane.step
            if lane.run.stopped:
                if step is not None:
                    step.told()
                raise RunCancelled(f"run {lane.run.id} is over")
            if step is not None and lane.run.paused:
                await step.wait_for_resume()
            if self.stale:
                await self._begin_again(step)
            chunk = lane.next_item()
            if chunk is not None:
                self.taken += 1
                return chunk
            if lane.over():
                self._raise_error()
                return None
            await self._wait(lane, step)

    async def _begin_again(self, step: Step | None) -> None:
        """Give up this attempt; a task that the step has started waits until the step cancels it."""
        if step is None or step.is_own():
            raise Restarted
        await anyio.sleep_forever()

    async def wait_for_more(self) -> None:
        """Wait until something has come, or nothing will. If cancelled, nothing has changed."""
        await self._wait(self._lane, self._lane.step)

    async def _wait(self, lane: StreamLane, step: Step | None) -> None:
        node = lane.station.site.key
        wait = Wait(lane.run, f"{node} waits for input of stream {lane.stream_id}", state=SOURCE)
        previous, lane.reader = lane.reader, wait
        if previous is not None:
            previous.wake()
        try:
            if step is not None:
                step.flush()
                await step.wait(wait)
            else:
                await wait.future
        finally:
            if lane.reader is wait:
                lane.reader = None

    def _raise_error(self) -> None:
        error = self._lane.error
        if error is not None:
            if self._lane.step is not None:
                self._lane.step.fed_by = error
            raise error

    def __repr__(self) -> str:
        return f"<stream {self.id} from {self.node}, {self.taken} taken>"


class _Payloads(AsyncIterator[T]):
    __slots__ = ("_stream",)

    def __init__(self, stream: Stream[T]) -> None:
        self._stream = stream

    async def __anext__(self) -> T:
        chunk = await self._stream._next()
        if chunk is None:
            raise StopAsyncIteration
        return chunk.payload


class _Chunks(AsyncIterator[Chunk[T]]):
    __slots__ = ("_stream",)

    def __init__(self, stream: Stream[T]) -> None:
        self._stream = stream

    async def __anext__(self) -> Chunk[T]:
        chunk = await self._stream._next()
        if chunk is None:
            raise StopAsyncIteration
        return chunk
