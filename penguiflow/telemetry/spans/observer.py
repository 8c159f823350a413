"""Spans: an observer that tells OpenTelemetry what happens.

Owns which runs have spans, whose children these are, and what becomes of errors on the way. Invariants:
nothing is kept of a run that is over, nor of one that is not sampled; whatever a sampler, a processor or an
exporter raises costs no more than the spans it was raised for. `run_spans` makes the spans of a run.

A span that is told to fail again and again, run after run, is a matter for the runtime: then the error goes
up, and it silences this observer (rule 6.3).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from opentelemetry import context, metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanKind, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import penguiflow
from penguiflow.items import Drop, StreamEnded, StreamOpened, StreamRestarted
from penguiflow.observe import (
    RunEnded,
    RunPaused,
    RunResumed,
    RunStarted,
    RuntimeClosed,
    RuntimeOpened,
    StepEnded,
    StepLinked,
    StepRetried,
    StepStarted,
)

from .. import names
from ..metrics.instruments import metrics_of
from .run_spans import RunSpans, make_current, to_ns

log = logging.getLogger("penguiflow")

MOST_BROKEN = 10
"""After so many runs in a row whose spans could not be made, the error goes up to the runtime."""

Teller = Callable[[RunSpans, Any], None]

TOLD: dict[type, Teller] = {
    StepStarted: RunSpans.step_started,
    StepLinked: RunSpans.step_linked,
    StepRetried: RunSpans.step_retried,
    StepEnded: RunSpans.step_ended,
    StreamOpened: RunSpans.stream_opened,
    StreamRestarted: RunSpans.stream_restarted,
    StreamEnded: RunSpans.stream_ended,
    Drop: RunSpans.dropped,
    RunPaused: RunSpans.run_paused,
    RunResumed: RunSpans.run_resumed,
    RunEnded: RunSpans.run_ended,
}
"""Who in a run wants to know what."""


class OpenTelemetry:
    """Tells OpenTelemetry what happens: ``flow.open(observers=[OpenTelemetry()])``.

    One span per run, per attempt at a step and per attempt at a stream, with where their time went. The
    step's span is the current one while the code of a node runs, so that what it calls becomes a part of the
    trace; `Context.span` gives it to the code. A run is a child of the span that its W3C ``traceparent``
    names, in ``headers.extra``, else of the caller's current span, and is sampled as the provider's sampler
    says.

    Args:
        tracer_provider: makes the tracer; by default the global one, when a flow is opened.
        meter_provider: makes the meter; by default the global one. Where it does more than nothing when a
            flow is opened, the flow's nodes and edges are measured (see `Metrics`), and its readers read
            that.

    One observer may serve several runtimes. Where two runs with the same id are under way at the same time,
    only the first has spans.
    """

    is_tracer = True

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        for name, given, method in (
            ("tracer_provider", tracer_provider, "get_tracer"),
            ("meter_provider", meter_provider, "get_meter"),
        ):
            if given is not None and (isinstance(given, type) or not callable(getattr(given, method, None))):
                raise TypeError(f"OpenTelemetry({name}={given!r}): a provider is needed, one with {method}()")
        self.tracer_provider: TracerProvider | None = tracer_provider
        self.meter_provider: MeterProvider | None = meter_provider
        self.errors: int = 0  # so many events have led to an error
        self._tracer: trace.Tracer | None = None
        self._runs: dict[tuple[str, int], RunSpans] = {}
        self._broken = 0
        self._propagator = TraceContextTextMapPropagator()

    @property
    def measures(self) -> bool:
        """Whether there is a meter that does more than nothing."""
        return not type(self._meter_provider()).__module__.startswith("opentelemetry.metrics")

    def _meter_provider(self) -> MeterProvider:
        return self.meter_provider or metrics.get_meter_provider()

    def follows(self, run: RunStarted) -> bool:
        """Begin the span of a run, under its context variables; ``False`` where it is not sampled."""
        try:
            return self._begin(run)
        except Exception:
            self._failed(None)
            return False

    def observe(self, event: object) -> None:
        """Be told of an event."""
        kind = type(event)
        if kind is RuntimeOpened or kind is RuntimeClosed:
            self._tracer = self._new_tracer()
            if self.measures:
                metrics_of(self._meter_provider()).observe(event)
        elif kind in TOLD:
            self._tell(event, TOLD[kind])

    def _tell(self, event: Any, tell: Teller) -> None:
        key = (event.run_id, event.part)
        is_last = type(event) is RunEnded
        run = self._runs.pop(key, None) if is_last else self._runs.get(key)
        if run is None:
            return
        try:
            tell(run, event)
        except Exception:
            self._failed(run)
        if is_last and not run.broken:
            self._broken = 0

    # -- runs

    def _begin(self, run: RunStarted) -> bool:
        key = (run.run_id, run.part)
        if key in self._runs:
            return False
        around = context.get_current()
        is_remote = bool(run.parent) and run.caller is None
        if is_remote:
            around = self._remote(run, around)
        above = self._runs.get((run.run_id, 0)) if run.caller is not None else None
        offset_ns = above.offset_ns if above is not None else time.time_ns() - to_ns(run.at)
        tracer = self._tracer = self._tracer or self._new_tracer()
        span = tracer.start_span(
            names.RUN_SPAN.format(flow=run.flow),
            around,
            # Kinds tell where a process begins. Who sent the item with its headers need not wait for an
            # answer: it is a message, not a request, whose span (`SERVER`) is that of the gateway which took
            # it.
            kind=SpanKind.CONSUMER if is_remote else SpanKind.INTERNAL,
            attributes=said_of(run),
            start_time=to_ns(run.at) + offset_ns,
        )
        make_current(span, around)
        known = span.get_span_context()
        if known.is_valid:
            run.trace_id = trace.format_trace_id(known.trace_id)
        if span.is_recording():
            self._runs[key] = RunSpans(tracer, span, around, run.run_id, offset_ns, above)
        return span.is_recording()

    def _remote(self, run: RunStarted, around: context.Context) -> context.Context:
        """Give the context in which a run is a child of the span that its headers name."""
        carrier = {"traceparent": run.parent}
        state = run.headers.extra.get("tracestate")
        if isinstance(state, str):
            carrier["tracestate"] = state
        return self._propagator.extract(carrier, around)

    def _new_tracer(self) -> trace.Tracer:
        return trace.get_tracer("penguiflow", penguiflow.__version__, self.tracer_provider)

    def _failed(self, run: RunSpans | None) -> None:
        """Take note of an error; called while it is handled, raises it where there are too many."""
        self.errors += 1
        if run is not None:
            if run.broken:
                return
            run.broken = True
        self._broken += 1
        if self._broken > MOST_BROKEN:
            self._runs.clear()
            raise  # what is being handled
        log.warning("a span could not be made, or was not taken: it is missing", exc_info=True)


def said_of(run: RunStarted) -> dict[str, str | int | float]:
    """Give what is known of a run when it begins."""
    said: dict[str, str | int | float] = {
        names.RUN_ID: run.run_id,
        names.RUN_PART: run.part,
        names.FLOW: run.flow,
        names.MESSAGING_SYSTEM: names.SYSTEM,
        names.MESSAGING_DESTINATION: run.flow,
        names.MESSAGING_OPERATION: "process",
    }
    words = {names.TENANT: run.headers.tenant, names.TOPIC: run.headers.topic}
    said.update({name: word for name, word in words.items() if isinstance(word, str)})
    if run.waited > 0:
        said[names.RUN_WAIT_ADMISSION] = run.waited
    return said
