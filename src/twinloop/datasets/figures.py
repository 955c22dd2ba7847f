"""The figures that twinloop ships: fitted to public data, each with source, citation and the command that made it."""

import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from jaxtyping import Float64

from twinloop.errors import DataError

PAPER_LENGTH_S = 15.0


@dataclass(frozen=True)
class Provenance:
    """Where figures come from: data sets, citation, command, the rule that keeps data unseen, and what was fitted on.

    `fitted_on` lists files by name where they are few, and is empty where only the rule of `split` tells.
    """

    sources: tuple[str, ...]
    citation: str
    command: str
    split: str
    fitted_on: tuple[str, ...]
    samples: int


@dataclass(frozen=True)
class VideoType:
    """One type of video: how it is watched, and how long its videos are.

    `cumulative_hazard[k]` is H at `knots[k]` of the video's length, for a viewer whose factor is 1: such a viewer is
    still there with probability exp(-H). Lengths are lognormal. `basis` says what gives the type its name.
    """

    name: str
    basis: str
    share: float
    log_length_mean: float
    log_length_std: float
    videos: int
    cumulative_hazard: tuple[float, ...]


@dataclass(frozen=True)
class ViewingFigures:
    """Types of video on common `knots` (shares of the length), and the spread of viewers.

    A viewer's hazards are those of the type times a factor exp(s z - s^2 / 2), s `factor_spread`, z standard normal.
    """

    knots: tuple[float, ...]
    types: tuple[VideoType, ...]
    factor_spread: float
    provenance: Provenance
    factor_provenance: Provenance

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the types in order."""
        return tuple(kind.name for kind in self.types)

    def hazard(self, kind: int, length_s: float) -> Float64[np.ndarray, " seconds"]:
        """Chance to leave in each second of a video of `length_s`, given that the second is reached, at factor 1.

        h_t = 1 - exp(H((t-1)/L) - H(t/L)), t = 1 ... ceil(L). For a factor f the chance is 1 - (1 - h_t)^f.
        """
        reached = np.minimum(np.arange(int(np.ceil(length_s)) + 1) / length_s, 1.0)
        total = np.interp(reached, self.knots, self.types[kind].cumulative_hazard)
        return -np.expm1(-np.diff(total))

    def type_given_length(self, length_s: Float64[np.ndarray, " videos"]) -> Float64[np.ndarray, "videos types"]:
        """P(type | length) by Bayes' rule from shares and lognormal lengths; rows sum to 1."""
        mean = np.array([kind.log_length_mean for kind in self.types])
        std = np.array([kind.log_length_std for kind in self.types])
        share = np.array([kind.share for kind in self.types])
        z = (np.log(length_s)[:, None] - mean[None, :]) / std[None, :]
        log_weight = np.log(share / std)[None, :] - 0.5 * z**2
        weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        return weight / weight.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class RadioFigures:
    """Rate of a real 5G link over Shannon's: rate = bandwidth x min(`se_factor` log2(1 + SINR), `se_max`).

    Fitted to SINR as a phone reports it every half second, so the factor already holds fading, control overhead and the
    downlink's share of time; a model that averages over fading itself must not count that loss twice.
    `se_factor_one_unit` is the median ratio with one radio unit on, `se_factor_all_units` with all on, `se_factor` the
    least-absolute-deviations fit over both; `median_error` is its median relative error.
    """

    se_factor: float
    se_factor_one_unit: float
    se_factor_all_units: float
    se_max: float
    median_error: float
    bandwidth_hz: float
    provenance: Provenance


@dataclass(frozen=True)
class ParetoPart:
    """One part of a mixture: a Pareto distribution cut to [`low`, `high`], drawn with probability `weight`."""

    weight: float
    exponent: float
    low: float
    high: float


