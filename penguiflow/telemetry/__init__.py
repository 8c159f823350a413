"""Telemetry: what happens in flows, for a person at a terminal, a browser, a collector, a dashboard.

Observers to open a flow with: `TraceStore` (``store``), `OpenTelemetry` (``spans``) and `Metrics`
(``metrics``). What a store has kept is read by `open_store`, and shown by ``views``.
"""

from .metrics.observer import Metrics
from .metrics.prometheus import PrometheusCollector
from .spans.observer import OpenTelemetry
from .spans.otlp import over_otlp
from .store.observer import TraceStore
from .store.reading import TraceStoreError, open_store
from .views.causes import why

__all__ = [
    "Metrics",
    "OpenTelemetry",
    "PrometheusCollector",
    "TraceStore",
    "TraceStoreError",
    "open_store",
    "over_otlp",
    "why",
]
