"""OTLP: spans for a collector, in a few words.

Owns the usual set-up of OpenTelemetry's exporter over HTTP. Invariant: spans are exported in a thread of
their own; a collector that is away costs no run anything. Whoever needs more gives `OpenTelemetry` a provider
of his own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .observer import OpenTelemetry

PATIENCE_MILLIS = 5000
"""So long the last spans may take at the end, in milliseconds."""


@contextmanager
def over_otlp(url: str, service: str = "penguiflow") -> Iterator[OpenTelemetry]:
    """Give an observer that sends spans to a collector; leaving sends the last of them.

    Args:
        url: where the collector takes traces over HTTP, such as ``http://localhost:4318/v1/traces``.
        service: the name of the service that the spans belong to.

    Raises:
        ImportError: the exporter is not installed; the text names the extra.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as missing:
        raise ImportError("OTLP needs the extra: pip install 'penguiflow[telemetry]'") from missing
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, timeout=2)))
    try:
        yield OpenTelemetry(tracer_provider=provider)
    finally:
        provider.force_flush(PATIENCE_MILLIS)
        provider.shutdown()
