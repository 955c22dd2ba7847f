"""The map: a scene that stands, users that move, a legend that says what their colours mean."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nicegui.element import Element
from nicegui.events import GenericEventArguments


@dataclass(frozen=True)
class Legend:
    """What colours mean: names of the bins, in a `scale` of five from bad to good (`value`) or of kinds (`kind`)."""

    title: str
    bins: tuple[str, ...]
    scale: Literal["value", "kind"]


@dataclass(frozen=True)
class Scene:
    """What stands, in metres: the `box` (west, south, east, north), cells and servers, lines between them."""

    box: tuple[float, float, float, float]
    cells: tuple[dict[str, Any], ...] = ()
    servers: tuple[dict[str, Any], ...] = ()
    links: tuple[tuple[float, float, float, float], ...] = ()


@dataclass
class Crowd:
    """Users by column: where last heard (m), when (epoch seconds), the bin of their colour, a word on them."""

    ids: list[str] = field(default_factory=list[str])
    x_m: list[float] = field(default_factory=list[float])
    y_m: list[float] = field(default_factory=list[float])
    bin: list[int | None] = field(default_factory=list[int | None])
    at_s: list[float] = field(default_factory=list[float])
    said: list[str] = field(default_factory=list[str])

    def add(self, name: str, place_m: tuple[float, float], bin: int | None, at_s: float, said: str) -> None:
        """One more."""
        self.ids.append(name)
        self.x_m.append(round(place_m[0], 1))
        self.y_m.append(round(place_m[1], 1))
        self.bin.append(bin)
        self.at_s.append(round(at_s, 1))
        self.said.append(said)


class CityMap(Element, component="map.js", dependencies=["twinloop-format.js"]):
    """The network on a plain metric map; arrow keys go from user to user, Enter opens the twin."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self._props["label"] = label
        self._scene: Scene | None = None

    def stage(self, scene: Scene) -> None:
        """Sets what stands."""
        if scene != self._scene:
            self._scene = scene
            self.run_method("stage", asdict(scene))

    def paint(self, legend: Legend) -> None:
        """Sets what colours mean."""
        self.run_method("paint", asdict(legend))

    def show(self, crowd: Crowd, note: str = "") -> None:
        """Moves users to where they are now."""
        self.run_method("show", crowd.ids, crowd.x_m, crowd.y_m, crowd.bin, crowd.at_s, crowd.said, note)

    def describe(self, kind: str, states: Mapping[str, Mapping[str, str]]) -> None:
        """Sets how cells or servers do, by name: a `tone`, and what is `said` of them."""
        self.run_method("describe", kind, states)

    def on_choice(self, picked: Callable[[str, str], None], opened: Callable[[str, str], None]) -> None:
        """Tells kind and name of what was picked, and of what shall be opened."""

        def of(act: Callable[[str, str], None]) -> Callable[[GenericEventArguments], None]:
            return lambda event: act(str(event.args[0]), str(event.args[1]))

        self.on("pick", of(picked))
        self.on("open", of(opened))
