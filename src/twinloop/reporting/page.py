"""A page: sections of figures and tables, set into one file that needs nothing else."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from twinloop.errors import OutputError
from twinloop.reporting.figures import canvas

_THEMED = {
    canvas.INK: "--ink",
    canvas.MUTED: "--muted",
    canvas.GRID: "--grid",
    canvas.SURFACE: "--surface",
    **{colour: f"--series-{index + 1}" for index, colour in enumerate(canvas.SERIES)},
}
_RASTER_DPI = 144
_PNG_DPI = 130


@dataclass(frozen=True)
class View:
    """One figure on a page: the inline drawing, or the sentence that says why there is none."""

    name: str
    caption: str
    drawing: Markup | None
    sentence: str = ""
    wide: bool = False
    height: int = 40


@dataclass(frozen=True)
class Table:
    """A table of texts; `numbers` says from which column on the cells are numbers (set to the right)."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    numbers: int = 1
    wide: bool = False
    folded: bool = False

    @property
    def height(self) -> int:
        """Page pixels the table takes, roughly."""
        return 70 + 37 * len(self.rows)


@dataclass(frozen=True)
class Section:
    """A chapter of a page: a plain sentence of what it shows, then figures and tables."""

    anchor: str
    title: str
    lead: str
    views: Sequence[View] = ()
    tables: Sequence[Table] = ()

    def rows(self) -> list[tuple[list[View | Table], list[View | Table]]]:
        """What stands left and right, from top to bottom; a wide part stands alone in its row's left half."""
        rows: list[tuple[list[View | Table], list[View | Table]]] = []
        heights = [0, 0]
        for part in (*self.views, *self.tables):
            if part.wide or not rows or any(other.wide for other in rows[-1][0]):
                rows.append(([], []))
                heights = [0, 0]
            side = 0 if part.wide or heights[0] <= heights[1] else 1
            rows[-1][side].append(part)
            heights[side] += part.height + 80
        return rows


@dataclass(frozen=True)
class Tile:
    """One headline number with what it means; `primary` ones are set large."""

    label: str
    value: str
    meaning: str
    primary: bool = False


@dataclass
class Folder:
    """Where a page's figures are drawn to: `figures/NAME.png` beside the page, and inline drawings for the page itself.

    A figure that cannot be drawn leaves its sentence, and no picture of an earlier run.
    """

    directory: Path
    drawn: list[str] = field(default_factory=lambda: list[str]())

    def view(self, name: str, draw: Callable[[], Figure], caption: str, *, wide: bool = False) -> View:
        """Draw one figure, save it as PNG and set it inline."""
        path = self.directory / "figures" / f"{name}.png"
        try:
            figure = draw()
        except OutputError as error:
            path.unlink(missing_ok=True)
            return View(name, caption, None, f"{str(error).rstrip('.')}.", wide)
        drawing = inline_svg(figure, name, caption)
        figure.set_layout_engine("none")
        figure.savefig(path, format="png", dpi=_PNG_DPI)
        self.drawn.append(name)
        return View(name, caption, drawing, wide=wide, height=round(72 * float(figure.get_figheight())))

    def write(self, name: str, template: str, **content: Any) -> Path:
        """Fill the template and put the page in place in one step. Raises OutputError when it cannot be written."""
        text = _environment().get_template(template).render(theme=theme(), **content)
        path = self.directory / name
        part = path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        return part.replace(path)


def guarded(lead: Callable[[], str]) -> str:
    """The sentence of `lead`, or the sentence that says what is missing for it."""
    try:
        return lead()
    except OutputError as error:
        return f"{str(error)[:1].upper()}{str(error)[1:].rstrip('.')}."


def tabled(table: Callable[[], Table]) -> list[Table]:
    """The table in a list, which is empty when the run does not hold it or it has no rows."""
    try:
        made = table()
    except OutputError:
        return []
    return [made] if made.rows else []


def inline_svg(figure: Figure, name: str, description: str) -> Markup:
    """The figure as an SVG element for a page: colours follow the page's theme, names are its own, text stays text."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", dpi=_RASTER_DPI, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, variable in _THEMED.items():
        text = text.replace(colour, f"var({variable})")
    width, height = (round(inches * 72) for inches in figure.get_size_inches())
    label = Markup.escape(f"{figure.get_suptitle()}. {description}")
    opening = (
        f'<svg class="drawing" viewBox="0 0 {width} {height}" style="--native:{width}px" role="img" '
        f'aria-label="{label}" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1).strip())


def theme() -> dict[str, str]:
    """CSS variables of the light theme; the dark one is in the style sheet."""
    return {variable: colour for colour, variable in _THEMED.items()}


def writable(directory: Path) -> Folder:
    """The folder of a page. Raises OutputError when nothing can be written there."""
    try:
        (directory / "figures").mkdir(parents=True, exist_ok=True)
        probe = directory / ".report.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{directory} cannot be written: {error.strerror}; choose another folder") from error
    return Folder(directory)


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("twinloop.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
