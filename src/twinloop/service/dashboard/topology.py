"""What stands in the network, as the API tells it at `/network`: cells with their place and server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinloop.service.dashboard.asking import Answer

NETWORK = "/network"
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class StandingCell:
    """A cell; `place_m` is None where it moves."""

    name: str
    place_m: Place | None
    server: str


def cells_of(answer: Answer) -> tuple[StandingCell, ...]:
    """Cells in the order of their numbers, by which reports name the serving one; none where there is no answer."""
    found: Sequence[Mapping[str, Any]] = answer.get("cells", ())
    return tuple(
        StandingCell(str(one["name"]), _place(one.get("position_m")), str(one.get("server", ""))) for one in found
    )


def box_around(places: Sequence[Place], area_m: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    """West, south, east and north of what is to be seen: the area where the API tells it, else around all places."""
    if area_m is not None and len(area_m) == 2:
        return (0.0, 0.0, float(area_m[0]), float(area_m[1]))
    if not places:
        return None
    east, north = [place[0] for place in places], [place[1] for place in places]
    edge = max(0.05 * max(max(east) - min(east), max(north) - min(north)), 10.0)
    return (min(east) - edge, min(north) - edge, max(east) + edge, max(north) + edge)


def server_places(cells: Sequence[StandingCell]) -> dict[str, Place]:
    """Where servers are drawn: amid their cells, for they are told without a place."""
    served: dict[str, list[Place]] = {}
    for cell in cells:
        if cell.server and cell.place_m is not None:
            served.setdefault(cell.server, []).append(cell.place_m)
    return {
        server: (sum(place[0] for place in places) / len(places), sum(place[1] for place in places) / len(places))
        for server, places in served.items()
    }


def _place(told: object) -> Place | None:
    if isinstance(told, list) and len(told) >= 2:
        return (float(told[0]), float(told[1]))
    return None
