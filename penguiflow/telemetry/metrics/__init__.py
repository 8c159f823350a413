"""Metrics: what is counted and measured, for OpenTelemetry and Prometheus."""
