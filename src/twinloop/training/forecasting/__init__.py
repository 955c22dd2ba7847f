"""Emulators trained on recorded sequences, and what their baselines need."""

from twinloop.training.forecasting.linear import Files, Sums, solve_ridge, sums_of, tuned_ridge
from twinloop.training.forecasting.networks import NETWORK_KINDS, NetworkKind
from twinloop.training.forecasting.own_table import read_own_table
from twinloop.training.forecasting.samples import Samples, samples_of
from twinloop.training.forecasting.saving import train_and_save
from twinloop.training.forecasting.sequences import SEQUENCE_SETS, Sequence, SequenceSet, load_sequences
from twinloop.training.forecasting.train import (
    EmulatorSettings,
    TrainedEmulator,
    forecast_candidates,
    point_weights,
    residual_quantiles,
    train_emulators,
)
from twinloop.training.forecasting.twin_emulators import (
    TWIN_SETTINGS,
    TwinEmulators,
    checked_attributes,
    train_and_save_twins,
    train_twin_emulators,
    twin_sequences,
)
from twinloop.training.forecasting.twin_records import TwinRecord, record_twins

__all__ = [
    "NETWORK_KINDS",
    "SEQUENCE_SETS",
    "TWIN_SETTINGS",
    "EmulatorSettings",
    "Files",
    "NetworkKind",
    "Samples",
    "Sequence",
    "SequenceSet",
    "Sums",
    "TrainedEmulator",
    "TwinEmulators",
    "TwinRecord",
    "checked_attributes",
    "forecast_candidates",
    "load_sequences",
    "point_weights",
    "read_own_table",
    "record_twins",
    "residual_quantiles",
    "samples_of",
    "solve_ridge",
    "sums_of",
    "train_and_save",
    "train_and_save_twins",
    "train_emulators",
    "train_twin_emulators",
    "tuned_ridge",
    "twin_sequences",
]
