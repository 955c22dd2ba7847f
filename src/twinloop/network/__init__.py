"""The port to a network, and its adapters."""

from twinloop.network.report import KindRequest, Override, Receipts, Report, Reports, Request, default_request

__all__ = ["KindRequest", "Override", "Receipts", "Report", "Reports", "Request", "default_request"]
