"""Shadowing and line-of-sight state as fields over the area, drawn once a seed, and the received power they give."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from twinloop.simulator.air.channel import (
    Site,
    correlation_distances_m,
    los_probability,
    path_loss_coefficients,
    path_loss_db,
    shadow_std_db,
)
from twinloop.simulator.air.radio import REFERENCE_HZ, Radio
from twinloop.simulator.topology import Topology
from twinloop.units import db_from_linear


class Maps(eqx.Module):
    """Fields on a torus grid; everything about one tile lies in one row, and everything about a link in one word.

    `field` holds, from its highest bit down, 12 bits of the line-of-sight field (uniform in [0, 1)) and 10 bits each of
    two unit normal fields cut at 4, shadowing with and without line of sight: steps of 1/4096 and 1/128.
    """

    field: Int[Array, "rows columns cells"]


def draw_maps(key: PRNGKeyArray, topology: Topology, radio: Radio) -> Maps:
    """Spatially correlated fields of every cell.

    Each field is white noise filtered by the square root of the spectrum of rho(d) = exp(-d / d_cor), d the distance on
    a torus of `radio.grid` tiles of `radio.shadow_grid_m` (TR 38.901 V17, 7.4.4 and 7.6.3.1); d_cor depends on the
    cell's model. A negative part of the spectrum, from wrapping, is cut and the variance restored. The sight field is
    the normal one through its distribution function.
    Left out: correlation between cells (also of one site), and of shadowing with other large-scale parameters; the
    area repeats where it is larger than the grid.
    """
    rows, columns = radio.grid
    scales = jnp.asarray(correlation_distances_m(topology.models)).T.reshape(-1)
    down = _torus_offsets(rows) * radio.shadow_grid_m
    right = _torus_offsets(columns) * radio.shadow_grid_m
    distance = jnp.sqrt(down[:, None] ** 2 + right[None, :] ** 2)

    def draw(key: PRNGKeyArray, scale: Float[Array, ""]) -> Float[Array, "rows columns"]:
        spectrum = jnp.maximum(jnp.fft.fft2(jnp.exp(-distance / scale)).real, 0.0)
        noise = jnp.fft.fft2(jax.random.normal(key, (rows, columns)))
        return jnp.fft.ifft2(noise * jnp.sqrt(spectrum / jnp.mean(spectrum))).real

    normal = jax.vmap(draw)(jax.random.split(key, scales.shape[0]), scales)
    return Maps(_pack(normal.reshape(3, -1, rows, columns)).transpose(1, 2, 0))


def link_gains(
    topology: Topology,
    radio: Radio,
    maps: Maps,
    position_m: Float[Array, "users 2"],
    cell_xyz: Float[Array, "cells 3"],
) -> Float[Array, "users cells"]:
    """Reference signal received power of every cell at every user, dBm.

    RSRP = P_b - 10 log10(B_b / 15 kHz) + G_b - PL(d) + sigma z: the share of the cell's power that falls on one
    resource element of 15 kHz, less path loss (`path_loss_db`, with line of sight where the sight field is below
    `los_probability`), plus shadowing. Small-scale fading is averaged over, as in a measured RSRP (TS 38.215, 5.1.1).
    The user reads the tile it stands in. `radio.shadow_scale` scales shadowing only, not the line-of-sight state.
    """
    # A product with the identity, so that the loop over cells reads whole rows: strided columns made it 7 times slower.
    east_m, north_m, height_m = jnp.sum(jnp.eye(3)[:, :, None] * cell_xyz.T[None], axis=1)
    loss = path_loss_coefficients(
        topology.models, Site(topology.cell_frequency_hz, height_m, radio.user_height_m, topology.cell_exponent)
    )
    east = position_m[:, 0:1] - east_m[None]
    north = position_m[:, 1:2] - north_m[None]
    rise = (height_m - radio.user_height_m)[None]
    distance_2d = jnp.sqrt(east**2 + north**2)
    distance_3d = jnp.maximum(jnp.sqrt(east**2 + north**2 + rise**2), 1.0)

    words = maps.field.reshape(-1, maps.field.shape[-1]).at[_tile(radio, position_m)].get(mode="promise_in_bounds")
    sight, shadow_los, shadow_nlos = _unpack(words)
    los = sight < los_probability(loss, distance_2d)
    shadow = jnp.where(los, shadow_los, shadow_nlos) * radio.shadow_scale
    with_sight, without = path_loss_db(loss, distance_2d, distance_3d)
    element_dbm = (
        topology.cell_power_dbm + topology.cell_gain_db - db_from_linear(topology.cell_bandwidth_hz / REFERENCE_HZ)
    )
    fading = shadow * shadow_std_db(loss, distance_2d, los)
    return element_dbm[None] - jnp.where(los, with_sight, without) + fading


def _pack(normal: Float[Array, "3 cells rows columns"]) -> Int[Array, "cells rows columns"]:
    """One word from a normal field read as uniform through its distribution function, and two more normal fields."""
    sight = jnp.clip(jnp.floor(ndtr(normal[0]) * 4096.0), 0.0, 4095.0).astype(jnp.int32)
    shadow = jnp.clip(jnp.round(normal[1:] * 128.0) + 512.0, 0.0, 1023.0).astype(jnp.int32)
    return (sight << 20) | (shadow[0] << 10) | shadow[1]


def _unpack(
    words: Int[Array, "users cells"],
) -> tuple[Float[Array, "users cells"], Float[Array, "users cells"], Float[Array, "users cells"]]:
    sight = ((words >> 20) & 4095).astype(jnp.float32) * (1.0 / 4096.0)
    shadow_los = ((words >> 10) & 1023).astype(jnp.float32) * (1.0 / 128.0) - 4.0
    shadow_nlos = (words & 1023).astype(jnp.float32) * (1.0 / 128.0) - 4.0
    return sight, shadow_los, shadow_nlos


def _torus_offsets(size: int) -> Float[Array, " size"]:
    step = jnp.arange(size, dtype=jnp.float32)
    return jnp.minimum(step, size - step)


def _tile(radio: Radio, position_m: Float[Array, "users 2"]) -> Int[Array, " users"]:
    rows, columns = radio.grid
    tile = jnp.floor(position_m / radio.shadow_grid_m).astype(jnp.int32)
    return jnp.mod(tile[:, 1], rows) * columns + jnp.mod(tile[:, 0], columns)
