"""Telemetry: traces of runs, and what is made of them."""

from .metrics import Metrics
from .prometheus import PrometheusCollector
from .spans import OpenTelemetry
from .store import TraceStore

__all__ = ["Metrics", "OpenTelemetry", "PrometheusCollector", "TraceStore"]
