"""Connections: TLS of the server, and calls to addresses that others gave."""

from twinloop.service.security.transport.tls import TlsSettings, certificate_expires_s, tls_context
from twinloop.service.security.transport.webhooks import Reply, Target, WebhookSettings, WebhookTargets

__all__ = [
    "Reply",
    "Target",
    "TlsSettings",
    "WebhookSettings",
    "WebhookTargets",
    "certificate_expires_s",
    "tls_context",
]
