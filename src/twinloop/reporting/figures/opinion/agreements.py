"""How agreements were kept and what people experienced, by scheme. They take plain arrays."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from twinloop.reporting.figures.canvas import INK, MUTED, WIDE_PX, legend_below, line_style, panels, styled


@styled
def plot_agreement_ratio(ratio: Mapping[str, Mapping[int, Float[np.ndarray, "_"]]], title: str) -> Figure:
    """Distribution of experience over agreement by number of users, a line a scheme; right of 1 agreements are kept."""
    numbers = list(next(iter(ratio.values())))
    figure, axes = panels(title, 1, len(numbers), width=WIDE_PX, height=380, sharey=True)
    for column, number in enumerate(numbers):
        axis = axes[0, column]
        for index, (name, by_users) in enumerate(ratio.items()):
            ordered = np.sort(by_users[number])
            axis.plot(ordered, np.arange(1, len(ordered) + 1) / len(ordered), label=name, **line_style(index))
        axis.axvline(1.0, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        axis.set_title(f"{number} users")
        axis.set_ylim(0, 1)
        axis.set_xlim(0.2, 1.5)
    axes[0, len(numbers) // 2].set_xlabel("experience / agreed experience, mean of 3 minutes")
    axes[0, 0].set_ylabel("share at or below")
    legend_below(figure)
    return figure


@styled
def plot_experience_by_users(experience: Mapping[str, Mapping[int, Float[np.ndarray, "_"]]], title: str) -> Figure:
    """Box plots of experience by number of users, a box a scheme: quartiles, median, whiskers from 5 to 95 %."""
    figure, axes = panels(title, width=WIDE_PX, height=400)
    axis = axes[0, 0]
    numbers = list(next(iter(experience.values())))
    width = 0.8 / len(experience)
    for index, (name, by_users) in enumerate(experience.items()):
        colour = line_style(index)["color"]
        at = np.arange(len(numbers)) + (index - (len(experience) - 1) / 2) * width
        axis.boxplot(
            [by_users[number] for number in numbers], positions=list(at), widths=0.85 * width, whis=(5, 95),
            showfliers=False, patch_artist=True, manage_ticks=False,
            boxprops={"facecolor": colour, "alpha": 0.75, "edgecolor": colour},
            medianprops={"color": INK, "linewidth": 1.6},
            whiskerprops={"color": colour}, capprops={"color": colour},
        )  # fmt: skip
        axis.plot([], [], color=colour, linewidth=6, alpha=0.75, label=name)
    axis.set_xticks(range(len(numbers)), [str(number) for number in numbers])
    axis.set_xlabel("users")
    axis.set_ylabel("experience E* of a minute (1 to 5)")
    axis.set_ylim(1, 5)
    legend_below(figure)
    return figure
