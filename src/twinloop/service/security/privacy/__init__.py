"""Noisy figures for tenants of users whom they do not see, under a budget."""

from twinloop.service.security.privacy.aggregates import Aggregates, Estimate
from twinloop.service.security.privacy.budget import Budget, Ledger, PrivacySettings

__all__ = ["Aggregates", "Budget", "Estimate", "Ledger", "PrivacySettings"]
