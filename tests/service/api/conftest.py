"""A stage of its own for every test that changes it, and one for all that only look."""

from twin_stage import new_stage, shown, stage

__all__ = ["new_stage", "shown", "stage"]
