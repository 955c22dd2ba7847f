"""Generators of links and scenes against recordings that none of them was fitted to."""

from twinloop.studies.evaluate.generation.judge import GENERATION_SETS, evaluate_generation

__all__ = ["GENERATION_SETS", "evaluate_generation"]
