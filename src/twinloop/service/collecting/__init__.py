"""What sites are asked to report, by the loop and by operators, and how far they do."""

from twinloop.service.collecting.observance import WINDOW_S, Observance
from twinloop.service.collecting.planning import Collecting
from twinloop.service.collecting.wishes import TABLES, Wish, Wishes

__all__ = ["TABLES", "WINDOW_S", "Collecting", "Observance", "Wish", "Wishes"]
