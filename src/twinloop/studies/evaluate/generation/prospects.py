"""What decisions would bring in drawn environments, against what they bring in recorded ones that were not fitted."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int64

from twinloop.emulation import Environments, Prospect, TwinModel, foresee
from twinloop.entities import Action
from twinloop.scenario import build_loop, load
from twinloop.simulator import Params
from twinloop.studies.evaluate.judgement import Estimate
from twinloop.units import BOLTZMANN_NOISE_DBM_PER_HZ, db_from_linear

ENVIRONMENTS = 200
SHARE = 0.9
PREMIUM_SHARES: Mapping[str, float] = {"equal shares": 0.5, "by need": 0.6, "premium first": 0.8}
"""Decisions: the share of the cell that is reserved for the premium slice; the standard slice gets the rest."""
_REFERENCE_HZ = 15e3
_RESAMPLES = 400

Series = Float64[np.ndarray, "_ steps channels"]


@dataclass(frozen=True)
class Foreseen:
    """Means over people, by environment, of one decision in environments from one source; stalls where videos play."""

    satisfaction: Float64[np.ndarray, " environments"]
    stalled_share: Float64[np.ndarray, " environments"] | None = None

    @property
    def satisfied(self) -> Estimate:
        """Mean satisfaction, and the interval that holds the central 90 % of environments."""
        return _central(self.satisfaction)

    @property
    def stalled(self) -> Estimate | None:
        """Mean share of time stalled, and the interval that holds the central 90 % of environments."""
        return None if self.stalled_share is None else _central(self.stalled_share)


def _central(values: Float64[np.ndarray, " environments"]) -> Estimate:
    low, high = np.quantile(values, [0.5 - 0.5 * SHARE, 0.5 + 0.5 * SHARE])
    return Estimate(float(values.mean()), float(low), float(high))


@dataclass(frozen=True)
class Stage:
    """The cell of the scenario replay-5g as the twin believes it, and the rate that fills it by everybody's need.

    A user alone in the cell gets its link's rate times `gain`, so that at the rate `typical_bps` the needs of all take
    the whole cell (load factor 1).
    """

    model: TwinModel
    typical_bps: float

    @property
    def users(self) -> int:
        """People in the cell."""
        return int(self.model.params.user_slice.shape[0])

    @property
    def gain(self) -> float:
        """Rate of the cell over rate of the recorded link."""
        params = self.model.params
        return float(np.asarray(params.slices.target_bps)[np.asarray(params.user_slice)].sum()) / self.typical_bps


def build_stage(typical_bps: float) -> Stage:
    """The twin of the shipped scenario replay-5g without its replay: twelve viewers, two slices, one cell."""
    scenario = load("replay-5g").model_copy(update={"replay": None})
    return Stage(build_loop(scenario)[0].slot_judge.model, typical_bps)


def environments_of(stage: Stage, series: Series) -> Environments:
    """Environments from series, `stage.users` in a row for each; without measured radio, the SINR that gives the rate.

    SINR where only the rate is known: 2^(se / se_factor) - 1 without fading, RSRP that much above the noise.
    """
    params = stage.model.params
    value = series[: len(series) // stage.users * stage.users]
    value = value.reshape(-1, stage.users, series.shape[1], series.shape[2])
    efficiency = stage.gain * value[..., 0] / float(params.topology.cell_bandwidth_hz[0])
    if series.shape[2] == 3:
        sinr_db, rsrp_dbm = value[..., 1], value[..., 2]
    else:
        bits = efficiency / float(params.radio.se_factor)
        sinr_db = 10.0 * np.log10(np.maximum(2.0 ** np.minimum(bits, 30.0) - 1.0, 1e-3))
        noise_dbm = BOLTZMANN_NOISE_DBM_PER_HZ + float(db_from_linear(jnp.float32(_REFERENCE_HZ)))
        rsrp_dbm = sinr_db + noise_dbm + float(params.radio.noise_figure_db)
    return Environments(*(jnp.asarray(one, jnp.float32) for one in (efficiency, sinr_db, rsrp_dbm)))


def decision(params: Params, premium_share: float) -> Action:
    """`premium_share` of the cell and its server to the premium slice, the rest to the other; members share equally."""
    topology = params.topology
    share = jnp.array([[premium_share, 1.0 - premium_share]])
    row = params.user_slice
    members = jnp.zeros(2).at[row].add(1.0)
    part = (share[0] / members)[row]
    return Action(
        slice_active=params.slices.active,
        slice_bandwidth_hz=topology.cell_bandwidth_hz[:, None] * share,
        slice_cycles_per_s=topology.server_cycles_per_s[:, None] * share,
        slice_cache_bytes=topology.server_cache_bytes[:, None] * share,
        flow_bandwidth_hz=topology.cell_bandwidth_hz[0] * part,
        flow_cycles_per_s=topology.server_cycles_per_s[0] * part,
    )


def prospects(stage: Stage, series: Series, seed: int) -> dict[str, Foreseen]:
    """What each decision of `PREMIUM_SHARES` brings in environments made of `series`; all meet the same viewers."""
    environments = environments_of(stage, series)

    def of(share: float) -> Foreseen:
        model = stage.model
        found: Prospect = foresee(jax.random.key(seed), model, model.blank, environments, decision(model.params, share))
        return Foreseen(np.asarray(found.satisfaction, np.float64), np.asarray(found.stalled_share, np.float64))

    return {name: of(share) for name, share in PREMIUM_SHARES.items()}


def coverage(drawn: Foreseen, recorded: Foreseen, seed: int) -> Estimate:
    """Share of recorded environments whose satisfaction lies in the interval of the drawn ones.

    Its own interval: 90 % when both kinds of environment are resampled.
    """
    draw = np.random.default_rng(seed)

    def covered(d: Float64[np.ndarray, " n"], r: Float64[np.ndarray, " m"]) -> float:
        low, high = np.quantile(d, [0.5 - 0.5 * SHARE, 0.5 + 0.5 * SHARE])
        return float(((r >= low) & (r <= high)).mean())

    d, r = drawn.satisfaction, recorded.satisfaction
    again = [covered(draw.choice(d, len(d)), draw.choice(r, len(r))) for _ in range(_RESAMPLES)]
    low, high = np.quantile(again, [0.05, 0.95])
    return Estimate(covered(d, r), float(low), float(high))


def people_of(label: Int64[np.ndarray, " windows"], people: int, seed: int) -> Int64[np.ndarray, " people"]:
    """Windows, by number, that the people of all environments live through, drawn with replacement."""
    return np.random.default_rng(seed).integers(len(label), size=people)
