"""The page of a study: what it claims, what it found, by which means."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from twinloop.reporting.page import Section, Table, Tile, writable


class Drawing(NamedTuple):
    """How a figure is drawn, and what it shows."""

    draw: Callable[[], Figure]
    caption: str


@dataclass(frozen=True)
class Chapter:
    """A chapter before its figures are drawn."""

    anchor: str
    title: str
    lead: str
    figures: Mapping[str, Drawing] = field(default_factory=dict[str, Drawing])
    tables: Sequence[Table] = ()


def write_study(
    directory: Path,
    *,
    title: str,
    subtitle: str,
    story: str,
    notices: Sequence[str],
    tiles: Sequence[Tile],
    chapters: Sequence[Chapter],
    method: Sequence[str],
    schemes: Sequence[tuple[str, str]],
) -> Path:
    """Draw all figures into `figures/` and write `report.html`; returns its path.

    Raises OutputError when the directory cannot be written.
    """
    folder = writable(directory)
    sections = [
        Section(
            chapter.anchor,
            chapter.title,
            chapter.lead,
            [folder.view(name, drawn.draw, drawn.caption, wide=True) for name, drawn in chapter.figures.items()],
            list(chapter.tables),
        )
        for chapter in chapters
    ]
    return folder.write(
        "report.html",
        "study.html.j2",
        title=title,
        subtitle=subtitle,
        story=story,
        notices=notices,
        tiles=tiles,
        sections=sections,
        method=method,
        schemes=schemes,
    )
