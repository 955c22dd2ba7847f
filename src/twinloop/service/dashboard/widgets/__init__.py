"""What pages are made of: tables, the map, charts, facts and notices, alike on all of them."""

from twinloop.service.dashboard.widgets.charts import Trend
from twinloop.service.dashboard.widgets.facts import Facts, Guarded, Panel, confirmed, heading, pill
from twinloop.service.dashboard.widgets.maps import CityMap
from twinloop.service.dashboard.widgets.pulse import Pulse, ThemeSwitch, When
from twinloop.service.dashboard.widgets.tables import Cell, Column, Row, Table

__all__ = [
    "Cell",
    "CityMap",
    "Column",
    "Facts",
    "Guarded",
    "Panel",
    "Pulse",
    "Row",
    "Table",
    "ThemeSwitch",
    "Trend",
    "When",
    "confirmed",
    "heading",
    "pill",
]
