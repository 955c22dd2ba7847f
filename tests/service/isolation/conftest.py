"""Two worlds for the tests of isolation: a tenant lives the same life in both, and everybody else another one."""

from tenant_worlds import worlds

__all__ = ["worlds"]
