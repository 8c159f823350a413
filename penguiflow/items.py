"""What travels through a flow: messages, chunks, the events around streams, and commands.

Owns the words, not their movement. Invariant: what user code can change on one item (``headers``, ``meta``)
is never seen by another item; payloads are shared. Knows nothing of edges, credit or runs: ``_ticket`` and
``_tokens`` are carried for floor 1 and never looked into here.

Envelopes are the hottest objects of the package. They have slots, are created bare by ``object.__new__``, and
take over whatever a stream's chunks have in common from one shared ``Heading`` (a frozen dataclass per chunk
made the whole runtime five times slower).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from .durations import StreamTiming
from .headings import Headers as Headers
from .headings import Heading as Heading

T = TypeVar("T")

Terminal = Literal["done", "error", "cancelled", "expired"]


class Item(Generic[T]):
    """What messages and chunks share."""

    __slots__ = ("_headers", "_heading", "_meta", "_position", "_ticket", "_tokens", "payload")

    payload: T
    _heading: Heading
    _headers: Headers | None
    _meta: dict[str, Any] | None
    _position: str
    """Where a durable run delivers it; set where it does."""
    _ticket: Any
    _tokens: tuple[Any, ...]

    @property
    def headers(self) -> Headers:
        """This item's own headers."""
        if self._headers is None:
            self._headers = self._heading.headers.copy()
        return self._headers

    @property
    def meta(self) -> dict[str, Any]:
        """This item's own metadata."""
        if self._meta is None:
            self._meta = copy.deepcopy(self._heading.meta) if self._heading.meta else {}
        return self._meta

    @property
    def path(self) -> tuple[str, ...]:
        """Where the item comes from: the names of nested flows, then that of the node."""
        return self._heading.path

    @property
    def node(self) -> str:
        """The name of the node that gave the item last."""
        return self._heading.path[-1]

    @property
    def run_id(self) -> str:
        """The run that the item belongs to."""
        return self._heading.run_id

    @property
    def trace_id(self) -> str:
        """The trace that the item belongs to."""
        return self._heading.trace_id

    @property
    def position(self) -> str:
        """Where a run with a journal delivers the item, for `Runtime.attach`; else ``""``.

        Positions are in the order of delivery; what they look like is nobody's business.
        """
        return getattr(self, "_position", "")

    @property
    def deadline(self) -> float | None:
        """When the run expires, on the clock of the event loop (``anyio.current_time()``), or ``None``."""
        return self._heading.deadline

    @property
    def key(self) -> str:
        """What tells the item from every other one; with a journal, the same in each execution of the run.

        Of a chunk it is its run, node, stream, attempt and number (rule 5.3), of a message its id.
        """
        raise NotImplementedError


class Message(Item[T]):
    """A whole unit: one payload with its headers, id, trace id, deadline and metadata."""

    __slots__ = ("_number", "_origin", "_posted")

    _number: int | str
    _origin: Any
    """The span of the step that gives it; set where somebody traces."""
    _posted: float
    """Since when it waits at its node; set where somebody wants to know."""

    @property
    def id(self) -> str:
        """An id that no other message has."""
        return f"{self._heading.run_id}-{self._number}"

    @property
    def key(self) -> str:
        """What tells the message from every other one: its id; of what stands for a stream, the stream's."""
        heading = self._heading
        return self.id if not heading.stream_id else stream_key(heading)

    def __repr__(self) -> str:
        return f"<message {self.id} from {'/'.join(self.path)}: {self.payload!r}>"


class Chunk(Item[T]):
    """One numbered piece of a stream.

    ``seq`` starts at 0 and grows by one per chunk; ``done`` is set where the emitter said so (the truth about
    the end of a stream is `StreamEnded`).
    """

    __slots__ = ("done", "seq")

    seq: int
    done: bool

    @property
    def stream_id(self) -> str:
        """The stream that the chunk is a piece of."""
        return self._heading.stream_id

    @property
    def attempt(self) -> int:
        """Which attempt at the stream the chunk belongs to, counted from 1."""
        return self._heading.attempt

    @property
    def key(self) -> str:
        """What tells the chunk from every other one: run, node, stream, attempt and number."""
        return f"{stream_key(self._heading)}/{self.seq}"

    def __repr__(self) -> str:
        last = " done" if self.done else ""
        return f"<chunk {self.stream_id}#{self.seq}{last} from {'/'.join(self.path)}: {self.payload!r}>"


def stream_key(heading: Heading) -> str:
    """Give what tells an attempt at a stream from every other one."""
    return f"{heading.run_id}/{'/'.join(heading.path)}/{heading.stream_id}/{heading.attempt}"


class Spread(Generic[T]):
    """What a node returns to make one message of each of many parts, lazily, under its window.

    Args:
        items: any iterable, also an endless one; it is read as credit allows, when the node has returned. If
            reading it fails, so does the step, and a ``retry=`` does not help: parts have gone out already.
    """

    __slots__ = ("items",)

    def __init__(self, items: Iterable[T]) -> None:
        self.items: Iterable[T] = items

    def __repr__(self) -> str:
        return f"Spread({self.items!r})"


