"""Runs as their readers see them.

Owns the reading side: iteration, results, and leaving. Invariant: a run is iterated once; leaving its scope
ends its work, and returns only when that has ended (rule 3.2). Everything else is the core's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .control import as_control, check_control
from .errors import FlowError
from .given import check_chunk_options
from .items import Chunk, Control, Message, StreamOpened, StreamRestarted
from .lifecycle import FINAL, Status
from .outbox import Reading
from .parking import outlast
from .statistics import RunStatistics
from .step import Step

if TYPE_CHECKING:
    from .core import RunCore

_UNREAD = object()


class _Failed:
    """The result of a run that ended with an error."""

    __slots__ = ("error",)

    def __init__(self, error: FlowError) -> None:
        self.error = error


class Run:
    """One input and everything that descends from it.

    ``async for item in run`` gives its messages and chunks as they arrive, of all attempts, and raises the
    error that the run ends with. A run is iterated once.
    """

    __slots__ = ("__weakref__", "_core", "_parts", "_reading", "_result")

    def __init__(self, core: RunCore) -> None:
        self._core = core
        self._result: Any = _UNREAD
        self._reading: AsyncIterator[Any] | None = None
        self._parts: dict[Any, Any] | None = None

    @property
    def id(self) -> str:
        """The id of the run."""
        return self._core.id

    @property
    def trace_id(self) -> str:
        """The trace that everything in the run belongs to: 32 hexadecimal digits."""
        return self._core.trace_id

    @property
    def status(self) -> Status:
        """``waiting``, ``running``, ``paused``, ``done``, ``failed``, ``cancelled`` or ``expired``."""
        return self._core.status

    # -- reading

    def __aiter__(self) -> AsyncIterator[Message[Any] | Chunk[Any]]:
        """Iterate the items as they arrive."""
        return self._iterate(events=False)

    def events(self) -> AsyncIterator[Any]:
        """Iterate the items together with `StreamOpened`, `StreamRestarted` and `StreamEnded`."""
        return self._iterate(events=True)

    def _iterate(self, *, events: bool) -> AsyncIterator[Any]:
        outbox = self._core.outbox
        if outbox.iterated:
            raise RuntimeError(f"run {self.id} is being read, or was read, already: a run is iterated once")
        outbox.iterated = True
        outbox.events = events
        return Reading(outbox)

    async def result(self) -> Any:
        """Read the run to its end and give what it gave, of last attempts only.

        Returns:
            ``None`` where nothing came; the payload of the one message; the list of the payloads of the one
            stream (``[]`` where it stayed empty); a list of these, by first arrival, where there are several.

        Raises:
            StepError: a node failed, and nothing handled it.
            RunCancelled: the run was cancelled.
            DeadlineExceeded: it took too long.

        If cancelled, nothing is lost: ask again. The run goes on.
        """
        if self._result is _UNREAD:
            try:
                self._result = await self._collect()
            except FlowError as exc:
                self._result = _Failed(exc)
        if isinstance(self._result, _Failed):
            await self._ended()  # who asks for a result finds nothing of a failed run left behind it
            raise self._result.error
        return self._result

    async def _ended(self) -> None:
        await self._core.ended()

    async def _collect(self) -> Any:
        if self._reading is None or self._parts is None:
            self._reading, self._parts = self.events(), {}
        parts = self._parts
        async for item in self._reading:
            if isinstance(item, Message):
                parts[item] = item.payload
            elif isinstance(item, Chunk):
                parts.setdefault((item.path, item.stream_id), []).append(item.payload)
            elif isinstance(item, StreamOpened | StreamRestarted):
                parts[item.path, item.stream_id] = []
        if len(parts) <= 1:
            return next(iter(parts.values()), None)
        return list(parts.values())

    async def text(self) -> str:
        """Read the run to its end and give all that it gave as one text.

        If cancelled, nothing is lost: ask again. The run goes on.
        """
        return _as_text(await self.result())

    # -- acting

    async def cancel(self, reason: str = "") -> None:
        """Cancel what is left; returns when the steps have ended, after the cleanup timeout at most.

        Nothing more is delivered; whoever reads the run gets `RunCancelled`. Cancelling twice is cancelling
        once. If cancelled itself, the run is cancelled all the same.
        """
        self._core.stop(reason)
        await self._core.ended()

    async def control(
        self, kind: str | Control, payload: Any = None, *, to: str | None = None, stream_id: str | None = None
    ) -> None:
        """Send a command that overtakes data.

        Args:
            kind: ``cancel``, ``pause``, ``resume``, ``flush``, or any other for ``ctx.controls()``.
            payload: what the command needs.
            to: the path, or the name, of the only node it is for.
            stream_id: the only stream it is for; it may be over already.

        Raises:
            ValueError: the kind is empty; ``to`` is no node of the flow; ``pause`` or ``resume`` are for a
                node or a stream: a run is paused as a whole.
            TypeError: the kind, ``to`` or ``stream_id`` is no str.

        ``cancel`` without ``to`` and ``stream_id`` returns when the run has ended. If cancelled, the command
        was sent all the same.
        """
        control = as_control(kind, payload, to, stream_id)
        check_control(control, self._core.engine.plan)
        self._core.control(control)
        if self._core.status == "cancelled":
            await self._core.ended()

    def statistics(self) -> RunStatistics:
        """Give a snapshot."""
        core = self._core
        return RunStatistics(
            id=core.id,
            status=core.status,
            detached=core.detached,
            read=core.outbox.iterated,
            window=core.window,
            waiting_for_reader=core.outbox.count(),
            messages=core.messages(),
            streams=len(core.legs),
            credit_out=core.credit_out(),
            busy_steps=len(core.engaged),
            drops=tuple(core.drops or ()),
            dropped=core.dropped_count,
            retries=core.retries,
            gaps=core.gaps,
        )

    def __repr__(self) -> str:
        return f"<run {self.id} {self.status}>"


class Session(Run):
    """A run whose input is a stream that is fed by hand."""

    __slots__ = ("_step",)

    def __init__(self, core: RunCore, step: Step) -> None:
        super().__init__(core)
        self._step = step

    async def send(
        self, payload: Any, *, meta: dict[str, Any] | None = None, timeout: float | None = None
    ) -> Chunk[Any]:
        """Send one item of the input, under credit, for which it waits ``timeout`` seconds at most.

        Raises:
            TimeoutError: there was no credit in time; nothing was sent.
            StreamClosed: the input has ended, or nobody reads it any more.
            RunCancelled: the run is over.
            TypeError: no entry accepts the payload.

        If cancelled while it waits for credit, nothing was sent.
        """
        if meta is not None or timeout is not None:
            check_chunk_options(meta=meta, timeout=timeout)
        leg = self._step.default_leg()
        return await self._step.emit_chunk(leg, payload, meta=meta, timeout=timeout)

    async def end_input(self) -> None:
        """End the input; what was sent is worked off. If cancelled, it has ended."""
        self._core.end_input(self._step)


class RunScope:
    """The scope of a run: ``async with`` gives the run, leaving ends it."""

    __slots__ = ("_admit", "_run")

    def __init__(self, admit: Callable[[], Awaitable[Run]]) -> None:
        self._admit = admit
        self._run: Run | None = None

    async def __aenter__(self) -> Run:
        """Begin the run. If cancelled, it was not begun."""
        self._run = await self._admit()
        return self._run

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is left of the run, and wait until it has ended (rule 3.2).

        If cancelled, the run is cancelled all the same.
        """
        if self._run is not None:
            await leave(self._run)


class SessionScope:
    """The scope of a two-way run."""

    __slots__ = ("_scope",)

    def __init__(self, admit: Callable[[], Awaitable[Run]]) -> None:
        self._scope = RunScope(admit)

    async def __aenter__(self) -> Session:
        """Begin the run. If cancelled, it was not begun."""
        run = await self._scope.__aenter__()
        assert isinstance(run, Session)
        return run

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is left of the run. If cancelled, it is cancelled all the same."""
        await self._scope.__aexit__(kind, exc, trace)


async def leave(run: Run) -> None:
    """Cancel what is left of a run, and wait until its steps have ended.

    If cancelled, the wait goes on: it is bounded by the cleanup timeout.
    """
    core = run._core
    if core.status not in FINAL:
        core.stop("its scope was left")
    if not core.is_over:
        await outlast(core.pool.parking, core.ended, lambda: core.is_over, core.engine.patience)


def facade(core: RunCore) -> Run:
    """Give a run as its readers see it; always the same object."""
    if core.facade is None:
        core.facade = Run(core)
    run: Run = core.facade
    return run


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return "".join(_as_text(part) for part in value)
    return str(value)
