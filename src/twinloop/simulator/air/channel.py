"""Large-scale path loss and line of sight of 3GPP TR 38.901, free space and close-in, as one formula per cell."""

from collections.abc import Callable
from typing import Literal, cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from twinloop.units import SPEED_OF_LIGHT_MPS

PathLossModel = Literal["umi", "uma", "rma", "free_space", "close_in"]

_ALWAYS_M = 1e9
_STREET_WIDTH_M = 20.0
_BUILDING_HEIGHT_M = 5.0
_LOG10 = 0.4342944819032518


class PathLoss(eqx.Module):
    """Coefficients by cell of the formula that all models share, with L = log10(d_3D / 1 m).

    line of sight before the breakpoint: constant + slope L + linear d_3D; after it: far_constant + 40 L;
    without: max(line of sight, nlos_constant + nlos_slope L);
    P(line of sight) = s + exp(-(d_2D - sight_start) / sight_decay) (1 - s), s = min(sight_near / d_2D, 1).
    Shadowing's standard deviations: los_std, los_far_std after the breakpoint, nlos_std.
    """

    constant_db: Float[Array, " cells"]
    slope_db: Float[Array, " cells"]
    linear_db_per_m: Float[Array, " cells"]
    breakpoint_m: Float[Array, " cells"]
    far_constant_db: Float[Array, " cells"]
    nlos_constant_db: Float[Array, " cells"]
    nlos_slope_db: Float[Array, " cells"]
    sight_near_m: Float[Array, " cells"]
    sight_start_m: Float[Array, " cells"]
    sight_decay_m: Float[Array, " cells"]
    los_std_db: Float[Array, " cells"]
    los_far_std_db: Float[Array, " cells"]
    nlos_std_db: Float[Array, " cells"]


class Site(eqx.Module):
    """What the coefficients depend on: carrier, heights of cell and user, exponent of `close_in`."""

    frequency_hz: Float[Array, " cells"]
    cell_height_m: Float[Array, " cells"]
    user_height_m: Float[Array, ""]
    exponent: Float[Array, " cells"]


def path_loss_coefficients(models: tuple[str, ...], site: Site) -> PathLoss:
    """Coefficients of each cell's own model; models that no cell uses are not computed."""
    chosen: PathLoss | None = None
    for model in dict.fromkeys(models):
        found = _COEFFICIENTS[cast(PathLossModel, model)](site)
        mine = np.asarray([name == model for name in models])
        chosen = found if chosen is None else _choose(mine, found, chosen)
    if chosen is None:
        raise ValueError("a topology without cells has no path loss")
    return chosen


def path_loss_db(
    loss: PathLoss, distance_2d_m: Float[Array, "users cells"], distance_3d_m: Float[Array, "users cells"]
) -> tuple[Float[Array, "users cells"], Float[Array, "users cells"]]:
    """Path loss with and without line of sight, dB; see `PathLoss` for the formula.

    TR 38.901 V17, Table 7.4.1-1 for UMi street canyon, UMa, RMa. Distances in metres, from 10 m to 5 km (RMa 10 km)
    for the tables. Left out: UMa users above 13 m (the random effective environment height, h_E = 1 m here),
    indoor users (building penetration, 7.4.3), frequencies where oxygen absorbs.
    """
    log_distance = _LOG10 * jnp.log(distance_3d_m)
    near = loss.constant_db[None] + loss.slope_db[None] * log_distance + loss.linear_db_per_m[None] * distance_3d_m
    far = loss.far_constant_db[None] + 40.0 * log_distance
    los = jnp.where(distance_2d_m > loss.breakpoint_m[None], far, near)
    nlos = loss.nlos_constant_db[None] + loss.nlos_slope_db[None] * log_distance
    return los, jnp.maximum(los, nlos)


def los_probability(loss: PathLoss, distance_2d_m: Float[Array, "users cells"]) -> Float[Array, "users cells"]:
    """Probability of line of sight at a horizontal distance; see `PathLoss` for the formula.

    TR 38.901 V17, Table 7.4.2-1, outdoor users; always 1 for free space and close-in.
    Left out: the growth with height of UMa users above 13 m (C' = 0 here).
    """
    near = jnp.minimum(loss.sight_near_m[None] / jnp.maximum(distance_2d_m, 1e-3), 1.0)
    decay = jnp.exp((loss.sight_start_m / loss.sight_decay_m)[None] - distance_2d_m / loss.sight_decay_m[None])
    return jnp.minimum(near + decay * (1.0 - near), 1.0)


def shadow_std_db(
    loss: PathLoss, distance_2d_m: Float[Array, "users cells"], los: Bool[Array, "users cells"]
) -> Float[Array, "users cells"]:
    """Standard deviation of shadowing (TR 38.901 V17, Table 7.4.1-1, last column), dB."""
    sight = jnp.where(distance_2d_m > loss.breakpoint_m[None], loss.los_far_std_db[None], loss.los_std_db[None])
    return jnp.where(los, sight, loss.nlos_std_db[None])


def correlation_distances_m(models: tuple[str, ...]) -> Float[np.ndarray, "cells 3"]:
    """Distances at which line-of-sight state, shadowing with sight, shadowing without fall to 1/e, by cell, metres.

    TR 38.901 V17, Table 7.6.3.1-2 (state) and Table 7.5-6 (shadowing); ours for `close_in` as UMi. `free_space` has
    neither, its row is never seen.
    """
    return np.asarray([_CORRELATION_M[cast(PathLossModel, model)] for model in models], np.float32)


_CORRELATION_M: dict[PathLossModel, tuple[float, float, float]] = {
    "umi": (50.0, 10.0, 13.0),
    "uma": (50.0, 37.0, 50.0),
    "rma": (60.0, 37.0, 120.0),
    "free_space": (50.0, 50.0, 50.0),
    "close_in": (50.0, 10.0, 13.0),
}


