"""The context: what a node's code may ask of the runtime.

Owns nothing but the words; a `Step` does the work. Invariant: everything that may wait is ``async`` and says
what cancellation leaves behind; what ends in ``_nowait`` raises `anyio.WouldBlock` instead of waiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from .control import Controls
from .errors import JournalError
from .given import check_chunk_options, check_count, check_inherited, check_seconds_given, check_target
from .items import Chunk, ContextMarker, Headers, Item, Message
from .kept import NOTHING
from .mapping import run_side_by_side
from .node_log import StepLog, step_log
from .observe import SPAN, Passed, Span
from .questions import Asking
from .record import DELETED
from .writer import StreamWriter, would_block

if TYPE_CHECKING:
    from .step import Step
    from .transaction import PreviousAttempt
    from .wiring import Wirable

T = TypeVar("T")
R = TypeVar("R")


class Context(ContextMarker):
    """What a node knows of its step, and what it can do beside returning and yielding."""

    __slots__ = ("_controls", "_state", "_step")

    def __init__(self, step: Step) -> None:
        self._step = step
        self._state: State | None = None
        self._controls: Controls | None = None

    @property
    def message(self) -> Item[Any]:
        """The message, or the chunk, that the step works on; for a whole stream what stands for it."""
        return self._step.item

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._step.run.id

    @property
    def node(self) -> str:
        """The path of the node, its names joined by ``/``."""
        return self._step.station.site.key

    @property
    def attempt(self) -> int:
        """Which attempt at the step this is, counted from 1."""
        return self._step.attempt

    @property
    def key(self) -> str:
        """What tells the step from every other one, for whoever must know a repetition outside.

        With a journal it is the same whenever the step is executed: ``insert … on conflict (key) do nothing``
        writes a row once, however often.
        """
        site, journal = self._step.station.site, self._step.run.journal
        return f"{self._step.item.key}@{site.key if journal is None else journal.name(site)}"

    def also(self, sql: str, *parameters: Any) -> None:
        """Write more in the journal's own transaction, the one that settles this step: exactly once.

        The statements are executed in order when the step is over, on the connection of the journal, with its
        placeholders (``?`` of SQLite, ``%s`` of PostgreSQL). An attempt that fails takes them with it; a
        statement that fails itself fails the run.

        Args:
            sql: the statement.
            parameters: what goes into its placeholders.

        Raises:
            JournalError: there is no journal, or it has no SQL; the step is not durable, or is settled
                already (`Delivery.AT_MOST_ONCE`).
            TypeError: the statement is no text.
        """
        if not isinstance(sql, str):
            raise TypeError(f"ctx.also({sql!r}): a statement is needed, as text")
        kept, keeper = self._step.kept, self._step.run.engine.keeper
        if keeper is not None and keeper.gate is not None:
            return  # it is replayed, in a journal for that alone
        if kept is None or keeper is None or not hasattr(keeper.journal, "append_with"):
            raise JournalError(
                f"{self.node} can't write in the journal's transaction: it needs a journal with SQL, "
                "SQLiteJournal or PostgresJournal, given to flow.open(journal=…)"
            )
        if not kept.durable:
            raise JournalError(f"{self.node} is not durable, or settled already: nothing is written with it")
        kept.also(sql, parameters)

    @property
    def previous_attempt(self) -> PreviousAttempt | None:
        """What the step had given before its process ended, where it is executed again after that."""
        kept = self._step.kept
        return kept.previous() if kept is not None else None

    @property
    def deadline(self) -> float | None:
        """When the run expires, on the clock of the event loop (``anyio.current_time()``), or ``None``."""
        return self._step.run.deadline

    @property
    def state(self) -> State:
        """What the node remembers in this run, by key; a failed attempt's writes are forgotten."""
        if self._state is None:
            self._state = State(self._step)
        return self._state

    @property
    def span(self) -> Span:
        """The step's span: to say something in the trace, and to hand the trace on in requests.

        Where nobody traces, what is said is lost, and the trace that the run came with is handed on.
        """
        return SPAN.get() or Passed(self._step.run.trace_id, self._step.run.headers.extra)

    @property
    def log(self) -> StepLog:
        """The logger ``penguiflow.node.NAME`` of the node; its records say where they come from.

        They have the attributes ``run_id``, ``node``, ``attempt``, ``stream_id``, ``seq``, ``trace_id`` and
        ``span_id``, each ``None`` where there is none: at the moment of the record.
        """
        return step_log(self._step)

    async def emit(
        self,
        payload: Any,
        *,
        to: str | None = None,
        headers: Headers | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Message[Any]:
        """Emit a message, beside what the node returns, under the step's window.

        Args:
            payload: what to send; ``None`` is data.
            to: the name of the only direct successor it is for.
            headers: in place of the inherited ones.
            meta: laid over what is inherited.

        Raises:
            TypeError: no successor accepts the payload.
            GraphError: ``to`` names no successor.

        If cancelled while it waits for credit, nothing was emitted.
        """
        if headers is not None or meta is not None:
            check_inherited(headers, meta)
        message: Message[Any] = await self._step.emit_message(payload, to, headers, meta)
        return message

    def emit_nowait(
        self,
        payload: Any,
        *,
        to: str | None = None,
        headers: Headers | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Message[Any]:
        """Emit a message, or raise `anyio.WouldBlock` where there is no credit or no room for it."""
        if headers is not None or meta is not None:
            check_inherited(headers, meta)
        message: Message[Any] | None = self._step.emit_message_nowait(payload, to, headers, meta)
        if message is None:
            raise anyio.WouldBlock(would_block(self._step, "a message"))
        return message

    async def emit_chunk(
        self,
        payload: Any,
        *,
        parent: Item[Any] | None = None,
        stream_id: str | None = None,
        seq: int | None = None,
        done: bool = False,
        meta: dict[str, Any] | None = None,
        to: str | None = None,
        timeout: float | None = None,
    ) -> Chunk[Any]:
        """Emit a chunk of a stream; the same as ``yield`` where only the payload is given.

        Args:
            payload: what to send; ``None`` and everything empty are data.
            parent: whose headers and metadata to inherit; the step's input by default.
            stream_id: which stream; by default the step's own. A stream named here is opened if need be.
            seq: its number; by default the next one. A higher one leaves a gap.
            done: whether this is the last chunk.
            meta: laid over what is inherited.
            to: the name of the only direct successor the stream is for; taken when the stream opens.
            timeout: how many seconds to wait for credit.

        Raises:
            StreamClosed: the stream has ended, or nobody reads it any more.
            SequenceError: ``seq`` is lower than the next one.
            TimeoutError: there was no credit in time; nothing was emitted.
            TypeError: no successor accepts the payload.

        If cancelled while it waits for credit, nothing was emitted.
        """
        step = self._step
        plain = parent is None and stream_id is None and seq is None and meta is None and to is None
        if plain and not done and timeout is None:
            chunk = step.emit_at_once(payload)
            if chunk is not None:
                return chunk
        else:
            check_chunk_options(parent, stream_id, seq, meta, timeout)
        leg = step.leg_for(stream_id, to)
        return await step.emit_chunk(
            leg, payload, parent=parent, seq=seq, done=done, meta=meta, timeout=timeout
        )

    def emit_chunk_nowait(
        self,
        payload: Any,
        *,
        parent: Item[Any] | None = None,
        stream_id: str | None = None,
        seq: int | None = None,
        done: bool = False,
        meta: dict[str, Any] | None = None,
        to: str | None = None,
    ) -> Chunk[Any]:
        """Emit a chunk, or raise `anyio.WouldBlock` where there is no credit or no room for it."""
        step = self._step
        if parent is not None or stream_id is not None or seq is not None or meta is not None:
            check_chunk_options(parent, stream_id, seq, meta)
        leg = step.leg_for(stream_id, to)
        chunk = step.emit_chunk_nowait(leg, payload, parent=parent, seq=seq, done=done, meta=meta)
        if chunk is None:
            raise anyio.WouldBlock(would_block(step, f"stream {leg.stream_id}"))
        return chunk

    def open_stream(
        self,
        stream_id: str | None = None,
        *,
        meta: dict[str, Any] | None = None,
        window: int | None = None,
        to: str | None = None,
    ) -> StreamWriter:
        """Open a stream to send into: ``async with ctx.open_stream() as stream: await stream.send(x)``.

        Args:
            stream_id: its id; by default a new one.
            meta: laid over what its chunks inherit.
            window: how many chunks may be in flight; the runtime's window by default.
            to: the name of the only direct successor it is for.

        Leaving the block ends the stream; leaving it by an exception that is not the node's end as well.
        """
        return StreamWriter(self._step, stream_id, meta, window, to)

    async def call(self, target: Wirable | Callable[..., Any], payload: Any) -> Any:
        """Run a node or a flow on a payload, as a part of this step, and give its result.

        It shares the run's deadline, cancellation, headers and context variables. If cancelled, it is too.

        Raises:
            TypeError: the target is neither a node nor a flow nor a function.
            StreamClosed: the step is over; nothing was run.
        """
        self._step.check_alive()
        check_target(target)
        return await self._step.run.call(self._step, target, payload)

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T], *, limit: int = 16
    ) -> list[R]:
        """Call an async function on each item, at most ``limit`` at a time; the results are in order.

        The first error cancels the others and is raised as it is; a ``CancelledError`` that a call has
        caused itself is such an error. If cancelled, all calls are; their cleanup may wait, for the
        runtime's cleanup timeout at most.
        """
        check_count("limit", limit)
        run = self._step.run
        return await run_side_by_side(function, items, limit, run.pool.parking, run.cleanup_timeout)

    async def interrupt(
        self,
        question: Any,
        *,
        expect: type[T] | None = None,
        timeout: float | None = None,
        default: Any = NOTHING,
    ) -> Any:
        """Ask somebody outside, and wait for the answer, for as long as it takes.

        The question is kept in the journal, and shown by `Runtime.interrupts` and `Run.events`;
        `Runtime.answer` answers it, in this process or another. A detached run that can do nothing but wait
        is taken out of memory. Then, and after a crash, the step is executed from its beginning when the
        answer is there, and comes to the same question: what it does before that should be worth repeating,
        or be called (`Context.call`), for what is called is not done again.

        Args:
            question: what to ask: JSON, or a model of it.
            expect: the type of the answer: of one that does not fit, the asker is told, and asked again. By
                default it is whatever JSON, or bytes, it was given as.
            timeout: for how many seconds an answer is waited for; by default without end.
            default: the answer where none comes in time.

        Returns:
            The answer; the first one that was given.

        Raises:
            JournalError: the flow was opened without a journal.
            TimeoutError: no answer came in time, and there is no default.
            TypeError: the question is not JSON, or the default not what is expected.

        If cancelled, the question stays.
        """
        check_seconds_given("timeout", timeout)
        step = self._step
        step.check_alive()
        keeper = step.run.engine.keeper
        if keeper is None or step.kept is None:
            raise JournalError(
                f"{self.node} can't wait for an answer: its question is kept in a journal, and this run is "
                "in none; give flow.open(journal=…), and let what calls this flow be durable"
            )
        return await keeper.desk.ask(step, question, Asking(expect, timeout, default))

    def controls(self) -> Controls:
        """Give the commands that reach this node from now on: ``async for control in ctx.controls()``."""
        if self._controls is None:
            self._controls = self._step.run.listen(self._step)
        return self._controls

    def __repr__(self) -> str:
        return f"<context of {self._step!r}>"


class State(MutableMapping[str, Any]):
    """What a node remembers in one run. Writes count when the attempt has succeeded."""

    __slots__ = ("_step",)

    def __init__(self, step: Step) -> None:
        self._step = step

    def _kept(self) -> dict[str, Any]:
        return self._step.run.state.get(self._step.station.site.key, {})

    def _seen(self) -> dict[str, Any]:
        written = {**self._kept(), **(self._step.state or {})}
        return {key: value for key, value in written.items() if value is not DELETED}

    def _write(self, key: str, value: Any) -> None:
        if self._step.state is None:
            self._step.state = {}
        self._step.state[key] = value

    def __getitem__(self, key: str) -> Any:
        return self._seen()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._write(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self._seen():
            raise KeyError(key)
        self._write(key, DELETED)

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen())

    def __len__(self) -> int:
        return len(self._seen())

    def __repr__(self) -> str:
        return f"State({self._seen()!r})"
