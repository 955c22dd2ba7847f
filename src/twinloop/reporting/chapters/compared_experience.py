"""The chapter of a comparison on what people experienced under each policy, and what was kept of their agreements."""

from functools import partial

from twinloop.errors import OutputError
from twinloop.reporting.comparison import Comparison, difference_text, interval, readable, with_half
from twinloop.reporting.figures.comparison import plot_differences, plot_ratios, plot_seeds
from twinloop.reporting.page import Folder, Section, Table
from twinloop.reporting.wording import metric, plain, share

_LEAD = "ela_share"
_FOREST = ("ela_share", "ela_ratio", "ela_users_reached", "qoe_median")
_TABLE = ("ela_share", "ela_ratio", "ela_users_reached", "ela_time_below", "qoe_median", "qoe_mean", "qoe_belief_error")


def followed(comparison: Comparison) -> bool:
    """Whether anybody's experience was followed."""
    return any("qoe_median" in results for results in comparison.policies.values())


def felt(comparison: Comparison) -> list[str]:
    """Who did best by people's experience, in a plain sentence; none where nobody's was followed."""
    try:
        best, happiest = comparison.best(_LEAD), comparison.best("qoe_median")
    except OutputError:
        return []
    kept = share(interval(comparison.policies[best][_LEAD]).mean)
    told = f"By experience, {readable(best)} kept the most agreements, in {kept} of users' stretches of 3 minutes"
    found = [d for other in comparison.policies if (d := comparison.difference(best, other, _LEAD)) is not None]
    surely = [f"{difference_text(d)} over {readable(d.b)}" for d in found if d.side > 0]
    unsure = [readable(d.b) for d in found if not d.clear]
    told += f" ({'; '.join(surely)})" if surely else ""
    told += f"; against {' and '.join(unsure)} no difference is shown" if unsure else ""
    middle = plain(interval(comparison.policies[happiest]["qoe_median"]).mean)
    return [f"{told}. The best median experience was {middle} of 5, with {readable(happiest)}."]


def experience_section(comparison: Comparison, folder: Folder) -> Section:
    """Experience and agreements by policy."""
    lead = (
        "Every policy is scored by the true experience E* of people, which only the simulated network knows, against "
        "what each was promised: means of 3 minutes, one grid for all policies."
    )
    views = [
        folder.view("ela_ratios", partial(plot_ratios, comparison),
                    "Left of the dashed line agreements were broken; a line farther right is better.", wide=True),
        folder.view("felt_differences", partial(plot_differences, comparison, _FOREST),
                    "An interval that crosses the zero line shows no difference.", wide=True),
        folder.view("felt_kept", partial(plot_seeds, comparison, _LEAD), "Better on every seed is better indeed."),
        folder.view("felt_median", partial(plot_seeds, comparison, "qoe_median"),
                    "Half of all minutes felt like this or better."),
    ]  # fmt: skip
    return Section("felt", "Experience and agreements", lead, views, [_table(comparison)])


def _table(comparison: Comparison) -> Table:
    rows = [
        [readable(name), *(with_half(one, results.get(one)) for one in _TABLE)]
        for name, results in {**comparison.policies, **comparison.controls}.items()
    ]
    heads = ["policy", *(metric(name).title.lower() for name in _TABLE)]
    return Table("Experience and agreements, means", heads, rows, "Mean over seeds ± half of its 95 % interval.",
                 wide=True)  # fmt: skip
