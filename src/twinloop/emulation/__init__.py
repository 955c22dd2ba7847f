"""What the twins expect next: predictors one slot ahead, by name in EMULATORS."""

from collections.abc import Callable, Mapping
from typing import Any

from twinloop.emulation.behaviour.leaving import (
    EndedViews,
    LeavingModel,
    leaving_model,
    leaving_surprise,
    swipe_signals,
)
from twinloop.emulation.behaviour.life import STATES, Assumptions, Lived, default_assumptions, live
from twinloop.emulation.behaviour.machine import (
    LENGTH_EDGES_S,
    LIKINGS,
    LOOPS,
    OUTCOMES,
    PHASES,
    ZONES,
    AbstractBehaviour,
    Frailty,
    History,
    Machine,
    Video,
    exposure,
    length_class,
    liking_class,
    no_history,
    outcome_class,
    place,
    step_edges_s,
)
from twinloop.emulation.behaviour.policy import (
    GIVENS,
    PLACES,
    Imitated,
    ending_step,
    leave_probability,
    log_chances,
    own_factor,
    see,
    step_middle_s,
    watch_through,
    watching_forecast,
)
from twinloop.emulation.combined import Combined
from twinloop.emulation.environments import Environments, Prospect, foresee
from twinloop.emulation.ewma import Ewma
from twinloop.emulation.forecast import Z90, AbstractEmulator, Forecast, KindForecast, news
from twinloop.emulation.kalman import Kalman, kalman
from twinloop.emulation.last_value import LastValue
from twinloop.emulation.learned import AGE, CELL_CHANGE, Learned, learned, user_covariates
from twinloop.emulation.prospects import Foresight, Prospects
from twinloop.emulation.rollout import Respond, Served, TwinModel, rollout, sample_states, twin_model
from twinloop.emulation.silence import within_alarms

EMULATORS: Mapping[str, Callable[[float], AbstractEmulator[Any]]] = {
    "last_value": lambda slot_s: LastValue(),
    "ewma": lambda slot_s: Ewma(slot_s=slot_s),
    "kalman": lambda slot_s: kalman(slot_s=slot_s),
    "combined": lambda slot_s: Combined((LastValue(), Ewma(slot_s=slot_s), kalman(slot_s=slot_s))),
}

__all__ = [
    "AGE",
    "CELL_CHANGE",
    "EMULATORS",
    "GIVENS",
    "LENGTH_EDGES_S",
    "LIKINGS",
    "LOOPS",
    "OUTCOMES",
    "PHASES",
    "PLACES",
    "STATES",
    "Z90",
    "ZONES",
    "AbstractBehaviour",
    "AbstractEmulator",
    "Assumptions",
    "Combined",
    "EndedViews",
    "Environments",
    "Ewma",
    "Forecast",
    "Foresight",
    "Frailty",
    "History",
    "Imitated",
    "Kalman",
    "KindForecast",
    "LastValue",
    "Learned",
    "LeavingModel",
    "Lived",
    "Machine",
    "Prospect",
    "Prospects",
    "Respond",
    "Served",
    "TwinModel",
    "Video",
    "default_assumptions",
    "ending_step",
    "exposure",
    "foresee",
    "kalman",
    "learned",
    "leave_probability",
    "leaving_model",
    "leaving_surprise",
    "length_class",
    "liking_class",
    "live",
    "log_chances",
    "news",
    "no_history",
    "outcome_class",
    "own_factor",
    "place",
    "rollout",
    "sample_states",
    "see",
    "step_edges_s",
    "step_middle_s",
    "swipe_signals",
    "twin_model",
    "user_covariates",
    "watch_through",
    "watching_forecast",
    "within_alarms",
]