def _choose(mine: Bool[np.ndarray, " cells"], left: PathLoss, right: PathLoss) -> PathLoss:
    names = PathLoss.__dataclass_fields__
    return PathLoss(**{name: jnp.where(mine, getattr(left, name), getattr(right, name)) for name in names})


def _log10(value: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return _LOG10 * jnp.log(value)


def _urban(site: Site, constant: float, slope: float, far_slope: float, nlos: tuple[float, ...]) -> PathLoss:
    """UMi and UMa: both put h_E = 1 m into the breakpoint 4 (h_BS - h_E) (h_UT - h_E) f_c / c."""
    ghz = _log10(site.frequency_hz * 1e-9)
    rise = site.cell_height_m - site.user_height_m
    breakpoint_m = (
        4.0 * (site.cell_height_m - 1.0) * (site.user_height_m - 1.0) * site.frequency_hz / SPEED_OF_LIGHT_MPS
    )
    flat = jnp.zeros_like(ghz)
    nlos_constant, nlos_slope, nlos_frequency, height, decay, los_std, nlos_std = nlos
    return PathLoss(
        constant_db=constant + 20.0 * ghz,
        slope_db=flat + slope,
        linear_db_per_m=flat,
        breakpoint_m=breakpoint_m,
        far_constant_db=constant + 20.0 * ghz - far_slope * _log10(breakpoint_m**2 + rise**2),
        nlos_constant_db=nlos_constant + nlos_frequency * ghz - height * (site.user_height_m - 1.5),
        nlos_slope_db=flat + nlos_slope,
        sight_near_m=flat + 18.0,
        sight_start_m=flat,
        sight_decay_m=flat + decay,
        los_std_db=flat + los_std,
        los_far_std_db=flat + los_std,
        nlos_std_db=flat + nlos_std,
    )


def _umi(site: Site) -> PathLoss:
    return _urban(site, 32.4, 21.0, 9.5, (22.4, 35.3, 21.3, 0.3, 36.0, 4.0, 7.82))


def _uma(site: Site) -> PathLoss:
    return _urban(site, 28.0, 22.0, 9.0, (13.54, 39.08, 20.0, 0.6, 63.0, 4.0, 6.0))


def _rma(site: Site) -> PathLoss:
    """RMa with the default street width 20 m and building height 5 m; breakpoint 2 pi h_BS h_UT f_c / c."""
    h, width = _BUILDING_HEIGHT_M, _STREET_WIDTH_M
    mast = site.cell_height_m
    ghz = _log10(site.frequency_hz * 1e-9)
    flat = jnp.zeros_like(ghz)
    constant = 20.0 * (np.log10(40.0 * np.pi / 3.0) + ghz) - min(0.044 * h**1.72, 14.77)
    slope = 20.0 + min(0.03 * h**1.72, 10.0)
    linear = 0.002 * np.log10(h)
    breakpoint_m = 2.0 * np.pi * mast * site.user_height_m * site.frequency_hz / SPEED_OF_LIGHT_MPS
    nlos_slope = 43.42 - 3.1 * _log10(mast)
    nlos_constant = (
        (161.04 - 7.1 * np.log10(width) + 7.5 * np.log10(h))
        - (24.37 - 3.7 * (h / mast) ** 2) * _log10(mast)
        - 3.0 * nlos_slope
        + 20.0 * ghz
        - (3.2 * _log10(11.75 * site.user_height_m) ** 2 - 4.97)
    )
    return PathLoss(
        constant_db=constant,
        slope_db=flat + slope,
        linear_db_per_m=flat + linear,
        breakpoint_m=breakpoint_m,
        far_constant_db=constant + (slope - 40.0) * _log10(breakpoint_m) + linear * breakpoint_m,
        nlos_constant_db=nlos_constant,
        nlos_slope_db=nlos_slope,
        sight_near_m=flat,
        sight_start_m=flat + 10.0,
        sight_decay_m=flat + 1000.0,
        los_std_db=flat + 4.0,
        los_far_std_db=flat + 6.0,
        nlos_std_db=flat + 8.0,
    )


def _clear(site: Site, slope: Float[Array, " cells"], std_db: float) -> PathLoss:
    """Always in sight: 20 log10(4 pi f_c / c) + slope L."""
    flat = jnp.zeros_like(slope)
    constant = 20.0 * _log10(4.0 * np.pi * site.frequency_hz / SPEED_OF_LIGHT_MPS)
    return PathLoss(
        constant_db=constant,
        slope_db=slope,
        linear_db_per_m=flat,
        breakpoint_m=flat + _ALWAYS_M,
        far_constant_db=constant,
        nlos_constant_db=constant,
        nlos_slope_db=slope,
        sight_near_m=flat + _ALWAYS_M,
        sight_start_m=flat,
        sight_decay_m=flat + _ALWAYS_M,
        los_std_db=flat + std_db,
        los_far_std_db=flat + std_db,
        nlos_std_db=flat + std_db,
    )


def _free_space(site: Site) -> PathLoss:
    return _clear(site, jnp.full_like(site.frequency_hz, 20.0), 0.0)


def _close_in(site: Site) -> PathLoss:
    """Close-in reference at 1 m with exponent n (Sun et al., IEEE TVT 65(5), 2016); 4 dB of shadowing is ours."""
    return _clear(site, 10.0 * site.exponent, 4.0)


_COEFFICIENTS: dict[PathLossModel, Callable[[Site], PathLoss]] = {
    "umi": _umi,
    "uma": _uma,
    "rma": _rma,
    "free_space": _free_space,
    "close_in": _close_in,
}
