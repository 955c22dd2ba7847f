"""Who may do what: one table of permissions by role, and the identity that is asked for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, get_args

from twinloop.service.security.errors import Forbidden

Role = Literal["admin", "operator", "viewer", "reporter", "tenant"]
ROLES: tuple[Role, ...] = get_args(Role)


class Permission(StrEnum):
    """One thing that a route does."""

    READ_TWINS = "read_twins"
    """Twins, their history, forecast and changes; a tenant's are cut to what it is granted."""
    READ_NETWORK = "read_network"
    """The network as reported, of all slices."""
    READ_SLICES = "read_slices"
    """Slices and their profiles; a tenant's own."""
    READ_DECISIONS = "read_decisions"
    """Decisions with their proposals and evidence, of all slices."""
    READ_COLLECTION = "read_collection"
    """What agents are asked to report."""
    READ_INGEST = "read_ingest"
    """What arrived and what was refused; a reporter's own sources."""
    REPORT = "report"
    """Sending reports; a reporter's own sources."""
    COMMANDS = "commands"
    """Fetching commands for the network and answering with receipts."""
    ANALYTICS = "analytics"
    """Network data analytics and their subscriptions; a tenant's own slices."""
    AGGREGATES = "aggregates"
    """Noisy figures of other slices' users, from the tenant's privacy budget."""
    WHATIF = "whatif"
    """Running proposals in a fork of the twins."""
    ORDER_SLICES = "order_slices"
    """Checking, creating, adjusting and ending slices; a tenant's own."""
    DECIDE = "decide"
    """Approving and rejecting decisions."""
    MODE = "mode"
    """Switching between advising and acting, and the limits of acting."""
    KILL = "kill"
    """The kill switch."""
    COLLECTION = "collection"
    """Changing what agents are asked to report."""
    METRICS = "metrics"
    """Metrics and health in detail."""
    AUDIT = "audit"
    """Reading the audit log."""
    GRANTS = "grants"
    """Which tenant owns a slice, and what it sees of its users."""
    MANAGE_TOKENS = "manage_tokens"
    """Creating, listing and revoking tokens."""
    BACKUP = "backup"
    """Backup and restore of everything kept."""


_VIEWER = frozenset(
    {
        Permission.READ_TWINS,
        Permission.READ_NETWORK,
        Permission.READ_SLICES,
        Permission.READ_DECISIONS,
        Permission.READ_COLLECTION,
        Permission.READ_INGEST,
        Permission.ANALYTICS,
        Permission.METRICS,
    }
)

PERMISSIONS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        "admin": frozenset(Permission),
        "operator": _VIEWER
        | {
            Permission.WHATIF,
            Permission.ORDER_SLICES,
            Permission.DECIDE,
            Permission.MODE,
            Permission.KILL,
            Permission.COLLECTION,
        },
        "viewer": _VIEWER,
        "reporter": frozenset(
            {Permission.REPORT, Permission.COMMANDS, Permission.READ_COLLECTION, Permission.READ_INGEST}
        ),
        "tenant": frozenset(
            {
                Permission.READ_TWINS,
                Permission.READ_SLICES,
                Permission.ANALYTICS,
                Permission.AGGREGATES,
                Permission.ORDER_SLICES,
            }
        ),
    }
)
"""The whole table: what is not in it is refused."""

SEES_ALL: frozenset[Role] = frozenset({"admin", "operator", "viewer"})
"""Roles whose twins are not cut. Of the others a tenant sees its own and a reporter none."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. `subject` is unique and unchanging, `name` is for people.

    `tenant` is set for the role tenant alone. `sources` are the only ones that a reporter may send as; none means any.
    `expires_s` (epoch seconds) is when the credential ends, None for never.
    """

    subject: str
    name: str
    role: Role
    permissions: frozenset[Permission]
    tenant: str = ""
    sources: frozenset[str] = frozenset()
    expires_s: float | None = None

    def __post_init__(self) -> None:
        if (self.role == "tenant") != bool(self.tenant):
            raise ValueError(f"an identity of role {self.role} with tenant {self.tenant!r}")

    def allows(self, permission: Permission) -> bool:
        """True where the role, narrowed by scopes, has the permission."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raises Forbidden without the permission."""
        if permission not in self.permissions:
            raise Forbidden(
                f"{permission.value} is not among the permissions of {self.name} ({self.role})",
                "ask an admin for a token with it",
                {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{permission.value}"'},
            )

    def may_send_as(self, source: str) -> bool:
        """True where reports of `source` may come from here, and be read here. `north:2` is a part of `north`."""
        return not self.sources or source in self.sources or source.partition(":")[0] in self.sources

    def require_source(self, source: str) -> None:
        """Raises Forbidden for a source that a reporter is not bound to."""
        if not self.may_send_as(source):
            raise Forbidden(
                f"{self.name} may not act as source {source!r}",
                f"send as one of {', '.join(sorted(self.sources))}",
            )

    def require_tenant(self, tenant: str) -> None:
        """Raises Forbidden where a tenant asks for what belongs to somebody else."""
        if self.role == "tenant" and tenant != self.tenant:
            raise Forbidden("that belongs to another tenant")
