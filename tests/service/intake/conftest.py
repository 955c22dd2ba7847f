"""Servers without a loop, asked as clients do."""

from twin_stage import new_stage

__all__ = ["new_stage"]
