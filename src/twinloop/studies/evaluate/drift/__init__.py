"""Upkeep of models while the world drifts: detection, update, rollback, transfer, adaptive inference."""

from twinloop.studies.evaluate.drift.judging import evaluate_drift

__all__ = ["evaluate_drift"]
