"""The map: where people were, and how well the network served them there."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from twinloop.errors import OutputError
from twinloop.reporting.aggregation import groups, mean_by
from twinloop.reporting.figures.canvas import INK, MUTED, POOR_TO_GOOD, SURFACE, legend_below, of_run, panels, scaled
from twinloop.reporting.run import Run, Values

_MOST_WALKS = 150
_MOST_SEGMENTS = 24_000
_TITLES = {
    "satisfaction": "Where the network gave people what they needed",
    "rate_bps": "The rate people had, along their way",
}


@of_run
def plot_map(run: Run, colour: str = "satisfaction") -> Figure:
    """Trajectories coloured by `satisfaction` or `rate_bps`, and the cells' sites.

    Above 150 users the mean of hexagonal patches takes the place of single walks.
    """
    if colour not in _TITLES:
        raise OutputError(f"the map is coloured by {' or '.join(_TITLES)}, not by {colour!r}")
    user, slot, x_m, y_m, values = run.columns("users", "user", "slot", "x_m", "y_m", colour)
    factor, prefix = (1.0, "") if colour == "satisfaction" else scaled(values)
    label = "satisfaction (share of needed rate)" if colour == "satisfaction" else f"rate ({prefix}bit/s)"
    top = 1.0 if colour == "satisfaction" else float(np.nanquantile(values / factor, 0.98)) or 1.0
    low, high = _extent(run, x_m, y_m)
    tall = float((high[1] - low[1]) / (high[0] - low[0]))
    figure, axes = panels(_TITLES[colour], height=int(np.clip(130 + 390 * tall, 260, 680)))
    axis: Axes = axes[0, 0]
    norm = Normalize(0.0, top)
    index, labels = groups(user)
    if len(labels) <= _MOST_WALKS:
        shown = _draw_walks(axis, index, slot, np.stack([x_m, y_m], axis=1), values / factor, norm)
    else:
        shown = _draw_patches(axis, x_m, y_m, values / factor, norm)
    figure.colorbar(shown, ax=axis, label=label, extend="neither" if top == 1.0 else "max", aspect=26, pad=0.02)
    _draw_sites(axis, run)
    axis.set_xlim(low[0], high[0])
    axis.set_ylim(low[1], high[1])
    axis.set_aspect("equal")
    axis.set_xlabel("east (m)")
    axis.set_ylabel("north (m)")
    legend_below(figure, axis)
    return figure


def _draw_walks(axis: Axes, user: Values, slot: Values, place: Values, values: Values, norm: Normalize) -> Any:
    order = np.lexsort((slot, user))
    every = -(-len(order) // _MOST_SEGMENTS)
    user, slot, place, values = user[order], np.asarray(slot[order], np.int64), place[order], values[order]
    keep = slot % every == slot.min() % every
    user, slot, place, values = user[keep], slot[keep], place[keep], values[keep]
    joined = (user[1:] == user[:-1]) & (slot[1:] - slot[:-1] <= 2 * every)
    segments = np.stack([place[:-1], place[1:]], axis=1)[joined]
    walks = LineCollection(
        list(segments), cmap=POOR_TO_GOOD, norm=norm, linewidths=1.8, rasterized=True, capstyle="round"
    )
    walks.set_array(values[1:][joined])
    axis.add_collection(walks)
    last = np.append(user[1:] != user[:-1], True)
    axis.scatter(
        place[last, 0], place[last, 1], c=values[last], cmap=POOR_TO_GOOD, norm=norm, s=34, edgecolors=INK,
        linewidths=0.8, zorder=3, label="a user, at the end",
    )  # fmt: skip
    return walks


def _draw_patches(axis: Axes, x_m: Values, y_m: Values, values: Values, norm: Normalize) -> Any:
    known = np.isfinite(x_m) & np.isfinite(y_m) & np.isfinite(values)
    return axis.hexbin(
        x_m[known], y_m[known], C=values[known], reduce_C_function=np.mean, gridsize=44, cmap=POOR_TO_GOOD, norm=norm,
        linewidths=0.2, mincnt=3, rasterized=True,
    )  # fmt: skip


def _draw_sites(axis: Axes, run: Run) -> None:
    sites = run.sites()
    label = "cell site"
    if not sites:
        label = "middle of a cell's users"
        cell, x_m, y_m = run.columns("users", "cell", "x_m", "y_m")
        index, labels = groups(cell)
        middles = np.stack([mean_by(index, x_m, len(labels)), mean_by(index, y_m, len(labels))], axis=1)
        places = list(zip(run.names("cells", labels), middles, strict=True))
    else:
        places = [(site.name, np.asarray(site.path_m[0])) for site in sites]
    for site in sites:
        if len(site.path_m) > 1:
            ring = np.asarray([*site.path_m, site.path_m[0]])
            axis.plot(ring[:, 0], ring[:, 1], color=MUTED, linestyle=(0, (2, 3)), linewidth=1.2)
    spots = np.stack([place for _, place in places])
    axis.scatter(spots[:, 0], spots[:, 1], marker="^", s=95, color=INK, edgecolors=SURFACE, zorder=5, label=label)
    for name, place in places if len(places) <= 8 else []:
        axis.annotate(
            name, (place[0], place[1]), xytext=(0, 10), textcoords="offset points", ha="center", fontsize=12,
            zorder=6, bbox={"boxstyle": "round,pad=0.25", "facecolor": SURFACE, "edgecolor": "none", "alpha": 0.85},
        )  # fmt: skip


def _extent(run: Run, x_m: Values, y_m: Values) -> tuple[Values, Values]:
    """South-west and north-east corner of everything on the map, with room around it."""
    corners = [np.asarray(site.path_m) for site in run.sites()]
    places = np.concatenate([np.stack([x_m, y_m], axis=1), *corners])
    places = places[np.isfinite(places).all(axis=1)]
    low, high = places.min(axis=0), places.max(axis=0)
    room = max(float((high - low).max()) * 0.06, 40.0)
    return low - room, high + room
