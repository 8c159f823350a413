"""Observation: passive watchers, and what they are told.

Owns the events. Invariant (rules 6.2, 6.3): without an observer no event is made; an observer that raises is
silenced after its first error and counted, and never hurts the run. This is the one place that catches
everything.

Times (``at``) are in seconds on the clock of the event loop. Runs are told apart by ``run_id`` and ``part``:
part 0 is the run itself, the others are what its steps call (`Context.call`), under its id. Steps are
numbered in each of these, from 1. All events of a run come between its `RunStarted` and its `RunEnded`,
except those of a step whose cleanup was given up.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from .durations import Waits
from .items import Headers
from .wire.traceparent import clean_tracestate, parse

if TYPE_CHECKING:
    from .runtime import Runtime

log = logging.getLogger("penguiflow")

Outcome = Literal["done", "error", "cancelled"]


class Observer(Protocol):
    """A passive watcher of a runtime.

    It may have more than this one method, each looked for when the flow is opened:

    - ``follows(run: RunStarted) -> bool``: whether the events of a run are wanted at all. Called before
      anything else of the run; where nobody follows a run, nothing is made for it. Of a part of a run, only
      those are asked who follow what calls it.
    - ``is_tracer = True``: it is told before the others, sets the trace of a run (`RunStarted.trace_id`), and
      the `Span` that a step's code sees (`SPAN`).
    - ``timelines = True``: streams keep when they waited for what.
    - ``measures = True``: nodes and edges keep histograms, see `Runtime.measures`.
    - ``interval = seconds``: it is told a `RuntimeTick` again and again while the runtime is open.
    """

    def observe(self, event: object) -> None:
        """Be told of an event, in the order of events, on the event loop; a plain ``def`` that must not wait.

        `RunStarted` and `StepStarted` are told under the context variables of the run and of the step: what
        is set there, the node's code sees.
        """


class Span(Protocol):
    """What a node can say to the trace that it is part of."""

    @property
    def trace_id(self) -> str:
        """The trace: 32 hexadecimal digits."""

    @property
    def span_id(self) -> str:
        """The span: 16 hexadecimal digits; empty where there is none."""

    def set_attribute(self, key: str, value: Any) -> None:
        """Say something about the step."""

    def add_event(self, name: str, attributes: dict[str, Any] | None = None) -> None:
        """Say that something has happened in the step."""

    def headers(self) -> dict[str, str]:
        """Give ``traceparent`` and ``tracestate`` for a request to somebody else (W3C Trace Context)."""


SPAN: ContextVar[Span | None] = ContextVar("penguiflow_span", default=None)
"""The span of the step whose code runs here; a tracer sets it when it is told of the step."""


class Passed:
    """The span where nobody traces: it hands on the trace that the run came with.

    Args:
        trace_id: the trace.
        extra: the extra headers of the run.
    """

    __slots__ = ("_extra", "_trace_id")

    span_id = ""

    def __init__(self, trace_id: str, extra: dict[str, Any]) -> None:
        self._trace_id = trace_id
        self._extra = extra

    @property
    def trace_id(self) -> str:
        """The trace."""
        return self._trace_id

    def set_attribute(self, key: str, value: Any) -> None:
        """Say nothing: nobody traces."""

    def add_event(self, name: str, attributes: dict[str, Any] | None = None) -> None:
        """Say nothing: nobody traces."""

    def headers(self) -> dict[str, str]:
        """Give the headers that the run came with, where they are valid."""
        parent = self._extra.get("traceparent")
        if not isinstance(parent, str) or parse(parent) is None:
            return {}
        state = clean_tracestate(self._extra.get("tracestate"))
        return {"traceparent": parent, "tracestate": state} if state else {"traceparent": parent}


@dataclass(slots=True)
class RuntimeOpened:
    """A flow was opened; its sources have not begun."""

    runtime: Runtime


@dataclass(slots=True)
class RuntimeTick:
    """Time has passed, see `Observer`."""

    runtime: Runtime


@dataclass(slots=True)
class RuntimeClosed:
    """Nothing of a runtime is at work any more."""

    runtime: Runtime


@dataclass(slots=True)
class RunStarted:
    """A run was admitted, or a step calls a flow, which is a part of its run.

    ``caller`` is the part and the number of the step that calls. ``trace_id`` may be set by a tracer.
    ``parent`` is the W3C ``traceparent`` that the run came with, in ``headers.extra``, if it is a valid one.
    ``waited`` is how long it had waited to be admitted (``max_runs=``), in seconds: that was before ``at``.
    """

    run_id: str
    flow: str
    trace_id: str
    part: int = 0
    caller: tuple[int, int] | None = None
    headers: Headers = field(default_factory=Headers)
    parent: str = ""
    at: float = 0.0
    waited: float = 0.0


@dataclass(slots=True)
class RunPaused:
    """A run was paused: of its steps, those whose code is at work come to their next emission, no further.

    It is told once, however often the run is told to pause. What a step has called is not paused with it, and
    goes on. The waits of steps and streams have the pause in them, mostly as credit.
    """

    run_id: str
    flow: str
    part: int = 0
    at: float = 0.0


@dataclass(slots=True)
class RunResumed:
    """A run that was paused goes on. Of one that ends instead, this is not told: its end ends the pause."""

    run_id: str
    flow: str
    part: int = 0
    at: float = 0.0


@dataclass(slots=True)
class RunEnded:
    """A run is over, and its steps have ended."""

    run_id: str
    flow: str
    status: str
    error: BaseException | None
    part: int = 0
    at: float = 0.0


@dataclass(slots=True)
class RunRead:
    """The reader of a run has taken the last of it, and got no error.

    The one event that comes after `RunEnded`: what fits into its windows does not keep a run waiting.
    """

    run_id: str
    flow: str
    part: int = 0
    at: float = 0.0


@dataclass(slots=True)
class StepStarted:
    """A step has begun; a node's work on one stream, chunk by chunk, is one step, named by ``stream_id``.

    ``queued`` is how long its input had waited for it, in seconds. ``origins`` are the spans behind what a
    join or a gather takes, where somebody traces: at most 32 of them.
    """

    run_id: str
    node: str
    stream_id: str | None
    part: int = 0
    step: int = 0
    attempt: int = 1
    queued: float = 0.0
    origins: tuple[Span, ...] = ()
    at: float = 0.0


@dataclass(slots=True)
class StepEnded:
    """A step is over, after so many attempts; ``waits`` says where the time of the last one went.

    ``error`` is its own: a step that passes on what its input has failed with is ``"cancelled"``.
    """

    run_id: str
    node: str
    stream_id: str | None
    attempts: int
    part: int = 0
    step: int = 0
    outcome: Outcome = "done"
    error: BaseException | None = None
    waits: Waits = field(default_factory=Waits)
    at: float = 0.0


@dataclass(slots=True)
class StepRetried:
    """A step is tried again: ``attempt`` begins at ``at``, and the one before it has ended at ``ended``.

    ``error`` is what that one failed with; ``None`` where it is begun again because its input was. ``seq`` is
    the chunk that is tried again, where a node works chunk by chunk: its work on the stream goes on.
    """

    run_id: str
    node: str
    attempt: int
    part: int = 0
    step: int = 0
    stream_id: str | None = None
    seq: int | None = None
    error: BaseException | None = None
    waits: Waits = field(default_factory=Waits)
    ended: float = 0.0
    at: float = 0.0


@dataclass(slots=True)
class StepLinked:
    """A join chunk by chunk has got one more stream to take from; ``origin`` is the span behind that."""

    run_id: str
    node: str
    part: int
    step: int
    origin: Span


class Observers:
    """The watchers of a runtime.

    Args:
        observers: who is told, in this order, but for tracers, who come first.
    """

    def __init__(self, observers: tuple[Observer, ...]) -> None:
        self._observers = sorted(observers, key=lambda observer: not getattr(observer, "is_tracer", False))
        self.active: bool = bool(observers)  # looked at before an event is made: without observers, none is
        self.measures: bool = any(getattr(observer, "measures", False) for observer in observers)
        self.timelines: bool = any(getattr(observer, "timelines", False) for observer in observers)
        self.errors: int = 0

    def intervals(self) -> list[tuple[Observer, float]]:
        """Give who wants to be told that time passes, and how often."""
        wanted = [(observer, getattr(observer, "interval", None)) for observer in self._observers]
        return [(observer, float(interval)) for observer, interval in wanted if interval is not None]

    def tell(self, event: object, only: tuple[Observer, ...] | None = None) -> None:
        """Tell every observer, or only some."""
        for observer in tuple(self._observers) if only is None else only:
            try:
                if only is None or observer in self._observers:
                    observer.observe(event)
            except Exception:
                self._silence(observer, event)

    def followers(self, run: RunStarted, among: tuple[Observer, ...] | None = None) -> tuple[Observer, ...]:
        """Ask who wants to be told of a run; of a part of one, only those who follow its caller are asked."""
        wanted = []
        for observer in tuple(self._observers) if among is None else among:
            if observer not in self._observers:
                continue
            try:
                follows = getattr(observer, "follows", None)
                if follows is None or follows(run):
                    wanted.append(observer)
            except Exception:
                self._silence(observer, run)
        return tuple(wanted)

    def _silence(self, observer: Observer, event: object) -> None:
        self.errors += 1
        if observer in self._observers:
            self._observers.remove(observer)
        self.active = bool(self._observers)
        log.exception("observer %r failed at %r and is silenced", observer, event)
