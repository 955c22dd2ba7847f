"""From twins and forecasts to the features a decision needs."""

from twinloop.abstraction.abstract import Abstractor
from twinloop.abstraction.features import Features
from twinloop.abstraction.swipes import swipe_hazard, watching_probability

__all__ = ["Abstractor", "Features", "swipe_hazard", "watching_probability"]
