"""Health: how long a slot takes, why the loop holds if it does, sites and receipts, figures, mode, kill switch."""

from twinloop.service.dashboard.pages.health.page import show_health

__all__ = ["show_health"]
