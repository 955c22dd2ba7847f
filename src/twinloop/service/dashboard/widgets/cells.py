"""Cells of tables that many pages have: meters, stacked shares, states, links, ages."""

from collections.abc import Mapping, Sequence

from nicegui import ui
from nicegui.element import Element

from twinloop.service.dashboard.asking import path_of
from twinloop.service.dashboard.widgets.tables import Cell
from twinloop.service.dashboard.words import UNKNOWN, share

KINDS = 8
"""Colours of kinds that there are; the ninth kind has the first one's."""


def meter(name: str, part: float | None, tone: str = "") -> Cell:
    """A share of a whole as a bar with its number; `name` is for those who cannot see it."""
    if part is None:
        return UNKNOWN
    return {"bar": part, "text": share(part), "tone": tone, "title": f"{name} {share(part)}"}


def stack(shares: Mapping[str, float], names: Sequence[str]) -> Cell:
    """Shares of a whole beside each other in the colours of `legend_of`, with their numbers below."""
    parts = [{"share": shares.get(name, 0.0), "tone": f"k{at % KINDS}"} for at, name in enumerate(names)]
    told = ", ".join(f"{name} {share(shares.get(name, 0.0))}" for name in names)
    return {"stack": parts, "title": told, "sub": " · ".join(share(shares.get(name, 0.0)) for name in names)}


def legend_of(container: Element, names: Sequence[str]) -> None:
    """Writes which colour is which of `names`."""
    container.clear()
    with container:
        for at, name in enumerate(names):
            with ui.element("span"):
                ui.element("i").classes(f"k{at % KINDS}")
                ui.label(name)


def state(words: tuple[str, str], below: str = "") -> Cell:
    """A state in a word or two, with its tone."""
    return {"pill": True, "text": words[0], "tone": words[1], "sub": below}


def twin_link(kind: str, name: str, below: str = "") -> Cell:
    """A link to a twin."""
    return {"text": name, "href": f"/twins{path_of(kind, name)}", "sub": below}


def age(at_s: float | None) -> Cell:
    """How long ago something was, from epoch seconds."""
    return UNKNOWN if at_s is None else {"at": at_s, "only": "age"}
