"""From twins and forecasts to the features a decision needs."""

from twinloop.abstraction.abstract import Abstractor
from twinloop.abstraction.features import Features
from twinloop.abstraction.felt import Felt
from twinloop.abstraction.swipes import watching_probability

__all__ = ["Abstractor", "Features", "Felt", "watching_probability"]
