"""A server without a loop, watched."""

from twin_stage import new_stage, stage

__all__ = ["new_stage", "stage"]