@dataclass(frozen=True)
class MobilityFigures:
    """Levy flights: length P(X > x) ~ x^-`flight_exponent` between its cuts, pauses likewise, t = k l^(1 - rho).

    `flight_parts` (metres) and `pause_parts` (seconds) are the better fit: mixtures of three adjoining Paretos, whose
    weights sum to 1; the single ones stand for models that take no more.
    `time_factor` is k (seconds, metres), `time_rho` rho, `time_spread` the standard deviation of ln t about the law.
    `hill_exponent` is Hill's estimate for flights above `flight_low_m`, without upper cut. `stationary_m` and
    `jump_mps` belong to the extraction of flights.
    """

    flight_exponent: float
    flight_low_m: float
    flight_high_m: float
    hill_exponent: float
    pause_exponent: float
    pause_low_s: float
    pause_high_s: float
    flight_parts: tuple[ParetoPart, ...]
    pause_parts: tuple[ParetoPart, ...]
    time_factor: float
    time_rho: float
    time_spread: float
    stationary_m: float
    jump_mps: float
    provenance: Provenance


@dataclass(frozen=True)
class Figures:
    """All fitted figures. `version` is the layout of the file."""

    version: int
    viewing: ViewingFigures
    radio: RadioFigures
    levy: MobilityFigures

    @property
    def video_types(self) -> tuple[str, ...]:
        """Names of the types of video."""
        return self.viewing.names

    @property
    def hazard(self) -> Float64[np.ndarray, "types seconds"]:
        """Hazard of every type in each second of the papers' 15-s videos (000, IV), for a viewer whose factor is 1.

        A type whose videos are longer gives its first 15 s, one whose videos are shorter is stretched: both keep close
        to what is measured on videos of 15 s, where stretching the long ones would have nearly nobody see the end.
        """
        seconds = int(PAPER_LENGTH_S)
        typical_s = [float(np.exp(kind.log_length_mean)) for kind in self.viewing.types]
        rows = [self.viewing.hazard(kind, max(length, PAPER_LENGTH_S)) for kind, length in enumerate(typical_s)]
        return np.stack([row[:seconds] for row in rows])

    @property
    def user_factor_spread(self) -> float:
        """Standard deviation of the logarithm of viewers' factors."""
        return self.viewing.factor_spread

    def to_json(self) -> str:
        """Text of the file, with numbers rounded to six digits."""
        return json.dumps(_rounded(asdict(self)), indent=1, ensure_ascii=False) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value


def shipped_figures() -> Figures:
    """The figures that came with this version of twinloop."""
    resource = files("twinloop.datasets") / "figures.json"
    return figures_from_json(resource.read_text(encoding="utf-8"), Path("figures.json"))


def read_figures(path: Path) -> Figures:
    """Figures of the file at `path`, written by `twinloop data fit --out`. Raises DataError for another file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise DataError(path, f"cannot be read ({fault})", "a file written by `twinloop data fit`") from None
    return figures_from_json(text, path)


def figures_from_json(text: str, path: Path) -> Figures:
    """Figures from JSON text; `path` is named in faults. Raises DataError for anything but the layout of version 1."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as fault:
        raise DataError(path, fault.msg, "JSON", line=fault.lineno, column=fault.colno) from None
    figures = _built(Figures, content, path, "")
    if figures.version != 1:
        raise DataError(path, f"version {figures.version}", "version 1")
    return figures


T = TypeVar("T")


def _built(kind: type[T], content: Any, path: Path, place: str) -> T:
    if not isinstance(content, dict):
        raise DataError(path, f"{place or 'the file'} holds {type(content).__name__}", "an object")
    hints = get_type_hints(kind)
    assert is_dataclass(kind)
    values: dict[str, Any] = {}
    for field in fields(kind):
        name = f"{place}.{field.name}".lstrip(".")
        if field.name not in content:
            raise DataError(path, f"{name} is missing", "all fields of `twinloop data fit`")
        values[field.name] = _part(hints[field.name], content[field.name], path, name)
    return kind(**values)


def _part(hint: Any, value: Any, path: Path, place: str) -> Any:
    if is_dataclass(hint):
        return _built(hint, value, path, place)  # pyright: ignore[reportArgumentType] - a class, not an instance
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise DataError(path, f"{place} holds {value!r}", "a list")
        return tuple(_part(get_args(hint)[0], part, path, f"{place}[{i}]") for i, part in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint or (hint is float and not np.isfinite(value)):
        raise DataError(path, f"{place} holds {value!r}", f"a {hint.__name__}")
    return value
