"""Chunked execution of a loop: progress, interruption, saving, resuming, seeds, statistics."""

from twinloop.runs.blocks import BLOCK_SLOTS, compiler_options, decide_window, use_persistent_cache, window_due
from twinloop.runs.compare import BY_EXPERIENCE, compare, paired_interval, parse_policy
from twinloop.runs.execute import RunResult, run
from twinloop.runs.lanes import LaneBlock, Lanes
from twinloop.runs.orders import admission
from twinloop.runs.results.directory import free_directory

__all__ = [
    "BLOCK_SLOTS",
    "BY_EXPERIENCE",
    "LaneBlock",
    "Lanes",
    "RunResult",
    "admission",
    "compare",
    "compiler_options",
    "decide_window",
    "free_directory",
    "paired_interval",
    "parse_policy",
    "run",
    "use_persistent_cache",
    "window_due",
]
