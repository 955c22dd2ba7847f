"""Watching the server itself: metrics for Prometheus, spans for OpenTelemetry."""

from twinloop.service.watching.metrics import CONTENT_TYPE, Metrics
from twinloop.service.watching.tracing import TelemetrySettings, Tracing

__all__ = ["CONTENT_TYPE", "Metrics", "TelemetrySettings", "Tracing"]
