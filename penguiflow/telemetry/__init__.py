"""Telemetry: traces of runs, and what is made of them."""

from .spans import OpenTelemetry
from .store import TraceStore

__all__ = ["OpenTelemetry", "TraceStore"]
