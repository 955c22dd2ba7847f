"""Watching the server itself: metrics for Prometheus."""

from twinloop.service.watching.metrics import CONTENT_TYPE, Metrics

__all__ = ["CONTENT_TYPE", "Metrics"]
