"""Networks and their training, free of any domain: arrays in, arrays out."""

from twinloop.learning.fitting import Fitted, fit
from twinloop.learning.weights import load_model, read_card, save_model

__all__ = ["Fitted", "fit", "load_model", "read_card", "save_model"]
