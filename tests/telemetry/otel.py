"""A tracer of one's own, and what a test wants to know of its spans.

Owns nothing global: each test has its own provider. `traced_by` is the fixture that all tests of spans share:
after the test no span is open, nothing is kept of any run, every name is in the table, and nobody failed to
detach.
"""

import gc
import re
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from penguiflow.telemetry.names import NAMES
from penguiflow.telemetry.spans.observer import OpenTelemetry


class Collected(SpanProcessor):
    """Keeps the spans, and counts those that are open."""

    def __init__(self) -> None:
        self.open: dict[int, str] = {}
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: object = None) -> None:
        assert span.context is not None
        self.open[span.context.span_id] = span.name

    def on_end(self, span: ReadableSpan) -> None:
        assert span.context is not None
        del self.open[span.context.span_id]
        self.ended.append(span)

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class Traced:
    """An observer with its own tracer provider, and the spans that it has made."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self.collected = Collected()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(self.collected)
        self.observer = OpenTelemetry(tracer_provider=self.provider)

    @property
    def tracer(self) -> Any:
        """A tracer for code that is no part of any flow."""
        return self.provider.get_tracer("test")

    @property
    def spans(self) -> list[ReadableSpan]:
        """All spans that have ended, as they began."""
        return sorted(self.collected.ended, key=lambda span: span.start_time or 0)

    def all(self, name: str) -> list[ReadableSpan]:
        """All spans of that name, as they began."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only span of that name."""
        (span,) = self.all(name)
        return span

    def names(self) -> list[str]:
        """The names of all spans, sorted."""
        return sorted(span.name for span in self.spans)

    def parent(self, span: ReadableSpan) -> str:
        """The name of a span's parent; empty for a root."""
        if span.parent is None:
            return ""
        found = {id_of(other): other.name for other in self.spans}
        return found.get(span.parent.span_id, "elsewhere")

    def tree(self) -> set[tuple[str, str]]:
        """Parent and child, by name."""
        return {(self.parent(span), span.name) for span in self.spans}

    def traces(self) -> set[str]:
        """The traces of all spans."""
        return {f"{span.context.trace_id:032x}" for span in self.spans if span.context is not None}

    def exceptions(self) -> list[tuple[str, str]]:
        """All recorded exceptions: the name of the span, and the class."""
        return [
            (span.name, str((event.attributes or {})["exception.type"]))
            for span in self.spans
            for event in span.events
            if event.name == "exception"
        ]

    def check(self) -> None:
        """What is true after every test."""
        assert self.collected.open == {}
        assert self.observer._runs == {}
        assert self.observer.errors == 0
        for span in self.spans:
            assert id_of(span)
            assert unknown_names(span) == []


def id_of(span: ReadableSpan) -> int:
    """The id of a span."""
    assert span.context is not None
    return span.context.span_id


def said(span: ReadableSpan, name: str) -> Any:
    """What an attribute under our own prefix says; ``None`` where it says nothing."""
    return (span.attributes or {}).get(f"penguiflow.{name}")


def events(span: ReadableSpan) -> list[str]:
    """The names of a span's events."""
    return [event.name for event in span.events]


def seconds(span: ReadableSpan) -> float:
    """How long a span took."""
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def waits(span: ReadableSpan) -> tuple[float, float, float]:
    """The three waits of a span of a step or a stream: source, node, credit."""
    kind = span.name.partition(" ")[0]
    source, node, credit = (said(span, f"{kind}.wait.{word}") for word in ("source", "node", "credit"))
    assert {type(source), type(node), type(credit)} == {float}
    return source, node, credit


def unknown_names(span: ReadableSpan) -> list[str]:
    """Whatever of a span of ours has a name that is not in the table; ``test.…`` is a test's own."""
    if span.instrumentation_scope is None or span.instrumentation_scope.name != "penguiflow":
        return []
    known = {name.name for name in NAMES}
    patterns = [re.sub(r"\{\w+\}", ".+", name.name) for name in NAMES if name.kind == "span"]
    wrong = [span.name] if not any(re.fullmatch(pattern, span.name) for pattern in patterns) else []
    given = [*(span.attributes or {}), *events(span)]
    given += [key for event in span.events for key in event.attributes or {}]
    return wrong + [name for name in given if name not in known and not name.startswith("test.")]


def traced_by(caplog: pytest.LogCaptureFixture, sampler: Sampler = ALWAYS_ON) -> Iterator[Traced]:
    """What a fixture yields from: a tracer, and the checks after the test."""
    traced = Traced(sampler)
    yield traced
    gc.collect()
    told = [record.getMessage() for record in caplog.records if record.name.startswith("opentelemetry")]
    assert told == []
    traced.check()
