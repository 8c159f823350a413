"""Spans of a run: it is told what happens in one run, and makes spans of it.

Owns the open spans of one run, or of one flow that a step of it calls. Invariant (rules 6.1, 6.4): a run, an
attempt at a step and an attempt at a stream have one span each, begun and ended at the times that are told;
what is still open when the run is over ends with it. An exception is recorded once, where it happened; other
spans that failed of it say its type. Knows not which runs there are.

A span is made current by setting the context variables that the code will run under, and is never taken back:
those variables end with the step. (A token from before an ``await`` may come back under other variables,
which is why ``start_as_current_span`` has no place in a runtime.)
"""

from __future__ import annotations

import traceback
from collections import deque
from contextlib import ExitStack

import anyio
from opentelemetry import context, trace
from opentelemetry.trace import Status, StatusCode

from penguiflow.durations import StreamTiming, Waits
from penguiflow.errors import StepError, described
from penguiflow.items import Drop, StreamEnded, StreamOpened, StreamRestarted
from penguiflow.observe import (
    SPAN,
    RunEnded,
    RunPaused,
    RunResumed,
    StepEnded,
    StepLinked,
    StepRetried,
    StepStarted,
)

from .. import names
from .handles import Handle, links_to
from .pauses import Pauses

MOST_EVENTS = 32
"""So many events, retries and drops, we add to a span at most; all are counted. (The SDK keeps 128, the last
ones, and those of the node's own code have to fit in too.)"""

MOST_ERRORS = 16
"""So many exceptions, the last ones, are kept to know them again: what fails twice of one fails soon
after."""


class Open:
    """A span that is open: of a step or of a stream.

    Args:
        span: the span.
        node: path of its node.
        step: number of the step; of a stream, of the one that gives it.
        attempt: counted from 1.
        stream_id: the stream; of a step, the one that it works on chunk by chunk.
        began: when it began, in seconds.
    """

    __slots__ = ("attempt", "began", "count", "events", "links", "node", "span", "step", "stream_id")

    def __init__(
        self, span: trace.Span, node: str, step: int, attempt: int, stream_id: str | None, began: float
    ) -> None:
        self.span: trace.Span = span
        self.node: str = node
        self.step: int = step
        self.attempt: int = attempt
        self.stream_id: str | None = stream_id
        self.began: float = began
        self.links: list[trace.Link] = []
        self.events: int = 0
        self.count: int = 0  # of a step: retries of chunks; of a stream: drops