class Gathered(list[T]):
    """All parts of one spread, in the order of the spread; parts that were filtered away are left out."""

    __slots__ = ()


class StreamMarker(Generic[T]):
    """The word ``Stream[T]`` as signatures use it; floor 3 gives it life."""

    __slots__ = ()


class ContextMarker:
    """The word ``Context`` as signatures use it; floor 3 gives it life."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Control:
    """A command to nodes. It needs no credit and overtakes data.

    Args:
        kind: ``cancel``, ``pause``, ``resume`` and ``flush`` are carried out by the runtime, every kind
            reaches the nodes through ``ctx.controls()``.
        payload: whatever the kind needs.
        node: the path of the only node it is for, joined by ``/``; ``None`` for all.
        stream_id: the only stream it is for; ``None`` for all.
    """

    kind: str
    payload: Any = None
    node: str | None = None
    stream_id: str | None = None


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """A stream has begun; comes before its first chunk.

    ``part``, ``step`` and ``at`` are set for observers, see `penguiflow.observe`.
    """

    run_id: str
    path: tuple[str, ...]
    stream_id: str
    attempt: int
    headers: Headers
    meta: dict[str, Any]
    part: int = 0
    step: int = 0
    at: float = 0.0

    @property
    def node(self) -> str:
        """The name of the node that gives the stream."""
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class StreamRestarted:
    """The step behind a stream is tried again: forget the chunks of lower attempts.

    ``chunks``, ``gaps`` and ``timing`` are those of the attempt that is given up; like ``part``, they are for
    observers.
    """

    run_id: str
    path: tuple[str, ...]
    stream_id: str
    attempt: int
    part: int = 0
    chunks: int = 0
    gaps: int = 0
    timing: StreamTiming | None = None

    @property
    def node(self) -> str:
        """The name of the node that gives the stream."""
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """A stream has ended; nothing of it comes later.

    ``chunks`` and ``gaps`` (numbers that were skipped) count the last attempt; ``error`` is set where
    ``terminal`` is ``"error"``. ``timing`` says where its time went, if anybody observes.
    """

    run_id: str
    path: tuple[str, ...]
    stream_id: str
    attempt: int
    terminal: Terminal
    error: BaseException | None
    chunks: int
    gaps: int
    part: int = 0
    timing: StreamTiming | None = None

    @property
    def node(self) -> str:
        """The name of the node that gave the stream."""
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A step waits for an answer, see `penguiflow.Context.interrupt`.

    Args:
        run_id: the run.
        path: the node that asks.
        token: names the question, for `penguiflow.Runtime.answer`: no other has it, and it can't be guessed.
        question: what it asks, as JSON.
        asked: when, in seconds since 1970.
        expires: until when an answer is taken; ``None``: at any time.
        problem: why the answer before this was refused, if one was.
    """

    run_id: str
    path: tuple[str, ...]
    token: str
    question: Any
    asked: float
    expires: float | None = None
    problem: str = ""

    @property
    def node(self) -> str:
        """The name of the node that asks."""
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class Drop:
    """One piece of data that an edge's policy dropped; ``run_id`` and ``part`` are set for observers."""

    edge: str
    stream_id: str | None
    seq: int | None
    reason: str
    run_id: str = field(default="", compare=False, repr=False)
    part: int = field(default=0, compare=False, repr=False)


def copy_message(message: Message[T], number: int | str) -> Message[T]:
    """Make a copy that shares the payload and nothing else; tokens are the copier's business."""
    twin: Message[T] = object.__new__(Message)
    twin.payload = message.payload
    twin._heading = message._heading
    twin._ticket = message._ticket
    twin._tokens = ()
    twin._headers = message._headers.copy() if message._headers is not None else None
    twin._meta = copy.deepcopy(message._meta) if message._meta is not None else None
    twin._number = number
    twin._origin = getattr(message, "_origin", None)
    return twin


def heading_item(heading: Any) -> Message[Any]:
    """Make the message that stands for a whole stream, for those who inherit from it."""
    item: Message[Any] = object.__new__(Message)
    item.payload = None
    item._heading = heading
    item._ticket = None
    item._tokens = ()
    item._meta = None
    item._headers = None
    item._number = 0
    return item


def new_chunk(heading: Heading, seq: int, payload: Any, ticket: Any, tokens: tuple[Any, ...]) -> Chunk[Any]:
    """Make an envelope."""
    chunk: Chunk[Any] = object.__new__(Chunk)
    chunk.payload = payload
    chunk.seq = seq
    chunk.done = False
    chunk._heading = heading
    chunk._ticket = ticket
    chunk._tokens = tokens
    chunk._meta = None
    chunk._headers = None
    return chunk


def copy_chunk(chunk: Chunk[Any]) -> Chunk[Any]:
    """Make a copy that shares the payload and nothing else; ticket and tokens are the copier's business."""
    twin = new_chunk(chunk._heading, chunk.seq, chunk.payload, chunk._ticket, chunk._tokens)
    twin.done = chunk.done
    twin._meta = copy.deepcopy(chunk._meta) if chunk._meta is not None else None
    twin._headers = chunk._headers.copy() if chunk._headers is not None else None
    return twin
