"""What an evaluation says: distances of generators and baselines from unseen data, and the figures that show them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from twinloop.errors import OutputError

if TYPE_CHECKING:
    from twinloop.reporting import Figure

TARGET = 0.1
_RESAMPLES = 400
_QUANTILES = np.linspace(0, 1, 1001)


@dataclass(frozen=True)
class Row:
    """One quantity of one generator: its Kolmogorov-Smirnov distance from the unseen data, in [0, 1].

    `low` to `high` is the 90 % interval when the unseen files are resampled; `role` is `generator`, `baseline` or
    `reference` (measured against measured).
    """

    quantity: str
    name: str
    role: str
    distance: float
    low: float
    high: float


@dataclass(frozen=True)
class Judgement:
    """An evaluation: its rows, plain numbers beside them, how it was done, and its figures by file name.

    `passed` compares the generator's rows named in `judged` with the target of .1.
    """

    title: str
    judged: str
    rows: tuple[Row, ...]
    numbers: Mapping[str, float]
    method: tuple[str, ...]
    figures: Mapping[str, "Callable[[], Figure]"]

    @property
    def distance(self) -> float:
        """Distance of the generator in the judged quantity."""
        return next(row.distance for row in self.rows if row.quantity == self.judged and row.role == "generator")

    @property
    def passed(self) -> bool:
        """True where that distance is at most .1."""
        return self.distance <= TARGET

    def to_json(self) -> str:
        """The judgement as text, figures aside."""
        content = {
            "title": self.title,
            "judged": self.judged,
            "distance": self.distance,
            "target": TARGET,
            "passed": self.passed,
            "rows": [asdict(row) for row in self.rows],
            "numbers": dict(self.numbers),
            "method": list(self.method),
        }
        return json.dumps(content, indent=1) + "\n"

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


def ks_distance(a: Float64[np.ndarray, " a"], b: Float64[np.ndarray, " b"]) -> float:
    """Greatest difference of the two samples' distribution functions; 1 where one of them is empty."""
    if len(a) == 0 or len(b) == 0:
        return 1.0
    at = np.concatenate([a, b])
    below_a = np.searchsorted(np.sort(a), at, side="right") / len(a)
    below_b = np.searchsorted(np.sort(b), at, side="right") / len(b)
    return float(np.max(np.abs(below_a - below_b)))


def judged_row(
    quantity: str,
    name: str,
    role: str,
    unseen: Sequence[Float64[np.ndarray, "_"]],
    generated: Float64[np.ndarray, " m"],
    seed: int,
) -> Row:
    """Distance of `generated` from the unseen samples (one array a file) pooled, with its interval over the files."""
    draw = np.random.default_rng(seed)
    at = np.unique(np.concatenate([np.concatenate(list(unseen)), np.quantile(generated, _QUANTILES)]))
    below = np.stack([np.searchsorted(np.sort(one), at, side="right") for one in unseen])
    size = np.array([len(one) for one in unseen])
    wanted = np.searchsorted(np.sort(generated), at, side="right") / len(generated)
    pick = draw.integers(len(unseen), size=(_RESAMPLES, len(unseen)))
    times = np.stack([np.bincount(one, minlength=len(unseen)) for one in pick])
    share = (times @ below) / np.maximum(times @ size, 1)[:, None]
    low, high = np.quantile(np.abs(share - wanted[None, :]).max(axis=1), [0.05, 0.95])
    return Row(quantity, name, role, ks_distance(np.concatenate(list(unseen)), generated), float(low), float(high))