class RunSpans:
    """The spans of one run, or of one flow that a step of it calls.

    Args:
        tracer: makes spans.
        span: the one of the run.
        around: the context in which the run is a child of whoever began it.
        run_id: the run.
        offset_ns: what the clock of the event loop is behind the time of day, in nanoseconds.
        above: the run that this one is a part of.
    """

    __slots__ = (
        "_around",
        "_drops",
        "_errors",
        "_events",
        "_pauses",
        "_run_id",
        "_steps",
        "_streams",
        "_tracer",
        "broken",
        "offset_ns",
        "span",
    )

    def __init__(
        self,
        tracer: trace.Tracer,
        span: trace.Span,
        around: context.Context,
        run_id: str,
        offset_ns: int,
        above: RunSpans | None = None,
    ) -> None:
        self.span: trace.Span = span
        self.offset_ns: int = offset_ns
        self.broken: bool = False  # some of its spans could not be made
        self._tracer = tracer
        self._around = trace.set_span_in_context(span, around)
        self._run_id = run_id
        self._steps: dict[int, Open] = {}
        self._streams: dict[tuple[str, str], Open] = {}
        self._errors: deque[BaseException] = above._errors if above is not None else deque(maxlen=MOST_ERRORS)
        self._events = self._drops = 0
        self._pauses: Pauses | None = None  # most runs have none

    def _ns(self, at: float) -> int:
        return to_ns(at) + self.offset_ns

    # -- steps

    def step_started(self, event: StepStarted) -> None:
        """Begin the span of a step; called under the context variables of the step."""
        links = links_to(event.origins)
        self._begin_step(
            event.step, event.node, event.attempt, event.stream_id, event.at, links, event.queued
        )

    def _begin_step(
        self,
        step: int,
        node: str,
        attempt: int,
        stream_id: str | None,
        at: float,
        links: list[trace.Link],
        queued: float | None = None,
    ) -> None:
        said: dict[str, str | int | float] = {
            names.RUN_ID: self._run_id,
            names.NODE: node,
            names.ATTEMPT: attempt,
            names.STEP_NUMBER: step,
            names.MESSAGING_SYSTEM: names.SYSTEM,
            names.MESSAGING_DESTINATION: node,
            names.MESSAGING_OPERATION: "process",
        }
        if stream_id is not None:
            said[names.STREAM_ID] = stream_id
        if queued is not None:
            said[names.STEP_WAIT_QUEUE] = queued
        name = names.STEP_SPAN.format(node=node)
        span = self._tracer.start_span(
            name, self._around, attributes=said, links=links, start_time=self._ns(at)
        )
        opened = self._steps[step] = Open(span, node, step, attempt, stream_id, at)
        opened.links = links
        make_current(span, self._around)

    def step_linked(self, event: StepLinked) -> None:
        """Link the span of a step to one more."""
        step = self._steps.get(event.step)
        if step is not None and isinstance(event.origin, Handle):
            step.links.append(trace.Link(event.origin.span.get_span_context()))
            step.span.add_link(event.origin.span.get_span_context())

    def step_retried(self, event: StepRetried) -> None:
        """End one attempt and begin the next; called under the context variables of the step."""
        if event.seq is not None:
            self._chunk_retried(event, event.seq)
            return
        step = self._steps.pop(event.step, None)
        if step is None:
            return
        said: dict[str, str | int] = {names.ATTEMPT: event.attempt}
        if event.error is not None:
            said[names.ERROR_TYPE] = type_of(cause_of(event.error))
        step.span.add_event(names.RETRY, said, self._ns(event.ended))
        outcome = "error" if event.error is not None else names.RESTARTED
        self._end_step(step, outcome, event.error, event.waits, event.ended)
        self._begin_step(event.step, step.node, event.attempt, step.stream_id, event.at, step.links)

    def _chunk_retried(self, event: StepRetried, seq: int) -> None:
        step = self._steps.get(event.step)
        if step is None:
            return
        step.count += 1
        if step.events >= MOST_EVENTS or not step.span.is_recording():
            return
        step.events += 1
        said: dict[str, str | int] = {names.ATTEMPT: event.attempt, names.CHUNK_SEQ: seq}
        if event.error is not None:
            cause = cause_of(event.error)
            said[names.ERROR_TYPE] = type_of(cause)
            self._record_once(step.span, cause, self._ns(event.ended))
        step.span.add_event(names.RETRY, said, self._ns(event.at))

    def step_ended(self, event: StepEnded) -> None:
        """End the span of a step."""
        step = self._steps.pop(event.step, None)
        if step is not None:
            self._end_step(step, event.outcome, event.error, event.waits, event.at)

    def _end_step(
        self, step: Open, outcome: str, error: BaseException | None, waits: Waits | None, at: float
    ) -> None:
        span = step.span
        if span.is_recording():
            said: dict[str, str | int | float] = {names.STEP_OUTCOME: outcome}
            if waits is not None:
                said[names.STEP_WAIT_SOURCE], said[names.STEP_WAIT_NODE] = waits.source, waits.node
                said[names.STEP_WAIT_CREDIT] = waits.credit
                if waits.again:
                    said[names.STEP_AGAIN] = waits.again
            if step.count:
                said[names.STEP_RETRIES] = step.count
            span.set_attributes(said)
            if error is not None:
                self._blame(span, error, at)
        span.end(self._ns(at))

    # -- streams

    def stream_opened(self, event: StreamOpened) -> None:
        """Begin the span of a stream."""
        self._begin_stream("/".join(event.path), event.step, event.attempt, event.stream_id, event.at)

    def _begin_stream(self, node: str, step: int, attempt: int, stream_id: str, at: float) -> None:
        said: dict[str, str | int] = {
            names.RUN_ID: self._run_id,
            names.NODE: node,
            names.ATTEMPT: attempt,
            names.STREAM_ID: stream_id,
            names.MESSAGING_SYSTEM: names.SYSTEM,
            names.MESSAGING_DESTINATION: node,
            names.MESSAGING_OPERATION: "send",
        }
        giver = self._steps.get(step)
        parent = trace.set_span_in_context(giver.span, self._around) if giver is not None else self._around
        name = names.STREAM_SPAN.format(node=node)
        span = self._tracer.start_span(name, parent, attributes=said, start_time=self._ns(at))
        before = self._streams.pop((node, stream_id), None)
        self._streams[node, stream_id] = Open(span, node, step, attempt, stream_id, at)
        if before is not None:
            before.span.end(self._ns(at))

    def stream_restarted(self, event: StreamRestarted) -> None:
        """End one attempt and begin the next."""
        node = "/".join(event.path)
        stream = self._streams.pop((node, event.stream_id), None)
        if stream is None or event.timing is None:
            return
        self._end_stream(stream, names.RESTARTED, event.chunks, event.gaps, event.timing)
        self._begin_stream(node, stream.step, event.attempt, event.stream_id, event.timing.at)

    def stream_ended(self, event: StreamEnded) -> None:
        """End the span of a stream."""
        stream = self._streams.pop(("/".join(event.path), event.stream_id), None)
        if stream is None or event.timing is None:
            return
        if event.error is not None and event.terminal == "error" and stream.span.is_recording():
            self._blame(stream.span, event.error, event.timing.at)
        self._end_stream(stream, event.terminal, event.chunks, event.gaps, event.timing)

    def _end_stream(self, stream: Open, terminal: str, chunks: int, gaps: int, timing: StreamTiming) -> None:
        span = stream.span
        if span.is_recording():
            seconds = timing.at - stream.began
            said: dict[str, str | int | float] = {
                names.STREAM_TERMINAL: terminal,
                names.STREAM_CHUNKS: chunks,
                names.MESSAGING_COUNT: chunks,
                names.STREAM_WAIT_SOURCE: timing.waits.source,
                names.STREAM_WAIT_NODE: timing.waits.node,
                names.STREAM_WAIT_CREDIT: timing.waits.credit,
            }
            if timing.first_chunk is not None:
                said[names.STREAM_FIRST_CHUNK] = timing.first_chunk
                span.add_event(names.FIRST_CHUNK, timestamp=self._ns(stream.began + timing.first_chunk))
            if timing.bytes is not None:
                said[names.STREAM_BYTES] = timing.bytes
            if seconds > 0:
                said[names.STREAM_RATE] = chunks / seconds
            counts = {names.STREAM_GAPS: gaps, names.STREAM_DROPS: max(stream.count, timing.drops)}
            said.update({name: count for name, count in counts.items() if count})
            span.set_attributes(said)
        span.end(self._ns(timing.at))

    def dropped(self, event: Drop) -> None:
        """Say what a policy dropped: on the span of the stream, else on that of the run."""
        stream = None
        if event.stream_id is not None:
            stream = self._streams.get((event.edge.partition("→")[0], event.stream_id))
        if stream is None:
            self._drops += 1
            self._events += 1
        else:
            stream.count += 1
            stream.events += 1
        if (self._events if stream is None else stream.events) > MOST_EVENTS:
            return
        said: dict[str, str | int] = {names.EDGE: event.edge, names.DROP_REASON: event.reason}
        if event.stream_id is not None:
            said[names.STREAM_ID] = event.stream_id
        if event.seq is not None:
            said[names.CHUNK_SEQ] = event.seq
        span = self.span if stream is None else stream.span
        span.add_event(names.DROP, said, self._ns(anyio.current_time()))

    # -- pauses, and the end

    def run_paused(self, event: RunPaused) -> None:
        """Say on the span of the run that it is paused."""
        if self._pauses is None:
            self._pauses = Pauses(self.span)
        self._pauses.begin(event.at, self._ns(event.at))

    def run_resumed(self, event: RunResumed) -> None:
        """Say on the span of the run that it goes on."""
        if self._pauses is not None:
            self._pauses.end(event.at, self._ns(event.at))

    def run_ended(self, event: RunEnded) -> None:
        """End the span of the run, and before it whatever of the run is still open."""
        with ExitStack() as ends:  # all of them end, in reverse order, also if what ends one raises
            ends.callback(self._end_run, event)
            for step in self._steps.values():
                ends.callback(self._end_step, step, names.ABANDONED, None, None, event.at)
            for stream in self._streams.values():
                ends.callback(stream.span.end, self._ns(event.at))
                stream.span.set_attribute(names.STREAM_TERMINAL, "cancelled")
        self._steps.clear()
        self._streams.clear()

    def _end_run(self, event: RunEnded) -> None:
        self.span.set_attribute(names.RUN_STATUS, event.status)
        if self._drops:
            self.span.set_attribute(names.RUN_DROPS, self._drops)
        if self._pauses is not None:
            self._pauses.close(event.at)
        if event.error is not None and event.status in ("failed", "expired"):
            self._blame(self.span, event.error, event.at)
        self.span.end(self._ns(event.at))

    # -- errors

    def _blame(self, span: trace.Span, error: BaseException, at: float) -> None:
        """Say what a span has failed of."""
        cause = cause_of(error)
        self._record_once(span, cause, self._ns(at))
        span.set_attribute(names.ERROR_TYPE, type_of(cause))
        span.set_status(Status(StatusCode.ERROR, described(cause)))

    def _record_once(self, span: trace.Span, error: BaseException, at_ns: int) -> None:
        if any(known is error for known in self._errors):
            return
        self._errors.append(error)
        span.add_event(
            names.EXCEPTION,
            {
                names.EXCEPTION_TYPE: type_of(error),
                names.EXCEPTION_MESSAGE: described(error).partition(": ")[2],
                names.EXCEPTION_STACKTRACE: "".join(traceback.format_exception(error)),
            },
            at_ns,
        )


def make_current(span: trace.Span, around: context.Context) -> None:
    """Let the code that will run under the present context variables see a span, if it is one."""
    if span.get_span_context().is_valid:
        context.attach(trace.set_span_in_context(span, around))
        SPAN.set(Handle(span))


def cause_of(error: BaseException) -> BaseException:
    """Give what the node's own code has raised, behind all that we say about it."""
    while isinstance(error, StepError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def type_of(error: BaseException) -> str:
    """Give the name of an error's class, with its module but for the builtin ones."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def to_ns(seconds: float) -> int:
    """Give whole nanoseconds."""
    return round(seconds * 1_000_000_000)
