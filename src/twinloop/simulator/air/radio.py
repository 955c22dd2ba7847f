"""The serving link: association with handover, interference, and the rate that fading leaves."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import i0e
from jaxtyping import Array, Bool, Float, Int

from twinloop.simulator.topology import Topology
from twinloop.units import BOLTZMANN_NOISE_DBM_PER_HZ, db_from_linear, linear_from_db

REFERENCE_HZ = 15e3
_NODES = 10
_NODE_LOW, _NODE_HIGH = -6.75, 2.25
_LOWEST_MCS_DB = -6.7


class Radio(eqx.Module):
    """Parameters of every link.

    Spectral efficiency is min(`se_factor` log2(1 + SINR), `se_max`) averaged over fading with Rician factor `rician_k`
    (linear; 0 is Rayleigh). A handover needs another cell `hysteresis_db` stronger for `time_to_trigger_s` and takes
    `handover_s` off the slot's airtime. `shadow_scale` scales shadowing, `interference` other cells' power (1 or 0).
    `grid` counts the tiles (rows, columns) of `shadow_grid_m` metres on which shadowing is drawn. `user_height_m` lies
    between 1.5 m and 10 m (RMa) or 13 m (UMa).
    """

    noise_figure_db: Float[Array, ""]
    se_factor: Float[Array, ""]
    se_max: Float[Array, ""]
    rician_k: Float[Array, ""]
    hysteresis_db: Float[Array, ""]
    time_to_trigger_s: Float[Array, ""]
    handover_s: Float[Array, ""]
    shadow_grid_m: Float[Array, ""]
    shadow_scale: Float[Array, ""]
    user_height_m: Float[Array, ""]
    interference: Float[Array, ""]
    grid: tuple[int, int] = eqx.field(static=True)


class RadioState(eqx.Module):
    """Who serves whom: `candidate` is the cell that would take over (-1 for none) and `held_s` how long it has led.

    A twin anchors its model with offsets, which are 0 in the simulated network and from a handover on: `sinr_offset_db`
    is added to the modelled SINR, `lead_offset_db` to the serving cell's RSRP where it is compared with others'.
    """

    serving: Int[Array, " users"]
    candidate: Int[Array, " users"]
    held_s: Float[Array, " users"]
    sinr_offset_db: Float[Array, " users"]
    lead_offset_db: Float[Array, " users"]


def init_radio(rsrp_dbm: Float[Array, "users cells"]) -> RadioState:
    """State in which the strongest cell serves every user and nothing is pending."""
    serving = jnp.argmax(rsrp_dbm, axis=1).astype(jnp.int32)
    calm = jnp.zeros(rsrp_dbm.shape[0])
    return RadioState(serving, jnp.full_like(serving, -1), calm, calm, calm)


def associate(
    radio: Radio, state: RadioState, rsrp_dbm: Float[Array, "users cells"], slot_s: float
) -> tuple[RadioState, Bool[Array, " users"]]:
    """Serving cells after this slot's measurement, and which users were handed over.

    Event A3 (TS 38.331, 5.5.4.4): a handover to the strongest cell b when RSRP_b > RSRP_serving + hysteresis in every
    measurement, one a slot, over at least the time to trigger since the first one. The time starts again when another
    cell becomes the strongest. Left out: cell offsets, measurement noise, handover failure, admission control.
    """
    best = jnp.argmax(rsrp_dbm, axis=1).astype(jnp.int32)
    own_dbm = _of_cell(rsrp_dbm, state.serving) + state.lead_offset_db
    better = (best != state.serving) & (_of_cell(rsrp_dbm, best) > own_dbm + radio.hysteresis_db)
    held = jnp.where(better & (state.candidate == best), state.held_s + slot_s, 0.0)
    handed_over = better & (held >= radio.time_to_trigger_s * (1.0 - 1e-5))
    serving = jnp.where(handed_over, best, state.serving)
    candidate = jnp.where(better & ~handed_over, best, -1)
    sinr_offset, lead_offset = (
        jnp.where(handed_over, 0.0, offset) for offset in (state.sinr_offset_db, state.lead_offset_db)
    )
    return RadioState(serving, candidate, held, sinr_offset, lead_offset), handed_over


def sinr_and_rate(
    topology: Topology,
    radio: Radio,
    rsrp_dbm: Float[Array, "users cells"],
    serving: Int[Array, " users"],
    cell_load: Float[Array, " cells"],
    sinr_offset_db: Float[Array, " users"],
) -> tuple[Float[Array, " users"], Float[Array, " users"]]:
    """SINR of the serving link in dB, and the spectral efficiency it gives in bit/s/Hz.

    gamma_u = p_ub / (N + sum_{b' != b} o_bb' load_b' p_ub'), p received power and N noise on one resource element,
    load the previous slot's share of used bandwidth, o_bb' the share of cell b's band that the band of b' covers (1
    where both use the same carrier). Efficiency by `spectral_efficiency`. Left out: fading of interferers (their mean
    is used), scheduling that avoids interference, adjacent-channel leakage.
    """
    noise_dbm = BOLTZMANN_NOISE_DBM_PER_HZ + db_from_linear(jnp.float32(REFERENCE_HZ)) + radio.noise_figure_db
    covered = _band_overlap(topology) * (cell_load * radio.interference)[None]
    disturbance = linear_from_db(rsrp_dbm - noise_dbm) * covered.at[serving].get(mode="promise_in_bounds")
    signal = linear_from_db(_of_cell(rsrp_dbm, serving) - noise_dbm)
    sinr = signal / (1.0 + disturbance @ jnp.ones_like(cell_load))
    sinr_db = db_from_linear(sinr) + sinr_offset_db
    return sinr_db, spectral_efficiency(radio, sinr_db)


def spectral_efficiency(radio: Radio, sinr_db: Float[Array, " users"]) -> Float[Array, " users"]:
    """Ergodic spectral efficiency E_h[min(alpha log2(1 + gamma |h|^2), se_max)], bit/s/Hz.

    |h|^2 has mean 1, Rayleigh or Rician. The expectation is a sum over ten fixed values of |h|^2, evenly spaced in
    log|h|^2 over where its density lies, weighted by that density and scaled to weight 1 and mean 1; within 1 % of the
    integral from -20 dB to 45 dB. Left out: the discrete steps of the MCS table, HARQ, channel estimation error (all
    inside alpha), correlation in frequency (a slot is long against the coherence time).
    """
    gain, weight = _fading_nodes(radio.rician_k)
    snr = linear_from_db(sinr_db)
    scale = radio.se_factor / np.float32(np.log(2.0))
    total = jnp.zeros_like(sinr_db)
    for node in range(_NODES):
        total += weight[node] * jnp.minimum(scale * jnp.log1p(gain[node] * snr), radio.se_max)
    return total


def loss_ratio(sinr_db: Float[Array, " users"]) -> Float[Array, " users"]:
    """Share of packets lost after HARQ at the most robust modulation and coding.

    P(gamma (x_1 + ... + x_4) < gamma_1) = 1 - exp(-z) (1 + z + z^2/2 + z^3/6), z = gamma_1 / gamma: four transmissions
    with independent Rayleigh fading x_i, added up (chase combining), still below the gamma_1 = -6.7 dB at which CQI 1
    of TS 38.214, Table 5.2.2.1-2 decodes with 10 % errors (ours). Left out: losses in queues, RLC retransmission.
    """
    z = linear_from_db(_LOWEST_MCS_DB - jnp.maximum(sinr_db, -40.0))
    return jnp.clip(1.0 - jnp.exp(-z) * (1.0 + z * (1.0 + z * (0.5 + z / 6.0))), 0.0, 1.0)


def _of_cell(value: Float[Array, "users cells"], cell: Int[Array, " users"]) -> Float[Array, " users"]:
    return jnp.take_along_axis(value, cell[:, None], axis=1, mode="promise_in_bounds")[:, 0]


def _band_overlap(topology: Topology) -> Float[Array, "cells cells"]:
    """Share of the band of a cell (row) that another cell (column) covers; 0 on the diagonal."""
    half = 0.5 * topology.cell_bandwidth_hz
    low, high = topology.cell_frequency_hz - half, topology.cell_frequency_hz + half
    common = jnp.minimum(high[:, None], high[None]) - jnp.maximum(low[:, None], low[None])
    share = jnp.clip(common / topology.cell_bandwidth_hz[:, None], 0.0, 1.0)
    return share * (1.0 - jnp.eye(share.shape[0]))


def _fading_nodes(rician_k: Float[Array, ""]) -> tuple[Float[Array, " nodes"], Float[Array, " nodes"]]:
    """Values of |h|^2 and their weights; density (1+K) exp(-K-(1+K)x) I0(2 sqrt(K(1+K)x)) per x, times x per log x."""
    span = jnp.linspace(_NODE_LOW, _NODE_HIGH, _NODES) / jnp.sqrt(1.0 + rician_k)
    gain = jnp.exp(span)
    direct, scattered = jnp.sqrt(rician_k), jnp.sqrt((1.0 + rician_k) * gain)
    density = gain * jnp.exp(-((direct - scattered) ** 2)) * i0e(2.0 * direct * scattered)
    weight = density / jnp.sum(density)
    return gain / jnp.sum(weight * gain), weight
