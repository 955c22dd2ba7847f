"""Enforcing what was approved, and nothing else: apply, read back, reconcile, roll back."""

from twinloop.enforcement.enforce import EFFECTS, Pending, enforce, nothing_pending

__all__ = ["EFFECTS", "Pending", "enforce", "nothing_pending"]
