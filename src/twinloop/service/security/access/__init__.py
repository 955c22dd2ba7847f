"""Who may ask, what, and how often: tokens, an identity provider, permissions of roles, rate limits."""

from twinloop.service.security.access.guard import TICKET_S, Guard, address_of
from twinloop.service.security.access.limits import Buckets, Limits, LimitSettings, Rate, network_of
from twinloop.service.security.access.oidc import Oidc, OidcSettings
from twinloop.service.security.access.permissions import (
    PERMISSIONS,
    ROLES,
    SEES_ALL,
    Identity,
    Permission,
    Role,
)
from twinloop.service.security.access.routes import Guarded, Requires, check_routes, permitted
from twinloop.service.security.access.tokens import Token, Tokens

__all__ = [
    "PERMISSIONS",
    "ROLES",
    "SEES_ALL",
    "TICKET_S",
    "Buckets",
    "Guard",
    "Guarded",
    "Identity",
    "LimitSettings",
    "Limits",
    "Oidc",
    "OidcSettings",
    "Permission",
    "Rate",
    "Requires",
    "Role",
    "Token",
    "Tokens",
    "address_of",
    "check_routes",
    "network_of",
    "permitted",
]
