"""The report of the study: claims, schemes, windows, what each part gives, and where the advantage ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from twinloop.decision import LEARNED, shipped_checkpoint
from twinloop.learning import read_card
from twinloop.reporting import (
    Bar,
    Chapter,
    Drawing,
    Table,
    Tile,
    plot_agreement_ratio,
    plot_experience_by_users,
    plot_gaps,
    plot_learning,
    plot_ratio_by_users,
    plot_slices_and_windows,
    plot_windows,
    write_study,
)
from twinloop.studies.da_qoe.judging import BOUND, Figures, difference, experienced, mean_of, ratios_of, runs_of
from twinloop.studies.da_qoe.living import Lived, Place
from twinloop.studies.da_qoe.setting import PROPOSED
from twinloop.studies.da_qoe.variants import CASES, USERS
from twinloop.studies.evaluate import Estimate, Judgement

_SLICES = ("basic", "plus", "gold")
_COLUMNS = {
    "ela_ratio": "ELA ratio",
    "ela_share": "ELAs reached",
    "ela_share_feasible": "of feasible",
    "qoe_median": "median QoE",
    "qoe_iqr": "QoE spread",
    "stall_s_per_min": "stalls (s/min)",
    "bandwidth_use": "bandwidth",
    "cycles_use": "cycles",
    "twin_kbit_per_s": "reports (kbit/s)",
}


@dataclass(frozen=True)
class Told:
    """All that the page is made of: figures of the schemes, over fewer minutes of variants `beside` their schemes, and
    of other windows in `full`.
    """

    judgement: Judgement
    lived: Mapping[Place, Lived]
    figures: Figures
    beside: Figures
    full: Figures
    schemes: Sequence[str]
    variants: Sequence[str]
    users: Sequence[int]
    wall_s: float


def write_page(directory: Path, told: Told) -> Path:
    """Write `report.html`. Raises OutputError when the directory cannot be written."""
    parts = ("window", "ablation", "control", "mismatch", "load")
    chapters = [
        _claims(told),
        _schemes(told),
        *(_variants(told, part) for part in parts),
        _training(),
    ]
    lasting = [run["load_factor"] for run in runs_of(told.figures, told.schemes[0], max(told.users))]
    tiles = [
        *_headline(told),
        Tile("Load factor", f"{np.mean(lasting):.2f}", f"top version asked over bandwidth, {max(told.users)} users"),
        Tile("Wall time", f"{told.wall_s / 60:.1f} min", "this call, runs on file not lived again"),
    ]
    held = sum(claim.holds for claim in told.judgement.claims)
    story = (
        f"{held} of {len(told.judgement.claims)} claims hold on these seeds. Every scheme met the same people, ways "
        "and channels, and all are scored by the true experience of people, which no scheme can see."
    )
    return write_study(
        directory,
        title="Digital agents that manage by experience",
        subtitle=told.judgement.title,
        story=story,
        notices=(),
        tiles=tiles,
        chapters=[chapter for chapter in chapters if chapter is not None],
        method=told.judgement.method,
        schemes=[(CASES[name].title, CASES[name].about) for name in (*told.schemes, *told.variants)],
    )


def _headline(told: Told) -> list[Tile]:
    most = max(told.users)
    runs = runs_of(told.figures, told.schemes[0], most)
    name = CASES[told.schemes[0]].title
    return [
        Tile(
            "ELA ratio",
            f"{np.mean([run['ela_ratio'] for run in runs]):.3f}",
            f"{name}, {most} users; on its links at most {np.mean([run['ela_ratio_bound'] for run in runs]):.3f}",
            primary=True,
        ),
        Tile(
            "Median QoE", f"{np.mean([run['qoe_median'] for run in runs]):.2f}", f"{name}, {most} users", primary=True
        ),
        Tile(
            "ELAs reached",
            f"{np.mean([run['ela_share'] for run in runs]):.0%}",
            f"of users and 3-minute periods; {np.mean([run['feasible'] for run in runs]):.0%} were feasible at all",
        ),
    ]


def _claims(told: Told) -> Chapter:
    claims = told.judgement.claims
    rows = [[claim.statement, _text(claim.measured), "holds" if claim.holds else "does not hold"] for claim in claims]
    note = "Differences are the scheme named first less the other, paired over seeds, 95 % interval in brackets."
    lead = "What the paper claims and what was promised before the runs, each decided by its weakest comparison."
    tables = [Table("Claims", ["claim", "measured", "verdict"], rows, note, wide=True)] if rows else []
    if PROPOSED in told.schemes and len(told.schemes) > 1:
        compared = (("ela_ratio", "ELA ratio"), ("ela_share", "ELAs reached"), ("qoe_median", "median QoE"))
        tables += [_against(told, metric, title) for metric, title in compared]
    return Chapter("claims", "What holds", lead, {}, tables)


def _against(told: Told, metric: str, title: str) -> Table:
    """The proposed scheme less each other, by number of users, and why it is not ahead where it is not."""
    others = [name for name in told.schemes if name != PROPOSED]
    found = {
        (name, users): difference(told.figures, PROPOSED, name, users, metric)
        for name in others
        for users in told.users
    }
    rows = [[CASES[name].title, *(_text(found[name, users]) for users in told.users)] for name in others]
    open_against = dict.fromkeys(CASES[name].title for (name, _), gap in found.items() if (gap.low or 0.0) <= 0)
    note = "Paired over seeds, 95 % interval in brackets; what includes 0 shows nothing."
    if open_against:
        note += f" Not shown to be best against {', '.join(open_against)}.{_idle_parts(told)}"
    return Table(f"Proposed less others: {title}", ["against", *map(str, told.users)], rows, note, wide=True)


def _idle_parts(told: Told) -> str:
    """Parts without which the scheme is no worse: what others lack of them cannot set it apart."""
    parts = [name for name in told.variants if CASES[name].part == "ablation" and runs_of(told.beside, name, USERS)]
    gaps = {name: difference(told.beside, name, PROPOSED, USERS, "ela_ratio") for name in parts}
    idle = [f"{CASES[name].title} ({_text(gap)})" for name, gap in gaps.items() if (gap.high or 0.0) >= 0]
    if not idle:
        return ""
    return (
        f" Why: at {USERS} users the scheme is not shown to lose anything by {', '.join(idle)}, in ELA ratio less the "
        "scheme as it is; one that lacks only these cannot be told from it here."
    )


def _schemes(told: Told) -> Chapter:
    users = list(told.users)
    ratio = {CASES[name].title: {n: _pooled(told, name, n, ratios_of) for n in users} for name in told.schemes}
    felt = {CASES[name].title: {n: _pooled(told, name, n, experienced) for n in users} for name in told.schemes}
    by_users = {
        CASES[name].title: {
            n: _bar(mean_of([run["ela_ratio"] for run in runs_of(told.figures, name, n)])) for n in users
        }
        for name in told.schemes
    }
    bound = {
        n: _bar(mean_of([run["ela_ratio_bound"] for run in runs_of(told.figures, told.schemes[0], n)])) for n in users
    }
    drawings = {
        "ratio_cdf": Drawing(
            partial(plot_agreement_ratio, ratio, "Experience over agreement"),
            "Further right is better; right of the dashed line an agreement is kept.",
        ),
        "ratio_by_users": Drawing(
            partial(plot_ratio_by_users, by_users, bound, "ELA ratio by number of users", "mean of min(E*/ELA, 1)"),
            f"Bars are 95 % intervals over seeds; the bound is of the links of {CASES[told.schemes[0]].title}.",
        ),
        "qoe_boxes": Drawing(
            partial(plot_experience_by_users, felt, "What people experienced"),
            "Boxes are quartiles, whiskers 5 to 95 % of users' minutes.",
        ),
    }
    tables = [_table(f"{n} users", n, told.schemes, told.figures) for n in users] + [_times(told, max(users))]
    lead = "Schemes by number of users: how far agreements were kept, and what people experienced minute by minute."
    return Chapter("schemes", "Schemes", lead, drawings, tables)


def _times(told: Told, users: int) -> Table:
    """What slots and decisions on slices took."""
    columns = {"slot_ms": "a slot (ms)", "window_ms": "a decision on slices (ms)"}
    rows = [
        [
            CASES[name].title,
            *(_short(mean_of([run[metric] for run in runs_of(told.figures, name, users)])) for metric in columns),
        ]
        for name in told.schemes
    ]
    note = (
        "Wall time of one world's part of those lived side by side: a slot with network, twins, decision and internal "
        "loop; a decision with fitting models, what-ifs and internal loop."
    )
    return Table(f"Time, {users} users", ["scheme", *columns.values()], rows, note)


_LEADS = {
    "window": (
        "Windows",
        "Slices decided every 3 to 15 minutes, or when the network's dynamics ask for it. A reconfiguration costs the "
        "slice one frozen slot.",
    ),
    "ablation": ("One part less", "The proposed scheme without one of its parts, on the same seeds."),
    "control": (
        "Negative controls",
        "Twins made wrong on purpose, and people to whom a part of the models means nothing: gains must vanish with "
        "their cause.",
    ),
    "mismatch": (
        "Mismatch of twin and network",
        "0: twin and judge know the network's radio and viewers; 2 to 8: they are that many times further off than in "
        "the study, in the same direction for all seeds.",
    ),
    "load": ("Load", "Other bandwidths a cell, each scheme against itself at 15 MHz."),
}


def _variants(told: Told, part: str) -> Chapter | None:
    names = [name for name in told.variants if CASES[name].part == part]
    if not names:
        return None
    title, lead = _LEADS[part]
    figures = told.full if part == "window" else told.beside
    gaps = {
        f"{CASES[name].title}": _bar(difference(figures, name, CASES[name].base, USERS, "ela_ratio"))
        for name in names
        if runs_of(figures, CASES[name].base, USERS)
    }
    drawings = {
        f"gaps_{part}": Drawing(
            partial(plot_gaps, gaps, f"{title}: ELA ratio less that of the scheme as it is", "difference in ELA ratio"),
            "An interval that crosses the line shows no difference.",
        )
    }
    if part == "window":
        drawings |= _windows(told, names)
    cases = [*dict.fromkeys(CASES[name].base for name in names), *names]
    tables = [_table(f"{USERS} users", USERS, cases, figures)]
    if part in ("mismatch", "load"):
        tables.insert(0, _lead_by_setting(told, names))
    return Chapter(part, title, f"{lead} {USERS} users.", drawings, tables)


def _lead_by_setting(told: Told, names: Sequence[str]) -> Table:
    """The proposed scheme less others in the same changed world, where they were lived there, too."""
    changes = ["", *(name.removeprefix(PROPOSED) for name in names if CASES[name].base == PROPOSED)]
    others = [base for base in dict.fromkeys(CASES[name].base for name in names) if base != PROPOSED]
    rows = [
        [
            CASES[PROPOSED + change].title.split(", ")[-1] if change else "as in the study",
            *(
                _text(difference(told.beside, PROPOSED + change, other + change, USERS, "ela_ratio"))
                for other in others
            ),
        ]
        for change in changes
    ]
    note = "ELA ratio, paired over seeds, 95 % interval in brackets."
    return Table("Proposed less others", ["world", *(CASES[other].title for other in others)], rows, note, wide=True)


def _training() -> Chapter:
    """How the shipped agents of level one learned, from their cards."""
    cards = {name: read_card(shipped_checkpoint(name)) for name in LEARNED}
    lead = (
        "Agents of level one learned once, in the twin's own simulator, on people whom no run meets; runs load them. "
        + " ".join(f"{name}: {card['data']}." for name, card in cards.items())
    )
    curves = {name: card["curve"] for name, card in cards.items()}
    drawing = Drawing(
        partial(plot_learning, curves, "Learning curves"), "Greedy episodes; the band is the 95 % interval over them."
    )
    rows = [
        [name, f"{card['steps']:,}", str(card["settings"]["layers"]), card["command"]] for name, card in cards.items()
    ]
    table = Table("Checkpoints", ["agents", "steps", "layers", "command"], rows, "", 4, wide=True)
    return Chapter("training", "Training", lead, {"learning": drawing}, [table])


def _windows(told: Told, names: Sequence[str]) -> dict[str, Drawing]:
    def point(name: str) -> tuple[Bar, Bar]:
        runs = runs_of(told.full, name, USERS)
        often, kept = (mean_of([run[metric] for run in runs]) for metric in ("reconfigurations_per_h", "ela_ratio"))
        return _bar(often), _bar(kept)

    points = {("adaptive" if name == PROPOSED else CASES[name].title): point(name) for name in (PROPOSED, *names)}
    drawings = {
        "windows": Drawing(
            partial(plot_windows, points, "What windows cost and keep"),
            "Up is better, left is calmer; bars are 95 % intervals over seeds.",
        )
    }
    runs = [place for place in told.lived if place.case == PROPOSED and place.users == max(told.users)]
    return drawings | (_slices(told, runs) if runs else {})


def _slices(told: Told, runs: Sequence[Place]) -> dict[str, Drawing]:
    """Slices over time in the run with most changes."""
    shown = max(sorted(runs), key=lambda place: np.nansum(told.lived[place].window_won))
    run = told.lived[shown]
    return {
        "slices": Drawing(
            partial(
                plot_slices_and_windows,
                run.reserved_hz / 1e6,
                _SLICES,
                run.decided,
                run.score,
                run.stage,
                run.game_level,
                f"Slices, windows and game over time, {shown.users} users, seed {shown.seed}",
            ),
            "The seed with most changes; slices are decided at the lines, and change where that pays. Restless stages "
            "shorten windows. Game: the part of their users' demand that slices reserve at the "
            "equilibrium; it is proposed where users gain more by it than by slices at clearing prices.",
        ),
    }


def _table(title: str, users: int, cases: Sequence[str], figures: Figures) -> Table:
    rows: list[list[str]] = []
    for name in cases:
        runs = runs_of(figures, name, users)
        if runs:
            rows.append([CASES[name].title, *(_short(mean_of([run[metric] for run in runs])) for metric in _COLUMNS)])
    bound = runs_of(figures, PROPOSED, users)
    if bound:
        most = _short(mean_of([run["ela_ratio_bound"] for run in bound]))
        rows.append([BOUND, most, *[""] * (len(_COLUMNS) - 1)])
    return Table(
        title, ["scheme", *_COLUMNS.values()], rows, "Means over seeds ± half of the 95 % interval.", wide=True
    )


def _pooled(told: Told, name: str, users: int, of: object) -> Float[np.ndarray, "_"]:
    runs = [run for place, run in told.lived.items() if (place.case, place.users) == (name, users)]
    assert callable(of)
    return np.concatenate([np.asarray(of(run)).reshape(-1) for run in runs])


def _bar(estimate: Estimate) -> Bar:
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    return Bar(estimate.value, low, high)


def _digits(estimate: Estimate) -> int:
    if 0 < abs(estimate.value) < 1e-4:
        return 5
    return 3 if abs(estimate.value) < 2 else 2 if abs(estimate.value) < 10 else 1


def _short(estimate: Estimate) -> str:
    digits = _digits(estimate)
    value = f"{estimate.value:.{digits}f}".removeprefix("0")
    if estimate.high is None or not np.isfinite(estimate.high):
        return value
    return f"{value} ± {estimate.high - estimate.value:.{digits}f}".replace("± 0.", "± .")


def _text(estimate: Estimate) -> str:
    digits = _digits(estimate)
    if estimate.low is None or estimate.high is None or not np.isfinite(estimate.low):
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"
