"""Emulators of status against every baseline on recorded data, each file forecast by models that never saw it."""

from twinloop.studies.evaluate.emulation.judgement import FOLDS, HORIZONS, evaluate_emulation

__all__ = ["FOLDS", "HORIZONS", "evaluate_emulation"]
