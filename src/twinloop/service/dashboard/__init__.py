"""The dashboard: pages over the public API, on the same application; nothing here knows the platform's objects."""

from twinloop.service.dashboard.mounting import DASHBOARD_ROUTES, mount_dashboard

__all__ = ["DASHBOARD_ROUTES", "mount_dashboard"]
