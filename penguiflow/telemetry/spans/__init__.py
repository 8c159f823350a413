"""Spans: runs, steps and streams as OpenTelemetry sees them."""
