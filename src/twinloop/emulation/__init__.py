"""What the twins expect next: predictors one slot ahead, by name in EMULATORS."""

from collections.abc import Callable, Mapping
from typing import Any

from twinloop.emulation.ewma import Ewma
from twinloop.emulation.forecast import AbstractEmulator, Forecast, KindForecast
from twinloop.emulation.kalman import Kalman, kalman
from twinloop.emulation.last_value import LastValue
from twinloop.emulation.rollout import Respond, Served, TwinModel, rollout, sample_states, twin_model

EMULATORS: Mapping[str, Callable[[float], AbstractEmulator[Any]]] = {
    "last_value": lambda slot_s: LastValue(),
    "ewma": lambda slot_s: Ewma(slot_s=slot_s),
    "kalman": lambda slot_s: kalman(slot_s=slot_s),
}

__all__ = [
    "EMULATORS",
    "AbstractEmulator",
    "Ewma",
    "Forecast",
    "Kalman",
    "KindForecast",
    "LastValue",
    "Respond",
    "Served",
    "TwinModel",
    "kalman",
    "rollout",
    "sample_states",
    "twin_model",
]
