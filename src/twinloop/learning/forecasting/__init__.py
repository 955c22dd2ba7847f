"""Forecasts of quantities that arrive step by step, with what is not known about them."""

from twinloop.learning.forecasting.distribution import LEVELS, Distribution, quantile_score
from twinloop.learning.forecasting.emulator import LINEAR_CANDIDATES, Along, Emulator, EmulatorState
from twinloop.learning.forecasting.memory import (
    Memory,
    Quantity,
    blank_memory,
    levels_among,
    linear_features,
    network_features,
    remember,
    running_scale,
)
from twinloop.learning.forecasting.recurrent import (
    Arrival,
    NetworkState,
    NetworkStructure,
    RecurrentNetwork,
    forecast_recursively,
    new_network,
    relative_distribution,
    relative_scores,
    starting_offset,
)
from twinloop.learning.forecasting.saved import load_emulator, save_emulator

__all__ = [
    "LEVELS",
    "LINEAR_CANDIDATES",
    "Along",
    "Arrival",
    "Distribution",
    "Emulator",
    "EmulatorState",
    "Memory",
    "NetworkState",
    "NetworkStructure",
    "Quantity",
    "RecurrentNetwork",
    "blank_memory",
    "forecast_recursively",
    "levels_among",
    "linear_features",
    "load_emulator",
    "network_features",
    "new_network",
    "quantile_score",
    "relative_distribution",
    "relative_scores",
    "remember",
    "running_scale",
    "save_emulator",
    "starting_offset",
]
