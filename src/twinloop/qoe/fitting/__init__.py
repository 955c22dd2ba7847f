"""User-specific models of experience from ratings: truncated likelihood, structures, and the population behind them."""

from twinloop.qoe.fitting.choice import held_out_likelihood, likeliest
from twinloop.qoe.fitting.fit import FittedUsers, fit_on, fit_users, general_model, predict
from twinloop.qoe.fitting.intake import Intake, by_user, take_ratings
from twinloop.qoe.fitting.intervals import Intervals, own_intervals, posterior_intervals
from twinloop.qoe.fitting.likelihood import Ratings
from twinloop.qoe.fitting.population import learn_prior
from twinloop.qoe.fitting.structures import PARAMETERS, Prior, vague_prior

__all__ = [
    "PARAMETERS",
    "FittedUsers",
    "Intake",
    "Intervals",
    "Prior",
    "Ratings",
    "by_user",
    "fit_on",
    "fit_users",
    "general_model",
    "held_out_likelihood",
    "learn_prior",
    "likeliest",
    "own_intervals",
    "posterior_intervals",
    "predict",
    "take_ratings",
    "vague_prior",
]
