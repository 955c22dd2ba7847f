"""From scores and prospects to rows, ranks and claims; the same for series and scenes."""

from collections.abc import Mapping, Sequence

import numpy as np

from twinloop.reporting import Dots
from twinloop.studies.evaluate.generation.prospects import Foreseen, coverage
from twinloop.studies.evaluate.generation.scores import Score
from twinloop.studies.evaluate.judgement import Claim, Estimate, Role, Row

HELD_OUT = "held-out data"
FITTED = "fitted data"
GAN = "gan"
DISCRIMINATIVE = "discriminative score"
NEAREST = "nearest-neighbour ratio"
VALUE, COVERAGE = "value", "coverage of 90 % interval"
_COVERED = (0.85, 0.95)
_WORSE = 1.05
_OWN = 0.9

Scores = Mapping[str, Mapping[str, Score]]
Prospects = Mapping[str, Mapping[str, Foreseen]]


def mean_ranks(scores: Scores, ranked: Sequence[str]) -> dict[str, float]:
    """Mean rank of every generator over the scores `ranked`; 1 is best, equal scores share their ranks."""
    names = [name for name in scores if name != FITTED]
    table = np.array([[scores[name][metric].value for metric in ranked] for name in names])
    below = (table[:, None, :] > table[None, :, :]).sum(axis=1)
    alike = (table[:, None, :] == table[None, :, :]).sum(axis=1)
    return dict(zip(names, (below + 0.5 * (alike + 1)).mean(axis=1).tolist(), strict=True))


def score_rows(scores: Scores) -> tuple[Row, ...]:
    """One row a score and source, score by score."""
    metrics = dict.fromkeys(metric for found in scores.values() for metric in found)
    return tuple(
        Row((metric, name), role(name), {VALUE: found[metric].estimate})
        for metric in metrics
        for name, found in scores.items()
        if metric in found
    )


def prospect_rows(lived: Prospects, seed: int) -> tuple[Row, ...]:
    """Satisfaction and time stalled by decision and source of the environments, with the coverage of the interval."""
    rows: list[Row] = []
    for choice in lived[HELD_OUT]:
        for name, of in lived.items():
            values = {VALUE: of[choice].satisfied}
            if name != HELD_OUT:
                values[COVERAGE] = coverage(of[choice], lived[HELD_OUT][choice], seed)
            rows.append(Row((f"satisfaction, {choice}", name), role(name), values))
        stalled = {name: of[choice].stalled for name, of in lived.items()}
        rows += [
            Row((f"stalled, {choice}", name), role(name), {VALUE: share})
            for name, share in stalled.items()
            if share is not None
        ]
    return tuple(rows)


def claims(
    scores: Scores,
    lived: Prospects,
    ranks: Mapping[str, float],
    *,
    compared: Sequence[str],
    learned: Sequence[str],
    seed: int,
) -> tuple[Claim, ...]:
    """The claims, the same for every data set and written before any run.

    `compared`: the GAN is not worse than the best simple generator (90 % interval of the difference reaches 0).
    `learned`: what is learned from the GAN errs at most 5 % more than what is learned from fitted data.
    """
    simple = [name for name in scores if name not in (FITTED, GAN)]
    found: list[Claim] = []
    for metric in compared:
        best = min(simple, key=lambda name: scores[name][metric].value)
        gap = scores[GAN][metric].less(scores[best][metric]).estimate
        told = f"{metric}: gan minus the best simple generator ({best}) not above 0"
        found.append(Claim(told, gap, min(gap.value, gap.low or 0.0) <= 0))
    for metric in learned:
        ratio = scores[GAN][metric].over(scores[FITTED][metric]).estimate
        told = f"{metric}: learned from the gan over learned from fitted data at most {_WORSE:g}"
        found.append(Claim(told, ratio, ratio.value <= _WORSE))
    own = scores[GAN][NEAREST].estimate
    found.append(Claim(f"the gan does not copy: {NEAREST} at least {_OWN:g}", own, own.value >= _OWN))
    default = min(ranks, key=lambda name: ranks[name])
    inside = [coverage(lived[default][one], lived[HELD_OUT][one], seed) for one in lived[HELD_OUT]]
    mean = Estimate(*(float(np.mean([getattr(one, end) for one in inside])) for end in ("value", "low", "high")))
    told = f"the 90 % interval of satisfaction from {default} (best mean rank) covers 85 to 95 % of held-out data"
    return (*found, Claim(told, mean, _COVERED[0] <= mean.value <= _COVERED[1]))


def role(name: str) -> Role:
    """Part that a source plays: ours, one to beat, or real data."""
    if name == GAN:
        return "proposed"
    return "reference" if name in (FITTED, HELD_OUT) else "baseline"


def prospect_dots(lived: Prospects) -> list[Dots]:
    """Satisfaction by source, one panel a decision."""
    return [
        Dots(
            f"satisfaction, {choice}",
            {name.replace("_", " "): _ends(of[choice].satisfied) for name, of in lived.items()},
            {name.replace("_", " "): role(name) for name in lived},
        )
        for choice in lived[HELD_OUT]
    ]


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    value = estimate.value
    return value, value if estimate.low is None else estimate.low, value if estimate.high is None else estimate.high
