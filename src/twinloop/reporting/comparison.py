"""A comparison of policies on the same seeds, read from compare.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy.special import stdtrit

from twinloop.errors import OutputError
from twinloop.reporting.run import Values, read_json
from twinloop.reporting.wording import NO_NUMBER, difference, metric, shown

Results = Mapping[str, Mapping[str, Values]]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % interval (Student's t); both ends are NaN for a single seed."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How much more of `metric` policy `a` had than policy `b`, paired by seed, with its 95 % interval."""

    a: str
    b: str
    metric: str
    mean: float
    low: float
    high: float

    @property
    def side(self) -> int:
        """+1 where `a` is better, -1 where it is worse, 0 where the interval holds 0 or neither direction is better."""
        if not (self.low > 0 or self.high < 0):
            return 0
        return metric(self.metric).better * (1 if self.low > 0 else -1)

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    def verdict(self) -> str:
        """The difference in plain words."""
        if not np.isfinite([self.low, self.high]).all():
            return "no verdict: one seed gives no interval"
        if not self.clear:
            return "no difference shown: the interval holds 0"
        words = {1: "better", -1: "worse", 0: "higher" if self.mean > 0 else "lower"}
        return f"{readable(self.a)} is {words[self.side]}"


@dataclass(frozen=True)
class Comparison:
    """Results of policies by metric and seed (`[seeds]`, NaN where a run failed), with bound, load and controls.

    `ratios` are percentiles of experience over agreement by policy and control, all seeds together; empty where
    nobody's experience was followed.
    """

    directory: Path
    scenario: str
    seeds: list[int]
    duration_s: float
    policies: Results
    bound: Mapping[str, Values]
    load_factor: Values
    controls: Results
    ratios: Mapping[str, Values]
    differences: list[Difference]

    def metrics(self) -> list[str]:
        """Every metric of the policies, satisfaction first, then in the order of the file."""
        names = dict.fromkeys(name for results in self.policies.values() for name in results)
        return sorted(names, key=lambda name: name != "satisfaction")

    def best(self, name: str = "satisfaction") -> str:
        """The policy with the best mean of the metric `name`. Raises OutputError when no policy has it."""
        means = {
            policy: float(np.nanmean(results[name]))
            for policy, results in self.policies.items()
            if name in results and np.isfinite(results[name]).any()
        }
        if not means:
            raise OutputError(f"no policy of this comparison has the metric {name}")
        return max(means, key=lambda policy: means[policy] * (metric(name).better or 1))

    def difference(self, a: str, b: str, name: str) -> Difference | None:
        """The recorded difference of `a` and `b`, in this order or turned round; None where none was recorded."""
        for found in self.differences:
            if (found.a, found.b, found.metric) == (a, b, name):
                return found
            if (found.b, found.a, found.metric) == (a, b, name):
                return Difference(a, b, name, -found.mean, -found.high, -found.low)
        return None


def open_comparison(comparison: Comparison | Path | str) -> Comparison:
    """The comparison in the directory `comparison`; a `Comparison` is returned as it is.

    Raises OutputError when the directory holds no compare.json or it cannot be used.
    """
    if isinstance(comparison, Comparison):
        return comparison
    path = Path(comparison) / "compare.json"
    if not path.exists():
        raise OutputError(f"{path.parent} holds no compare.json; give the folder that `twinloop compare --out` wrote")
    content = read_json(path)
    missing = [key for key in ("scenario", "seeds", "policies") if not content.get(key)]
    if missing:
        raise OutputError(f"{path} lacks {', '.join(missing)}; compare again")
    try:
        return _from_json(path.parent, content)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise OutputError(f"{path} is not a comparison: {error}; compare again") from error


def interval(values: Values) -> Interval:
    """Mean of the finite `values` and its 95 % interval by Student's t."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Interval(np.nan, np.nan, np.nan)
    mean = float(known.mean())
    if len(known) == 1:
        return Interval(mean, np.nan, np.nan)
    half = float(stdtrit(len(known) - 1, 0.975)) * float(known.std(ddof=1)) / float(np.sqrt(len(known)))
    return Interval(mean, mean - half, mean + half)


def readable(policy: str) -> str:
    """A policy's name as people read it."""
    return policy.replace("_", " ").replace(" + ", "+").replace("+", " + ")


def difference_text(found: Difference) -> str:
    """Mean and interval of a difference with signs and units."""
    low, high = (difference(found.metric, value) for value in (found.low, found.high))
    mean = difference(found.metric, found.mean)
    if not np.isfinite([found.low, found.high]).all():
        return mean
    same_unit = len(low.split()) > 1 and low.split()[1:] == high.split()[1:]
    return f"{mean} ({low.split()[0] if same_unit else low} to {high})"


def with_half(name: str, values: Values | None) -> str:
    """Mean over seeds with half of its 95 % interval; a dash for no number."""
    if values is None or not np.isfinite(values).any():
        return NO_NUMBER
    found = interval(values)
    text = shown(name, found.mean)
    half = difference(name, found.high - found.mean).lstrip("+")
    same_unit = half.split()[1:] == text.split()[1:] or metric(name).kind == "share"
    return f"{text} ± {half.split()[0] if same_unit else half}" if np.isfinite(found.high) else text


def _from_json(directory: Path, content: Mapping[str, Any]) -> Comparison:
    seeds = [int(seed) for seed in content["seeds"]]
    bound = content.get("bound") or {}
    differences = [
        Difference(
            str(entry["a"]),
            str(entry["b"]),
            str(entry["metric"]),
            *(_number(entry[k]) for k in ("mean", "low", "high")),
        )
        for entry in content.get("differences") or []
    ]
    load = content.get("load_factor")
    return Comparison(
        directory,
        str(content["scenario"]),
        seeds,
        float(content.get("duration_s") or 0.0),
        _results(content["policies"], len(seeds)),
        {str(name): _row(values, len(seeds)) for name, values in bound.items()},
        _row([] if load is None else load, len(seeds)),
        _results(content.get("controls") or {}, len(seeds)),
        {str(name): np.array(row, float) for name, row in (content.get("ela_ratio_percentiles") or {}).items()},
        differences,
    )


def _results(tree: Mapping[str, Any], seeds: int) -> Results:
    return {
        str(policy): {
            str(name): _row(values, seeds) for name, values in results.items() if isinstance(values, list | int | float)
        }
        for policy, results in tree.items()
    }


def _row(values: Any, seeds: int) -> Values:
    """One number a seed; a single number stands for every seed, what is missing is NaN."""
    if not isinstance(values, list):
        return np.full(seeds, _number(values))
    numbers = [_number(value) for value in cast("list[Any]", values)][:seeds]
    return np.array(numbers + [np.nan] * (seeds - len(numbers)))


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)
