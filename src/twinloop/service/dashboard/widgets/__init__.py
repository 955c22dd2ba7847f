"""What pages are made of: tables, the map, charts, facts and notices, alike on all of them."""

from twinloop.service.dashboard.widgets.cells import KINDS, age, legend_of, meter, stack, state, twin_link
from twinloop.service.dashboard.widgets.charts import Trend
from twinloop.service.dashboard.widgets.facts import (
    Facts,
    Guarded,
    Panel,
    confirmed,
    heading,
    pill,
    plain_button,
    reason,
    shade,
    tell,
)
from twinloop.service.dashboard.widgets.maps import CityMap, Crowd, Legend, Scene
from twinloop.service.dashboard.widgets.pulse import Pulse, ThemeSwitch, When
from twinloop.service.dashboard.widgets.tables import Cell, Column, Row, Table

__all__ = [
    "KINDS",
    "Cell",
    "CityMap",
    "Column",
    "Crowd",
    "Facts",
    "Guarded",
    "Legend",
    "Panel",
    "Pulse",
    "Row",
    "Scene",
    "Table",
    "ThemeSwitch",
    "Trend",
    "When",
    "age",
    "confirmed",
    "heading",
    "legend_of",
    "meter",
    "pill",
    "plain_button",
    "reason",
    "shade",
    "stack",
    "state",
    "tell",
    "twin_link",
]
