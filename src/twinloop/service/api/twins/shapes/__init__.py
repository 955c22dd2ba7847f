"""Twins on the wire: their forms in OpenAPI, their parts as values, and the media types that they are written in."""

from twinloop.service.api.twins.shapes.forms import Forecast, History, Measured, Twin, TwinPage
from twinloop.service.api.twins.shapes.texts import (
    CSV,
    JSON,
    NDJSON,
    XML,
    accepted,
    answer,
    element_of,
    encode,
    lines_of,
)
from twinloop.service.api.twins.shapes.views import (
    PARTS,
    Rows,
    Wanted,
    grid,
    measured_of,
    noun_of,
    past_twin,
    slice_of,
    tidy,
    twins_of,
)

__all__ = [
    "CSV",
    "JSON",
    "NDJSON",
    "PARTS",
    "XML",
    "Forecast",
    "History",
    "Measured",
    "Rows",
    "Twin",
    "TwinPage",
    "Wanted",
    "accepted",
    "answer",
    "element_of",
    "encode",
    "grid",
    "lines_of",
    "measured_of",
    "noun_of",
    "past_twin",
    "slice_of",
    "tidy",
    "twins_of",
]
