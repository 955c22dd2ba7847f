"""From twins and forecasts to the features a decision needs."""

from twinloop.abstraction.features import Features

__all__ = ["Features"]
