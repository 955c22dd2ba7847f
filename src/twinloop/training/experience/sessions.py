"""Streaming sessions as arrays: what a network logs of them, and what trees are grown on."""

from collections.abc import Sequence
from typing import Final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twinloop.datasets import RATERS, RatedSession
from twinloop.errors import DataError

DEVICES: Final = tuple(RATERS)
CODECS: Final = ("H264", "HEVC")

LADDER_BPS: Final = tuple(
    1e3 * rate for rate in (235, 375, 560, 750, 1050, 1750, 2350, 3000, 4300, 5800, 8100, 11600, 16800)
)
"""Target rate of each representation of the set, lowest first (Duanmu et al., Waterloo SQoE-IV, 2020, Table I)."""

_REFERENCE_BPS: Final = 1e5
_LOW_REPRESENTATION: Final = 5
_FELT_STALL_S: Final = 0.01


class Sessions(eqx.Module):
    """Logs of sessions of 4-s chunks.

    `level` ln of the target rate of each chunk's representation over 100 kbit/s, `rate` the same of the rate that was
    encoded, `stall_s` stalling before chunks 2 to 7, `startup_s` before the first, `device` 1 in the column of
    `DEVICES`, `hevc` 1 for HEVC and 0 for H.264. No content and no measure of the picture (VMAF, SSIM, PSNR) is here.
    """

    level: Float[Array, "sessions chunks"]
    rate: Float[Array, "sessions chunks"]
    stall_s: Float[Array, "sessions stalls"]
    startup_s: Float[Array, " sessions"]
    device: Float[Array, "sessions devices"]
    hevc: Float[Array, " sessions"]

    @property
    def difficulty(self) -> Float[Array, "sessions 4"]:
        """How hard the pictures are to code, as chunk sizes tell: mean, deviation, first and last ln(rate/target).

        It is the same for every session of a content, which it may therefore give away.
        """
        over = self.rate - self.level
        return jnp.stack([over.mean(1) / 0.2, (over.std(1) - 0.2) / 0.2, over[:, 0] / 0.2, over[:, -1] / 0.33], axis=1)


def sessions_of(rated: Sequence[RatedSession]) -> Sessions:
    """Logs of rated sessions. Raises DataError for an unknown codec, device or representation."""
    for session in rated:
        if session.codec not in CODECS:
            raise DataError(session.name, f"codec {session.codec!r}", " or ".join(CODECS))
        if session.representation.max() >= len(LADDER_BPS):
            raise DataError(
                session.name, f"representation {session.representation.max()}", f"0 to {len(LADDER_BPS) - 1}"
            )
    targets = np.log(np.array(LADDER_BPS) / _REFERENCE_BPS)
    rate = np.stack([np.log(np.maximum(session.rate_bps, 1.0) / _REFERENCE_BPS) for session in rated])
    stalls = np.stack([session.rebuffer_s for session in rated])
    device = np.array([[session.device == name for name in DEVICES] for session in rated])
    return Sessions(
        level=_float(np.stack([targets[session.representation] for session in rated])),
        rate=_float(rate),
        stall_s=_float(stalls[:, 1:]),
        startup_s=_float(stalls[:, 0]),
        device=_float(device),
        hevc=_float(np.array([session.codec == "HEVC" for session in rated])),
    )


def tree_features(sessions: Sessions, *, sizes: bool) -> tuple[tuple[str, ...], Float[Array, "sessions features"]]:
    """Names and values of what trees are grown on; with `sizes`, also the encoded rates and what they tell."""
    columns = {name: sessions.device[:, index] for index, name in enumerate(DEVICES)}
    columns |= {"hevc": sessions.hevc, "startup_s": sessions.startup_s} | _stalling(sessions)
    columns |= _rates("level", sessions.level)
    low = float(np.log(LADDER_BPS[_LOW_REPRESENTATION] / _REFERENCE_BPS)) - 1e-3
    columns["low chunks"] = (sessions.level < low).sum(1)
    columns["switches"] = (jnp.abs(jnp.diff(sessions.level, axis=1)) > 1e-3).sum(1)
    if sizes:
        columns |= _rates("rate", sessions.rate)
        told = ("difficulty", "difficulty deviation", "difficulty first", "difficulty last")
        columns |= {name: sessions.difficulty[:, index] for index, name in enumerate(told)}
    return tuple(columns), jnp.stack([jnp.asarray(one, jnp.float32) for one in columns.values()], axis=1)


def monotone_signs(names: Sequence[str]) -> tuple[int, ...]:
    """1 for features that opinion may not fall with, -1 for those it may not rise with, else 0."""
    rising = {"level mean", "level least", "level first two", "level last", "rate mean", "rate least"}
    falling = {"startup_s", "stalls", "longest stall_s", "stall_s", "late stall_s", "stall_s at the end", "low chunks"}
    return tuple((name in rising) - (name in falling) for name in names)


def _stalling(sessions: Sessions) -> dict[str, Array]:
    stall_s = sessions.stall_s
    place = jnp.arange(1, stall_s.shape[1] + 1) / stall_s.shape[1]
    return {
        "stall_s": stall_s.sum(1),
        "stalls": (stall_s > _FELT_STALL_S).sum(1),
        "longest stall_s": stall_s.max(1),
        "late stall_s": (stall_s * place[None]).sum(1),
        "stall_s at the end": stall_s[:, -2:].sum(1),
    }


def _rates(name: str, x: Float[Array, "sessions chunks"]) -> dict[str, Array]:
    step = jnp.diff(x, axis=1)
    up, down = jnp.maximum(step, 0.0), jnp.maximum(-step, 0.0)
    return {
        f"{name} mean": x.mean(1),
        f"{name} least": x.min(1),
        f"{name} most": x.max(1),
        f"{name} first two": x[:, :2].mean(1),
        f"{name} last": x[:, -1],
        f"{name} last three": x[:, -3:].mean(1),
        f"{name} deviation": x.std(1),
        f"{name} up": up.sum(1),
        f"{name} down": down.sum(1),
        f"{name} greatest up": up.max(1),
        f"{name} greatest down": down.max(1),
    }


def _float(values: np.ndarray) -> Array:
    return jnp.asarray(values, jnp.float32)
