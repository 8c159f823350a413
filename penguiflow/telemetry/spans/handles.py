"""Handles: what a node's code gets of the span of its step, as ``ctx.span``.

Owns the way from our `penguiflow.observe.Span` to one of OpenTelemetry. Invariant: what is said after the
span has ended is lost without a complaint. Knows not when spans begin and end.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import trace


class Handle:
    """A span of OpenTelemetry, as nodes know it.

    Args:
        span: the span; it may be one that records nothing.
    """

    __slots__ = ("span",)

    def __init__(self, span: trace.Span) -> None:
        self.span: trace.Span = span

    @property
    def trace_id(self) -> str:
        """The trace."""
        return trace.format_trace_id(self.span.get_span_context().trace_id)

    @property
    def span_id(self) -> str:
        """The span."""
        return trace.format_span_id(self.span.get_span_context().span_id)

    def set_attribute(self, key: str, value: Any) -> None:
        """Say something about the step."""
        if self.span.is_recording():
            self.span.set_attribute(key, value)

    def add_event(self, name: str, attributes: dict[str, Any] | None = None) -> None:
        """Say that something has happened in the step."""
        if self.span.is_recording():
            self.span.add_event(name, attributes)

    def headers(self) -> dict[str, str]:
        """Give ``traceparent``, and ``tracestate`` where there is one."""
        known = self.span.get_span_context()
        given = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{known.trace_flags:02x}"}
        if known.trace_state:
            given["tracestate"] = known.trace_state.to_header()
        return given


def links_to(origins: tuple[object, ...]) -> list[trace.Link]:
    """Give links to spans that are ours."""
    return [trace.Link(origin.span.get_span_context()) for origin in origins if isinstance(origin, Handle)]
