"""What an evaluation says: rows of figures with intervals, claims that hold or not, and the figures that show them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float64

from twinloop.errors import OutputError

if TYPE_CHECKING:
    from twinloop.reporting import Figure

KS_TARGET = 0.1
KS_DISTANCE = "KS distance"
_RESAMPLES = 400
_QUANTILES = np.linspace(0, 1, 1001)

Role = Literal["proposed", "baseline", "reference"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; both ends are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """Figures by metric of one thing that was judged; `names` say what it is, one for each of the judgement's labels.

    `role` is `proposed` (ours), `baseline` (what it must beat) or `reference` (measured against measured, a bound).
    """

    names: tuple[str, ...]
    role: Role
    values: Mapping[str, Estimate]


@dataclass(frozen=True)
class Claim:
    """A statement that was written before the run, the figure that decides it, and whether it holds."""

    statement: str
    measured: Estimate
    holds: bool


@dataclass(frozen=True)
class Judgement:
    """An evaluation: rows under `labels`, claims, plain numbers beside them, how it was done, figures by file name."""

    title: str
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    numbers: Mapping[str, float]
    method: tuple[str, ...]
    figures: Mapping[str, "Callable[[], Figure]"]

    @property
    def passed(self) -> bool:
        """True where every claim holds."""
        return all(claim.holds for claim in self.claims)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric of the rows, in order of appearance."""
        return tuple(dict.fromkeys(metric for row in self.rows for metric in row.values))

    def estimate(self, metric: str, *names: str) -> Estimate:
        """The figure `metric` of the row of those names. Raises KeyError where there is none."""
        for row in self.rows:
            if row.names == names and metric in row.values:
                return row.values[metric]
        raise KeyError(f"no {metric} of {', '.join(names)}")

    def to_json(self) -> str:
        """The judgement as text, figures aside."""
        content = {
            "title": self.title,
            "passed": self.passed,
            "claims": [asdict(claim) for claim in self.claims],
            "rows": [_as_fields(self.labels, row) for row in self.rows],
            "numbers": dict(self.numbers),
            "method": list(self.method),
        }
        return json.dumps(in_json(content), indent=1, allow_nan=False) + "\n"

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write the figures as PNG files into `folder`. Raises OutputError when that is not possible."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            paths = [folder / name for name in self.figures]
            for path, draw in zip(paths, self.figures.values(), strict=True):
                draw().savefig(path, dpi=144)
        except OSError as fault:
            raise OutputError(f"{folder}: cannot be written ({fault.strerror or fault}); give another --out") from None
        return tuple(paths)


def in_json(value: Any) -> Any:
    """The same with null for numbers that are not finite: JSON knows no NaN."""
    if isinstance(value, dict):
        return {name: in_json(one) for name, one in value.items()}
    if isinstance(value, list):
        return [in_json(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _as_fields(labels: tuple[str, ...], row: Row) -> dict[str, object]:
    named = dict(zip(labels, row.names, strict=True))
    return {**named, "role": row.role, **{metric: asdict(estimate) for metric, estimate in row.values.items()}}


def at_most(statement: str, measured: Estimate, most: float) -> Claim:
    """The claim that a figure is at most `most`."""
    return Claim(statement, measured, measured.value <= most)


def ks_distance(a: Float64[np.ndarray, " a"], b: Float64[np.ndarray, " b"]) -> float:
    """Greatest difference of the two samples' distribution functions; 1 where one of them is empty."""
    if len(a) == 0 or len(b) == 0:
        return 1.0
    at = np.concatenate([a, b])
    below_a = np.searchsorted(np.sort(a), at, side="right") / len(a)
    below_b = np.searchsorted(np.sort(b), at, side="right") / len(b)
    return float(np.max(np.abs(below_a - below_b)))


def ks_row(
    names: tuple[str, ...],
    role: Role,
    unseen: Sequence[Float64[np.ndarray, "_"]],
    generated: Float64[np.ndarray, " m"],
    seed: int,
) -> Row:
    """Kolmogorov-Smirnov distance of `generated` from the unseen samples (one array a file) pooled.

    The interval holds 90 % of the distances when the unseen files are resampled.
    """
    draw = np.random.default_rng(seed)
    at = np.unique(np.concatenate([np.concatenate(list(unseen)), np.quantile(generated, _QUANTILES)]))
    below = np.stack([np.searchsorted(np.sort(one), at, side="right") for one in unseen])
    size = np.array([len(one) for one in unseen])
    wanted = np.searchsorted(np.sort(generated), at, side="right") / len(generated)
    pick = draw.integers(len(unseen), size=(_RESAMPLES, len(unseen)))
    times = np.stack([np.bincount(one, minlength=len(unseen)) for one in pick])
    share = (times @ below) / np.maximum(times @ size, 1)[:, None]
    low, high = np.quantile(np.abs(share - wanted[None, :]).max(axis=1), [0.05, 0.95])
    distance = ks_distance(np.concatenate(list(unseen)), generated)
    return Row(names, role, {KS_DISTANCE: Estimate(distance, float(low), float(high))})
